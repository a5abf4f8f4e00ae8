"""The breaker cell as a state machine: each row of the table in its module, and who has a say."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from busbar.actors.breaker import WINDOW_OUTCOMES_MAX, BreakerCell, CellState, Ticket


def closed() -> BreakerCell:
    return BreakerCell(window_secs=30.0)


def opened(now: float = 0.0, cooldown_secs: float = 15.0) -> BreakerCell:
    cell = closed()
    cell.trip(now, cooldown_secs)
    return cell


def half_open() -> tuple[BreakerCell, Ticket]:
    cell = opened()
    ticket = cell.admit(15.0)
    assert ticket is not None
    return cell, ticket


# --- the table


def test_closed_admits_everybody_with_a_ticket_of_its_epoch() -> None:
    cell = closed()
    assert [cell.admit(0.0) for _ in range(3)] == [Ticket(epoch=0, probe=False)] * 3
    assert (cell.state, cell.epoch, cell.usable_from()) == (CellState.CLOSED, 0, 0.0)


def test_closed_trips_to_open() -> None:
    cell = closed()
    cell.trip(100.0, 15.0)
    assert repr(cell) == "BreakerCell(open, epoch=1, streak=1, open_until=115, outcomes=0, failures=0)"
    assert (cell.trips, cell.usable_from(), cell.admit(114.9)) == (1, 115.0, None)


def test_open_becomes_half_open_by_the_request_that_is_admitted_after_the_cooldown() -> None:
    cell = opened(0.0, 15.0)
    assert cell.admit(14.999) is None
    assert cell.state is CellState.OPEN
    assert cell.admit(15.0) == Ticket(epoch=1, probe=True)
    assert (cell.state, cell.epoch, cell.usable_from()) == (CellState.HALF_OPEN, 1, math.inf)


def test_half_open_admits_one_probe() -> None:
    cell, _ = half_open()
    assert [cell.admit(1e9) for _ in range(1000)] == [None] * 1000


def test_probe_success_closes_and_forgets_everything() -> None:
    cell, ticket = half_open()
    cell.bench(15.0, 600.0)
    cell.count(failed=False, now=16.0)
    assert cell.has_say(ticket)
    cell.close()
    assert repr(cell) == "BreakerCell(closed, epoch=2, streak=0, open_until=0, outcomes=0, failures=0)"
    assert (cell.benched_until, cell.consecutive_failures, cell.usable_from()) == (0.0, 0, 0.0)
    assert cell.trips == 1, "history is kept"
    assert cell.admit(16.0) == Ticket(epoch=2, probe=False)


def test_probe_failure_opens_again_with_a_longer_streak_and_is_no_new_trip() -> None:
    cell, ticket = half_open()
    assert cell.has_say(ticket)
    cell.trip(16.0, 30.0)
    assert repr(cell) == "BreakerCell(open, epoch=2, streak=2, open_until=46, outcomes=0, failures=0)"
    assert cell.trips == 1
    assert cell.admit(46.0) == Ticket(epoch=2, probe=True), "the place of the probe before was freed"


def test_probe_without_a_verdict_frees_its_place() -> None:
    cell, ticket = half_open()
    cell.give_back(ticket)
    assert (cell.state, cell.epoch, cell.usable_from()) == (CellState.HALF_OPEN, 1, 15.0)
    assert cell.admit(15.0) == Ticket(epoch=1, probe=True)
    assert cell.admit(15.0) is None


# --- epochs


def test_late_failure_does_not_trip_a_newer_cell() -> None:
    cell = closed()
    early = cell.admit(0.0)
    assert early is not None
    cell.trip(1.0, 15.0)
    assert not cell.has_say(early), "while open"
    assert cell.admit(16.0) is not None
    assert not cell.has_say(early), "while half-open"
    cell.close()
    assert not cell.has_say(early), "after closing again"


def test_answer_of_an_older_probe_is_ignored() -> None:
    cell, old = half_open()
    cell.trip(16.0, 30.0)
    new = cell.admit(46.0)
    assert new is not None
    assert (cell.has_say(old), cell.has_say(new)) == (False, True)


def test_old_probe_does_not_give_back_the_place_of_a_new_one() -> None:
    cell, old = half_open()
    cell.trip(16.0, 30.0)
    cell.admit(46.0)
    cell.give_back(old)
    assert cell.admit(46.0) is None


def test_ordinary_request_gives_back_no_probe() -> None:
    cell, _ = half_open()
    cell.give_back(Ticket(epoch=1, probe=False))
    assert cell.admit(15.0) is None


# --- the window


def test_outcomes_and_failures_are_counted_in_the_same_window() -> None:
    cell = closed()
    for now, failed in ((0.0, True), (1.0, False), (20.0, True), (21.0, False)):
        cell.count(failed=failed, now=now)
    assert cell.window(29.9) == (4, 2)
    assert cell.window(30.0) == (3, 1)
    assert cell.window(49.9) == (2, 1)
    assert cell.window(50.0) == (1, 0)
    assert cell.window(51.0) == (0, 0)


def test_window_is_bounded() -> None:
    cell = closed()
    for number in range(3000):
        cell.count(failed=number < 2000, now=1.0)
    assert cell.window(1.0) == (WINDOW_OUTCOMES_MAX, WINDOW_OUTCOMES_MAX - 1000)
    assert WINDOW_OUTCOMES_MAX == 1024


@given(st.lists(st.tuples(st.floats(0, 20), st.booleans()), max_size=60))
def test_window_equals_a_recount(steps: list[tuple[float, bool]]) -> None:
    cell, now = closed(), 0.0
    history: list[tuple[float, bool]] = []
    for pause, failed in steps:
        now += pause
        cell.count(failed=failed, now=now)
        history.append((now, failed))
        inside = [failure for at, failure in history if at > now - 30.0]
        assert cell.window(now) == (len(inside), sum(inside))


def test_consecutive_failures_end_with_a_success() -> None:
    cell = closed()
    counts = []
    for failed in (True, True, False, True):
        cell.count(failed=failed, now=0.0)
        counts.append(cell.consecutive_failures)
    assert counts == [1, 2, 0, 1]


def test_longer_bench_is_never_shortened() -> None:
    cell = closed()
    cell.bench(0.0, 60.0)
    cell.bench(1.0, 1.0)
    assert cell.benched_until == 60.0
    assert cell.admit(1.0) is not None, "a bench is a preference, no refusal"


# --- reads


@pytest.mark.parametrize("state", ["closed", "open", "cooled", "probing"])
def test_reading_changes_nothing(state: str) -> None:
    cell = {"closed": closed(), "open": opened(), "cooled": opened(), "probing": half_open()[0]}[state]
    before = repr(cell)
    for _ in range(1000):
        cell.usable_from(), cell.window(15.0), repr(cell)
        cell.has_say(Ticket(epoch=1, probe=True))
    assert repr(cell) == before
    if state == "cooled":
        assert cell.admit(15.0) == Ticket(epoch=1, probe=True)
