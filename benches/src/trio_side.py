"""The same workloads under trio: prints one sample in nanoseconds a line.

Usage: python3 - WORKLOAD COUNT < trio_side.py. What starts and stops each clock is said beside the other
sides.
"""

import sys
import time

import trio
import trio.testing

now = time.perf_counter_ns


async def yields(tasks):
    each = 2000 // tasks

    async def child():
        for _ in range(each):
            await trio.sleep(0)

    started = now()
    async with trio.open_nursery() as nursery:
        for _ in range(tasks):
            nursery.start_soon(child)
    return (now() - started) / (each * tasks)


async def spawn(children):
    async def child():
        pass

    started = now()
    async with trio.open_nursery() as nursery:
        for _ in range(children):
            nursery.start_soon(child)
    return (now() - started) / children


async def cancel(children):
    async with trio.open_nursery() as nursery:
        for _ in range(children):
            nursery.start_soon(trio.sleep_forever)
        await trio.testing.wait_all_tasks_blocked()
        started = now()
        nursery.cancel_scope.cancel()
    return (now() - started) / children


async def scope(_):
    started = now()
    for _ in range(1000):
        with trio.CancelScope():
            pass
    return (now() - started) / 1000


async def nested(depth):
    outermost = trio.CancelScope()

    async def inner(left):
        if left == 0:
            await trio.sleep_forever()
        with trio.CancelScope():
            await inner(left - 1)

    async def task():
        with outermost:
            await inner(depth - 1)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(task)
        await trio.testing.wait_all_tasks_blocked()
        started = now()
        outermost.cancel()
    return now() - started


async def empty(_):
    started = now()
    for _ in range(1000):
        async with trio.open_nursery():
            pass
    return (now() - started) / 1000


async def chain(length):
    async def link(below):
        if below == 0:
            await trio.sleep_forever()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(link, below - 1)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(link, length - 1)
        await trio.testing.wait_all_tasks_blocked()
        started = now()
        nursery.cancel_scope.cancel()
    return now() - started


async def ping_pong(_):
    ask, asked = trio.open_memory_channel(1)
    answer, answered = trio.open_memory_channel(1)

    async def echo():
        async for item in asked:
            await answer.send(item)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(echo)
        started = now()
        for item in range(1000):
            await ask.send(item)
            await answered.receive()
        took = now() - started
        await ask.aclose()
    return took / 1000


async def one_way(_):
    async def send(sender):
        async with sender:
            for item in range(5000):
                await sender.send(item)

    started = now()
    sender, receiver = trio.open_memory_channel(64)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(send, sender)
        async for _ in receiver:
            pass
    return (now() - started) / 5000


async def overshoot(_):
    started = now()
    await trio.sleep(0.001)
    return now() - started - 1_000_000


async def checkpoint(_):
    started = now()
    for _ in range(1000):
        await trio.lowlevel.checkpoint_if_cancelled()
    return (now() - started) / 1000


async def main(workload, count):
    # The first warms up, and the time is bounded: one sample may take a second and more.
    await workload(count)
    until = now() + 50_000_000
    while True:
        print(await workload(count))
        if now() > until:
            break


sys.setrecursionlimit(100_000)
trio.run(main, globals()[sys.argv[1]], int(sys.argv[2]))
