"""A pool: a named, weighted list of members. It picks; the member that is picked has the last word."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Final

from msgspec import Struct
from msgspec.structs import replace

from busbar.actors.lines import Line, PoolMember
from busbar.actors.messages import (
    Acquire,
    Availability,
    Exhausted,
    Expire,
    Join,
    Leave,
    LookAgain,
    MemberChanged,
    MemberStarted,
    Refusal,
    Refused,
    Reshape,
    Retire,
    Route,
    Snapshot,
    Withdraw,
)
from busbar.actors.runtime import Forward, LoopActor, handles
from busbar.actors.selection import STRATEGIES, Candidate, Currents, StrategyName, pick, rendezvous
from busbar.actors.supervision import SupervisionPolicy
from busbar.actors.waiting import WaitingQueue

__all__ = ["Pool", "PoolMember", "PoolSpec"]

SATURATED_RETRY_SECS = 2.0
"""What a caller is told to wait when only a free slot is missing."""

HOPELESS_RETRY_SECS = 60.0
"""… when nothing that passes by itself stands in the way: every member is dead, drained or used up."""

RETIRED_SECS = 3600.0
"""No request has a longer deadline: a pool that has left the configuration is needed no longer."""

_MAY_PASS_SOON = frozenset({Refusal.AT_CAPACITY, Refusal.PROBE_IN_FLIGHT})
"""What is worth queueing for: these end with a message from the member."""


_NOT_ONE: Final[frozenset[str]] = frozenset()
_NOBODY: Final[Mapping[str, Refusal]] = {}


class PoolSpec(Struct, frozen=True, kw_only=True):
    """`least_bad` and `queue_secs` say what happens when no member is usable; neither: the request is refused."""

    name: str
    members: tuple[PoolMember, ...]
    policy: SupervisionPolicy
    window_secs: float = 30.0
    strategy: StrategyName = "weighted"
    least_bad: bool = False
    queue_secs: float | None = None


class Pool(LoopActor):
    """Understands Route, Refused, Withdraw, MemberChanged, MemberStarted, LookAgain, Reshape, Retire, Snapshot.

    State: the weights' running credits, each member's availability as it last told, and the queue. All are bounded:
    by the configured list, and by `waiting.WAITING_MAX`.
    """

    def __init__(self, spec: PoolSpec, *, retired: bool = False) -> None:
        super().__init__()
        self._spec = spec
        self._retired = retired
        self._lines = {it.model: Line(it) for it in spec.members}
        self._eligible = _eligible(self._lines)
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
        self._lines = {it.model: Line(it, before.get(it.model)) for it in spec.members}
        self._eligible = _eligible(self._lines)
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
                model: "available" if (refusal := line.refusal(now)) is None else refusal.value
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

    def _survey(self, route: Route, now: float) -> tuple[Sequence[Candidate], Mapping[str, Refusal]]:
        """(usable, or if there is nobody: those that are benched; why the others are not). In configured order."""
        if route.tried == _NOT_ONE == route.refused and route.only is None and route.context_above is None:
            everybody: list[Candidate] = []
            for line in self._eligible:
                if now < line.well_from or not line.spec.ref.alive:
                    break
                everybody.append(line.candidate)
            else:
                return everybody, _NOBODY
        return self._survey_each(route, now)

    def _survey_each(self, route: Route, now: float) -> tuple[Sequence[Candidate], Mapping[str, Refusal]]:
        usable: list[Candidate] = []
        benched: list[Candidate] = []
        refusals: dict[str, Refusal] = {}
        for model, line in self._lines.items():
            if model in route.tried or line.spec.excluded or not line.fits(route):
                continue
            refusal = line.refusal(now)
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

    def _least_bad(self, route: Route, refusals: Mapping[str, Refusal], now: float) -> str | None:
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
        self, model: str, route: Route, passed_over: Mapping[str, Refusal], *, last_resort: bool = False
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

    def _retry_after_secs(self, refusals: Mapping[str, Refusal], now: float) -> float:
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

    def _may_wait(self, route: Route, refusals: Mapping[str, Refusal], now: float) -> bool:
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
        room = {model: line.room() for model, line in self._lines.items()}
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


def _eligible(lines: Mapping[str, Line]) -> Sequence[Line]:
    return [line for line in lines.values() if not line.spec.excluded]


def _weights(lines: Mapping[str, Line]) -> Mapping[str, int]:
    """Of those that take part."""
    return {line.spec.model: line.spec.weight for line in _eligible(lines) if line.spec.weight}
