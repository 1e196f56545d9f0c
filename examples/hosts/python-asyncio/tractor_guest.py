"""A tree of actors in asyncio's loop, through the C ABI.

    async with Guest("name") as guest:
        worker = guest.start("program", expose=["api"])
        async with worker.open("api:count", packed_arguments) as context:
            async for item in context:
                ...

Values are MessagePack, as bytes. A task that is cancelled while it is in the block of a context has the
context cancelled, and leaves the block when the worker has answered; likewise with the block of a guest,
and all that was started in it.
"""

import asyncio
import collections
import ctypes
from ctypes import CFUNCTYPE, POINTER, byref, c_char_p, c_int32, c_size_t, c_uint64, c_void_p

DONE, MORE, IDLE = 1, 2, 3
GONE, FULL = -4, -5
RETURNED, CANCELLED, FAILED, UNANSWERED = range(4)

BUDGET_NS = 2_000_000
END_LIMIT_NS = 5_000_000_000
# Items that were not taken yet. With more the worker is made to wait.
KEPT = 64


class End(ctypes.Structure):
    _fields_ = [
        ("outcome", c_int32),
        ("requested", c_int32),
        ("value", c_void_p),
        ("value_len", c_size_t),
        ("error_type", c_char_p),
        ("source_type", c_char_p),
        ("text", c_char_p),
        ("canceller", c_char_p),
    ]


Ended = CFUNCTYPE(None, c_void_p, c_uint64, POINTER(End))
ValueCame = CFUNCTYPE(None, c_void_p, c_uint64, c_void_p, c_size_t)
RoomMade = CFUNCTYPE(None, c_void_p, c_uint64)


class WorkerOptions(ctypes.Structure):
    _fields_ = [
        ("size", c_size_t),
        ("name", c_char_p),
        ("program", c_char_p),
        ("args", POINTER(c_char_p)),
        ("expose", POINTER(c_char_p)),
        ("ended", Ended),
        ("data", c_void_p),
    ]


class ContextOptions(ctypes.Structure):
    _fields_ = [
        ("size", c_size_t),
        ("endpoint", c_char_p),
        ("args", c_char_p),
        ("args_len", c_size_t),
        ("started", ValueCame),
        ("item", ValueCame),
        ("room", RoomMade),
        ("ended", Ended),
        ("data", c_void_p),
    ]


class TractorError(Exception):
    """A function of the library refused."""


class ContextFailed(Exception):
    """The endpoint failed, or its worker did."""


class ContextCancelled(Exception):
    """Somebody else than this context's own task had the endpoint cancelled."""


Result = collections.namedtuple("Result", "outcome requested value error_type text canceller")


def result_of(end):
    def text(field):
        return field.decode() if field is not None else None

    value = ctypes.string_at(end.value, end.value_len) if end.value else None
    return Result(
        end.outcome, bool(end.requested), value, text(end.error_type), text(end.text), text(end.canceller)
    )


def load(path):
    library = ctypes.CDLL(path)
    guest = c_void_p
    for name, result, *arguments in [
        ("last_error", c_char_p),
        ("version", c_char_p),
        ("guest_new", c_int32, c_char_p, POINTER(guest)),
        ("guest_turn", c_int32, guest, c_uint64),
        ("guest_fd", c_int32, guest),
        ("guest_next_deadline", c_int32, guest, POINTER(c_uint64)),
        ("guest_stop", c_int32, guest),
        ("guest_free", c_int32, guest, c_uint64),
        ("worker_start", c_int32, guest, POINTER(WorkerOptions), POINTER(c_uint64)),
        ("worker_stop", c_int32, guest, c_uint64),
        ("context_open", c_int32, guest, c_uint64, POINTER(ContextOptions), POINTER(c_uint64)),
        ("context_send", c_int32, guest, c_uint64, c_char_p, c_size_t),
        ("context_pause", c_int32, guest, c_uint64),
        ("context_resume", c_int32, guest, c_uint64),
        ("context_cancel", c_int32, guest, c_uint64),
    ]:
        function = getattr(library, f"tractor_{name}")
        function.restype, function.argtypes = result, arguments
    return library


