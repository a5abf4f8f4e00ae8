"""Where one request goes, step by step: failover, retries on the same member, waiting, the pool to fall back on.

A journey does no I/O and reads no clock. Whoever takes it (the relay for real requests, the simulation for scripted
ones) does what its step says, tells it what came of it, and is told the next:

    step                  do                                            then tell it
    --------------------  --------------------------------------------  -------------------------------
    Ask(pool, route)      ask the pool                                  `assigned` or `exhausted`
    Try(assignment)       make the attempt                              `failed`, unless it answered
    Wait(secs)            let so much time pass                         `waited`
    GiveUp(...)           tell the caller                               (the journey is over)
"""

from __future__ import annotations

import enum
from collections.abc import Mapping, Sequence
from typing import TypeAlias

from msgspec import Struct
from msgspec.structs import replace

from busbar.actors.messages import Assignment, Exhausted, Refusal, Route
from busbar.actors.runtime import LoopRef
from busbar.actors.telemetry import Decision, Listing
from busbar.protocols.failures import Disposition, FailureClass, disposition

_AGAIN_AT_ONCE = frozenset({FailureClass.NETWORK, FailureClass.SERVER_ERROR})
"""Failures that may be gone when the same member is asked again."""


class Destination(Struct, frozen=True, kw_only=True):
    """A pool (a configured one, or a model's implicit one), and how far a request to it goes."""

    name: str
    ref: LoopRef
    deadline_secs: float = 120.0
    cap: int = 3
    """Further attempts after the first, on whichever member."""
    same_member: int = 0
    """How often a network or server error is tried again on the same member before another one."""
    retry_after_max_secs: float = 0.0
    """Up to how long a `Retry-After` is waited out for the same member."""
    fallback: str | None = None
    """The destination to go on to when no member of this one could be tried."""
    session_header: str | None = None
    estimates: bool = False
    """Whether the pool wants to know what a request will use (`Route.demand`)."""
    hold_secs: float = 0.0
    """How long the first content of a stream is held back, so that another member can still be asked."""
    continues: bool = False
    """Whether another member is asked to go on with a stream that broke."""
    listing: Listing = Listing()


class Verdict(enum.Enum):
    """Why a journey is over without an answer."""

    FAILED = "failed"
    """The last attempt's failure is what the caller is told."""
    EXHAUSTED = "exhausted"
    """No member could be tried at all."""
    DEADLINE = "deadline"


class Ask(Struct, frozen=True):
    """Ask `destination` which member takes the request."""

    destination: Destination
    route: Route


class Try(Struct, frozen=True):
    """Make one attempt, within `available_secs`."""

    assignment: Assignment
    available_secs: float


class Wait(Struct, frozen=True):
    """The same member is worth waiting for."""

    secs: float


class GiveUp(Struct, frozen=True):
    verdict: Verdict
    exhausted: Exhausted | None = None
    """With EXHAUSTED."""


Step: TypeAlias = Ask | Try | Wait | GiveUp


class Failing(Struct, frozen=True):
    """How an attempt failed, as far as the journey is concerned."""

    kind: FailureClass
    retry_after_secs: float | None = None
    ours: bool = False
    """The request was not the caller's own, but one to go on with its answer: another member may take it."""


