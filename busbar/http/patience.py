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
from types import TracebackType

from busbar.actors.messages import Timeouts
from busbar.http.ports import Sink

LINGER_SECS = 1.0
"""How long a provider may keep its connection open after the terminal event, so that it can be used again."""


class LazyTimeout:
    """`async with` raises TimeoutError at `due`, which may be moved while it runs: later costs nothing (the timer is
    looked at when it fires), earlier costs a timer. None: never."""

    __slots__ = ("_armed_at", "_cancelling", "_fired", "_loop", "_task", "_timer", "due")

    def __init__(self, due: float | None) -> None:
        self._loop = asyncio.get_running_loop()
        self._task: asyncio.Task[object] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._armed_at = 0.0
        self._fired = False
        self.due = due

    async def __aenter__(self) -> None:
        self._task = task = asyncio.current_task()
        assert task is not None, "whatever awaits runs in one"
        self._cancelling = task.cancelling()
        self._arm()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.due = None
        if self._timer is not None:
            self._timer.cancel()
        if self._fired:
            assert self._task is not None, "entered"
            # As `asyncio.timeout` has it: who cancels from outside meanwhile is not kept from it.
            if self._task.uncancel() <= self._cancelling and kind is asyncio.CancelledError:
                raise TimeoutError from error

    def move(self, due: float | None) -> None:
        self.due = due
        if due is not None and (self._timer is None or due < self._armed_at):
            self._arm()

    def _arm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self.due is not None and not self._fired:
            self._armed_at = self.due
            self._timer = self._loop.call_at(self.due, self._look)

    def _look(self) -> None:
        self._timer = None
        if self.due is None or self._loop.time() < self.due:
            self._arm()
        elif self._task is not None:
            self._fired = True
            self._task.cancel()


class Patience:
    """One attempt's. `async with patience.limit:` raises TimeoutError; afterwards `out_of_time` says whether it was
    the request's deadline, and not a limit of the member's own."""

    __slots__ = (
        "_began_at",
        "_deadline",
        "_due",
        "_loop",
        "_stream",
        "_timeouts",
        "limit",
    )

    def __init__(self, timeouts: Timeouts, available_secs: float, *, stream: bool) -> None:
        self._loop = asyncio.get_running_loop()
        self._began_at = self._loop.time()
        self._deadline = self._began_at + available_secs
        self._timeouts = timeouts
        self._stream = stream
        self._due = self._deadline
        self.limit = LazyTimeout(self._until_headers())

    @property
    def out_of_time(self) -> bool:
        return self._due == self._deadline

    def connecting(self) -> None:
        """The same request goes out once more, with another key: nothing begins anew."""
        self.limit.move(self._until_headers())

    def answering(self) -> None:
        """The headers are there."""
        self.limit.move(self._earliest(self._timeouts.first_token_ms if self._stream else None))

    def holding(self) -> None:
        """The first content is there."""
        self.limit.move(self._earliest())

    def streaming(self) -> None:
        """The caller has its first byte: from here on there is no deadline."""
        self.limit.move(None)

    def lingering(self) -> None:
        """The terminal event is out."""
        self.limit.move(self._loop.time() + LINGER_SECS)

    def watch(self) -> StallWatch | None:
        """Watches the gaps of a stream, if they are limited at all."""
        stall_ms = self._timeouts.stall_ms
        return None if stall_ms is None else StallWatch(stall_ms / 1000)

    def _until_headers(self) -> float:
        return self._earliest(self._timeouts.attempt_ms, self._timeouts.first_token_ms if self._stream else None)

    def _earliest(self, *limits_ms: int | None) -> float:
        due = self._deadline
        for limit_ms in limits_ms:
            if limit_ms is not None:
                due = min(due, self._began_at + limit_ms / 1000)
        self._due = due
        return due


class StallWatch(LazyTimeout):
    """Raises TimeoutError when a body gives nothing for `secs` after its first chunk. The time in which the caller
    takes no more is not the provider's. A chunk costs one look at the clock."""

    __slots__ = ("_secs",)

    def __init__(self, secs: float) -> None:
        super().__init__(None)
        self._secs = secs

    def around(self, sink: Sink) -> Sink:
        """The same sink, watched."""

        def watched(data: bytes) -> Awaitable[None] | None:
            waiting = sink(data)
            if waiting is not None:
                return self._while_the_caller_takes(waiting)
            self.move(self._loop.time() + self._secs)
            return None

        return watched

    async def _while_the_caller_takes(self, waiting: Awaitable[None]) -> None:
        self.move(None)
        try:
            await waiting
        finally:
            self.move(self._loop.time() + self._secs)
