"""Adaptive concurrency: slots that follow what a provider bears, by messages on the virtual clock."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from routing_actors import CONSECUTIVE, DOWN, World, two_stage

from busbar.actors.messages import Assignment, Refusal
from busbar.actors.policies.adaptive_concurrency import AdaptiveConcurrency
from busbar.actors.supervision import BreakerSettings, PoolContext
from busbar.protocols.failures import FailureClass
from busbar.testing import Kit

LIMITED = FailureClass.RATE_LIMIT


@pytest.fixture
def kit() -> Iterator[Kit]:
    with Kit() as kit:
        yield kit


def adaptive(settings: BreakerSettings = CONSECUTIVE, **options: Any) -> AdaptiveConcurrency:
    return AdaptiveConcurrency(two_stage(settings), **options)


def world_of(kit: Kit, max_concurrent: int = 8, settings: BreakerSettings = CONSECUTIVE, **options: Any) -> World:
    """A member `a` alone in the pool `p`."""
    world = World(kit, a={"max_concurrent": max_concurrent})
    world.pool("p", "a", policy=adaptive(settings, **options))
    return world


def slots(world: World, model: str = "a", pool: str = "p") -> int:
    found: int = world.cell(model, pool)["slots"]
    return found


def fill(world: World, pool: str = "p") -> list[Assignment]:
    """As many requests as the pool's member takes."""
    taken = []
    while isinstance(reply := world.route(pool), Assignment):
        taken.append(reply)
    return taken


def busy_round(world: World, **fields: Any) -> None:
    """As many successes as there were slots, each of them while all slots are in use."""
    taken = fill(world)
    for _ in range(len(taken)):
        world.report(taken.pop(0), **fields)
        taken += fill(world)
    for left in taken:
        world.release(left)


def limit(world: World, times: int) -> None:
    for _ in range(times):
        world.send("p", LIMITED)


# --- decrease


def test_a_rate_limit_halves_the_slots_and_trips_nothing(kit: Kit) -> None:
    world = world_of(kit)
    seen = []
    for _ in range(3):
        world.send("p", LIMITED)
        seen.append(slots(world))
    assert (seen, world.cell("a", "p")["state"]) == ([4, 2, 1], "closed"), "three in a row would have tripped"


def test_fewer_slots_are_all_that_the_pool_may_use(kit: Kit) -> None:
    world = world_of(kit)
    world.send("p", LIMITED)
    assert len(fill(world)) == 4
    assert world.refused("p").reasons == {"a": Refusal.AT_CAPACITY}


def test_backoff_and_min_slots_bound_the_decrease(kit: Kit) -> None:
    world = world_of(kit, max_concurrent=100, backoff=0.75, min_slots=50)
    seen = []
    for _ in range(4):
        world.send("p", LIMITED)
        seen.append(slots(world))
    assert seen == [75, 56, 50, 50]


def test_min_slots_above_the_members_own_limit_are_its_limit(kit: Kit) -> None:
    world = world_of(kit, max_concurrent=4, min_slots=10)
    limit(world, 2)
    assert slots(world) == 4


def test_with_no_slots_left_to_give_up_rate_limits_trip_as_ever(kit: Kit) -> None:
    world = world_of(kit, max_concurrent=2)
    limit(world, 2)
    assert world.cell("a", "p")["state"] == "closed"
    world.send("p", LIMITED)
    assert world.cell("a", "p") | {"epoch": 0, "benched_remaining_s": 0} == {
        "state": "open",
        "streak": 1,
        "trips": 1,
        "epoch": 0,
        "cooldown_remaining_s": 15.0,
        "benched_remaining_s": 0,
        "outcomes": 3,
        "failures": 3,
        "consecutive_failures": 3,
        "slots": 1,
        "drained": False,
    }


def test_requests_under_way_at_a_decrease_do_not_cut_the_slots_again(kit: Kit) -> None:
    world = world_of(kit)
    burst = fill(world)
    for taken in burst:
        world.report(taken, LIMITED)
    assert (len(burst), slots(world), world.cell("a", "p")["state"]) == (8, 4, "closed")
    world.send("p", LIMITED)
    assert slots(world) == 2, "this one was sent afterwards"


