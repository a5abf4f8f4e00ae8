"""Rate limits: what happened in the last sixty seconds, exactly, in bounded memory."""

from __future__ import annotations

from collections import deque

WINDOW_SECS = 60.0

EXACT_MAX = 2048
"""Up to so many entries each has its own time. Beyond, those within `COARSE_SECS` of one another share the time of
the latest, so that a limit is never exceeded, and memory holds at most twice as many."""

COARSE_SECS = WINDOW_SECS / EXACT_MAX


class Counted:
    """What one request counts for. It may be corrected while it is in the window, and to no effect afterwards."""

    __slots__ = ("amount", "at", "began_at", "expired")

    def __init__(self, at: float, amount: int) -> None:
        self.began_at = at
        self.at = at
        self.amount = amount
        self.expired = False


class SlidingWindow:
    """Amounts by time. Times are told by a clock that never goes back."""

    __slots__ = ("_entries", "_sum")

    def __init__(self) -> None:
        self._entries: deque[Counted] | None = None
        """None while nothing counts: there may be many windows."""
        self._sum = 0

    def sum(self, now: float) -> int:
        """Of the sixty seconds before `now`."""
        entries, horizon = self._entries, now - WINDOW_SECS
        while entries and entries[0].at <= horizon:
            gone = entries.popleft()
            gone.expired = True
            self._sum -= gone.amount
            if not entries:
                self._entries = None
        return self._sum

    def add(self, now: float, amount: int) -> Counted:
        self.sum(now)
        self._sum += amount
        entries = self._entries
        if entries is None:
            self._entries = entries = deque()
        if len(entries) >= EXACT_MAX and now - entries[-1].began_at < COARSE_SECS:
            last = entries[-1]
            last.at = now
            last.amount += amount
            return last
        entry = Counted(now, amount)
        entries.append(entry)
        return entry

    def correct(self, entry: Counted, by: int) -> None:
        """What `entry` counted for turned out to be more, or less."""
        if not entry.expired:
            entry.amount += by
            self._sum += by

    def wait_secs(self, now: float, amount: int, limit: int) -> float | None:
        """How long until `amount` more is within `limit`; None: never, it is more than the limit by itself."""
        if amount > limit:
            return None
        over = self.sum(now) + amount - limit
        for entry in self._entries or ():
            if over <= 0:
                break
            over -= entry.amount
            if over <= 0:
                return entry.at + WINDOW_SECS - now
        return 0.0

    def reset_secs(self, now: float) -> float:
        """How long until nothing counts any more."""
        self.sum(now)
        return self._entries[-1].at + WINDOW_SECS - now if self._entries else 0.0
