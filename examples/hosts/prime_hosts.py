"""What holds the hosts to their word that are in other languages: see `test` of each.

    prime_hosts.py HOST...

The host is started with how many primes it is to look for behind its own arguments. One time it has
found enough, and one time it is interrupted: it has to have gone on with its other work, to have had
its worker cancelled, and to leave no process.
"""

import os
import re
import signal
import subprocess
import sys

LIMIT = 60


def main(host):
    lines = play(host, "2000")
    assert "enough" in lines, lines
    found = re.fullmatch(r"(\d+) found, (\d+) ticks", lines[-1])
    assert int(found[1]) == 2000, lines
    lines = play(host, str(10**12), interrupt=True)
    assert "interrupted" in lines, lines
    found = re.fullmatch(r"(\d+) found, (\d+) ticks", lines[-1])
    assert int(found[1]) > 0 and int(found[2]) >= 3, lines


def play(host, wanted, interrupt=False):
    """The lines of a run, which has to succeed."""
    mark = f"PRIME_HOST_MARK={os.getpid()}-{wanted}"
    name, _, value = mark.partition("=")
    environment = dict(os.environ, **{name: value})
    process = subprocess.Popen(
        [*host, wanted],
        stdout=subprocess.PIPE,
        text=True,
        env=environment,
        # Who runs this in the background may have it ignore the signal.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    signal.alarm(LIMIT)
    lines = []
    for line in process.stdout:
        lines.append(line.rstrip("\n"))
        ticked = re.fullmatch(r"tick (\d+): (\d+) found.*", lines[-1])
        if interrupt and ticked and int(ticked[1]) >= 3 and int(ticked[2]) > 0:
            process.send_signal(signal.SIGINT)
            interrupt = False
    assert process.wait() == 0, (process.returncode, lines)
    signal.alarm(0)
    assert any(re.fullmatch(r"cancelled by \S+@\S+, as asked", line) for line in lines), lines
    assert "the worker is gone" in lines, lines
    assert lines.index("the worker is gone") < len(lines) - 1, lines
    left = marked(mark)
    assert not left, f"left running: {left}"
    return lines


def marked(mark):
    """The processes that were started with this mark, and are there."""
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{pid}/environ", "rb") as environ:
                if mark.encode() in environ.read().split(b"\0"):
                    found.append(int(pid))
        except OSError:
            pass
    return found


main(sys.argv[1:])
