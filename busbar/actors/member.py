"""A member: one model at one provider. It owns its slots, its lifetime budget, its counters, and a breaker cell for
each pool that lists it."""

from __future__ import annotations

from typing import Any, assert_never

from msgspec import Struct

from busbar.actors.breaker import BreakerCell, CellState, Ticket
from busbar.actors.messages import (
    Acquire,
    Assignment,
    Availability,
    Join,
    MemberChanged,
    MemberStarted,
    Refusal,
    Refused,
    Release,
    Report,
    Snapshot,
)
from busbar.actors.runtime import Forward, LoopActor, LoopRef, handles
from busbar.actors.supervision import (
    Bench,
    CellView,
    Escalate,
    Outcome,
    Restart,
    Resume,
    Stop,
    SupervisionPolicy,
    Trip,
)
from busbar.protocols.failures import Disposition, disposition

UNLIMITED = -1


class MemberSpec(Struct, frozen=True, kw_only=True):
    """What a member is; from the configuration. `max_requests` −1: no lifetime budget."""

    model: str
    provider: str
    protocol: str
    max_concurrent: int = 20
    max_requests: int = UNLIMITED


class _Membership(Struct):
    """What the member keeps for one pool that lists it."""

    ref: LoopRef
    policy: SupervisionPolicy
    cell: BreakerCell
    told: Availability | None = None


class _Permit(Struct, frozen=True):
    """One request that holds a slot."""

    pool: str
    ticket: Ticket


