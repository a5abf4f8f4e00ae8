"""A pool: who is asked, in which order, and what is said when nobody can be."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import pytest
from routing_actors import DOWN, World, two_stage

from busbar.actors.messages import (
    Acquire,
    Assignment,
    Exhausted,
    Refusal,
    Refused,
    Route,
    Snapshot,
)
from busbar.actors.runtime import Forward
from busbar.actors.supervision import BreakerSettings
from busbar.protocols.failures import FailureClass
from busbar.testing import Kit, seeds


@pytest.fixture
def kit() -> Iterator[Kit]:
    with Kit() as kit:
        yield kit


@pytest.fixture
def world(kit: Kit) -> World:
    """Three members with a slot for everybody."""
    return World(kit, a={}, b={}, c={})


def order(world: World, pool: str, count: int, **fields: object) -> str:
    """The members of `count` requests, each of which ends well before the next."""
    names = []
    for _ in range(count):
        taken = world.take(pool, **fields)
        world.report(taken)
        names.append(taken.member)
    return "".join(names)


# --- selection by messages


def test_weights_give_the_smooth_sequence(world: World) -> None:
    world.pool("p", "a*5", "b*1", "c*1")
    assert order(world, "p", 14) == "aabacaaaabacaa"


def test_one_two_three_is_exact_over_600_requests(world: World) -> None:
    world.pool("p", "a*1", "b*2", "c*3")
    assert Counter(order(world, "p", 600)) == {"a": 100, "b": 200, "c": 300}


def test_snapshot_shows_weights_credits_and_picks_and_takes_nothing(world: World) -> None:
    pool = world.pool("p", "a*5", "b*1", "c*0")
    order(world, "p", 2)
    shown = [world.kit.ask(pool, Snapshot()) for _ in range(1000)]
    assert shown[0] == {
        "members": ["a", "b", "c"],
        "strategy": "weighted",
        "weights": {"a": 5, "b": 1, "c": 0},
        "currents": {"a": -2, "b": 2},
        "picks": {"a": 2, "b": 0, "c": 0},
        "availability": {"a": "available", "b": "available", "c": "draining"},
        "waiting": 0,
    }
    assert shown == shown[:1] * 1000


def test_weight_zero_gets_no_traffic_sticky_or_not(world: World) -> None:
    world.pool("p", "a*1", "b*0")
    assert order(world, "p", 20) == "a" * 20
    assert {world.take("p", session=f"s{n}").member for n in range(10)} == {"a"}
    assert world.refused("p", tried=frozenset("a")) == Exhausted(
        reasons={"b": Refusal.DRAINING}, retry_after_secs=60.0
    )


def test_excluded_member_is_never_used(world: World) -> None:
    world.pool("p", "a", world.line("b", excluded=True))
    assert order(world, "p", 10) == "a" * 10
    assert world.refused("p", tried=frozenset("a")) == Exhausted(reasons={}, retry_after_secs=60.0)


def test_failover_goes_through_the_members_once(world: World) -> None:
    world.pool("p", "a*3", "b*2", "c*1")
    tried: frozenset[str] = frozenset()
    visited = []
    while isinstance(reply := world.route("p", tried=tried), Assignment):
        world.report(reply, DOWN)
        visited.append(reply.member)
        tried |= {reply.member}
    assert visited == ["a", "b", "c"]
    assert reply == Exhausted(reasons={}, retry_after_secs=60.0)


def test_context_above_wants_a_larger_or_unknown_member(world: World) -> None:
    world.pool(
        "p",
        world.line("a", context_max=8_000),
        world.line("b", context_max=200_000),
        world.line("c"),
    )
    assert {world.take("p", context_above=8_000).member for _ in range(4)} == {"b", "c"}
    assert {world.take("p", context_above=200_000).member for _ in range(4)} == {"c"}
    assert world.take("p", context_above=7_999, tried=frozenset("bc")).terms.context_max == 8_000
    assert world.refused("p", context_above=8_000, tried=frozenset("bc")).reasons == {}


# --- affinity


def test_a_session_stays_with_its_member_and_costs_no_credit(world: World) -> None:
    pool = world.pool("p", "a", "b", "c")
    homes = [order(world, "p", 5, session=f"s{number}") for number in range(5)]
    assert homes == ["bbbbb", "bbbbb", "aaaaa", "bbbbb", "bbbbb"]
    assert world.kit.ask(pool, Snapshot())["currents"] == {}


def test_affinity_yields_when_the_member_is_not_usable_and_comes_back(world: World) -> None:
    world.pool("p", "a", "b", "c")
    home = world.take("p", session="s1")
    world.report(home, FailureClass.AUTH)
    away = order(world, "p", 4, session="s1")
    assert home.member not in away
    assert len(set(away)) == 1, "still sticky, elsewhere"
    world.kit.advance(1800.0)
    assert order(world, "p", 2, session="s1") == home.member * 2


# --- benches


def test_sibling_is_preferred_while_a_member_is_benched(world: World) -> None:
    world.pool("p", "a*100", "b*1")
    world.report(world.take("p"), DOWN)
    assert order(world, "p", 5) == "bbbbb"
    world.kit.advance(1.0)
    assert order(world, "p", 5) == "aaaaa"


def test_lone_member_is_still_tried_after_a_failure(world: World) -> None:
    world.pool("p", "a")
    for _ in range(4):
        world.report(world.take("p"), DOWN)
    assert world.take("p").member == "a"


def test_benched_member_is_better_than_none(world: World) -> None:
    world.pool("p", "a", "b")
    world.report(world.take("p"), DOWN, retry_after_secs=60.0)
    assert world.take("p", tried=frozenset("b")).member == "a"


# --- nobody


def test_all_open_says_until_the_soonest(world: World) -> None:
    world.pool("p", "a", "b")
    world.report(world.take("p"), FailureClass.AUTH)
    world.kit.advance(300.0)
    world.report(world.take("p"), FailureClass.AUTH)
    reasons = {"a": Refusal.BREAKER_OPEN, "b": Refusal.BREAKER_OPEN}
    assert world.refused("p") == Exhausted(reasons=reasons, retry_after_secs=1500.0)
    world.kit.advance(1499.5)
    assert world.refused("p") == Exhausted(reasons=reasons, retry_after_secs=1.0)
    world.kit.advance(0.5)
    assert world.take("p").probe


def test_saturated_pool_answers_at_once_without_any_time_passing(kit: Kit) -> None:
    world = World(kit, a={"max_concurrent": 2}, b={"max_concurrent": 1})
    world.pool("p", "a", "b")
    for _ in range(3):
        world.take("p")
    reasons = {"a": Refusal.AT_CAPACITY, "b": Refusal.AT_CAPACITY}
    before = kit.clock.now()
    assert world.refused("p") == Exhausted(reasons=reasons, retry_after_secs=2.0)
    assert kit.clock.now() == before
    assert kit.clock.pending == 0, "nothing waits"


def test_saturation_spills_to_the_member_with_a_free_slot(kit: Kit) -> None:
    world = World(kit, a={"max_concurrent": 1}, b={})
    world.pool("p", "a*100", "b*1")
    assert [world.take("p").member for _ in range(4)] == ["a", "b", "b", "b"]


def test_mixed_reasons_say_the_soonest(kit: Kit) -> None:
    world = World(kit, a={"max_concurrent": 1}, b={}, c={"max_requests": 0})
    world.pool("p", "a", "b", "c")
    world.take("p")
    world.report(world.take("p"), FailureClass.AUTH)
    reasons = {"a": Refusal.AT_CAPACITY, "b": Refusal.BREAKER_OPEN, "c": Refusal.BUDGET_EXHAUSTED}
    assert world.refused("p") == Exhausted(reasons=reasons, retry_after_secs=2.0)
    kit.advance(1799.0)
    assert world.refused("p") == Exhausted(reasons=reasons, retry_after_secs=1.0)


def test_dead_member_is_skipped(world: World) -> None:
    world.pool("p", "a*100", "b")
    world.members["a"].stop()
    world.kit.run()
    assert order(world, "p", 3) == "bbb"
    assert world.refused("p", tried=frozenset("b")) == Exhausted(reasons={"a": Refusal.DEAD}, retry_after_secs=60.0)


# --- a view that has grown stale


def test_refused_request_goes_on_to_the_next_member(kit: Kit) -> None:
    """Both pools see the last slot of `a` free; the second to come is passed on, and its asker never learns."""
    world = World(kit, a={"max_concurrent": 1}, b={})
    world.pool("p", "a")
    world.pool("q", "a*100", "b*1")
    first = world.pools["p"].ask(Route())
    second = world.pools["q"].ask(Route())
    kit.run()
    assert (first.get().member, second.get().member) == ("a", "b")
    assert [entry.actor for entry in kit.system.tap.entries() if entry.type == "Refused"] == ["pool:q"]


def test_refused_request_with_nobody_left_hears_why(kit: Kit) -> None:
    world = World(kit, a={"max_concurrent": 1})
    world.pool("p", "a")
    world.pool("q", "a")
    futures = [world.pools[pool].ask(Route()) for pool in ("p", "q")]
    kit.run()
    assert futures[0].get().member == "a"
    assert futures[1].get() == Exhausted(reasons={"a": Refusal.AT_CAPACITY}, retry_after_secs=2.0)


@pytest.mark.parametrize("seed", seeds(30))
def test_last_slot_goes_to_exactly_one_in_any_order(seed: int) -> None:
    with Kit(seed) as kit:
        world = World(kit, a={"max_concurrent": 1}, b={"max_concurrent": 1})
        world.pool("p", "a", "b")
        world.pool("q", "b", "a")
        futures = [world.pools[pool].ask(Route()) for pool in "pqpq"]
        kit.run()
        replies = [future.get() for future in futures]
        assert sorted(reply.member for reply in replies if isinstance(reply, Assignment)) == ["a", "b"]
        reasons = {"a": Refusal.AT_CAPACITY, "b": Refusal.AT_CAPACITY}
        assert [reply for reply in replies if isinstance(reply, Exhausted)] == [
            Exhausted(reasons=reasons, retry_after_secs=2.0)
        ] * 2


def test_member_that_refuses_though_it_looks_free_is_not_asked_for_ever(kit: Kit) -> None:
    liar = kit.probe("liar")
    world = World(kit, b={})
    world.members["a"] = liar.ref
    world.pool("p", "a*100", "b")

    liar.answer(Acquire, lambda message: Forward(message.ref, Refused(route=message.route, member="a")))
    assert world.take("p").member == "b"
    assert world.refused("p", tried=frozenset("b")).reasons == {"a": Refusal.AT_CAPACITY}


# --- two pools


def test_two_pools_over_the_same_members_keep_their_own_settings(world: World) -> None:
    world.pool("quick", "a", policy=two_stage(BreakerSettings(mode="consecutive", consecutive_n=1)))
    world.pool(
        "slow", "a", policy=two_stage(BreakerSettings(mode="consecutive", consecutive_n=2, base_cooldown_secs=60))
    )
    world.report(world.take("quick"), DOWN)
    world.report(world.take("slow"), DOWN)
    assert world.refused("quick").retry_after_secs == 15.0
    world.report(world.take("slow"), DOWN)
    assert world.refused("slow").retry_after_secs == 60.0


def test_restarted_pool_finds_the_cells_as_they_were(world: World) -> None:
    pool = world.pool("p", "a", "b")
    world.report(world.take("p"), FailureClass.AUTH)
    pool.tell(Route(tried=None))  # type: ignore[arg-type]
    world.kit.run()
    world.kit.expect_crash(TypeError)
    assert order(world, "p", 3) == "bbb"
    assert world.cell("a", "p")["state"] == "open"
