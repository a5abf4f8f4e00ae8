"""A pool: a named, weighted list of members. It picks; the member that is picked has the last word."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from busbar.actors.messages import (
    Acquire,
    Availability,
    Exhausted,
    Expire,
    Join,
    Leave,
    Load,
    LookAgain,
    MemberChanged,
    MemberStarted,
    Refusal,
    Refused,
    Reshape,
    Retire,
    Route,
    Snapshot,
    Terms,
    Withdraw,
)
from busbar.actors.runtime import Forward, LoopActor, LoopRef, handles
from busbar.actors.selection import STRATEGIES, Candidate, Currents, Price, StrategyName, pick, rendezvous
from busbar.actors.supervision import SupervisionPolicy
from busbar.actors.waiting import WaitingQueue

SATURATED_RETRY_SECS = 2.0
"""What a caller is told to wait when only a free slot is missing."""

HOPELESS_RETRY_SECS = 60.0
"""… when nothing that passes by itself stands in the way: every member is dead, drained or used up."""

RETIRED_SECS = 3600.0
"""No request has a longer deadline: a pool that has left the configuration is needed no longer."""

_MAY_PASS_SOON = frozenset({Refusal.AT_CAPACITY, Refusal.PROBE_IN_FLIGHT})
"""What is worth queueing for: these end with a message from the member."""


class PoolMember(Struct, frozen=True, kw_only=True):
    """One line of a pool's list. `weight` 0 drains; `excluded`: reachable by direct route only."""

    model: str
    ref: LoopRef
    weight: int = 1
    excluded: bool = False
    terms: Terms = Terms()
    price: Price | None = None


class PoolSpec(Struct, frozen=True, kw_only=True):
    """`least_bad` and `queue_secs` say what happens when no member is usable; neither: the request is refused."""

    name: str
    members: tuple[PoolMember, ...]
    policy: SupervisionPolicy
    window_secs: float = 30.0
    strategy: StrategyName = "weighted"
    least_bad: bool = False
    queue_secs: float | None = None


class _Line(Struct):
    """A member as the pool knows it now."""

    spec: PoolMember
    availability: Availability
    candidate: Candidate
    picks: int = 0

    def told(self, availability: Availability) -> None:
        self.availability = availability
        self.candidate = _candidate(self.spec, availability.load)


