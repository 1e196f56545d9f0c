"""asyncio, with a tree of actors in its loop: a worker process finds primes, and meanwhile a task of the
loop shows how far it is. When there are as many as are wanted, or on Ctrl-C, the asyncio task that takes
them is cancelled, and so the worker is.

    host.py LIBRARY WORKER [HOW-MANY]
"""

import asyncio
import signal
import sys

import tractor_guest
from tractor_guest import CANCELLED, Guest


def number(value):
    """The one kind of MessagePack that this worker sends: a number that is not negative."""
    return value[0] if len(value) == 1 else int.from_bytes(value[1:], "big")


class Progress:
    found = 0
    last = 0
    ticks = 0


async def look(worker, wanted, progress):
    # {"from": 1000000}
    arguments = b"\x81\xa4from\xce\x00\x0f\x42\x40"
    context = worker.open("primes:find", arguments)
    try:
        async with context:
            async for item in context:
                if progress.found == 0:
                    print(f"looking from {number(context.first)} on")
                progress.last = number(item)
                progress.found += 1
                if progress.found == wanted:
                    print("enough")
                    asyncio.current_task().cancel()
                    await asyncio.sleep(0)
    finally:
        end = context.result
        assert end.outcome == CANCELLED, end
        print(f"cancelled by {end.canceller}, {'as asked' if end.requested else 'unasked'}")


async def tick(progress):
    while True:
        await asyncio.sleep(0.02)
        progress.ticks += 1
        print(f"tick {progress.ticks}: {progress.found} found, the last is {progress.last}")


async def main(library, program, wanted):
    library = tractor_guest.load(library)
    print("tractor", library.tractor_version().decode())
    progress = Progress()
    async with Guest(library, "asyncio") as guest:
        worker = guest.start(program, expose=["primes"], name="primes")
        looking = asyncio.create_task(look(worker, wanted, progress))
        ticking = asyncio.create_task(tick(progress))

        def interrupted():
            print("interrupted")
            looking.cancel()

        guest.loop.add_signal_handler(signal.SIGINT, interrupted)
        await asyncio.wait([looking])
        ticking.cancel()
        assert looking.cancelled(), looking.exception()
    assert worker.ended.done()
    print("the worker is gone")
    print(f"{progress.found} found, {progress.ticks} ticks")


if __name__ == "__main__":
    sys.stdout.reconfigure(line_buffering=True)
    asyncio.run(main(sys.argv[1], sys.argv[2], int((sys.argv[3:] or ["5000"])[0])))
