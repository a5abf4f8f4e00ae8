"""A member: one model at one provider. It owns its slots, its lifetime budget, its counters, and a breaker cell for
each pool that lists it."""

from __future__ import annotations

from typing import Any, assert_never

from msgspec import Struct

from busbar.actors.breaker import CLOSED
from busbar.actors.membership import ExaminationPermit, Membership, RequestPermit
from busbar.actors.messages import (
    Acquire,
    Assignment,
    Examination,
    Examine,
    Join,
    Leave,
    MemberChanged,
    MemberStarted,
    Refused,
    Reinstate,
    Release,
    Report,
    Respec,
    Retire,
    Snapshot,
)
from busbar.actors.runtime import Forward, LoopActor, handles
from busbar.actors.supervision import (
    Bench,
    CellView,
    Drain,
    Escalate,
    Outcome,
    Restart,
    Resume,
    Stop,
    Throttle,
    Trip,
)
from busbar.protocols.failures import Disposition, disposition

UNLIMITED = -1

SMOOTHING = 0.2
"""The share of the newest answer in the smoothed time to the first byte."""


class MemberSpec(Struct, frozen=True, kw_only=True):
    """What a member is; from the configuration. `max_requests` −1: no lifetime budget."""

    model: str
    provider: str
    protocol: str
    max_concurrent: int = 20
    max_requests: int = UNLIMITED
    identity: object = None
    """How it is reached. With another one it would be another backend, of which nothing is known."""

    def is_same_backend(self, other: MemberSpec) -> bool:
        """Whether what is known of one holds for the other."""
        mine = (self.model, self.provider, self.protocol, self.identity)
        return mine == (other.model, other.provider, other.protocol, other.identity)


