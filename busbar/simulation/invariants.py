"""What must hold at every step, whatever the scenario.

slots      a member counts exactly the permits that requests hold, and never more than `max_concurrent`; the lifetime
           budget goes down by what was admitted and not refunded
probes     at most one in flight for each cell; the cell is as the `ReferenceCell` says, in every respect
pools      each pool believes of each member what is so
weights    the credits of smooth weighted round robin add up to nothing; and as long as all members are usable, each
           has had its share of the picks, within one
requests   each ends exactly once, by its deadline unless its answer has begun; never goes back to a member that it
           left; makes no more attempts than it may

Only what an event has touched is looked at after it. The actors are looked into rather than asked: a `Snapshot` at
each step would cost more than the request itself. Nothing is ever changed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, cast

from busbar.actors.gateway import GatewayPlan
from busbar.actors.member import UNLIMITED, Member
from busbar.actors.messages import Assignment, Examination
from busbar.actors.pool import Pool
from busbar.actors.runtime import LoopRef
from busbar.actors.supervision import BreakerSettings, Outcome
from busbar.actors.two_stage import TwoStagePolicy
from busbar.simulation.reference import InvariantBroken, ReferenceCell, Seen

if TYPE_CHECKING:
    from busbar.simulation.traveller import Traveller

_ROUNDING_SECS = 1e-6

CellChanged = Callable[[str, str, str], None]
"""(pool, member, the new state) is told to the record."""


class MemberWatch:
    """Looks after one member."""

    def __init__(
        self, ref: LoopRef, max_requests: int, settings: Mapping[str, BreakerSettings], changed: CellChanged
    ) -> None:
        """`settings`: by the pool's name, of those that are configured."""
        self._ref = ref
        self._name = ref.name.removeprefix("member:")
        self._settings = settings
        self._changed = changed
        self._restarts = 0
        self._max_requests = max_requests
        self._left = max_requests
        self._held: dict[int, str] = {}
        """permit → pool"""
        self._cells: dict[str, ReferenceCell] = {}
        self._examination: int | None = None
        """The permit of the active probe, of which there is at most one."""

    def assigned(self, assignment: Assignment, now: float) -> None:
        if assignment.permit in self._held:
            raise InvariantBroken(f"{self._name} gave the same permit twice")
        self._held[assignment.permit] = assignment.pool
        if self._max_requests != UNLIMITED:
            self._left -= 1
        cell = self._cell(assignment.pool)
        # In the turn of a report that closed the cell, a request from the pool's queue may be here at once.
        if cell.undecided:
            cell.take_over(self._seen(assignment.pool))
        cell.admitted(assignment.permit, now, probe=assignment.probe, last_resort=assignment.last_resort)

    def giving_back(self, assignment: Assignment, outcome: Outcome | None, now: float, *, refund: bool) -> None:
        """Just before the member is told."""
        if self._held.pop(assignment.permit, None) is None:
            return  # its instance has been restarted since
        if refund and self._max_requests != UNLIMITED:
            self._left += 1
        self._cells[assignment.pool].reported(assignment.permit, outcome, now)

    def examining(self, examination: Examination) -> None:
        if self._examination is not None:
            raise InvariantBroken(f"{self._name} is examined twice at once")
        self._examination = examination.permit
        for pool in examination.open_in:
            self._cell(pool).hold()

    def examined(self, outcome: Outcome | None, now: float) -> None:
        """Just before the member is told."""
        if self._examination is None:
            return  # its instance has been restarted since
        self._examination = None
        for pool in cast("Member", self._ref.node.actor)._pools:
            self._cell(pool).examined(outcome, now)

    def check(self) -> None:
        """Raises InvariantBroken."""
        node = self._ref.node
        member = cast("Member", node.actor)
        if node.restarts != self._restarts:
            self._begin_anew(node.restarts)
        permits, limit = len(member._permits), member._spec.max_concurrent
        probing = self._examination is not None
        if permits != len(self._held) + probing or permits > limit:
            raise InvariantBroken(
                f"{self._name} counts {permits} of {limit} slots as taken; held are {len(self._held) + probing}"
            )
        if member._budget != self._left:
            raise InvariantBroken(f"{self._name} has {member._budget} requests left; it has to be {self._left}")
        busy = 0
        for pool, membership in member._pools.items():
            busy += membership.busy
            self._check_cell(pool)
            told = membership.availability(limit - permits, budget_left=member._budget != 0, ttft_ms=member._ttft_ms)
            known = cast("Pool", membership.ref.node.actor)._lines[self._name].availability
            if told != known:
                raise InvariantBroken(f"{pool} believes of {self._name}: {known}; true is: {told}")
        if busy + probing != permits:
            raise InvariantBroken(f"{self._name} counts {busy} requests by pool, and {permits} in all")

    def check_at_rest(self) -> None:
        """When every request is over."""
        self.check()
        if self._held:
            raise InvariantBroken(f"{self._name}: {len(self._held)} permits are held by nobody")

    def _check_cell(self, pool: str) -> None:
        reference = self._cell(pool)
        seen = self._seen(pool)
        try:
            reference.compare(seen)
        except InvariantBroken as broken:
            raise InvariantBroken(f"{self._name} in {pool}: {broken}") from None
        if reference.shown != seen.state:
            self._changed(pool, self._name, seen.state)
        reference.shown = seen.state

    def _seen(self, pool: str) -> Seen:
        cell = cast("Member", self._ref.node.actor)._pools[pool].cell
        return Seen(
            cell.state.value, cell.streak, cell.trips, cell.open_until, cell.benched_until, cell.usable_from()
        )

    def _cell(self, pool: str) -> ReferenceCell:
        cell = self._cells.get(pool)
        if cell is None:
            member = cast("Member", self._ref.node.actor)
            judged = type(member._pools[pool].policy) is TwoStagePolicy
            cell = ReferenceCell(self._settings.get(pool, BreakerSettings()), judged=judged)
            self._cells[pool] = cell
        return cell

    def _begin_anew(self, restarts: int) -> None:
        """A policy has let the member crash: its next instance knows nothing of the permits before."""
        self._restarts = restarts
        self._left = self._max_requests
        self._held.clear()
        self._cells.clear()
        self._examination = None


