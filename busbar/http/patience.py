"""How long an attempt is given for what it owes next.

phase        what is owed                     until the earliest of
-----------  -------------------------------  -----------------------------------------------------------
connecting   the answer's headers             `attempt_timeout_ms`, `first_token_timeout_ms`, the deadline
answering    the first content of a stream    `first_token_timeout_ms`, the deadline
holding      the caller's first byte          the deadline
streaming    the next chunk                   `stall_timeout_ms` after the last one
lingering    the end of the connection        a second: the caller has a whole answer
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from functools import lru_cache
from types import TracebackType

from busbar.actors.messages import Timeouts
from busbar.http.ports import Sink

LINGER_SECS = 1.0
"""How long a provider may keep its connection open after the terminal event, so that it can be used again."""

FAR_SECS = 1.0
"""A limit that is further away than this has no timer of its own: nearly all end long before they are due."""


class _FarLimits:
    """Those of one loop, by the second in which they are due. When it begins, each gets a timer of its own."""

    __slots__ = ("_loop", "_seconds")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._seconds: dict[int, set[LazyTimeout]] = {}

    def add(self, second: int, limit: LazyTimeout) -> None:
        limits = self._seconds.get(second)
        if limits is None:
            limits = self._seconds[second] = set()
            self._loop.call_at(second, self._look, second)
        limits.add(limit)

    def remove(self, second: int, limit: LazyTimeout) -> None:
        limits = self._seconds.get(second)
        if limits is not None:
            limits.discard(limit)

    def _look(self, second: int) -> None:
        for limit in self._seconds.pop(second):
            limit.look()


@lru_cache(maxsize=4)
def _far_limits(loop: asyncio.AbstractEventLoop) -> _FarLimits:
    return _FarLimits(loop)


class LazyTimeout:
    """`with` raises TimeoutError at `due`, which may be moved while it runs: later costs nothing (`due` is looked at
    when it was due before), earlier costs a timer. None: never."""

    __slots__ = ("_armed_at", "_cancelling", "_far", "_fired", "_loop", "_second", "_task", "_timer", "due")

    def __init__(self, due: float | None, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._task: asyncio.Task[object] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._far = _far_limits(loop)
        self._second: int | None = None
        """In which it is due, while that is far."""
        self._armed_at: float | None = None
        self._fired = False
        self.due = due

    def __enter__(self) -> None:
        self._task = task = asyncio.current_task(self._loop)
        assert task is not None, "whatever awaits runs in one"
        self._cancelling = task.cancelling()
        self._arm()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.due = None
        self._disarm()
        if self._fired:
            assert self._task is not None, "entered"
            # As `asyncio.timeout` has it: who cancels from outside meanwhile is not kept from it.
            if self._task.uncancel() <= self._cancelling and kind is asyncio.CancelledError:
                raise TimeoutError from error

    @property
    def ended_it(self) -> bool:
        """Whether the task is cancelled because this was due, and by nobody else."""
        return self._fired and self._task is not None and self._task.cancelling() <= self._cancelling + 1

    def move(self, due: float | None) -> None:
        self.due = due
        if due is not None and (self._armed_at is None or due < self._armed_at):
            self._arm()

    def look(self) -> None:
        """It was due now, when it was last armed."""
        self._armed_at = self._second = self._timer = None
        if self.due is None or self._loop.time() < self.due:
            self._arm()
        elif self._task is not None:
            self._fired = True
            self._task.cancel()

    def _arm(self) -> None:
        if self._armed_at is not None:
            self._disarm()
        due = self.due
        if due is None or self._fired:
            return
        self._armed_at = due
        second = int(due)
        if second - self._loop.time() > FAR_SECS:
            self._second = second
            self._far.add(second, self)
        else:
            self._timer = self._loop.call_at(due, self.look)

    def _disarm(self) -> None:
        self._armed_at = None
        if self._second is not None:
            self._far.remove(self._second, self)
            self._second = None
        elif self._timer is not None:
            self._timer.cancel()
            self._timer = None


class Patience(LazyTimeout):
    """One attempt's. `with patience:` raises TimeoutError; afterwards `out_of_time` says whether it was the request's
    deadline, and not a limit of the member's own."""

    __slots__ = ("_began_at", "_deadline", "_limit_at", "_limited", "_stream", "_timeouts")

    def __init__(self, timeouts: Timeouts, available_secs: float, *, stream: bool) -> None:
        loop = asyncio.get_running_loop()
        self._began_at = now = loop.time()
        self._limit_at = self._deadline = now + available_secs
        self._timeouts = timeouts
        self._stream = stream
        self._limited = timeouts.attempt_ms is not None or timeouts.first_token_ms is not None
        super().__init__(self._until_headers() if self._limited else self._deadline, loop)

    @property
    def out_of_time(self) -> bool:
        return self._limit_at == self._deadline

    def connecting(self) -> None:
        """The same request goes out once more, with another key: nothing begins anew."""
        self.move(self._until_headers())

    def answering(self) -> None:
        """The headers are there."""
        if self._limited:
            self.move(self._earliest(self._timeouts.first_token_ms if self._stream else None))

    def holding(self) -> None:
        """The first content is there."""
        if self._limited:
            self.move(self._earliest())

    def streaming(self) -> None:
        """The caller has its first byte: from here on there is no deadline."""
        self.due = None

    def lingering(self) -> None:
        """The terminal event is out."""
        self.move(self._loop.time() + LINGER_SECS)

    def watch(self) -> StallWatch | None:
        """Watches the gaps of a stream, if they are limited at all."""
        stall_ms = self._timeouts.stall_ms
        return None if stall_ms is None else StallWatch(stall_ms / 1000, self._loop)

    def _until_headers(self) -> float:
        timeouts = self._timeouts
        return self._earliest(timeouts.attempt_ms, timeouts.first_token_ms if self._stream else None)

    def _earliest(self, one_ms: int | None = None, other_ms: int | None = None) -> float:
        due = self._deadline
        if one_ms is not None:
            due = min(due, self._began_at + one_ms / 1000)
        if other_ms is not None:
            due = min(due, self._began_at + other_ms / 1000)
        self._limit_at = due
        return due


class StallWatch(LazyTimeout):
    """Raises TimeoutError when a body gives nothing for `secs` after its first chunk. The time in which the caller
    takes no more is not the provider's. A chunk costs one look at the clock."""

    __slots__ = ("_secs",)

    def __init__(self, secs: float, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(None, loop)
        self._secs = secs

    def around(self, sink: Sink) -> Sink:
        """The same sink, watched."""
        now, secs = self._loop.time, self._secs

        def watched(data: bytes) -> Awaitable[None] | None:
            waiting = sink(data)
            if waiting is not None:
                return self._while_the_caller_takes(waiting)
            self.due = now() + secs
            if self._armed_at is None:
                self._arm()
            return None

        return watched

    async def _while_the_caller_takes(self, waiting: Awaitable[None]) -> None:
        self.move(None)
        try:
            await waiting
        finally:
            self.move(self._loop.time() + self._secs)