class Member(LoopActor):
    """Understands Join, Leave, Acquire, Report, Release, Examine, Reinstate, Respec, Retire, Snapshot.

    Every `Assignment` and `Examination` is answered by exactly one `Report` or `Release`; a permit that is not known
    (its instance of the member crashed meanwhile) is ignored. Bounds: `max_concurrent` permits, one cell per pool.
    """

    def __init__(self, spec: MemberSpec, *, retired: bool = False) -> None:
        super().__init__()
        self._spec = spec
        self._pools: dict[str, Membership] = {}
        self._wants_load = False  # one of them does
        self._permits: dict[int, RequestPermit | ExaminationPermit] = {}
        self._spent = 0  # of the lifetime budget, whether there is one now or not
        self._ttft_ms: float | None = None
        self._ok = self._err = self._client_fault = 0
        # A restarted member must not take reports for permits of the instance before it.
        self._next_permit = self.random.getrandbits(62)
        self._retired = retired

    def on_start(self) -> None:
        if self._retired:  # what was with it is lost, and nothing new comes
            self.stop()
        elif self.parent is not None:
            self.parent.tell(MemberStarted(self._spec.model))

    @handles(Join)
    def join(self, message: Join) -> None:
        known = self._pools.get(message.pool)
        self._pools[message.pool] = Membership.of(message, known, self._spec.max_concurrent)
        self._wants_load = any(membership.wants_load for membership in self._pools.values())
        self._tell_pools()

    @handles(Leave)
    def leave(self, message: Leave) -> None:
        membership = self._pools.get(message.pool)
        if membership is not None and membership.ref == message.ref:
            membership.leaving = True
            self._forget_idle()

    @handles(Respec)
    def respec(self, message: Respec) -> None:
        before, spec = self._spec, message.spec
        assert isinstance(spec, MemberSpec), "said by the gateway"
        assert spec.is_same_backend(before), "or it would be another member"
        self._spec = spec
        self.renew_with(spec)
        for membership in self._pools.values():
            unthrottled = membership.slots >= before.max_concurrent
            membership.slots = spec.max_concurrent if unthrottled else min(membership.slots, spec.max_concurrent)
        self._tell_pools()

    @handles(Retire)
    def retire(self, _message: Retire) -> None:
        self._retired = True
        self.renew_with(self._spec, retired=True)
        self._forget_idle()

    @handles(Acquire)
    def acquire(self, message: Acquire) -> Assignment | Forward:
        # An instance that has just been restarted finds old messages in its mailbox, from before the pools rejoin.
        membership = self._pools.get(message.pool)
        ticket = None
        if membership is not None and self._takes(membership):
            cell = membership.cell
            anyway = message.last_resort or cell.state is CLOSED  # a closed cell does not ask for the time
            ticket = cell.admit_anyway() if anyway else cell.admit(self.clock.now())
        if membership is None or ticket is None:
            self._tell_pools()
            return Forward(message.ref, Refused(route=message.route, member=self._spec.model))
        permit = self._hand_out(RequestPermit(message.pool, ticket))
        membership.busy += 1
        self._spent += 1
        if ticket.probe or self._wants_load or not self._takes(membership):  # else everybody knows already
            self._tell_pools()
        return Assignment(
            member=self._spec.model,
            ref=self.ref,
            pool=message.pool,
            permit=permit,
            probe=ticket.probe,
            last_resort=message.last_resort,
            terms=message.terms,
            passed_over=message.passed_over,
        )

    @handles(Report)
    def report(self, message: Report) -> None:
        quiet = self._is_quiet(message)
        match self._permits.pop(message.permit, None):
            case RequestPermit() as permit:
                membership = self._give_back(permit, refund=message.refund)
                verdict = self._count(message.outcome)
                if quiet:
                    if membership.cell.has_say(permit.ticket):
                        membership.cell.count(failed=False, now=self.clock.now())
                    if not self._wants_load:
                        return
                else:
                    self._forget_idle()
                    if membership.cell.has_say(permit.ticket):
                        self._judge(membership, permit, message.outcome, verdict=verdict)
            case ExaminationPermit() as examination:
                self._examined(examination, message.outcome)
                self._forget_idle()
            case None:
                return
        self._tell_pools()

    @handles(Release)
    def release(self, message: Release) -> None:
        match self._permits.pop(message.permit, None):
            case RequestPermit() as permit:
                self._give_back(permit, refund=message.refund).cell.give_back(permit.ticket)
                self._forget_idle()
            case ExaminationPermit(held):
                for membership in (self._pools[pool] for pool in held if pool in self._pools):
                    membership.cell.let_go()
                self._forget_idle()
            case None:
                return
        self._tell_pools()

    @handles(Examine)
    def examine(self, message: Examine) -> Examination | None:
        """An active probe takes a slot, but nothing of the lifetime budget."""
        examined_already = any(isinstance(permit, ExaminationPermit) for permit in self._permits.values())
        if examined_already or len(self._permits) >= self._spec.max_concurrent:
            return None
        cells = {pool: membership.cell for pool, membership in self._pools.items()}
        held = tuple(pool for pool, cell in cells.items() if cell.hold())
        in_flight = any(cell.state is not CLOSED for pool, cell in cells.items() if pool not in held)
        if not held and (message.only_open or in_flight):
            return None
        permit = self._hand_out(ExaminationPermit(held))
        self._tell_pools()
        return Examination(ref=self.ref, permit=permit, open_in=held)

    @handles(Reinstate)
    def reinstate(self, message: Reinstate) -> bool:
        chosen = [it for pool, it in self._pools.items() if message.pool is None or pool == message.pool]
        for membership in chosen:
            membership.reinstate(self._spec.max_concurrent)
        self._tell_pools()
        return bool(chosen)

    @handles(Snapshot)
    def snapshot(self, _message: Snapshot) -> dict[str, Any]:
        now = self.clock.now()
        budget_left = self._budget != 0
        free = self._spec.max_concurrent - len(self._permits)
        refusals = [it.refusal(now, free, budget_left=budget_left) for it in self._pools.values()]
        cells = {pool: membership.shown(now) for pool, membership in self._pools.items()}
        usable = None in refusals or not refusals
        spec = self._spec
        return {
            "model": spec.model,
            "provider": spec.provider,
            "protocol": spec.protocol,
            "pools": list(self._pools),
            "max_concurrent": spec.max_concurrent,
            "inflight": len(self._permits),
            "free_slots": max(0, free),
            "ok": self._ok,
            "err": self._err,
            "client_fault": self._client_fault,
            "ttft_ms": None if self._ttft_ms is None else round(self._ttft_ms, 1),
            "usable": usable,
            "availability": "available" if usable else next(r.value for r in refusals if r is not None),
            "cooldown_remaining_s": min(
                (cell["cooldown_remaining_s"] for cell in cells.values() if cell["state"] == "open"), default=0.0
            ),
            "cells": cells,
            "budget": None if self._budget == UNLIMITED else self._budget,
        }

    # --- bookkeeping

    @property
    def _budget(self) -> int:
        """What is left of it."""
        most = self._spec.max_requests
        return UNLIMITED if most == UNLIMITED else max(0, most - self._spent)

    def _takes(self, membership: Membership) -> bool:
        """Whether there is a slot for it, and nothing but its cell may speak against taking it."""
        spec = self._spec
        return (
            membership.busy < membership.slots
            and len(self._permits) < spec.max_concurrent
            and (spec.max_requests == UNLIMITED or self._spent < spec.max_requests)
            and not (membership.drained or membership.leaving)
        )

    def _forget_idle(self) -> None:
        """Forgets pools that have left and hold nothing here; a retired member that none lists any more stops."""
        for pool, membership in list(self._pools.items()):
            if membership.leaving and not membership.busy:
                del self._pools[pool]
        self._wants_load = any(membership.wants_load for membership in self._pools.values())
        if self._retired and not self._pools and not self._permits:
            self.stop()

    def _hand_out(self, permit: RequestPermit | ExaminationPermit) -> int:
        number = self._next_permit
        self._next_permit += 1
        self._permits[number] = permit
        return number

    def _give_back(self, permit: RequestPermit, *, refund: bool) -> Membership:
        if refund:
            self._spent -= 1
        membership = self._pools[permit.pool]
        membership.busy -= 1
        return membership

    def _is_quiet(self, message: Report) -> bool:
        """Whether this changes nothing but counters and the load: a success in a closed cell, under a policy that has
        no word on those, at a member that had a slot to spare all along."""
        permit = self._permits.get(message.permit)
        if not isinstance(permit, RequestPermit):
            return False
        membership = self._pools[permit.pool]
        return (
            message.outcome.failure is None
            and membership.cell.state is CLOSED
            and membership.policy.passes_success
            and self._takes(membership)
        )

    def _count(self, outcome: Outcome) -> bool:
        """Counts for `/stats`; says whether the outcome is a verdict on the member."""
        if outcome.failure is None:
            self._ok += 1
            latency_ms, before = outcome.latency_ms, self._ttft_ms
            if latency_ms is not None:
                self._ttft_ms = latency_ms if before is None else before + SMOOTHING * (latency_ms - before)
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

    # --- judging

    def _judge(self, membership: Membership, permit: RequestPermit, outcome: Outcome, *, verdict: bool) -> None:
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
            busy=membership.busy,
            slots=membership.slots,
            max_concurrent=self._spec.max_concurrent,
        )
        directive = membership.decide(view, outcome, now)
        match directive:
            case Trip(cooldown_secs):
                cell.trip(now, cooldown_secs)
                return
            case Bench(secs):
                cell.bench(now, secs)
            case Resume():
                pass
            case Throttle(slots, bench_secs):
                membership.slots = max(1, min(slots, self._spec.max_concurrent))
                if bench_secs > 0:
                    cell.bench(now, bench_secs)
            case Drain():
                membership.drained = True
            case Restart():
                raise PolicyFailed("restart", outcome)
            case Stop():
                self.stop()
            case Escalate():
                raise PolicyFailed("escalate", outcome)
            case nothing:
                assert_never(nothing)
        if permit.ticket.probe and outcome.failure is None and not isinstance(directive, Bench):
            cell.close()
        cell.give_back(permit.ticket)

    def _examined(self, examination: ExaminationPermit, outcome: Outcome) -> None:
        """Success closes every cell. A failure counts where a request's would, and where the cooldown is over."""
        now = self.clock.now()
        failure = outcome.failure
        well = failure is None
        verdict = failure is None or disposition(failure) in (Disposition.TRANSIENT, Disposition.HARD_DOWN)
        for pool, membership in list(self._pools.items()):
            cell = membership.cell
            probe = pool in examination.held
            if probe:
                cell.let_go()
            if not verdict:
                continue
            if well and cell.state is not CLOSED:
                cell.close()
            elif cell.state is CLOSED or (probe and cell.is_due(now)):
                ticket = cell.admit_anyway() if cell.state is CLOSED else cell.admit(now)
                assert ticket is not None, "a cell that is due admits its probe"
                self._judge(membership, RequestPermit(pool, ticket), outcome, verdict=True)

    # --- what the pools are told

    def _tell_pools(self) -> None:
        """Tells each pool what has changed for it since it was last told; nothing when nothing has."""
        free = self._spec.max_concurrent - len(self._permits)
        budget_left = self._budget != 0
        for membership in self._pools.values():
            if membership.leaving:
                continue
            availability = membership.availability(free, budget_left=budget_left, ttft_ms=self._ttft_ms)
            if availability != membership.told:
                membership.told = availability
                membership.ref.tell(MemberChanged(member=self._spec.model, availability=availability, ref=self.ref))


class PolicyFailed(Exception):
    """A policy answered an upstream failure by asking that the member crash: its parent's policy decides on."""
