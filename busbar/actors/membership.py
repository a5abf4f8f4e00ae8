"""What a member keeps for one pool that lists it: the cell, and what the pool's policy has said."""

from __future__ import annotations

import logging
from typing import Any, Self

from msgspec import Struct

from busbar.actors.breaker import BreakerCell, CellState, Ticket
from busbar.actors.messages import Availability, Join, Load, Refusal
from busbar.actors.runtime import LoopRef
from busbar.actors.supervision import CellView, Directive, Outcome, Resume, SupervisionPolicy

logger = logging.getLogger("busbar.actors")


class RequestPermit(Struct, frozen=True):
    """One request that holds a slot."""

    pool: str
    ticket: Ticket


class ExaminationPermit(Struct, frozen=True):
    """An active probe that holds a slot, and the probe's place in the cells of these pools."""

    held: tuple[str, ...]


class Membership(Struct, kw_only=True):
    """`busy` of the pool's requests are at the member; it may have `slots` there at once."""

    ref: LoopRef
    policy: SupervisionPolicy
    cell: BreakerCell
    slots: int
    wants_load: bool
    busy: int = 0
    drained: bool = False
    leaving: bool = False
    """The pool lists the member no more; it is forgotten when it is not `busy`."""
    told: Availability | None = None

    @classmethod
    def of(cls, join: Join, known: Self | None, slots: int) -> Self:
        """What was `known` under the pool's name is kept, whether the pool was restarted or configured anew. What an
        earlier policy has decreed ends with it."""
        if known is None:
            cell = BreakerCell(join.window_secs)
            return cls(ref=join.ref, policy=join.policy, cell=cell, slots=slots, wants_load=join.wants_load)
        known.cell.window_secs = join.window_secs
        same = known.policy is join.policy
        return cls(
            ref=join.ref,
            policy=join.policy,
            cell=known.cell,
            slots=known.slots if same else slots,
            wants_load=join.wants_load,
            busy=known.busy,
            drained=known.drained and same,
        )

    def decide(self, view: CellView, outcome: Outcome, now: float) -> Directive:
        """What the pool's policy says. One that fails has said nothing, as far as the traffic is concerned."""
        name = type(self.policy).__name__
        try:
            directive = self.policy.on_outcome(view, outcome, now)
        except Exception:  # the policy is the user's code, and this is its boundary
            logger.exception("policy %s of pool %s failed: the member carries on", name, view.pool)
            return Resume()
        if not isinstance(directive, Directive):
            logger.error("policy %s of pool %s gave %r, which is no directive", name, view.pool, directive)
            return Resume()
        return directive

    def reinstate(self, slots: int) -> None:
        """An operator says that the member is well."""
        self.drained = False
        self.slots = slots
        self.cell.close()

    def availability(self, free: int, *, budget_left: bool, ttft_ms: float | None) -> Availability:
        """What the pool is to know. `free`: of the member's slots, which it shares with other pools."""
        free = min(free, self.slots - self.busy)
        load = Load(busy=self.slots - free, slots=self.slots, ttft_ms=ttft_ms) if self.wants_load else None
        return Availability(
            usable_from=self.cell.usable_from(),
            benched_until=self.cell.benched_until,
            free_slot=free > 0,
            budget_left=budget_left,
            drained=self.drained,
            load=load,
        )

    def refusal(self, now: float, free: int, *, budget_left: bool) -> Refusal | None:
        """Why the member takes nothing from the pool now, for `/stats`. `free`: of its slots."""
        if self.drained:
            return Refusal.DRAINING
        if not budget_left:
            return Refusal.BUDGET_EXHAUSTED
        if now < self.cell.usable_from():
            return Refusal.BREAKER_OPEN if self.cell.open_until > now else Refusal.PROBE_IN_FLIGHT
        return None if free > 0 and self.busy < self.slots else Refusal.AT_CAPACITY

    def shown(self, now: float) -> dict[str, Any]:
        """For `/stats`."""
        cell = self.cell
        outcomes, failures = cell.window(now)
        remaining = round(max(0.0, cell.open_until - now), 3)
        return {
            "state": cell.state.value,
            "streak": cell.streak,
            "trips": cell.trips,
            "epoch": cell.epoch,
            "cooldown_remaining_s": remaining if cell.state is CellState.OPEN else 0.0,
            "benched_remaining_s": round(max(0.0, cell.benched_until - now), 3),
            "outcomes": outcomes,
            "failures": failures,
            "consecutive_failures": cell.consecutive_failures,
            "slots": self.slots,
            "drained": self.drained,
        }
