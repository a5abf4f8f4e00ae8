"""A clock that only moves when a test moves it."""

from __future__ import annotations

import heapq
import itertools
from typing import TYPE_CHECKING

from busbar.actors.runtime import Clock, Timer

if TYPE_CHECKING:
    from collections.abc import Callable

START_SECS = 1000.0
START_UNIX_SECS = 1_767_225_600.0  # 2026-01-01T00:00:00Z
TIMERS_PER_ADVANCE = 100_000


class Livelock(AssertionError):
    """The actors under test never come to rest."""


class VirtualClock(Clock):
    """Time as the test tells it. Timers fire in the order of their time; of equal ones, the first set goes first."""

    def __init__(self, now: float = START_SECS, time: float = START_UNIX_SECS) -> None:
        """Start at `now` monotonic and `time` Unix seconds (the first moment of 2026, UTC)."""
        self._now = now
        self._unix_minus_now = time - now
        self._order = itertools.count()
        self._timers: list[tuple[float, int, _VirtualTimer]] = []  # a heap, as long as the test's own timers

    def __repr__(self) -> str:
        return f"<VirtualClock {self._now}, {self.pending} timers>"

    def now(self) -> float:
        return self._now

    def time(self) -> float:
        return self._unix_minus_now + self._now

    def call_at(self, when: float, callback: Callable[[], None]) -> Timer:
        timer = _VirtualTimer(callback)
        heapq.heappush(self._timers, (max(when, self._now), next(self._order), timer))
        return timer

    @property
    def pending(self) -> int:
        """Timers that have neither fired nor been cancelled."""
        return sum(timer.callback is not None for _, _, timer in self._timers)

    def advance(self, secs: float, after_each: Callable[[], object] = lambda: None) -> None:
        """Move on by `secs` seconds, at least 0, and fire the timers on the way, each at its own time.

        `after_each` runs before the first timer and after each of them, so that what a timer set off may set others.

        Raises:
            ValueError: `secs` is negative.
            Livelock: timers set each other so often that the time is never reached.
        """
        if secs < 0:
            msg = "time does not go backwards"
            raise ValueError(msg)
        until = self._now + secs
        after_each()
        for _ in range(TIMERS_PER_ADVANCE):
            due = self._next_due(until)
            if due is None:
                self._now = until
                return
            self._now, callback = due
            callback()
            after_each()
        msg = f"{TIMERS_PER_ADVANCE} timers fired within {secs} s, and there is no end"
        raise Livelock(msg)

    def _next_due(self, until: float) -> tuple[float, Callable[[], None]] | None:
        while self._timers and self._timers[0][0] <= until:
            when, _, timer = heapq.heappop(self._timers)
            if timer.callback is not None:
                callback, timer.callback = timer.callback, None
                return when, callback
        return None


class _VirtualTimer(Timer):
    def __init__(self, callback: Callable[[], None]) -> None:
        self.callback: Callable[[], None] | None = callback

    def cancel(self) -> None:
        self.callback = None
