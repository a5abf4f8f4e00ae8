"""The breaker cell once more, as plainly as the specification tells it: what every observed cell is compared with.

It knows a cell only from outside: whom it admitted, and what they reported. It shares no code with
`actors/breaker.py` and `actors/two_stage.py`, so that a mistake there is not repeated here.
"""

from __future__ import annotations

import math
from typing import Literal

from msgspec import Struct

from busbar.actors.supervision import BreakerSettings, Outcome
from busbar.protocols.failures import FailureClass

_HARD_DOWN = frozenset({FailureClass.AUTH, FailureClass.BILLING})
_NO_VERDICT = frozenset({FailureClass.CLIENT_ERROR, FailureClass.CONTEXT_LENGTH})
_DAY_SECS = 86_400.0
_ROUNDING_SECS = 1e-6

State = Literal["closed", "open", "half_open"]


class InvariantBroken(AssertionError):
    """Something happened that must never happen."""


class Seen(Struct, frozen=True):
    """A cell as it is observed."""

    state: str
    streak: int
    trips: int
    open_until: float
    benched_until: float
    usable_from: float


class ReferenceCell:
    """`judged`: the pool's policy is the built-in two-stage breaker, so that each of its decisions is foreseen; else
    a decision is taken over from what is observed, if a report that had a say came before it."""

    def __init__(self, settings: BreakerSettings, *, judged: bool) -> None:
        self._settings = settings
        self._judged = judged
        self._holders: dict[int, tuple[int, bool]] = {}
        """permit → (the period it was admitted in, whether as the probe)"""
        self._period = 0
        self._probe: int | None = None
        self._held = False
        """By an active probe, in place of a request's."""
        self._outcomes: list[tuple[float, bool]] = []
        self._in_a_row = 0
        self._cooldown: tuple[float, float, float] | None = None
        """(now, shortest, longest) of a trip whose cooldown has not been seen yet."""
        self.undecided = False
        """A report that had a say has come, and what the policy made of it has not been seen yet."""
        self.state: State = "closed"
        self.shown: str = "closed"
        """The state when it was last looked at."""
        self.streak = self.trips = 0
        self.open_until = self.benched_until = 0.0

    def admitted(self, permit: int, now: float, *, probe: bool, last_resort: bool) -> None:
        """Raises InvariantBroken."""
        if last_resort:
            self._holders[permit] = (self._period, False)
            return
        if probe:
            if self.state == "closed":
                raise InvariantBroken("a probe was admitted by a closed cell")
            if self._probe is not None or self._held:
                raise InvariantBroken("a second probe was admitted while the first is in flight")
            if now < self.open_until - _ROUNDING_SECS:
                raise InvariantBroken(f"a probe was admitted {self.open_until - now:.3f} s before the cooldown's end")
            self.state = "half_open"
            self._probe = permit
        elif self.state != "closed":
            raise InvariantBroken(f"a request was admitted by a cell that is {self.state}, and not as its probe")
        self._holders[permit] = (self._period, probe)

    def reported(self, permit: int, outcome: Outcome | None, now: float) -> None:
        """`outcome` None: released without a verdict."""
        period, probe = self._holders.pop(permit)
        if period != self._period or not (self.state == "closed" or probe):
            return  # too late: another period has begun, or the cell has opened meanwhile
        if probe:
            self._probe = None
        if outcome is None:
            return
        if not self._judged:
            self.undecided = True
        elif outcome.failure not in _NO_VERDICT:
            self._judge(outcome, probe, now)

    def hold(self) -> None:
        """An active probe is about to examine the cell. Raises InvariantBroken."""
        if self.state == "closed" or self._probe is not None or self._held:
            raise InvariantBroken("an active probe was let to a cell that is closed, or has a probe in flight")
        self._held = True

    def examined(self, outcome: Outcome | None, now: float) -> None:
        """An active probe of the member is over; it speaks for each of its cells that is closed, or was held and is
        due; and success closes them all."""
        held, self._held = self._held, False
        if outcome is None:
            return
        if self.state != "closed":
            if outcome.failure is None:
                self._close()
                return
            if not held or now < self.open_until:
                return
            self.state = "half_open"
        if self._judged:
            self._judge(outcome, self.state == "half_open", now)
        else:
            self.undecided = True

    def _judge(self, outcome: Outcome, probe: bool, now: float) -> None:
        failed = outcome.failure is not None
        self._outcomes.append((now, failed))
        self._in_a_row = self._in_a_row + 1 if failed else 0
        asked = min(outcome.retry_after_secs or 0.0, _DAY_SECS)
        if not failed:
            if probe:
                self._close()
        elif outcome.failure in _HARD_DOWN:
            self._trip(now, max(1800.0, asked), max(1800.0, asked))
        elif probe or self._too_many(now):
            shortest, longest = self._cooldowns()
            self._trip(now, max(shortest, asked), max(longest, asked))
        else:
            self.benched_until = max(self.benched_until, now + max(1.0, asked))

    def _too_many(self, now: float) -> bool:
        settings = self._settings
        if settings.mode == "consecutive":
            return self._in_a_row >= settings.consecutive_n
        inside = [failed for at, failed in self._outcomes[-1024:] if at > now - settings.window_secs]
        self._outcomes = self._outcomes[-len(inside) :] if inside else []
        return len(inside) >= settings.min_requests and sum(inside) / len(inside) >= settings.threshold

    def _cooldowns(self) -> tuple[float, float]:
        """The shortest and the longest that the jitter allows."""
        settings = self._settings
        target = min(settings.base_cooldown_secs * 2 ** min(self.streak, 32), settings.max_cooldown_secs)
        low, high = (min(max(target * factor, target / 2, 1.0), settings.max_cooldown_secs) for factor in (0.9, 1.1))
        return low, high

    def _trip(self, now: float, shortest: float, longest: float) -> None:
        self.trips += self.state == "closed"
        self.state = "open"
        self.streak += 1
        self._period += 1
        self._probe = None
        self._cooldown = (now, shortest, longest)

    def _close(self) -> None:
        self.state = "closed"
        self.streak = self._in_a_row = 0
        self.open_until = self.benched_until = 0.0
        self._period += 1
        self._probe = None
        self._held = False
        self._outcomes.clear()

    def compare(self, seen: Seen) -> None:
        """Raises InvariantBroken when the cell is not as it has to be."""
        self.take_over(seen)
        if self._cooldown is not None and seen.state == "open":
            now, shortest, longest = self._cooldown
            self._cooldown = None
            if not shortest - _ROUNDING_SECS <= seen.open_until - now <= longest + _ROUNDING_SECS:
                raise InvariantBroken(
                    f"a cooldown of {seen.open_until - now:.3f} s, expected {shortest:g} to {longest:g} s"
                )
            self.open_until = seen.open_until
        expected = self.expected()
        if seen != expected:
            raise InvariantBroken(f"the cell is {_told(seen)}; it has to be {_told(expected)}")

    def expected(self) -> Seen:
        usable_from = self.open_until
        if self.state == "closed":
            usable_from = 0.0
        elif self._probe is not None or self._held:
            usable_from = math.inf
        return Seen(self.state, self.streak, self.trips, self.open_until, self.benched_until, usable_from)

    def take_over(self, seen: Seen) -> None:
        """What a policy of somebody else's has decided, if it had to decide something."""
        if not self.undecided:
            return
        self.undecided = False
        self.benched_until = seen.benched_until
        if seen.state == self.state and seen.streak == self.streak:
            return
        if seen.state == "open":
            self._trip(0.0, 0.0, math.inf)
            self._cooldown = None
            self.open_until = seen.open_until
        elif seen.state == "closed":
            self._close()


def _told(seen: Seen) -> str:
    free = "" if seen.usable_from < math.inf else ", probe in flight"
    return (
        f"{seen.state} (streak {seen.streak}, trips {seen.trips}, open until {seen.open_until:.3f}, "
        f"benched until {seen.benched_until:.3f}{free})"
    )
