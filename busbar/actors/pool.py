"""A pool: a named, weighted list of members. It picks; the member that is picked has the last word."""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import Struct

from busbar.actors.messages import (
    Acquire,
    Availability,
    Exhausted,
    Join,
    MemberChanged,
    MemberStarted,
    Refusal,
    Refused,
    Route,
    Snapshot,
)
from busbar.actors.runtime import Forward, LoopActor, LoopRef, handles
from busbar.actors.selection import Candidate, Currents, rendezvous, smooth_weighted
from busbar.actors.supervision import SupervisionPolicy

SATURATED_RETRY_SECS = 2.0
"""What a caller is told to wait when only a free slot is missing."""

HOPELESS_RETRY_SECS = 60.0
"""… when nothing that passes by itself stands in the way: every member is dead, drained or used up."""


class PoolMember(Struct, frozen=True, kw_only=True):
    """One line of a pool's list. `weight` 0 drains; `excluded`: reachable by direct route only."""

    model: str
    ref: LoopRef
    weight: int = 1
    context_max: int | None = None
    excluded: bool = False


class PoolSpec(Struct, frozen=True, kw_only=True):
    name: str
    members: tuple[PoolMember, ...]
    policy: SupervisionPolicy
    window_secs: float = 30.0


class Pool(LoopActor):
    """Understands Route, Refused, MemberChanged, MemberStarted, Snapshot.

    State: the weights' running credits, and each member's availability as it last told. Both are bounded by the
    configured list.
    """

    def __init__(self, spec: PoolSpec) -> None:
        super().__init__()
        self._spec = spec
        self._members = {member.model: member for member in spec.members}
        self._availability = {member.model: Availability() for member in spec.members}
        self._currents: Currents = {}
        self._picks = dict.fromkeys(self._members, 0)

    def on_start(self) -> None:
        for model in self._members:
            self._join(model)

    @handles(MemberStarted)
    def member_started(self, message: MemberStarted) -> None:
        self._availability[message.member] = Availability()
        self._join(message.member)

    @handles(MemberChanged)
    def member_changed(self, message: MemberChanged) -> None:
        self._availability[message.member] = message.availability

    @handles(Refused)
    def refused(self, message: Refused) -> Forward | Exhausted:
        """The member knew better than we did, and has told us so; on with the others."""
        route = message.route
        return self.route(msgspec.structs.replace(route, refused=route.refused | {message.member}))

    @handles(Route)
    def route(self, message: Route) -> Forward | Exhausted:
        now = self.clock.now()
        usable, benched, refusals = self._survey(message, now)
        candidates = usable or benched
        if not candidates:
            return Exhausted(reasons=refusals, retry_after_secs=self._retry_after_secs(refusals, now))
        choice = self._members[self._choose(candidates, message.session)]
        self._picks[choice.model] += 1
        acquire = Acquire(pool=self._spec.name, ref=self.ref, route=message, context_max=choice.context_max)
        return Forward(choice.ref, acquire)

    @handles(Snapshot)
    def snapshot(self, _message: Snapshot) -> dict[str, Any]:
        now = self.clock.now()
        return {
            "members": list(self._members),
            "weights": {member.model: member.weight for member in self._spec.members},
            "currents": dict(self._currents),
            "picks": dict(self._picks),
            "availability": {
                model: "available" if (refusal := self._refusal(member, now)) is None else refusal.value
                for model, member in self._members.items()
            },
        }

    def _join(self, model: str) -> None:
        spec = self._spec
        join = Join(pool=spec.name, ref=self.ref, policy=spec.policy, window_secs=spec.window_secs)
        self._members[model].ref.tell(join)

    def _survey(self, route: Route, now: float) -> tuple[list[Candidate], list[Candidate], dict[str, Refusal]]:
        """(usable, usable only if nobody better is there, why the others are not). Configured order is kept."""
        usable: list[Candidate] = []
        benched: list[Candidate] = []
        refusals: dict[str, Refusal] = {}
        for model, member in self._members.items():
            if model in route.tried or member.excluded or not _fits(member, route):
                continue
            refusal = self._refusal(member, now)
            if refusal is not None:
                refusals[model] = refusal
            elif model in route.refused:  # it may be free again by now; asking once more could go on for ever
                refusals[model] = Refusal.AT_CAPACITY
            elif now < self._availability[model].benched_until:
                benched.append((model, member.weight))
            else:
                usable.append((model, member.weight))
        return usable, benched, refusals

    def _refusal(self, member: PoolMember, now: float) -> Refusal | None:
        availability = self._availability[member.model]
        if member.weight == 0:
            return Refusal.DRAINING
        if not member.ref.is_alive():
            return Refusal.DEAD
        if not availability.budget_left:
            return Refusal.BUDGET_EXHAUSTED
        if now < availability.usable_from:
            probing = availability.usable_from == float("inf")
            return Refusal.PROBE_IN_FLIGHT if probing else Refusal.BREAKER_OPEN
        return None if availability.free_slot else Refusal.AT_CAPACITY

    def _choose(self, candidates: list[Candidate], session: str | None) -> str:
        if session is not None:
            return rendezvous(session, candidates)
        choice, self._currents = smooth_weighted(self._currents, candidates)
        return choice

    def _retry_after_secs(self, refusals: dict[str, Refusal], now: float) -> float:
        reasons = set(refusals.values())
        if reasons == {Refusal.AT_CAPACITY}:
            return SATURATED_RETRY_SECS
        waits = [
            self._availability[model].usable_from - now
            for model, refusal in refusals.items()
            if refusal is Refusal.BREAKER_OPEN
        ]
        if Refusal.PROBE_IN_FLIGHT in reasons or Refusal.AT_CAPACITY in reasons:
            waits.append(SATURATED_RETRY_SECS)
        return max(1.0, min(waits, default=HOPELESS_RETRY_SECS))


def _fits(member: PoolMember, route: Route) -> bool:
    """Whether the member could answer this request at all."""
    if route.only is not None and member.model not in route.only:
        return False
    above = route.context_above
    return above is None or member.context_max is None or member.context_max > above
