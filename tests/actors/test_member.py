"""A member: slots and budget for all pools, a cell for each, and whose reports it believes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from routing_actors import Says, World, two_stage

from busbar.actors.messages import Assignment, Exhausted, Refusal, Release, Report, Route, Snapshot
from busbar.actors.supervision import Bench, Outcome, Restart, Resume, Stop, Trip
from busbar.actors.two_stage import BreakerSettings
from busbar.protocols.failures import FailureClass
from busbar.testing import Kit

DOWN = FailureClass.SERVER_ERROR
CONSECUTIVE = BreakerSettings(mode="consecutive")


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


def tripped(world: World) -> None:
    world.send("p", DOWN, times=3)
    assert world.cell("a", "p")["state"] == "open"


def probing(world: World) -> Assignment:
    tripped(world)
    world.kit.advance(15.0)
    probe = world.take("p")
    assert probe.probe
    return probe


# --- slots and budget


def test_slots_are_shared_by_all_pools(world: World) -> None:
    taken = [world.take("p"), world.take("p"), world.take("q")]
    assert world.refused("p") == Exhausted(reasons={"a": Refusal.AT_CAPACITY}, retry_after_secs=2.0)
    assert world.refused("q") == Exhausted(reasons={"a": Refusal.AT_CAPACITY}, retry_after_secs=2.0)
    world.release(taken[0])
    assert world.take("q").pool == "q"


def test_assignment_says_where_to_go_and_what_is_owed(world: World) -> None:
    first, second = world.take("p"), world.take("q")
    assert second == Assignment(
        member="a",
        ref=world.members["a"],
        pool="q",
        permit=first.permit + 1,
        probe=False,
        context_max=None,
    )


def test_lifetime_budget_is_shared_and_ends(kit: Kit) -> None:
    world = World(kit, a={"max_requests": 3})
    world.pool("p", "a")
    world.pool("q", "a")
    world.send("p", times=2)
    world.send("q")
    assert world.refused("p") == Exhausted(reasons={"a": Refusal.BUDGET_EXHAUSTED}, retry_after_secs=60.0)
    assert (world.show("a")["availability"], world.show("a")["budget"]) == ("budget_exhausted", 0)


def test_refund_gives_the_lifetime_budget_back(kit: Kit) -> None:
    world = World(kit, a={"max_requests": 1})
    world.pool("p", "a")
    world.send("p", DOWN, refund=True)
    assert world.show("a")["budget"] == 1
    world.release(world.take("p"), refund=True)
    assert world.show("a")["budget"] == 1
    world.release(world.take("p"))
    assert world.show("a")["budget"] == 0
    assert world.refused("p").reasons == {"a": Refusal.BUDGET_EXHAUSTED}


def test_unlimited_budget_stays_unlimited_over_refunds(world: World) -> None:
    world.send("p", DOWN, refund=True)
    assert world.show("a")["budget"] is None


# --- whose reports count


def test_unknown_permit_is_ignored(world: World) -> None:
    before = world.show("a")
    for message in (Report(permit=1, outcome=Outcome(DOWN)), Release(permit=2, refund=True)):
        world.members["a"].tell(message)
    world.kit.run()
    assert world.show("a") == before


def test_second_report_for_a_permit_is_ignored(world: World) -> None:
    kept, taken = world.take("p"), world.take("p")
    world.report(taken, DOWN)
    after = world.show("a")
    assert (after["inflight"], after["err"], after["cells"]["p"]["failures"]) == (1, 1, 1)
    world.report(taken, DOWN)
    world.report(taken)
    world.release(taken)
    assert world.show("a") == after
    world.release(kept)
    assert world.show("a")["inflight"] == 0


def test_report_for_a_permit_of_a_crashed_instance_is_ignored(kit: Kit) -> None:
    world = World(kit, a={"max_concurrent": 1})
    crashing = world.pool("p", "a", policy=Says(lambda cell, outcome: Restart() if outcome.failure else Resume()))
    world.pool("q", "a")
    old = world.take("q")
    # A second slot would be needed to crash it by a report; the crash comes from the permit itself.
    world.release(old)
    old = world.take("p")
    world.report(old, DOWN)
    kit.expect_crash()
    rejoin(world)
    assert crashing.is_alive()
    new = world.take("p")
    world.report(old, DOWN)
    assert (world.show("a")["inflight"], world.show("a")["err"]) == (1, 0)
    world.report(new)
    assert (world.show("a")["inflight"], world.show("a")["ok"]) == (0, 1)


def rejoin(world: World) -> None:
    """What the gateway does for a member that was restarted."""
    from busbar.actors.messages import MemberStarted

    for pool in world.pools.values():
        pool.tell(MemberStarted("a"))
    world.kit.run()


def test_acquire_that_waited_through_a_restart_is_refused_and_not_a_second_crash(kit: Kit) -> None:
    """The mailbox outlives the instance, so the new one meets a question of a pool that has not rejoined yet."""
    world = World(kit, a={})
    world.pool("p", "a", policy=Says(lambda cell, outcome: Restart()))
    taken = world.take("p")
    future = world.pools["p"].ask(Route())
    kit.step()  # the pool has passed the question on; it waits at the member, behind …
    assert not future.done()
    taken.ref.tell(Report(permit=taken.permit, outcome=Outcome(None)))
    waiting = world.pools["p"].ask(Route())
    kit.run()
    kit.expect_crash()
    assert isinstance(future.get(), Assignment)
    assert waiting.get() == Exhausted(reasons={"a": Refusal.AT_CAPACITY}, retry_after_secs=2.0)
    rejoin(world)
    assert world.take("p").member == "a"


# --- counters


def test_each_outcome_is_counted_once_as_what_it_is(world: World) -> None:
    world.send("p", times=3)
    world.send("p", FailureClass.CLIENT_ERROR, times=2)
    world.send("p", FailureClass.CONTEXT_LENGTH)
    world.send("p", FailureClass.RATE_LIMIT)
    world.send("q", FailureClass.AUTH)
    world.release(world.take("p"))
    shown = world.show("a")
    assert (shown["ok"], shown["err"], shown["client_fault"]) == (3, 2, 2)
    assert (shown["cells"]["p"]["outcomes"], shown["cells"]["p"]["failures"]) == (4, 1)


def test_thousand_good_answers_are_no_failure(world: World) -> None:
    world.send("p", times=1000)
    assert world.show("a")["err"] == 0
    assert world.cell("a", "p")["failures"] == 0


# --- the cell, by messages


def test_trip_in_one_pool_does_not_bench_the_member_in_another(world: World) -> None:
    tripped(world)
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
    }
    assert world.take("q").probe is False


def test_trip_cool_probe_ok_closed(world: World) -> None:
    world.report(probing(world))
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
    }
    assert not world.take("p").probe


def test_recovery_clears_the_streak(world: World) -> None:
    world.report(probing(world), DOWN)
    assert world.cell("a", "p")["cooldown_remaining_s"] == 30.0
    world.kit.advance(30.0)
    world.report(world.take("p"))
    tripped(world)
    assert world.cell("a", "p")["cooldown_remaining_s"] == 15.0


def test_failing_probes_double_the_cooldown_and_are_no_new_trips(world: World) -> None:
    tripped(world)
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
    tripped(world)
    kit.advance(15.0)
    futures = [world.pools["p"].ask(Route()) for _ in range(1000)]
    kit.run()
    replies = [future.get() for future in futures]
    probes = [reply for reply in replies if isinstance(reply, Assignment)]
    assert [probe.probe for probe in probes] == [True]
    refusals = [reply for reply in replies if isinstance(reply, Exhausted)]
    assert refusals == [Exhausted(reasons={"a": Refusal.PROBE_IN_FLIGHT}, retry_after_secs=2.0)] * 999


def test_reads_never_take_the_probe(world: World) -> None:
    tripped(world)
    world.kit.advance(15.0)
    for _ in range(1000):
        assert world.show("a")["cells"]["p"]["state"] == "open"
        world.kit.ask(world.pools["p"], Snapshot())
    assert world.take("p").probe


@pytest.mark.parametrize("end", ["release", FailureClass.CLIENT_ERROR, FailureClass.CONTEXT_LENGTH])
def test_probe_without_a_verdict_is_given_back(world: World, end: Any) -> None:
    probe = probing(world)
    assert world.refused("p").reasons == {"a": Refusal.PROBE_IN_FLIGHT}
    world.release(probe) if end == "release" else world.report(probe, end)
    cell = world.cell("a", "p")
    assert (cell["state"], cell["epoch"], cell["streak"]) == ("half_open", 1, 1)
    assert world.take("p").probe


def test_late_failure_does_not_reopen_a_newer_cell(world: World) -> None:
    late = world.take("p")
    world.report(probing(world))
    world.report(late, FailureClass.AUTH)
    cell = world.cell("a", "p")
    assert (cell["state"], cell["trips"], cell["failures"]) == ("closed", 1, 0)
    assert world.show("a")["err"] == 4, "it did happen"


def test_late_success_does_not_close_a_cell(world: World) -> None:
    late = world.take("p")
    tripped(world)
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
    tripped(world)
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


# --- what it shows


def test_snapshot_has_the_documented_shape(world: World) -> None:
    world.take("p")
    assert world.show("a") == {
        "model": "a",
        "provider": "acme",
        "protocol": "openai",
        "pools": ["p", "q"],
        "max_concurrent": 3,
        "inflight": 1,
        "free_slots": 2,
        "ok": 0,
        "err": 0,
        "client_fault": 0,
        "usable": True,
        "availability": "available",
        "cooldown_remaining_s": 0.0,
        "cells": {name: world.cell("a", name) for name in ("p", "q")},
        "budget": None,
    }


def test_availability_words(kit: Kit) -> None:
    world = World(kit, a={"max_concurrent": 1, "max_requests": 5})
    world.pool("p", "a", policy=two_stage(CONSECUTIVE))
    words = [world.show("a")["availability"]]
    taken = world.take("p")
    words.append(world.show("a")["availability"])
    world.release(taken)
    world.send("p", DOWN, times=3)
    words.append(world.show("a")["availability"])
    assert not world.show("a")["usable"]
    kit.advance(15.0)
    words.append(world.show("a")["availability"])
    probe = world.take("p")
    words.append(world.show("a")["availability"])
    world.release(probe)
    words.append(world.show("a")["availability"])
    assert words == [
        "available",
        "at_capacity",
        "breaker_open",
        "available",
        "budget_exhausted",  # the probe was the fifth request
        "budget_exhausted",
    ]


def test_probe_in_flight_is_said_while_slots_are_free(world: World) -> None:
    world.send("q", FailureClass.AUTH)
    probing(world)
    shown = world.show("a")
    assert (shown["usable"], shown["availability"]) == (False, "probe_in_flight")


def test_member_is_usable_while_any_pool_can_use_it(world: World) -> None:
    tripped(world)
    shown = world.show("a")
    assert (shown["usable"], shown["availability"], shown["cooldown_remaining_s"]) == (True, "available", 15.0)


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
