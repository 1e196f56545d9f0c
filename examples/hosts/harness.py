"""What the tests of the hosts in Rust share: a host that is marked and watched, within a time limit."""

import contextlib
import os
import pathlib
import queue
import signal
import subprocess
import sys
import tempfile
import threading

HOSTS = pathlib.Path(__file__).parent
LIMIT = 60
MARK = f"TRACTOR_HOST_MARK={os.getpid()}"


def build(package):
    """Builds a package, and gives the path of its program."""
    target = os.environ.get("HOSTS_TARGET", str(HOSTS / "../../target/hosts"))
    command = ["cargo", "build", "--quiet", "--locked", "--package", package, "--target-dir", target]
    subprocess.run(command, cwd=HOSTS, check=True)
    return os.path.join(target, "debug", package)


def marked():
    """The processes that were started by this test, and what was started by these."""
    found = []
    for process in pathlib.Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            dead = ") Z " in (process / "stat").read_text()
            if not dead and MARK.encode() in (process / "environ").read_bytes().split(b"\0"):
                found.append(int(process.name))
    return found


class Host:
    """A program whose output comes line by line."""

    def __init__(self, command, **options):
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, **options)
        self.lines = queue.Queue()
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self):
        for line in self.process.stdout:
            print("   ", line.rstrip())
            self.lines.put(line.rstrip())

    def line(self, text):
        """Waits for a line with this text."""
        while text not in (line := self.lines.get()):
            pass
        return line

    def ended(self):
        """Waits for the end, which has to be a success."""
        status = self.process.wait()
        assert status == 0, f"it ended with {status}"


def test(package):
    """Runs the function with the path of the program, and looks that nothing is left of it."""

    def run(body):
        program = build(package)
        key, value = MARK.split("=")
        signal.signal(signal.SIGALRM, lambda *_: sys.exit(f"{package}: hangs"))
        signal.alarm(LIMIT)
        # Whoever runs this may have its background jobs ignore it.
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        try:
            with tempfile.TemporaryDirectory() as directory:
                os.environ.update({key: value, "TMPDIR": directory, "XDG_RUNTIME_DIR": directory})
                body(program)
                processes, files = marked(), os.listdir(directory)
                assert not processes, f"left running: {processes}"
                assert not files, f"left behind: {files}"
        except (AssertionError, OSError) as error:
            sys.exit(f"{package}: {error}")
        finally:
            # These are this test's own.
            for pid in marked():
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        print(f"{package}: made progress, was cancelled, and left nothing")

    return run