class PoolWatch:
    """Looks after one pool's picks."""

    def __init__(self, ref: LoopRef, name: str, weights: Mapping[str, int], *, by_weight: bool) -> None:
        """`weights` of the members that take part; `by_weight`: nothing but the weights decides."""
        self._ref = ref
        self._name = name
        self._weights = weights
        self._total = sum(weights.values())
        self._picks = dict.fromkeys(weights, 0)
        self._closed_world = by_weight

    def disturbed(self) -> None:
        """From now on not every member was always usable."""
        self._closed_world = False

    def picked(self, assignment: Assignment, *, fresh: bool) -> None:
        """Raises InvariantBroken. `fresh`: the request's first attempt, and at once."""
        if assignment.member not in self._weights:
            raise InvariantBroken(f"{self._name} gave a request to {assignment.member}, which takes none")
        credit = cast("Pool", self._ref.node.actor)._currents
        if sum(credit.values()) != 0:
            raise InvariantBroken(f"the credits of {self._name} do not add up to nothing: {dict(credit)}")
        if not self._closed_world:
            return
        if not fresh or not self._weights.keys().isdisjoint(assignment.passed_over):
            self._closed_world = False
            return
        self._picks[assignment.member] += 1
        total, picks = self._total, sum(self._picks.values())
        for member, weight in self._weights.items():
            if abs(self._picks[member] * total - picks * weight) > total:
                raise InvariantBroken(
                    f"{self._name}: {member} got {self._picks[member]} of {picks} picks, by weight "
                    f"{picks * weight / total:.2f}"
                )


class Invariants:
    """All of them, over one world."""

    def __init__(
        self,
        plan: GatewayPlan,
        members: Mapping[str, LoopRef],
        pools: Mapping[str, LoopRef],
        by_session: frozenset[str],
        changed: CellChanged,
    ) -> None:
        """`pools`: the configured ones; `by_session`: those whose picks follow the session."""
        settings = {pool.name: pool.breaker for pool in plan.pools}
        self._members = {
            spec.model: MemberWatch(members[spec.model], spec.max_requests, settings, changed)
            for spec in plan.members
        }
        self._pools = {
            pool.name: PoolWatch(
                pools[pool.name],
                pool.name,
                {line.model: line.weight for line in pool.members if line.weight and not line.excluded},
                by_weight=pool.strategy == "weighted" and pool.name not in by_session,
            )
            for pool in plan.pools
        }
        self._touched: dict[str, None] = {}
        self._begun = self._ended = 0

    # --- what happens

    def began(self) -> None:
        self._begun += 1

    def waits(self, traveller: Traveller) -> None:
        """In the pool's queue: somebody else will be chosen for it than by weight."""
        watch = self._pools.get(traveller.asked_of.name)
        if watch is not None:
            watch.disturbed()

    def assigned(self, traveller: Traveller, assignment: Assignment, now: float) -> None:
        member = assignment.member
        before = traveller.members
        there = traveller.asked_of
        again = bool(before) and before[-1] == member
        if member in before and not again:
            raise InvariantBroken(f"a request came back to {member}, which it had left: {before}")
        if again and not (there.same_member or there.retry_after_max_secs):
            raise InvariantBroken(f"a request was tried again at {member}, which {there.name} does not ask for")
        if len(before) > there.cap:
            raise InvariantBroken(
                f"attempt {len(before) + 1} of a request, where {there.name} allows {there.cap + 1}"
            )
        self._members[member].assigned(assignment, now)
        self._touched[member] = None
        pool = self._pools.get(assignment.pool)
        if pool is not None:
            pool.picked(assignment, fresh=not before and not traveller.waited)

    def giving_back(self, assignment: Assignment, outcome: Outcome | None, now: float, *, refund: bool) -> None:
        self._members[assignment.member].giving_back(assignment, outcome, now, refund=refund)
        self._touched[assignment.member] = None

    def examining(self, member: str, examination: Examination) -> None:
        self._members[member].examining(examination)
        self._touched[member] = None

    def examined(self, member: str, outcome: Outcome | None, now: float) -> None:
        self._members[member].examined(outcome, now)
        self._touched[member] = None

    def ending(self, traveller: Traveller, outcome: str, now: float) -> None:
        """Just before the request ends."""
        if traveller.outcome is not None:
            raise InvariantBroken(f"a request that had ended ({traveller.outcome}) ended again ({outcome})")
        self._ended += 1
        answered_at = now if traveller.began_at is None else traveller.began_at
        late_secs = answered_at - traveller.journey.deadline
        if late_secs > _ROUNDING_SECS:
            raise InvariantBroken(f"a request was still without an answer {late_secs:.3f} s after its deadline")

    # --- when it is looked at

    def check(self) -> None:
        """After each event. Raises InvariantBroken."""
        touched = self._touched
        if touched:
            for member in touched:
                self._members[member].check()
            touched.clear()

    def check_at_rest(self) -> None:
        """When nothing happens any more. Raises InvariantBroken."""
        if self._begun != self._ended:
            raise InvariantBroken(f"{self._begun} requests began, and {self._ended} ended")
        for member in self._members.values():
            member.check_at_rest()