class Pool(LoopActor):
    """Understands Route, Refused, Withdraw, MemberChanged, MemberStarted, LookAgain, Reshape, Retire, Snapshot.

    State: the weights' running credits, each member's availability as it last told, and the queue. All are bounded:
    by the configured list, and by `waiting.WAITING_MAX`.
    """

    def __init__(self, spec: PoolSpec, *, retired: bool = False) -> None:
        super().__init__()
        self._spec = spec
        self._retired = retired
        self._lines = {it.model: _Line(it, Availability(), _candidate(it, None)) for it in spec.members}
        self._strategy = STRATEGIES[spec.strategy]
        self._currents: Currents = {}
        self._picks = 0
        self._waiting = WaitingQueue()

    def on_start(self) -> None:
        for model in self._lines:
            self._join(model)
        if self._retired:
            self.schedule(RETIRED_SECS, Expire())

    def on_stop(self) -> None:
        for line in self._lines.values():
            line.spec.ref.tell(Leave(self._spec.name, self.ref))

    @handles(MemberStarted)
    def member_started(self, message: MemberStarted) -> None:
        line = self._lines.get(message.member)
        if line is not None:
            line.told(Availability())
            self._join(message.member)

    @handles(MemberChanged)
    def member_changed(self, message: MemberChanged) -> None:
        line = self._lines.get(message.member)
        if line is None or message.ref not in (None, line.spec.ref):
            return  # it has left, or another has taken its place
        line.told(message.availability)
        if self._waiting:
            self._serve_waiting()

    @handles(Reshape)
    def reshape(self, message: Reshape) -> None:
        spec, before = message.spec, self._lines
        assert isinstance(spec, PoolSpec), "said by the gateway"
        assert spec.name == self._spec.name, "or it would be another pool"
        self._spec, self._strategy, self._retired = spec, STRATEGIES[spec.strategy], False
        self.renew_with(spec)
        self._lines = {it.model: _line(it, before.get(it.model)) for it in spec.members}
        if _weights(self._lines) != _weights(before):
            self._currents = {}  # a credit is worth what the weights were: it could last for ever among smaller ones
        for model, line in before.items():
            if model not in self._lines or self._lines[model].spec.ref != line.spec.ref:
                line.spec.ref.tell(Leave(spec.name, self.ref))
        for model in self._lines:
            self._join(model)
        self._serve_waiting()

    @handles(Retire)
    def retire(self, _message: Retire) -> None:
        self._retired = True
        self.renew_with(self._spec, retired=True)
        self.schedule(RETIRED_SECS, Expire())

    @handles(Expire)
    def expire(self, _message: Expire) -> None:
        if self._retired:
            self.stop()

    @handles(Refused)
    def refused(self, message: Refused) -> Forward | Exhausted | None:
        """The member knew better than we did, and has told us so; on with the others."""
        route = message.route
        return self.route(replace(route, refused=route.refused | {message.member}))

    @handles(Route)
    def route(self, message: Route) -> Forward | Exhausted | None:
        now = self.clock.now()
        usable, refusals = self._survey(message, now)
        if usable:
            return self._forward(self._choose(usable, message), message, refusals)
        if message.fresh and self._spec.least_bad:
            resort = self._least_bad(message, refusals, now)
            if resort is not None:
                return self._forward(resort, message, refusals, last_resort=True)
        if message.fresh and self._spec.queue_secs is not None and self._may_wait(message, refusals, now):
            self._queue(message, now, self._spec.queue_secs)
            return None
        return Exhausted(reasons=refusals, retry_after_secs=self._retry_after_secs(refusals, now))

    @handles(Snapshot)
    def snapshot(self, _message: Snapshot) -> dict[str, Any]:
        now = self.clock.now()
        return {
            "members": list(self._lines),
            "strategy": self._spec.strategy,
            "weights": {member.model: member.weight for member in self._spec.members},
            "currents": dict(self._currents),
            "picks": {model: line.picks for model, line in self._lines.items()},
            "availability": {
                model: "available" if (refusal := _refusal(line, now)) is None else refusal.value
                for model, line in self._lines.items()
            },
            "waiting": len(self._waiting),
        }

    def _join(self, model: str) -> None:
        spec = self._spec
        self._lines[model].spec.ref.tell(
            Join(
                pool=spec.name,
                ref=self.ref,
                policy=spec.policy,
                window_secs=spec.window_secs,
                wants_load=spec.strategy in ("least_busy", "fastest") or spec.queue_secs is not None,
            )
        )

    # --- who

    def _survey(self, route: Route, now: float) -> tuple[Sequence[Candidate], dict[str, Refusal]]:
        """(usable, or if there is nobody: those that are benched; why the others are not). In configured order."""
        usable: list[Candidate] = []
        benched: list[Candidate] = []
        refusals: dict[str, Refusal] = {}
        for model, line in self._lines.items():
            if model in route.tried or line.spec.excluded or not _fits(line.spec, route):
                continue
            refusal = _refusal(line, now)
            if refusal is not None:
                refusals[model] = refusal
            elif model in route.refused:  # it may be free again by now; asking once more could go on for ever
                refusals[model] = Refusal.AT_CAPACITY
            elif now < line.availability.benched_until:
                benched.append(line.candidate)
            else:
                usable.append(line.candidate)
        if usable and benched:
            refusals.update((candidate.member, Refusal.BENCHED) for candidate in benched)
        return usable or benched, refusals

    def _choose(self, usable: Sequence[Candidate], route: Route) -> str:
        if route.session is not None:
            return rendezvous(route.session, usable)
        choice, self._currents = pick(self._strategy, self._currents, usable, route.demand, self._picks)
        return choice

    def _least_bad(self, route: Route, refusals: dict[str, Refusal], now: float) -> str | None:
        """The soonest to recover of those that only their breaker keeps away; a probe in flight may end any time."""
        soonest, when = None, math.inf
        for model, refusal in refusals.items():
            availability = self._lines[model].availability
            if refusal in (Refusal.BREAKER_OPEN, Refusal.PROBE_IN_FLIGHT) and availability.free_slot:
                probing = refusal is Refusal.PROBE_IN_FLIGHT
                recovers_at = now if probing else availability.usable_from
                if model not in route.refused and recovers_at < when:
                    soonest, when = model, recovers_at
        return soonest

    def _forward(
        self, model: str, route: Route, passed_over: dict[str, Refusal], *, last_resort: bool = False
    ) -> Forward:
        line = self._lines[model]
        line.picks += 1
        self._picks += 1
        acquire = Acquire(
            pool=self._spec.name,
            ref=self.ref,
            route=route,
            terms=line.spec.terms,
            passed_over=passed_over,
            last_resort=last_resort,
        )
        return Forward(line.spec.ref, acquire)

    def _retry_after_secs(self, refusals: dict[str, Refusal], now: float) -> float:
        reasons = set(refusals.values())
        if reasons == {Refusal.AT_CAPACITY}:
            return SATURATED_RETRY_SECS
        waits = [
            self._lines[model].availability.usable_from - now
            for model, refusal in refusals.items()
            if refusal is Refusal.BREAKER_OPEN
        ]
        if Refusal.PROBE_IN_FLIGHT in reasons or Refusal.AT_CAPACITY in reasons:
            waits.append(SATURATED_RETRY_SECS)
        return max(1.0, min(waits, default=HOPELESS_RETRY_SECS))

    # --- waiting for a slot

    def _may_wait(self, route: Route, refusals: dict[str, Refusal], now: float) -> bool:
        if _MAY_PASS_SOON.isdisjoint(refusals.values()):
            return False
        return now < route.wait_until and (route.place is not None or not self._waiting.full)

    def _queue(self, route: Route, now: float, queue_secs: float) -> None:
        if route.place is None:
            route = replace(route, wait_until=min(route.wait_until, now + queue_secs))
        self._waiting.add(replace(route, refused=frozenset()), self.defer())
        self._look_again(now)

    @handles(LookAgain)
    def look_again(self, _message: LookAgain) -> None:
        self._waiting.timer = None
        self._serve_waiting()

    @handles(Withdraw)
    def withdraw(self, message: Withdraw) -> None:
        for waiter in self._waiting.take_all(lambda route: route.request_id == message.request_id):
            waiter.reply.set(Exhausted(reasons={}, retry_after_secs=SATURATED_RETRY_SECS))

    def _serve_waiting(self) -> None:
        """First come, first served: sends on as many as there is room for, and refuses those whose time is up."""
        now = self.clock.now()
        room = {model: _room(line.availability) for model, line in self._lines.items()}
        for waiter in self._waiting.in_order():
            if not waiter.reply.open:
                self._waiting.remove(waiter)
                continue
            usable, refusals = self._survey(waiter.route, now)
            usable = [candidate for candidate in usable if room[candidate.member] > 0]
            if usable:
                self._waiting.remove(waiter)
                chosen = self._choose(usable, waiter.route)
                forward = self._forward(chosen, waiter.route, refusals)
                waiter.reply.forward(forward.to, forward.message)
                room[chosen] -= 1
            elif now >= waiter.route.wait_until:
                self._waiting.remove(waiter)
                waiter.reply.set(Exhausted(reasons=refusals, retry_after_secs=self._retry_after_secs(refusals, now)))
        self._look_again(now)

    def _look_again(self, now: float) -> None:
        """Has a `LookAgain` come when the first waiter's time is up, or a cell opens its door: nobody tells that."""
        waiting = self._waiting
        if waiting.timer is not None:
            waiting.timer.cancel()
            waiting.timer = None
        if waiting:
            opening = [line.availability.usable_from for line in self._lines.values()]
            times = [waiting.soonest_end(), *(at for at in opening if now < at < math.inf)]
            waiting.timer = self.schedule(max(0.0, min(times) - now), LookAgain())