class Member(LoopActor):
    """Understands Join, Acquire, Report, Release, Snapshot.

    Every `Assignment` is answered by exactly one `Report` or `Release`; a permit that is not known (its instance of
    the member crashed meanwhile) is ignored. Bounds: `max_concurrent` permits, one cell per pool.
    """

    def __init__(self, spec: MemberSpec) -> None:
        super().__init__()
        self._spec = spec
        self._pools: dict[str, _Membership] = {}
        self._permits: dict[int, _Permit] = {}
        self._budget = spec.max_requests
        self._ok = self._err = self._client_fault = 0
        # A restarted member must not take reports for permits of the instance before it.
        self._next_permit = self.random.getrandbits(62)

    def on_start(self) -> None:
        if self.parent is not None:
            self.parent.tell(MemberStarted(self._spec.model))

    @handles(Join)
    def join(self, message: Join) -> None:
        known = self._pools.get(message.pool)
        cell = known.cell if known is not None else BreakerCell(message.window_secs)
        self._pools[message.pool] = _Membership(message.ref, message.policy, cell)
        self._tell_pools()

    @handles(Acquire)
    def acquire(self, message: Acquire) -> Assignment | Forward:
        # An instance that has just been restarted finds old messages in its mailbox, from before the pools rejoin.
        membership = self._pools.get(message.pool)
        ticket = None
        if membership is not None and self._has_room():
            ticket = membership.cell.admit(self.clock.now())
        if ticket is None:
            self._tell_pools()
            return Forward(message.ref, Refused(route=message.route, member=self._spec.model))
        permit = self._next_permit
        self._next_permit += 1
        self._permits[permit] = _Permit(message.pool, ticket)
        if self._budget > 0:
            self._budget -= 1
        self._tell_pools()
        return Assignment(
            member=self._spec.model,
            ref=self.ref,
            pool=message.pool,
            permit=permit,
            probe=ticket.probe,
            context_max=message.context_max,
        )

    @handles(Report)
    def report(self, message: Report) -> None:
        permit = self._give_back(message.permit, refund=message.refund)
        if permit is None:
            return
        membership = self._pools[permit.pool]
        verdict = self._count(message.outcome)
        if membership.cell.has_say(permit.ticket):
            self._judge(membership, permit, message.outcome, verdict=verdict)
        self._tell_pools()

    @handles(Release)
    def release(self, message: Release) -> None:
        permit = self._give_back(message.permit, refund=message.refund)
        if permit is not None:
            self._pools[permit.pool].cell.give_back(permit.ticket)
            self._tell_pools()

    @handles(Snapshot)
    def snapshot(self, _message: Snapshot) -> dict[str, Any]:
        now = self.clock.now()
        refusals = [self._refusal(membership.cell, now) for membership in self._pools.values()]
        usable = None in refusals or not refusals
        spec = self._spec
        return {
            "model": spec.model,
            "provider": spec.provider,
            "protocol": spec.protocol,
            "pools": list(self._pools),
            "max_concurrent": spec.max_concurrent,
            "inflight": len(self._permits),
            "free_slots": max(0, spec.max_concurrent - len(self._permits)),
            "ok": self._ok,
            "err": self._err,
            "client_fault": self._client_fault,
            "usable": usable,
            "availability": "available" if usable else next(r.value for r in refusals if r is not None),
            "cooldown_remaining_s": self._soonest_cooldown(now),
            "cells": {pool: _cell_snapshot(membership.cell, now) for pool, membership in self._pools.items()},
            "budget": None if self._budget == UNLIMITED else self._budget,
        }

    # --- bookkeeping

    def _has_room(self) -> bool:
        return self._budget != 0 and len(self._permits) < self._spec.max_concurrent

    def _give_back(self, number: int, *, refund: bool) -> _Permit | None:
        permit = self._permits.pop(number, None)
        if permit is not None and refund and self._spec.max_requests != UNLIMITED:
            self._budget += 1
        return permit

    def _count(self, outcome: Outcome) -> bool:
        """Counts for `/stats`; says whether the outcome is a verdict on the member."""
        if outcome.failure is None:
            self._ok += 1
            return True
        match disposition(outcome.failure):
            case Disposition.TRANSIENT | Disposition.HARD_DOWN:
                self._err += 1
                return True
            case Disposition.CLIENT_FAULT:
                self._client_fault += 1
                return False
            case Disposition.CONTEXT_LENGTH:
                return False

    def _judge(self, membership: _Membership, permit: _Permit, outcome: Outcome, *, verdict: bool) -> None:
        """Counts a verdict in the cell, asks the pool's policy what it means, and does what it says."""
        cell, now = membership.cell, self.clock.now()
        if verdict:
            cell.count(failed=outcome.failure is not None, now=now)
        outcomes, failures = cell.window(now)
        view = CellView(
            member=self._spec.model,
            pool=permit.pool,
            state=cell.state.value,
            streak=cell.streak,
            consecutive_failures=cell.consecutive_failures,
            outcomes=outcomes,
            failures=failures,
            probe=permit.ticket.probe,
        )
        match membership.policy.on_outcome(view, outcome, now):
            case Trip(cooldown_secs):
                cell.trip(now, cooldown_secs)
            case Bench(secs):
                cell.bench(now, secs)
                cell.give_back(permit.ticket)
            case Resume():
                if permit.ticket.probe and outcome.failure is None:
                    cell.close()
                cell.give_back(permit.ticket)
            case Restart():
                raise PolicyFailed("restart", outcome)
            case Stop():
                self.stop()
            case Escalate():
                raise PolicyFailed("escalate", outcome)
            case nothing:
                # A user's policy is not always type-checked.
                assert_never(nothing)

    # --- what the pools are told

    def _tell_pools(self) -> None:
        """Tells each pool what has changed for it since it was last told; nothing when nothing has."""
        free_slot = len(self._permits) < self._spec.max_concurrent
        budget_left = self._budget != 0
        for membership in self._pools.values():
            cell = membership.cell
            availability = Availability(
                usable_from=cell.usable_from(),
                benched_until=cell.benched_until,
                free_slot=free_slot,
                budget_left=budget_left,
            )
            if availability != membership.told:
                membership.told = availability
                membership.ref.tell(MemberChanged(member=self._spec.model, availability=availability))

    def _refusal(self, cell: BreakerCell, now: float) -> Refusal | None:
        if self._budget == 0:
            return Refusal.BUDGET_EXHAUSTED
        if now < cell.usable_from():
            return Refusal.BREAKER_OPEN if cell.state is CellState.OPEN else Refusal.PROBE_IN_FLIGHT
        return None if len(self._permits) < self._spec.max_concurrent else Refusal.AT_CAPACITY

    def _soonest_cooldown(self, now: float) -> float:
        waits = [
            max(0.0, membership.cell.open_until - now)
            for membership in self._pools.values()
            if membership.cell.state is CellState.OPEN
        ]
        return round(min(waits, default=0.0), 3)


class PolicyFailed(Exception):
    """A policy answered an upstream failure by asking that the member crash: its parent's policy decides on."""


def _cell_snapshot(cell: BreakerCell, now: float) -> dict[str, Any]:
    outcomes, failures = cell.window(now)
    return {
        "state": cell.state.value,
        "streak": cell.streak,
        "trips": cell.trips,
        "epoch": cell.epoch,
        "cooldown_remaining_s": round(max(0.0, cell.open_until - now), 3) if cell.state is CellState.OPEN else 0.0,
        "benched_remaining_s": round(max(0.0, cell.benched_until - now), 3),
        "outcomes": outcomes,
        "failures": failures,
        "consecutive_failures": cell.consecutive_failures,
    }
