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


class Patience:
    """One attempt's. `async with patience.limit:` raises TimeoutError; afterwards `out_of_time` says whether it was
    the request's deadline, and not a limit of the member's own."""

    def __init__(self, timeouts: Timeouts, available_secs: float, *, stream: bool) -> None:
        self._loop = asyncio.get_running_loop()
        self._began_at = self._loop.time()
        self._deadline = self._began_at + available_secs
        self._timeouts = timeouts
        self._stream = stream
        self._due = self._deadline
        self.limit = asyncio.timeout_at(
            self._earliest(timeouts.attempt_ms, timeouts.first_token_ms if stream else None)
        )

    @property
    def out_of_time(self) -> bool:
        return self._due == self._deadline

    def answering(self) -> None:
        """The headers are there."""
        self.limit.reschedule(self._earliest(self._timeouts.first_token_ms if self._stream else None))

    def holding(self) -> None:
        """The first content is there."""
        self.limit.reschedule(self._earliest())

    def streaming(self) -> None:
        """The caller has its first byte: from here on there is no deadline."""
        self.limit.reschedule(None)

    def lingering(self) -> None:
        """The terminal event is out."""
        self.limit.reschedule(self._loop.time() + LINGER_SECS)

    def watch(self) -> StallWatch | None:
        """Watches the gaps of a stream, if they are limited at all."""
        stall_ms = self._timeouts.stall_ms
        return None if stall_ms is None else StallWatch(stall_ms / 1000)

    def _earliest(self, *limits_ms: int | None) -> float:
        times = [self._began_at + limit_ms / 1000 for limit_ms in limits_ms if limit_ms is not None]
        self._due = min([self._deadline, *times])
        return self._due


class StallWatch:
    """Raises TimeoutError when a stream gives nothing for `secs` after its first chunk. The time in which the caller
    takes no more is not the provider's. A chunk costs one look at the clock: the timer is moved only when it is due.
    """

    def __init__(self, secs: float) -> None:
        self._secs = secs
        self._loop = asyncio.get_running_loop()
        self._seen_at = 0.0
        self._caller_is_slow = False
        self._timer: asyncio.TimerHandle | None = None
        self._timeout = asyncio.timeout(None)

    async def __aenter__(self) -> StallWatch:
        await self._timeout.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._timer is not None:
            self._timer.cancel()
        await self._timeout.__aexit__(kind, error, trace)

    def around(self, sink: Sink) -> Sink:
        """The same sink, watched."""

        def watched(data: bytes) -> Awaitable[None] | None:
            self._seen_at = self._loop.time()
            if self._timer is None:
                self._timer = self._loop.call_at(self._seen_at + self._secs, self._look)
            waiting = sink(data)
            return None if waiting is None else self._while_the_caller_takes(waiting)

        return watched

    async def _while_the_caller_takes(self, waiting: Awaitable[None]) -> None:
        self._caller_is_slow = True
        try:
            await waiting
        finally:
            self._caller_is_slow = False
            self._seen_at = self._loop.time()

    def _look(self) -> None:
        now = self._loop.time()
        due = (now if self._caller_is_slow else self._seen_at) + self._secs
        if now >= due:
            self._timeout.reschedule(now)
        else:
            self._timer = self._loop.call_at(due, self._look)