def _line(spec: PoolMember, known: _Line | None) -> _Line:
    """What is known of the member is kept, where it is still the same one."""
    if known is None or known.spec.ref != spec.ref:
        return _Line(spec, Availability(), _candidate(spec, None))
    candidate = _candidate(spec, known.availability.load)
    return _Line(spec, known.availability, candidate, known.picks)


def _weights(lines: Mapping[str, _Line]) -> Mapping[str, int]:
    """Of those that take part."""
    return {model: line.spec.weight for model, line in lines.items() if line.spec.weight and not line.spec.excluded}


def _candidate(spec: PoolMember, load: Load | None) -> Candidate:
    load = load or Load(busy=0, slots=1)
    return Candidate(
        member=spec.model,
        weight=spec.weight,
        busy=load.busy,
        slots=load.slots,
        ttft_ms=load.ttft_ms,
        price=spec.price,
    )


def _room(availability: Availability) -> int:
    """How many requests the member can take now, as far as is known; a half-open cell takes one."""
    if not availability.free_slot:
        return 0
    if availability.usable_from > 0:
        return 1
    return availability.load.slots - availability.load.busy if availability.load is not None else 1


def _refusal(line: _Line, now: float) -> Refusal | None:
    availability = line.availability
    if line.spec.weight == 0 or availability.drained:
        return Refusal.DRAINING
    if not line.spec.ref.is_alive():
        return Refusal.DEAD
    if not availability.budget_left:
        return Refusal.BUDGET_EXHAUSTED
    if now < availability.usable_from:
        probing = availability.usable_from == math.inf
        return Refusal.PROBE_IN_FLIGHT if probing else Refusal.BREAKER_OPEN
    return None if availability.free_slot else Refusal.AT_CAPACITY


def _fits(member: PoolMember, route: Route) -> bool:
    """Whether the member could answer this request at all."""
    if route.only is not None and member.model not in route.only:
        return False
    above, context_max = route.context_above, member.terms.context_max
    return above is None or context_max is None or context_max > above