class Journey:
    """One request's. `fallbacks` are the destinations that others may name."""

    attempts = 0
    failed_over: Sequence[tuple[str, str]] = ()
    """(pool, reason) of each attempt that one at another member followed."""

    _visited: frozenset[str] = frozenset()
    """Destinations that had nobody."""
    _tried: frozenset[str] = frozenset()
    _context_above: int | None = None
    _current: Assignment | None = None
    _again = 0
    """How often the current member was tried again at once."""
    _waited = False
    """Whether the current member's `Retry-After` was waited out."""
    _nobody: Exhausted | None = None
    """What the pools that had nobody said, taken together."""
    _failure: tuple[str, str] | None = None
    """(pool, reason) of the last attempt."""

    def __init__(
        self, destination: Destination, fallbacks: Mapping[str, Destination], route: Route, now: float
    ) -> None:
        """`route` is what stays the same: the request's id, and who can do it. What else a destination wants to know
        (`session_header`, `estimates`), whoever asks it adds to the route."""
        self._destination = destination
        self._fallbacks = fallbacks
        self._base = route
        self.started_at = now
        self.decisions: list[Decision] = []

    @property
    def deadline(self) -> float:
        return self.started_at + self._destination.deadline_secs

    def begin(self) -> Ask:
        return self._ask()

    def assigned(self, assignment: Assignment, now: float) -> Try:
        self._note(assignment.member, assignment.passed_over, now, assignment)
        if self._current is None and self._failure is not None:
            self.failed_over = (*self.failed_over, self._failure)
        self._current = assignment
        self.attempts += 1
        return Try(assignment, max(0.0, self.deadline - now))

    def exhausted(self, reply: Exhausted, now: float) -> Step:
        self._note(None, reply.reasons, now)
        if self._staying:
            # The member that was to be tried again does not take it: on with the others.
            self._leave()
            return self._ask()
        if self.attempts:
            return GiveUp(Verdict.FAILED)
        if now >= self.deadline:
            return GiveUp(Verdict.DEADLINE)
        self._nobody = reply if self._nobody is None else _together(self._nobody, reply)
        self._visited |= {self._destination.name}
        fallback = self._destination.fallback
        if fallback is not None and fallback not in self._visited:
            self._destination = self._fallbacks[fallback]
            return self._ask()
        return GiveUp(Verdict.EXHAUSTED, self._nobody)

    def failed(self, failing: Failing, now: float) -> Step:
        """The attempt failed, and the caller has seen nothing of it."""
        current = self._current
        assert current is not None, "an attempt was made"
        match disposition(failing.kind):
            case Disposition.CLIENT_FAULT:
                if not failing.ours:
                    return GiveUp(Verdict.FAILED)
                stay = None
            case Disposition.CONTEXT_LENGTH:
                self._context_above = _larger(self._context_above, current.terms.context_max)
                stay = None
            case Disposition.HARD_DOWN:
                stay = None
            case Disposition.TRANSIENT:
                stay = self._stay_secs(failing)
        if now >= self.deadline:
            return GiveUp(Verdict.DEADLINE)
        if self.attempts > self._destination.cap or current.last_resort:
            return GiveUp(Verdict.FAILED)
        self._failure = (current.pool, failing.kind.value)
        if stay is None or now + stay >= self.deadline:
            self._leave()
            return self._ask()
        if stay > 0:
            self._waited = True
            return Wait(stay)
        self._again += 1
        return self._ask()

    def waited(self) -> Ask:
        return self._ask()

    def _stay_secs(self, failing: Failing) -> float | None:
        """How long to wait for the same member; None: go on to another one."""
        destination = self._destination
        asked = failing.retry_after_secs
        if asked:
            # Once per member: one that asks to wait again and again is not going to answer this request.
            return asked if asked <= destination.retry_after_max_secs and not self._waited else None
        if failing.kind in _AGAIN_AT_ONCE and self._again < destination.same_member:
            return 0.0
        return None

    @property
    def _staying(self) -> bool:
        return self._current is not None and (self._waited or self._again > 0)

    def _leave(self) -> None:
        assert self._current is not None, "there is a member to leave"
        self._tried |= {self._current.member}
        self._current = None
        self._again = 0
        self._waited = False

    def _ask(self) -> Ask:
        if not self.attempts and not self._visited:
            return Ask(self._destination, replace(self._base, wait_until=self.deadline))
        only = self._base.only
        if self._staying and self._current is not None:
            only = frozenset({self._current.member})
        route = replace(
            self._base,
            tried=self._tried,
            only=only,
            context_above=self._context_above,
            fresh=self.attempts == 0,
            wait_until=self.deadline,
        )
        return Ask(self._destination, route)

    def _note(
        self, member: str | None, passed_over: Mapping[str, Refusal], now: float, assignment: Assignment | None = None
    ) -> None:
        self.decisions.append(
            Decision(
                pool=self._destination.name,
                member=member,
                passed_over=passed_over,
                listing=self._destination.listing,
                again=self._staying,
                probe=assignment is not None and assignment.probe,
                last_resort=assignment is not None and assignment.last_resort,
                at=now,
            )
        )


def _together(first: Exhausted, second: Exhausted) -> Exhausted:
    """What two pools said, as one answer: the sooner of the two counts."""
    return Exhausted(
        reasons={**first.reasons, **second.reasons},
        retry_after_secs=min(first.retry_after_secs, second.retry_after_secs),
    )


def _larger(first: int | None, second: int | None) -> int | None:
    """Of two sizes that are known to be too small; None: not known."""
    return max((size for size in (first, second) if size is not None), default=None)
