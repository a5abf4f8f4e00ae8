"""A member: slots and budget for all pools, a cell for each, and whose reports it believes."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from routing_actors import CONSECUTIVE, DOWN, Says, World, two_stage

from busbar.actors.messages import Assignment, Exhausted, MemberStarted, Refusal, Release, Report, Route
from busbar.actors.supervision import Outcome, Restart, Resume
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
    world = World(kit, a={"max_concurrent": 2})
    world.pool("p", "a", policy=Says(lambda cell, outcome: Restart() if outcome.failure else Resume()))
    old, crashing = world.take("p"), world.take("p")
    world.report(crashing, DOWN)
    kit.expect_crash()
    rejoin(world)
    new = world.take("p")
    world.report(old, DOWN)
    assert (world.show("a")["inflight"], world.show("a")["err"]) == (1, 0)
    world.report(new)
    assert (world.show("a")["inflight"], world.show("a")["ok"]) == (0, 1)


def rejoin(world: World) -> None:
    """What the gateway does for a member that was restarted."""
    for pool in world.pools.values():
        pool.tell(MemberStarted("a"))
    world.kit.run()


def test_acquire_that_waited_through_a_restart_is_refused_and_not_a_second_crash(kit: Kit) -> None:
    """The mailbox outlives the instance, so the new one meets a question of a pool that has not rejoined yet."""
    world = World(kit, a={})
    world.pool("p", "a", policy=Says(lambda cell, outcome: Restart()))
    taken = world.take("p")
    future = world.pools["p"].ask(Route())
    kit.step()  # the pool has passed the question on, and it waits at the member
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
        "ttft_ms": None,
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
    world.probe("a", "p")
    shown = world.show("a")
    assert (shown["usable"], shown["availability"]) == (False, "probe_in_flight")


def test_member_is_usable_while_any_pool_can_use_it(world: World) -> None:
    world.trip("a", "p")
    shown = world.show("a")
    assert (shown["usable"], shown["availability"], shown["cooldown_remaining_s"]) == (True, "available", 15.0)