def test_callers_that_went_away_are_not_waited_for(kit: Kit) -> None:
    world = world_of(kit)
    burst = fill(world)
    world.report(burst.pop(), LIMITED)
    for taken in burst:
        world.release(taken)
    world.send("p")  # the first outcome after them may still be one of theirs
    world.send("p", LIMITED)
    assert slots(world) == 2


def test_a_rate_limit_benches_for_as_long_as_the_provider_asks(kit: Kit) -> None:
    world = World(kit, a={}, b={})
    world.pool("p", "a", "b", policy=adaptive())
    world.report(world.take("p"), LIMITED, retry_after_secs=30.0)
    assert world.cell("a", "p")["benched_remaining_s"] == 30.0
    kit.advance(29.0)
    assert {world.take("p").member for _ in range(6)} == {"b"}
    kit.advance(1.0)
    assert {world.take("p").member for _ in range(2)} == {"a", "b"}


def test_so_does_one_of_a_burst_that_was_answered_already(kit: Kit) -> None:
    world = world_of(kit)
    burst = fill(world)
    world.report(burst.pop(), LIMITED)
    world.report(burst.pop(), LIMITED, retry_after_secs=9.0)
    assert world.cell("a", "p")["benched_remaining_s"] == 9.0


def test_a_members_slots_in_one_pool_say_nothing_about_another(kit: Kit) -> None:
    world = world_of(kit)
    world.pool("q", "a", policy=two_stage())
    world.send("p", LIMITED)
    assert (slots(world), slots(world, pool="q")) == (4, 8)


def test_members_of_one_pool_are_gauged_apart(kit: Kit) -> None:
    world = World(kit, a={"max_concurrent": 8}, b={"max_concurrent": 8})
    world.pool("p", "a", "b", policy=adaptive())
    first, second = world.take("p"), world.take("p")
    world.report(first, LIMITED)
    world.report(second)
    assert (first.member, slots(world, "a"), slots(world, "b")) == ("a", 4, 8)


# --- increase


def test_a_round_of_successes_at_full_use_adds_a_slot(kit: Kit) -> None:
    world = world_of(kit)
    limit(world, 2)
    seen = []
    for _ in range(3):
        world.send("p")  # settles what the last decrease left
        busy_round(world)
        seen.append(slots(world))
    assert seen == [3, 4, 5]


def test_successes_with_slots_to_spare_add_none(kit: Kit) -> None:
    world = world_of(kit)
    limit(world, 1)
    world.send("p", times=50)
    assert slots(world) == 4


def test_a_decrease_begins_a_new_round(kit: Kit) -> None:
    world = world_of(kit)
    limit(world, 1)
    taken = fill(world)
    for _ in range(3):
        world.report(taken.pop(0))
        taken += fill(world)
    for left in taken:
        world.release(left)
    limit(world, 1)
    world.report(fill(world)[0])
    assert slots(world) == 2


def test_increase_is_the_number_of_slots_that_a_round_adds_up_to_the_members_limit(kit: Kit) -> None:
    world = world_of(kit, increase=5)
    limit(world, 3)
    seen = []
    for _ in range(3):
        busy_round(world)
        seen.append(slots(world))
    assert seen == [6, 8, 8]


# --- latency


def test_latency_above_the_tolerance_halves_the_slots(kit: Kit) -> None:
    world = world_of(kit)
    for _ in range(10):
        busy_round(world, latency_ms=100.0)
    assert slots(world) == 8
    busy_round(world, latency_ms=1000.0)
    assert (slots(world), world.cell("a", "p")["state"]) == (4, "closed")


def test_what_was_slow_before_a_decrease_does_not_cause_another(kit: Kit) -> None:
    world = world_of(kit)
    for _ in range(10):
        busy_round(world, latency_ms=100.0)
    busy_round(world, latency_ms=10_000.0)
    seen = []
    for _ in range(3):
        busy_round(world, latency_ms=100.0)
        seen.append(slots(world))
    assert seen == [5, 6, 7], "from 4, with nothing lost"


def test_latency_below_the_tolerance_does_not(kit: Kit) -> None:
    world = world_of(kit)
    for latency_ms in (100.0, 280.0):
        for _ in range(10):
            busy_round(world, latency_ms=latency_ms)
    assert slots(world) == 8


