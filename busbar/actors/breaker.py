"""The breaker cell: what one pool thinks of one member.

    state      what happens                        next        epoch
    ---------  ----------------------------------  ----------  -----
    Closed     the policy trips it                 Open        +1
    Open       the cooldown is over, a request     HalfOpen    same
               is admitted as the probe
    HalfOpen   the probe succeeds                  Closed      +1
    HalfOpen   the policy trips it again           Open        +1
    HalfOpen   the probe has no verdict            HalfOpen    same   (the probe's place is free again)

While an active probe examines the member (`hold`), no request is admitted as the probe of a cell that is not closed.

Every admitted request holds a `Ticket` with the epoch it was admitted in. A ticket of an earlier epoch has no say:
a late failure cannot trip a newer cell, a late success cannot close one. Nothing but `admit` takes the probe's
place: reads never do.

The cell knows no policy: it counts, and opens when it is told to, for as long as it is told.
"""

from __future__ import annotations

import enum
import math
from collections import deque
from typing import Final

from msgspec import Struct

WINDOW_OUTCOMES_MAX = 1024
"""Outcomes that a window holds at most; older ones fall out first."""


class CellState(enum.Enum):
    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"


CLOSED: Final = CellState.CLOSED
"""A name of its own: each request asks for it, and to look a member up in its Enum costs ten times as much."""


class Ticket(Struct, frozen=True):
    """The right of one admitted request to report on its cell."""

    epoch: int
    probe: bool


class BreakerCell:
    """See the module's text for the theory. Times are the clock's `now()`, in seconds."""

    __slots__ = (
        "_failures",
        "_held",
        "_outcomes",
        "_probe_out",
        "_ticket",
        "benched_until",
        "consecutive_failures",
        "epoch",
        "open_until",
        "state",
        "streak",
        "trips",
        "window_secs",
    )

    def __init__(self, window_secs: float) -> None:
        self.window_secs = window_secs
        self._outcomes: deque[tuple[float, bool]] = deque()
        self._failures = 0
        self._probe_out = False
        self._held = False
        self.state: CellState = CLOSED
        self.epoch = 0
        self._ticket = Ticket(0, probe=False)
        """The one that all requests of this epoch share, but for the probe."""
        self.streak = 0
        """Openings in a row without a recovery between them."""
        self.trips = 0
        """Transitions Closed → Open, ever."""
        self.open_until = 0.0
        self.benched_until = 0.0
        self.consecutive_failures = 0

    def usable_from(self) -> float:
        """The time from which a request would be admitted: 0 while the cell is closed, infinity while a probe is in
        flight. In between, whoever is admitted is the probe."""
        if self.state is CLOSED:
            return 0.0
        return math.inf if self._held or self._probe_out else self.open_until

    def admit(self, now: float) -> Ticket | None:
        """A ticket for one request, or None. After a cooldown the one that is admitted is the probe."""
        if self.state is CLOSED:
            return self._ticket
        if now < self.usable_from():
            return None
        self.state = CellState.HALF_OPEN
        self._probe_out = True
        return Ticket(self.epoch, probe=True)

    def admit_anyway(self) -> Ticket:
        """A ticket whatever the state: its request has a say only while the cell is closed."""
        return self._ticket

    def hold(self) -> bool:
        """Keeps the probe's place for an active probe. False when there is nothing to find out, or a probe is out."""
        if self.state is CLOSED or self._probe_out or self._held:
            return False
        self._held = True
        return True

    def let_go(self) -> None:
        """The active probe is over."""
        self._held = False

    def is_due(self, now: float) -> bool:
        """Whether the cooldown is over and the member has not been found well yet."""
        return self.state is CellState.HALF_OPEN or (self.state is CellState.OPEN and now >= self.open_until)

    def has_say(self, ticket: Ticket) -> bool:
        """Whether what `ticket`'s request met still concerns this cell."""
        if ticket.epoch != self.epoch:
            return False
        return self.state is CLOSED or ticket.probe

    def count(self, *, failed: bool, now: float) -> None:
        """Counts one outcome in the window. The caller has asked `has_say`."""
        self._outcomes.append((now, failed))
        self._failures += failed
        self.consecutive_failures = self.consecutive_failures + 1 if failed else 0
        self._expire(now)

    def window(self, now: float) -> tuple[int, int]:
        """(outcomes, failures), both inside the window that ends at `now`."""
        self._expire(now)
        return len(self._outcomes), self._failures

    def bench(self, now: float, secs: float) -> None:
        """Siblings are preferred for `secs`. A longer bench is never shortened."""
        self.benched_until = max(self.benched_until, now + secs)

    def trip(self, now: float, cooldown_secs: float) -> None:
        """Opens the cell. The caller has asked `has_say`, so the cell is Closed, or HalfOpen with this probe."""
        if self.state is CLOSED:
            self.trips += 1
        self.state = CellState.OPEN
        self._begin_epoch()
        self.streak += 1
        self.open_until = now + cooldown_secs
        self._probe_out = False

    def close(self) -> None:
        """The member is well again: everything that was held against it is forgotten."""
        self.state = CLOSED
        self._begin_epoch()
        self.streak = 0
        self.open_until = self.benched_until = 0.0
        self.consecutive_failures = 0
        self._outcomes.clear()
        self._failures = 0
        self._probe_out = self._held = False

    def give_back(self, ticket: Ticket) -> None:
        """The request of `ticket` ended without a verdict: if it was the probe, its place is free again."""
        if ticket.probe and ticket.epoch == self.epoch:
            self._probe_out = False

    def __repr__(self) -> str:
        return (
            f"BreakerCell({self.state.value}, epoch={self.epoch}, streak={self.streak}, "
            f"open_until={self.open_until:g}, outcomes={len(self._outcomes)}, failures={self._failures})"
        )

    def _begin_epoch(self) -> None:
        self.epoch += 1
        self._ticket = Ticket(self.epoch, probe=False)

    def _expire(self, now: float) -> None:
        oldest = now - self.window_secs
        outcomes = self._outcomes
        while outcomes and (outcomes[0][0] <= oldest or len(outcomes) > WINDOW_OUTCOMES_MAX):
            self._failures -= outcomes.popleft()[1]
