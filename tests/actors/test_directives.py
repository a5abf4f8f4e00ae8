"""What a policy may do besides tripping (throttle, drain), how an operator takes it back, and draining by weight."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from routing_actors import CONSECUTIVE, DOWN, Says, World, two_stage

from busbar.actors.messages import Assignment, Exhausted, Refusal, Reinstate, Report, Route
from busbar.actors.supervision import Drain, Outcome, Resume, Throttle
from busbar.protocols.failures import FailureClass
from busbar.testing import Kit

SATURATED = Exhausted(reasons={"a": Refusal.AT_CAPACITY}, retry_after_secs=2.0)
DRAINED = Exhausted(reasons={"a": Refusal.DRAINING}, retry_after_secs=60.0)


@pytest.fixture
def kit() -> Iterator[Kit]:
    with Kit() as kit:
        yield kit


def throttles(slots: int) -> Says:
    """To so many slots at a rate limit, and back to four when all is well."""

    def decide(_cell: object, outcome: Outcome) -> Throttle:
        return Throttle(slots if outcome.failure is FailureClass.RATE_LIMIT else 4)

    return Says(decide)


def drains() -> Says:
    return Says(lambda cell, outcome: Drain() if outcome.failure is FailureClass.AUTH else Resume())


def reinstate(world: World, pool: str | None = None) -> bool:
    known: bool = world.kit.ask(world.members["a"], Reinstate(pool))
    return known


# --- Throttle


def test_throttle_limits_what_one_pool_may_have_there_at_once(kit: Kit) -> None:
    world = World(kit, a={"max_concurrent": 4})
    world.pool("p", "a", policy=throttles(2))
    world.pool("q", "a")
    world.send("p", FailureClass.RATE_LIMIT)
    first, _second = world.take("p"), world.take("p")
    assert world.refused("p") == SATURATED
    assert [world.take("q").pool for _ in range(2)] == ["q", "q"]
    assert world.refused("q") == SATURATED, "the slots are still shared"
    assert "Refused" not in {entry.type for entry in kit.system.tap.entries()}, "the pool knows"
    world.release(first)
    assert world.take("p").pool == "p"


def test_the_member_holds_to_a_throttle_and_a_drain_when_its_pool_does_not_know_yet(kit: Kit) -> None:
    world = World(kit, a={"max_concurrent": 4})
    world.pool("p", "a", policy=throttles(1))
    world.pool("d", "a", policy=drains())
    world.send("p", FailureClass.RATE_LIMIT)
    together = [world.pools["p"].ask(Route()) for _ in range(3)]
    kit.run()
    assert [isinstance(future.get(), Assignment) for future in together] == [True, False, False]
    taken = world.take("d")
    taken.ref.tell(Report(permit=taken.permit, outcome=Outcome(FailureClass.AUTH)))
    assert world.refused("d") == DRAINED


def test_requests_in_flight_are_left_alone_and_count(kit: Kit) -> None:
    world = World(kit, a={"max_concurrent": 4})
    world.pool("p", "a", policy=throttles(2))
    taken = [world.take("p") for _ in range(4)]
    world.report(taken[0], FailureClass.RATE_LIMIT)
    assert world.show("a")["inflight"] == 3
    world.release(taken[1])
    assert world.refused("p") == SATURATED, "two are still there"
    world.release(taken[2])
    assert world.take("p").member == "a"


@pytest.mark.parametrize(("asked", "slots"), [(-5, 1), (0, 1), (3, 3), (99, 4)])
def test_a_throttle_is_kept_between_one_and_the_members_own_limit(kit: Kit, asked: int, slots: int) -> None:
    world = World(kit, a={"max_concurrent": 4})
    world.pool("p", "a", policy=throttles(asked))
    world.send("p", FailureClass.RATE_LIMIT)
    assert world.cell("a", "p")["slots"] == slots


def test_a_throttle_is_lifted_by_the_next_and_waiters_hear_of_it(kit: Kit) -> None:
    world = World(kit, a={"max_concurrent": 4})
    world.pool("p", "a", policy=throttles(1), queue_secs=9.0)
    world.send("p", FailureClass.RATE_LIMIT)
    holder = world.take("p")
    waiting = [world.ask("p") for _ in range(5)]
    world.report(holder)
    assert [future.done() for future in waiting] == [True] * 4 + [False]


def test_least_busy_goes_by_the_throttled_slots(kit: Kit) -> None:
    world = World(kit, a={"max_concurrent": 4}, b={"max_concurrent": 4})
    world.pool(
        "p",
        "a",
        "b",
        strategy="least_busy",
        policy=Says(lambda cell, outcome: Throttle(1 if cell.member == "a" else 4)),
    )
    world.send("p", times=2)
    assert [world.take("p").member for _ in range(5)] == ["a", "b", "b", "b", "b"]


@pytest.mark.parametrize(
    ("policy", "failure", "after"),
    [(throttles(1), FailureClass.RATE_LIMIT, SATURATED), (drains(), FailureClass.AUTH, DRAINED)],
    ids=["throttle", "drain"],
)
def test_throttles_and_drains_outlive_a_restart_of_the_pool(
    kit: Kit, policy: Says, failure: FailureClass, after: Exhausted
) -> None:
    world = World(kit, a={"max_concurrent": 4})
    pool = world.pool("p", "a", policy=policy)
    judged, _still_there = world.take("p"), world.take("p")
    world.report(judged, failure)
    pool.tell(Route(tried=None))  # type: ignore[arg-type]
    kit.run()
    kit.expect_crash(TypeError)
    assert world.refused("p") == after


def test_the_policy_sees_how_busy_the_member_is_for_its_pool(kit: Kit) -> None:
    world = World(kit, a={"max_concurrent": 4})
    policy = throttles(2)
    world.pool("p", "a", policy=policy)
    world.pool("q", "a")
    taken = [world.take("p"), world.take("p"), world.take("q")]
    world.report(taken[0], FailureClass.RATE_LIMIT)
    world.report(taken[1])
    assert [(view.busy, view.slots, view.max_concurrent) for view in policy.seen] == [(1, 4, 4), (0, 2, 4)]


# --- Drain


def test_a_drained_member_gets_no_new_traffic_of_the_pool_sticky_or_not(kit: Kit) -> None:
    world = World(kit, a={}, b={})
    world.pool("p", "a", "b", policy=drains())
    world.pool("q", "a")
    running = world.take("p")
    world.report(world.take("p", only=frozenset("a")), FailureClass.AUTH)
    assert {world.take("p", session=f"s{number}").member for number in range(20)} == {"b"}
    assert world.refused("p", only=frozenset("a")) == DRAINED
    assert world.take("q").member == "a", "another pool has its own opinion"
    world.report(running)
    assert (world.show("a")["ok"], world.cell("a", "p")["drained"]) == (1, True)
    kit.advance(86_400.0)
    assert world.refused("p", only=frozenset("a")) == DRAINED, "no time heals it"


def test_a_drained_member_is_no_last_resort_and_worth_no_waiting(kit: Kit) -> None:
    world = World(kit, a={})
    world.pool("p", "a", policy=drains(), least_bad=True, queue_secs=9.0)
    world.send("p", FailureClass.AUTH)
    assert world.refused("p") == DRAINED
    assert (world.show("a")["usable"], world.show("a")["availability"]) == (False, "draining")


def test_an_active_probe_does_not_undo_a_drain(kit: Kit) -> None:
    world = World(kit, a={})
    world.pool("p", "a", policy=drains())
    world.send("p", FailureClass.AUTH)
    world.report(world.examined("a"))
    assert world.refused("p") == DRAINED


# --- Reinstate


def test_reinstate_closes_cells_and_lifts_drains_and_throttles(kit: Kit) -> None:
    world = World(kit, a={"max_concurrent": 4})
    world.pool("drained", "a", policy=drains())
    world.pool("throttled", "a", policy=throttles(1))
    world.pool("open", "a", policy=two_stage(CONSECUTIVE))
    world.send("drained", FailureClass.AUTH)
    world.send("throttled", FailureClass.RATE_LIMIT)
    world.trip("a", "open")
    assert reinstate(world)
    cells = world.show("a")["cells"].values()
    assert [(cell["state"], cell["slots"], cell["drained"]) for cell in cells] == [("closed", 4, False)] * 3
    assert [world.take(pool).probe for pool in world.pools] == [False] * 3


def test_reinstate_for_one_pool_leaves_the_others_alone(kit: Kit) -> None:
    world = World(kit, a={})
    for pool in "pq":
        world.pool(pool, "a", policy=two_stage(CONSECUTIVE))
        world.trip("a", pool)
    assert reinstate(world, "p")
    assert (world.cell("a", "p")["state"], world.cell("a", "q")["state"]) == ("closed", "open")
    assert not reinstate(world, "unheard of")


def test_a_report_from_before_has_no_say_after_it(kit: Kit) -> None:
    world = World(kit, a={})
    world.pool("p", "a", policy=two_stage(CONSECUTIVE))
    probe = world.probe("a", "p")
    assert reinstate(world)
    world.report(probe, DOWN)
    assert (world.cell("a", "p")["state"], world.cell("a", "p")["failures"]) == ("closed", 0)


def test_who_waits_is_served_by_it(kit: Kit) -> None:
    world = World(kit, a={})
    world.pool("p", "a", policy=two_stage(CONSECUTIVE), queue_secs=60.0)
    world.probe("a", "p")
    waiting = world.ask("p")
    assert not waiting.done()
    reinstate(world)
    assert waiting.get().probe is False


# --- weight 0


def test_weight_zero_drains_for_good_whatever_else_happens(kit: Kit) -> None:
    world = World(kit, a={}, b={"max_concurrent": 1})
    world.pool("p", "a*0", "b*1", least_bad=True, queue_secs=1.0)
    world.pool("q", "a")
    taken = [world.take("p", session=f"s{number}") for number in range(1)]
    waiting = world.ask("p", session="s1")
    kit.advance(1.0)
    assert waiting.get().reasons == {"a": Refusal.DRAINING, "b": Refusal.AT_CAPACITY}
    assert ([each.member for each in taken], world.take("q").member) == (["b"], "a")
    assert reinstate(world)
    assert world.refused("p", tried=frozenset("b")) == DRAINED