def test_a_tolerance_of_null_ignores_latency(kit: Kit) -> None:
    world = world_of(kit, latency_tolerance=None)
    for latency_ms in (100.0, 9000.0):
        for _ in range(10):
            busy_round(world, latency_ms=latency_ms)
    assert slots(world) == 8


def test_latency_of_a_member_that_is_hardly_used_is_not_ours_to_mend(kit: Kit) -> None:
    world = world_of(kit)
    world.send("p", times=50, latency_ms=100.0)
    world.send("p", times=10, latency_ms=9000.0)
    assert slots(world) == 8


def test_while_it_is_slow_nothing_is_added(kit: Kit) -> None:
    world = world_of(kit, min_slots=4)
    for _ in range(10):
        busy_round(world, latency_ms=100.0)
    for _ in range(3):
        busy_round(world, latency_ms=1000.0)
    assert slots(world) == 4


def test_slower_for_good_becomes_the_usual_latency(kit: Kit) -> None:
    world = world_of(kit, max_concurrent=4)
    world.send("p", times=1000, latency_ms=100.0)
    for _ in range(40):
        busy_round(world, latency_ms=1000.0)
    assert slots(world) == 4


# --- with the breaker


def test_other_failures_bench_and_trip_as_ever(kit: Kit) -> None:
    world = world_of(kit)
    world.send("p", DOWN)
    assert (slots(world), world.cell("a", "p")["benched_remaining_s"]) == (8, 1.0)
    world.send("p", DOWN, times=2)
    assert (slots(world), world.cell("a", "p")["state"]) == (8, "open")


def test_the_probe_is_the_breakers_and_the_slots_stay_as_they_were(kit: Kit) -> None:
    world = world_of(kit)
    world.send("p", LIMITED)
    world.send("p", DOWN, times=2)
    kit.advance(15.0)
    probe = world.take("p")
    world.report(probe, LIMITED)
    assert (probe.probe, world.cell("a", "p")["state"], slots(world)) == (True, "open", 4)
    kit.advance(30.0)
    world.send("p")
    assert (world.cell("a", "p")["state"], slots(world)) == ("closed", 4)


def test_a_pools_breaker_section_is_the_one_that_trips(kit: Kit) -> None:
    context = PoolContext(
        pool="p", breaker=BreakerSettings(mode="consecutive", consecutive_n=1), random=random.Random()
    )
    world = World(kit, a={})
    world.pool("p", "a", policy=AdaptiveConcurrency.create(context, min_slots=2))
    world.send("p", DOWN)
    assert world.cell("a", "p")["state"] == "open"


@given(
    max_concurrent=st.integers(1, 30),
    min_slots=st.integers(1, 10),
    increase=st.integers(1, 9),
    backoff=st.floats(0.01, 0.99),
    steps=st.lists(
        st.tuples(
            st.sampled_from([None, None, None, LIMITED, FailureClass.CLIENT_ERROR]), st.floats(1, 1e5), st.booleans()
        ),
        max_size=60,
    ),
)
def test_slots_stay_within_their_bounds_whatever_happens(
    max_concurrent: int, min_slots: int, increase: int, backoff: float, steps: list[tuple[Any, float, bool]]
) -> None:
    with Kit() as kit:
        options = {"min_slots": min_slots, "increase": increase, "backoff": backoff}
        world = world_of(kit, max_concurrent, BreakerSettings(min_requests=1024), **options)
        out: list[Assignment] = []
        for failure, latency_ms, crowded in steps:
            out += fill(world) if crowded else [world.take("p")] if not out else []
            world.report(out.pop(0), failure, latency_ms=latency_ms)
            assert min(min_slots, max_concurrent) <= slots(world) <= max_concurrent


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"min_slots": 0}, "min_slots has to be at least 1"),
        ({"increase": 0}, "increase has to be at least 1"),
        ({"backoff": 0.0}, "backoff has to be above 0 and below 1"),
        ({"backoff": 1.0}, "backoff has to be above 0 and below 1"),
        ({"latency_tolerance": 1.0}, "latency_tolerance has to be above 1"),
        ({"latency_tolerance": float("nan")}, "latency_tolerance has to be above 1"),
    ],
)
def test_options_out_of_range_are_refused(options: dict[str, Any], complaint: str) -> None:
    with pytest.raises(ValueError, match=f"^{complaint}$"):
        adaptive(**options)
