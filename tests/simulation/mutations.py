"""Mistakes that a breaker or a member could have: each is put in by replacing one method."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pytest

from busbar.actors import selection
from busbar.actors.breaker import BreakerCell, CellState, Ticket
from busbar.actors.member import Member
from busbar.actors.membership import Membership
from busbar.actors.messages import Release
from busbar.actors.selection import Candidate
from busbar.actors.supervision import Outcome

Mutate = Callable[[pytest.MonkeyPatch], None]


def probe_slot_is_not_given_back(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(BreakerCell, "give_back", lambda self, ticket: None)


def late_success_closes_a_newer_cell(patch: pytest.MonkeyPatch) -> None:
    judge = Member._judge

    def mutated(self: Member, membership: Membership, permit: Any, outcome: Outcome, *, verdict: bool) -> None:
        cell = membership.cell
        if cell.state is CellState.CLOSED or (permit.ticket.probe and permit.ticket.epoch == cell.epoch):
            judge(self, membership, permit, outcome, verdict=verdict)
        elif outcome.failure is None:
            cell.close()

    patch.setattr(BreakerCell, "has_say", lambda self, ticket: True)
    patch.setattr(Member, "_judge", mutated)


def failure_while_open_extends_the_cooldown(patch: pytest.MonkeyPatch) -> None:
    judge = Member._judge

    def mutated(self: Member, membership: Membership, permit: Any, outcome: Outcome, *, verdict: bool) -> None:
        cell = membership.cell
        if cell.state is not CellState.OPEN:
            if permit.ticket.epoch == cell.epoch and (cell.state is CellState.CLOSED or permit.ticket.probe):
                judge(self, membership, permit, outcome, verdict=verdict)
        elif outcome.failure is not None and verdict:
            cell.streak += 1
            cell.open_until += 5

    patch.setattr(BreakerCell, "has_say", lambda self, ticket: True)
    patch.setattr(Member, "_judge", mutated)


def half_open_admits_two(patch: pytest.MonkeyPatch) -> None:
    def usable_from(self: BreakerCell) -> float:
        if self.state is CellState.CLOSED:
            return 0.0
        return float("inf") if self._held else self.open_until

    patch.setattr(BreakerCell, "usable_from", usable_from)


def permit_is_leaked_on_release(patch: pytest.MonkeyPatch) -> None:
    def release(self: Member, message: Release) -> None:
        del self, message

    patch.setattr(Member, "release", release)


def window_never_expires(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(BreakerCell, "_expire", lambda self, now: None)


def late_failure_of_an_earlier_period_counts(patch: pytest.MonkeyPatch) -> None:
    def has_say(self: BreakerCell, ticket: Ticket) -> bool:
        return self.state is CellState.CLOSED or (ticket.probe and ticket.epoch == self.epoch)

    patch.setattr(BreakerCell, "has_say", has_say)


def success_of_the_probe_does_not_close(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(BreakerCell, "close", lambda self: None)


def cooldown_ends_early(patch: pytest.MonkeyPatch) -> None:
    trip = BreakerCell.trip
    patch.setattr(BreakerCell, "trip", lambda self, now, secs: trip(self, now, secs / 2))


def trip_in_one_pool_opens_the_others(patch: pytest.MonkeyPatch) -> None:
    judge = Member._judge

    def mutated(self: Member, membership: Membership, permit: Any, outcome: Outcome, *, verdict: bool) -> None:
        judge(self, membership, permit, outcome, verdict=verdict)
        if membership.cell.state is CellState.OPEN:
            for other in self._pools.values():
                if other.cell.state is CellState.CLOSED:
                    other.cell.trip(self.clock.now(), 5.0)

    patch.setattr(Member, "_judge", mutated)


def refund_is_forgotten(patch: pytest.MonkeyPatch) -> None:
    give_back = Member._give_back
    patch.setattr(Member, "_give_back", lambda self, permit, refund: give_back(self, permit, refund=False))


def pools_are_not_told(patch: pytest.MonkeyPatch) -> None:
    told = Member._tell_pools

    def mutated(self: Member) -> None:
        if self._ok % 3 == 0:
            told(self)

    patch.setattr(Member, "_tell_pools", mutated)


def winner_does_not_pay(patch: pytest.MonkeyPatch) -> None:
    def mutated(currents: Mapping[str, int], usable: Sequence[Candidate]) -> tuple[str, Mapping[str, int]]:
        return usable[0].member, {**currents, usable[0].member: 1}

    patch.setattr(selection, "smooth_weighted", mutated)


def weights_are_ignored(patch: pytest.MonkeyPatch) -> None:
    """The credits add up, and yet everybody gets the same."""
    right = selection.smooth_weighted

    def mutated(currents: Mapping[str, int], usable: Sequence[Candidate]) -> tuple[str, Mapping[str, int]]:
        return right(currents, [Candidate(member=candidate.member) for candidate in usable])

    patch.setattr(selection, "smooth_weighted", mutated)


MUTATIONS: Mapping[Mutate, str] = {
    probe_slot_is_not_given_back: "probe in flight",
    late_success_closes_a_newer_cell: "the cell is closed .* it has to be open",
    failure_while_open_extends_the_cooldown: "the cell is open .* it has to be open",
    half_open_admits_two: "second probe|has to be half_open",
    permit_is_leaked_on_release: "slots as taken",
    window_never_expires: "the cell is",
    late_failure_of_an_earlier_period_counts: "the cell is",
    success_of_the_probe_does_not_close: "it has to be closed",
    cooldown_ends_early: "a cooldown of|before the cooldown's end",
    trip_in_one_pool_opens_the_others: "the cell is open .* it has to be closed",
    refund_is_forgotten: "requests left",
    pools_are_not_told: "believes of",
    winner_does_not_pay: "do not add up",
    weights_are_ignored: "by weight",
}
"""The mistake → what the broken invariant says of it."""