class Guest:
    """The root of a tree, whose turns the running loop takes."""

    def __init__(self, library, name):
        self.library = library
        self.name = name
        self.pointer = c_void_p()
        self.stopped = None
        # Whose callbacks may be called: the library has only their addresses.
        self.alive = set()

    async def __aenter__(self):
        self.loop = asyncio.get_running_loop()
        self.call("guest_new", self.name.encode(), byref(self.pointer), itself=False)
        self.stopped = self.loop.create_future()
        self.fd = self.call("guest_fd")
        # It tells of deadlines too, and of the first turn.
        self.loop.add_reader(self.fd, self._turn)
        return self

    async def __aexit__(self, *_):
        try:
            self.call("guest_stop")
            await to_the_end(self.stopped)
        finally:
            self.loop.remove_reader(self.fd)
            self.call("guest_free", END_LIMIT_NS)

    def start(self, program, args=(), expose=(), name="worker"):
        return Worker(self, program, args, expose, name)

    def call(self, function, *arguments, itself=True):
        if itself:
            arguments = (self.pointer, *arguments)
        code = getattr(self.library, f"tractor_{function}")(*arguments)
        if code < 0 and code not in (GONE, FULL):
            raise TractorError(self.library.tractor_last_error().decode())
        return code

    def _turn(self):
        # With MORE the descriptor stays readable, and the loop comes back.
        try:
            progress = self.call("guest_turn", BUDGET_NS)
        except TractorError as error:
            self.loop.remove_reader(self.fd)
            self.stopped.set_exception(error)
            return
        if progress == DONE:
            self.loop.remove_reader(self.fd)
            self.stopped.set_result(None)


class Worker:
    """A process. It goes on until it is stopped, or its guest's block is left."""

    def __init__(self, guest, program, args, expose, name):
        self.guest = guest
        self.ended = guest.loop.create_future()
        self._ended = Ended(self._on_ended)
        options = WorkerOptions(
            size=ctypes.sizeof(WorkerOptions),
            name=name.encode(),
            program=program.encode(),
            args=strings(args),
            expose=strings(expose),
            ended=self._ended,
        )
        self.id = c_uint64()
        if guest.call("worker_start", byref(options), byref(self.id)) == GONE:
            raise TractorError("the guest was stopped")
        guest.alive.add(self)

    def open(self, endpoint, args):
        return Context(self, endpoint, args)

    def stop(self):
        self.guest.call("worker_stop", self.id)

    def _on_ended(self, _data, _worker, end):
        self.ended.set_result(result_of(end.contents))


class Context:
    """A dialog with an endpoint: its items, and then its `result`."""

    def __init__(self, worker, endpoint, args):
        self.worker = worker
        self.guest = worker.guest
        self.endpoint = endpoint
        self.args = args
        self.first = None
        self.items = collections.deque()
        self.result = None
        self.is_paused = False
        self.has_asked = False
        self.changed = asyncio.Event()

    async def __aenter__(self):
        self._callbacks = ValueCame(self._on_started), ValueCame(self._on_item), Ended(self._on_ended)
        started, item, ended = self._callbacks
        options = ContextOptions(
            size=ctypes.sizeof(ContextOptions),
            endpoint=self.endpoint.encode(),
            args=self.args,
            args_len=len(self.args),
            started=started,
            item=item,
            ended=ended,
        )
        self.id = c_uint64()
        self.ended = self.guest.loop.create_future()
        if self.guest.call("context_open", self.worker.id, byref(options), byref(self.id)) == GONE:
            raise TractorError("the worker has ended")
        self.guest.alive.add(self)
        return self

    async def __aexit__(self, *_):
        self.cancel()
        await to_the_end(self.ended)
        self.guest.alive.discard(self)

    def cancel(self):
        self.has_asked = True
        self.guest.call("context_cancel", self.id)

    def __aiter__(self):
        return self

    async def __anext__(self):
        while not self.items:
            if self.result is not None:
                return self._end()
            if self.is_paused:
                self.is_paused = False
                self.guest.call("context_resume", self.id)
            self.changed.clear()
            await self.changed.wait()
        return self.items.popleft()

    def _end(self):
        result = self.result
        if result.outcome == FAILED:
            raise ContextFailed(f"{result.error_type}: {result.text}")
        if result.outcome != RETURNED and not self.has_asked:
            raise ContextCancelled(result.text)
        raise StopAsyncIteration

    def _on_started(self, _data, _context, value, length):
        self.first = ctypes.string_at(value, length)

    def _on_item(self, _data, _context, value, length):
        self.items.append(ctypes.string_at(value, length))
        if len(self.items) >= KEPT:
            self.is_paused = True
            self.guest.call("context_pause", self.id)
        self.changed.set()

    def _on_ended(self, _data, _context, end):
        self.result = result_of(end.contents)
        self.ended.set_result(self.result)
        self.changed.set()


async def to_the_end(future):
    """Waits for what is bounded, and is cancelled only after it."""
    cancelled = None
    while not future.done():
        try:
            await asyncio.shield(future)
        except asyncio.CancelledError as error:
            cancelled = error
    if cancelled is not None:
        raise cancelled
    return future.result()


def strings(items):
    items = [item.encode() for item in items]
    return (c_char_p * (len(items) + 1))(*items, None)
