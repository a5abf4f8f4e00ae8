"""A line of a pool's list: a member as the pool knows it now, from the configuration and from what it last told."""

from __future__ import annotations

import math
from typing import Final

from msgspec import Struct

from busbar.actors.messages import Availability, Load, Refusal, Route, Terms
from busbar.actors.runtime import LoopRef
from busbar.actors.selection import Candidate, Price

_NO_LOAD: Final = Load(busy=0, slots=1)


class PoolMember(Struct, frozen=True, kw_only=True):
    """One line of a pool's list. `weight` 0 drains; `excluded`: reachable by direct route only."""

    model: str
    ref: LoopRef
    weight: int = 1
    excluded: bool = False
    terms: Terms = Terms()
    price: Price | None = None


class Line:
    """A member as the pool knows it now. What was `known` of it is kept, where it is still the same one."""

    __slots__ = ("availability", "candidate", "picks", "spec", "well_from")

    availability: Availability
    candidate: Candidate
    well_from: float
    """From when nothing that it has told speaks against it or for its siblings; infinity: something does."""

    def __init__(self, spec: PoolMember, known: Line | None = None) -> None:
        self.spec = spec
        self.picks = 0
        if known is None or known.spec.ref != spec.ref:
            self.told(Availability())
        else:
            self.picks = known.picks
            self.told(known.availability)

    def told(self, availability: Availability) -> None:
        spec, load = self.spec, availability.load or _NO_LOAD
        self.availability = availability
        self.candidate = Candidate(spec.model, spec.weight, load.busy, load.slots, load.ttft_ms, spec.price)
        ready = spec.weight > 0 and not availability.drained and availability.budget_left and availability.free_slot
        self.well_from = max(availability.usable_from, availability.benched_until) if ready else math.inf

    def refusal(self, now: float) -> Refusal | None:
        """Why the member takes no request now, as far as is known."""
        availability = self.availability
        if self.spec.weight == 0 or availability.drained:
            return Refusal.DRAINING
        if not self.spec.ref.alive:
            return Refusal.DEAD
        if not availability.budget_left:
            return Refusal.BUDGET_EXHAUSTED
        if now < availability.usable_from:
            probing = availability.usable_from == math.inf
            return Refusal.PROBE_IN_FLIGHT if probing else Refusal.BREAKER_OPEN
        return None if availability.free_slot else Refusal.AT_CAPACITY

    def room(self) -> int:
        """How many requests the member can take now, as far as is known; a half-open cell takes one."""
        availability = self.availability
        if not availability.free_slot:
            return 0
        if availability.usable_from > 0:
            return 1
        return availability.load.slots - availability.load.busy if availability.load is not None else 1

    def fits(self, route: Route) -> bool:
        """Whether the member could answer this request at all."""
        if route.only is not None and self.spec.model not in route.only:
            return False
        above, context_max = route.context_above, self.spec.terms.context_max
        return above is None or context_max is None or context_max > above
