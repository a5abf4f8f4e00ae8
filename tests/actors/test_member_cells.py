"""A member's cells, by messages on the virtual clock; and a user's own policy that decides about them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from routing_actors import CONSECUTIVE, DOWN, Says, World, two_stage

from busbar.actors.messages import Assignment, Exhausted, Refusal, Route, Snapshot
from busbar.actors.supervision import Bench, CellView, Directive, Outcome, Restart, Resume, Stop, Trip
from busbar.protocols.failures import FailureClass
from busbar.testing import Kit


@pytest.fixture
def kit() -> Iterator[Kit]:
    with Kit() as kit:
        yield kit


@pytest.fixture
def world(kit: Kit) -> World:
    """One member in two pools; pool `p` trips after three failures in a row."""
    world = World(kit, a={"max_concurrent": 3})
    world.pool("p", "a", policy=two_stage(CONSECUTIVE))
    world.pool("q", "a", policy=two_stage(CONSECUTIVE))
    return world


# --- the cell, by messages


def test_trip_in_one_pool_does_not_bench_the_member_in_another(world: World) -> None:
    world.trip("a", "p")
    assert world.refused("p").reasons == {"a": Refusal.BREAKER_OPEN}
    assert world.cell("a", "q") == {
        "state": "closed",
        "streak": 0,
        "trips": 0,
        "epoch": 0,
        "cooldown_remaining_s": 0.0,
        "benched_remaining_s": 0.0,
        "outcomes": 0,
        "failures": 0,
        "consecutive_failures": 0,
        "slots": 3,
        "drained": False,
    }
    assert world.take("q").probe is False


def test_trip_cool_probe_ok_closed(world: World) -> None:
    world.report(world.probe("a", "p"))
    assert world.cell("a", "p") | {"benched_remaining_s": 0.0} == {
        "state": "closed",
        "streak": 0,
        "trips": 1,
        "epoch": 2,
        "cooldown_remaining_s": 0.0,
        "benched_remaining_s": 0.0,
        "outcomes": 0,
        "failures": 0,
        "consecutive_failures": 0,
        "slots": 3,
        "drained": False,
    }
    assert not world.take("p").probe


def test_recovery_clears_the_streak(world: World) -> None:
    world.report(world.probe("a", "p"), DOWN)
    assert world.cell("a", "p")["cooldown_remaining_s"] == 30.0
    world.kit.advance(30.0)
    world.report(world.take("p"))
    world.trip("a", "p")
    assert world.cell("a", "p")["cooldown_remaining_s"] == 15.0


def test_failing_probes_double_the_cooldown_and_are_no_new_trips(world: World) -> None:
    world.trip("a", "p")
    cooldowns = []
    for _ in range(5):
        cooldowns.append(world.cell("a", "p")["cooldown_remaining_s"])
        world.kit.advance(cooldowns[-1])
        world.send("p", DOWN)
    assert cooldowns == [15.0, 30.0, 60.0, 120.0, 120.0]
    cell = world.cell("a", "p")
    assert (cell["trips"], cell["streak"], cell["state"]) == (1, 6, "open")


def test_half_open_lets_exactly_one_of_a_thousand_through(kit: Kit) -> None:
    world = World(kit, a={"max_concurrent": 5000})
    world.pool("p", "a", policy=two_stage(CONSECUTIVE))
    world.trip("a", "p")
    kit.advance(15.0)
    futures = [world.pools["p"].ask(Route()) for _ in range(1000)]
    kit.run()
    replies = [future.get() for future in futures]
    probes = [reply for reply in replies if isinstance(reply, Assignment)]
    assert [probe.probe for probe in probes] == [True]
    refusals = [reply for reply in replies if isinstance(reply, Exhausted)]
    assert refusals == [Exhausted(reasons={"a": Refusal.PROBE_IN_FLIGHT}, retry_after_secs=2.0)] * 999


def test_reads_never_take_the_probe(world: World) -> None:
    world.trip("a", "p")
    world.kit.advance(15.0)
    for _ in range(1000):
        assert world.show("a")["cells"]["p"]["state"] == "open"
        world.kit.ask(world.pools["p"], Snapshot())
    assert world.take("p").probe


@pytest.mark.parametrize("end", ["release", FailureClass.CLIENT_ERROR, FailureClass.CONTEXT_LENGTH])
def test_probe_without_a_verdict_is_given_back(world: World, end: Any) -> None:
    probe = world.probe("a", "p")
    assert world.refused("p").reasons == {"a": Refusal.PROBE_IN_FLIGHT}
    world.release(probe) if end == "release" else world.report(probe, end)
    cell = world.cell("a", "p")
    assert (cell["state"], cell["epoch"], cell["streak"]) == ("half_open", 1, 1)
    assert world.take("p").probe


def test_late_failure_does_not_reopen_a_newer_cell(world: World) -> None:
    late = world.take("p")
    world.report(world.probe("a", "p"))
    world.report(late, FailureClass.AUTH)
    cell = world.cell("a", "p")
    assert (cell["state"], cell["trips"], cell["failures"]) == ("closed", 1, 0)
    assert world.show("a")["err"] == 4, "it did happen"


def test_late_success_does_not_close_a_cell(world: World) -> None:
    late = world.take("p")
    world.trip("a", "p")
    open_cell = world.cell("a", "p")
    world.report(late)
    assert world.cell("a", "p") == open_cell
    world.kit.advance(15.0)
    world.take("p")
    assert world.cell("a", "p")["state"] == "half_open"


def test_late_answer_of_an_older_probe_is_ignored(kit: Kit) -> None:
    """An older probe can only be out when a policy tripped the cell meanwhile, by hand or by another outcome."""
    world = World(kit, a={})
    world.pool("p", "a", policy=Says(lambda cell, outcome: Trip(10.0) if outcome.failure else Resume()))
    late = world.take("p")
    world.send("p", DOWN)
    kit.advance(10.0)
    probe = world.take("p")
    world.report(late)
    assert world.cell("a", "p")["state"] == "half_open"
    world.report(probe, DOWN)
    world.report(probe)
    assert (world.cell("a", "p")["state"], world.cell("a", "p")["epoch"]) == ("open", 2)


def test_failure_while_open_changes_nothing(world: World) -> None:
    late = [world.take("p"), world.take("p")]
    world.trip("a", "p")
    world.kit.advance(5.0)
    before = world.cell("a", "p")
    world.report(late[0], DOWN, retry_after_secs=9000.0)
    world.report(late[1], FailureClass.BILLING)
    assert world.cell("a", "p") == before
    assert before["cooldown_remaining_s"] == 10.0


def test_trip_is_counted_once_for_failures_that_come_together(world: World) -> None:
    for taken in [world.take("p") for _ in range(3)]:
        world.report(taken, DOWN)
    tripping = world.cell("a", "p")
    assert (tripping["trips"], tripping["streak"], tripping["failures"]) == (1, 1, 3)


def test_old_errors_age_out_before_the_next_one_comes(kit: Kit) -> None:
    world = World(kit, a={})
    world.pool("p", "a")
    world.send("p", times=6)
    world.send("p", DOWN, times=5)
    kit.advance(30.0)
    world.send("p", DOWN)
    cell = world.cell("a", "p")
    assert (cell["state"], cell["outcomes"], cell["failures"]) == ("closed", 1, 1)


def test_error_rate_trips_at_the_fifth_outcome_when_half_failed(kit: Kit) -> None:
    world = World(kit, a={})
    world.pool("p", "a")
    world.send("p", DOWN, times=2)
    world.send("p", times=2)
    assert world.cell("a", "p")["state"] == "closed"
    world.send("p", DOWN)
    assert world.cell("a", "p")["state"] == "open"


def test_window_of_the_pool_has_effect(kit: Kit) -> None:
    world = World(kit, a={})
    world.pool("p", "a", window_secs=5.0)
    world.pool("q", "a", window_secs=50.0)
    world.send("p", times=2)
    world.send("q", times=2)
    kit.advance(10.0)
    assert (world.cell("a", "p")["outcomes"], world.cell("a", "q")["outcomes"]) == (0, 2)


@pytest.mark.parametrize("failure", [FailureClass.AUTH, FailureClass.BILLING])
def test_bad_key_or_empty_account_opens_at_once_for_half_an_hour(world: World, failure: FailureClass) -> None:
    world.send("p", failure)
    assert world.cell("a", "p")["cooldown_remaining_s"] == 1800.0
    assert world.refused("p") == Exhausted(reasons={"a": Refusal.BREAKER_OPEN}, retry_after_secs=1800.0)
    world.kit.advance(1800.0)
    world.report(world.take("p"))
    assert world.cell("a", "p")["state"] == "closed", "hard down recovers by a probe"


def test_retry_after_lengthens_the_cooldown(world: World) -> None:
    world.send("p", DOWN, times=2)
    world.send("p", FailureClass.RATE_LIMIT, retry_after_secs=1e6)
    assert world.cell("a", "p")["cooldown_remaining_s"] == 86_400.0


# --- a user's own policy decides


def test_policy_sees_the_cell_with_the_outcome_counted(kit: Kit) -> None:
    policy = Says(lambda cell, outcome: Resume())
    world = World(kit, a={})
    world.pool("p", "a", policy=policy)
    world.send("p")
    world.send("p", DOWN, times=2)
    last = policy.seen[-1]
    assert (last.member, last.pool, last.state, last.probe) == ("a", "p", "closed", False)
    assert (last.outcomes, last.failures, last.consecutive_failures, last.streak) == (3, 2, 2, 0)


def test_policy_may_trip_on_a_clients_fault(kit: Kit) -> None:
    world = World(kit, a={})
    world.pool("p", "a", policy=Says(lambda cell, outcome: Trip(42.0)))
    world.send("p", FailureClass.CLIENT_ERROR)
    assert world.refused("p") == Exhausted(reasons={"a": Refusal.BREAKER_OPEN}, retry_after_secs=42.0)


def test_a_policy_that_passes_success_is_asked_about_failures_and_the_probe(kit: Kit) -> None:
    class Trusting(Says):
        passes_success = True

    world = World(kit, a={})
    policy = Trusting(lambda cell, outcome: Resume() if outcome.failure is None else Trip(5.0))
    world.pool("p", "a", policy=policy)
    world.send("p", times=3)
    assert (policy.seen, world.cell("a", "p")["outcomes"]) == ([], 3)
    world.send("p", DOWN)
    kit.advance(5.0)
    world.send("p")
    assert [(cell.outcomes, cell.probe) for cell in policy.seen] == [(4, False), (5, True)]
    assert world.cell("a", "p")["state"] == "closed"


def test_policy_may_bench(kit: Kit) -> None:
    world = World(kit, a={}, b={})
    benches_a = Says(lambda cell, outcome: Bench(20.0) if cell.member == "a" else Resume())
    world.pool("p", "a", "b", policy=benches_a)
    world.send("p")
    assert [world.take("p").member for _ in range(3)] == ["b", "b", "b"]
    kit.advance(20.0)
    assert "a" in {world.take("p").member for _ in range(2)}


def test_policy_may_carry_on_whatever_happens(kit: Kit) -> None:
    world = World(kit, a={})
    world.pool("p", "a", policy=Says(lambda cell, outcome: Resume()))
    world.send("p", FailureClass.AUTH, times=50)
    assert world.cell("a", "p")["state"] == "closed"


def test_policy_that_benches_a_probe_gives_its_place_back(kit: Kit) -> None:
    world = World(kit, a={})
    world.pool("p", "a", policy=Says(lambda cell, outcome: Bench(1.0) if cell.probe else Trip(5.0)))
    world.send("p", DOWN)
    kit.advance(5.0)
    world.send("p", DOWN)
    assert world.take("p").probe


def test_policy_may_stop_a_member(kit: Kit) -> None:
    world = World(kit, a={}, b={})
    world.pool("p", "a", "b", policy=Says(lambda cell, outcome: Stop() if cell.member == "a" else Resume()))
    world.send("p", DOWN)
    assert not world.members["a"].is_alive()
    assert [world.take("p").member for _ in range(3)] == ["b", "b", "b"]
    assert world.refused("p", tried=frozenset("b")).reasons == {"a": Refusal.DEAD}


def test_policy_may_have_a_member_made_anew(kit: Kit) -> None:
    world = World(kit, a={"max_requests": 5})
    world.pool("p", "a", policy=Says(lambda cell, outcome: Restart()))
    world.send("p", DOWN)
    assert "restart" in str(kit.expect_crash())
    shown = world.show("a")
    assert (shown["err"], shown["inflight"], shown["budget"], shown["pools"]) == (0, 0, 5, [])


@pytest.mark.parametrize("directive", [None, "trip", Trip])
def test_a_policy_that_gives_no_directive_is_told_in_the_log(
    kit: Kit, caplog: pytest.LogCaptureFixture, directive: object
) -> None:
    world = World(kit, a={})
    world.pool("p", "a", policy=Says(lambda cell, outcome: directive))  # type: ignore[arg-type, return-value]
    world.send("p", DOWN)
    assert "policy Says of pool p gave" in caplog.text
    assert (world.cell("a", "p")["state"], world.show("a")["inflight"]) == ("closed", 0)


def test_a_policy_that_fails_is_told_in_the_log_and_the_member_carries_on(
    kit: Kit, caplog: pytest.LogCaptureFixture
) -> None:
    def failing(cell: CellView, outcome: Outcome) -> Directive:
        raise ZeroDivisionError

    world = World(kit, a={})
    world.pool("p", "a", policy=Says(failing))
    world.send("p", DOWN, times=20)
    assert "policy Says of pool p failed" in caplog.text
    assert (world.show("a")["err"], world.show("a")["inflight"]) == (20, 0)
    assert world.take("p").member == "a"
