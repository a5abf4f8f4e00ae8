"""Active probes: `Examine` asks whether one may be sent, and what it finds out counts for all cells."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from routing_actors import CONSECUTIVE, DOWN, Says, World, two_stage

from busbar.actors.messages import Assignment, Examination, Examine, Exhausted, MemberStarted, Refusal, Route
from busbar.actors.supervision import BreakerSettings, Restart, Resume, Throttle
from busbar.protocols.failures import FailureClass
from busbar.testing import Kit, seeds


@pytest.fixture
def kit() -> Iterator[Kit]:
    with Kit() as kit:
        yield kit


@pytest.fixture
def world(kit: Kit) -> World:
    """One member in two pools, each of which trips after three failures in a row, for 15 seconds."""
    world = World(kit, a={"max_concurrent": 3})
    world.pool("p", "a", policy=two_stage(CONSECUTIVE))
    world.pool("q", "a", policy=two_stage(CONSECUTIVE))
    return world


def states(world: World) -> tuple[str, str]:
    cells = world.show("a")["cells"]
    return cells["p"]["state"], cells["q"]["state"]


# --- whether one may be sent


def test_only_open_wants_something_to_find_out(world: World) -> None:
    assert world.examine("a", only_open=True) is None
    world.trip("a", "p")
    assert world.examine("a", only_open=True) is not None


def test_a_well_member_is_examined_too_and_one_probe_at_a_time(world: World) -> None:
    first = world.examined("a")
    assert world.examine("a") is None
    world.report(first)
    assert world.examine("a") is not None


def test_an_examination_takes_a_slot_and_nothing_of_the_lifetime_budget(kit: Kit) -> None:
    world = World(kit, a={"max_concurrent": 1, "max_requests": 5})
    world.pool("p", "a")
    examination = world.examined("a")
    assert (world.show("a")["inflight"], world.show("a")["budget"]) == (1, 5)
    assert world.refused("p").reasons == {"a": Refusal.AT_CAPACITY}
    world.release(examination)
    taken = world.take("p")
    assert world.examine("a") is None, "no slot is free"
    world.release(taken)
    assert (world.show("a")["inflight"], world.show("a")["budget"]) == (0, 4)


def test_there_is_never_a_second_probe_for_a_cell(world: World) -> None:
    probe = world.probe("a", "p")
    assert world.examine("a") is None, "traffic's own is out"
    world.release(probe)
    examination = world.examined("a")
    assert world.examine("a") is None
    assert world.refused("p") == Exhausted(reasons={"a": Refusal.PROBE_IN_FLIGHT}, retry_after_secs=2.0)
    world.release(examination)
    assert world.take("p").probe, "its place is free again"


def test_traffic_to_closed_cells_goes_on_beside_it(world: World) -> None:
    world.trip("a", "p")
    world.examined("a")
    assert world.take("q").probe is False


# --- what it finds out


def test_success_closes_all_cells_even_while_they_cool(world: World) -> None:
    world.trip("a", "p")
    world.trip("a", "q")
    world.report(world.examined("a"))
    assert states(world) == ("closed", "closed")
    cell = world.cell("a", "p")
    assert (cell["streak"], cell["trips"], cell["outcomes"], cell["consecutive_failures"]) == (0, 1, 0, 0)
    assert not world.take("p").probe


def test_success_ends_what_traffic_s_probe_in_another_pool_was_to_find_out(world: World) -> None:
    probe = world.probe("a", "p")
    world.trip("a", "q")
    world.report(world.examined("a"))
    assert states(world) == ("closed", "closed")
    world.report(probe, DOWN)
    assert world.cell("a", "p")["failures"] == 0, "it is late"


def test_failure_while_cooling_changes_nothing(world: World) -> None:
    world.trip("a", "p")
    world.kit.advance(5.0)
    before = world.cell("a", "p")
    world.report(world.examined("a"), DOWN, retry_after_secs=9_000.0)
    assert world.cell("a", "p") == before


def test_failure_opens_a_due_cell_again_for_longer(world: World) -> None:
    world.trip("a", "p")
    world.kit.advance(15.0)
    world.report(world.examined("a"), DOWN)
    cell = world.cell("a", "p")
    assert (cell["state"], cell["streak"], cell["trips"], cell["cooldown_remaining_s"]) == ("open", 2, 1, 30.0)


def test_failure_opens_a_half_open_cell_again(world: World) -> None:
    world.release(world.probe("a", "p"))
    world.report(world.examined("a"), FailureClass.TIMEOUT)
    assert (world.cell("a", "p")["state"], world.cell("a", "p")["streak"]) == ("open", 2)


def test_outcomes_count_in_closed_cells_as_a_request_s_would(world: World) -> None:
    world.report(world.examined("a"))
    for _ in range(2):
        world.report(world.examined("a"), DOWN)
    assert [(world.cell("a", pool)["outcomes"], world.cell("a", pool)["failures"]) for pool in "pq"] == [(3, 2)] * 2
    world.report(world.examined("a"), DOWN)
    assert states(world) == ("open", "open")


def test_a_cell_that_tripped_meanwhile_is_not_judged_by_its_failure(world: World) -> None:
    examination = world.examined("a")
    world.trip("a", "p")
    before = world.cell("a", "p")
    world.report(examination, DOWN)
    assert (world.cell("a", "p"), world.cell("a", "q")["failures"]) == (before, 1)


def test_release_lets_go_of_everything(world: World) -> None:
    world.trip("a", "p")
    before = world.show("a")
    world.release(world.examined("a"))
    assert world.show("a") == before
    world.kit.advance(15.0)
    assert world.take("p").probe


@pytest.mark.parametrize("failure", [FailureClass.CLIENT_ERROR, FailureClass.CONTEXT_LENGTH])
def test_no_verdict_lets_go_as_well(world: World, failure: FailureClass) -> None:
    world.trip("a", "p")
    world.kit.advance(15.0)
    world.report(world.examined("a"), failure)
    assert (world.cell("a", "p")["streak"], world.take("p").probe) == (1, True)


def test_a_waiting_request_is_served_when_an_examination_finds_the_member_well(kit: Kit) -> None:
    world = World(kit, a={})
    world.pool("p", "a", queue_secs=60.0, policy=two_stage(CONSECUTIVE))
    world.trip("a", "p")
    examination = world.examined("a")
    waiting = world.ask("p")
    assert not waiting.done()
    world.report(examination)
    assert isinstance(waiting.get(), Assignment)


def test_the_policy_hears_of_it_and_its_directive_counts(kit: Kit) -> None:
    world = World(kit, a={"max_concurrent": 8})
    policy = Says(lambda cell, outcome: Throttle(cell.slots // 2))
    world.pool("p", "a", policy=policy)
    world.report(world.examined("a"))
    assert ([view.probe for view in policy.seen], world.cell("a", "p")["slots"]) == ([False], 4)


def test_an_examination_of_an_instance_that_crashed_is_forgotten(kit: Kit) -> None:
    world = World(kit, a={"max_concurrent": 2})
    world.pool("p", "a", policy=Says(lambda cell, outcome: Restart() if outcome.failure is DOWN else Resume()))
    examination = world.examined("a")
    world.report(world.take("p"), DOWN)
    kit.expect_crash()
    world.pools["p"].tell(MemberStarted("a"))
    kit.run()
    before = world.show("a")
    world.report(examination, FailureClass.AUTH)
    world.release(examination)
    assert world.show("a") == before
    assert world.examine("a") is not None


# --- any order


@pytest.mark.parametrize("seed", seeds(60))
def test_half_open_is_single_flight_for_traffic_and_examinations_together(seed: int) -> None:
    with Kit(seed) as kit:
        world = World(kit, a={"max_concurrent": 50})
        settings = BreakerSettings(mode="consecutive", consecutive_n=1, base_cooldown_secs=2.0)
        for pool in "pq":
            world.pool(pool, "a", policy=two_stage(settings))
            world.report(world.take(pool), DOWN)
        kit.advance(2.0)
        routes = [world.pools[pool].ask(Route()) for pool in "pqpqpq"]
        exams = [world.members["a"].ask(Examine(only_open=kit.random.random() < 0.5)) for _ in range(3)]
        kit.run()
        probes = [(each.get().pool) for each in routes if isinstance(each.get(), Assignment)]
        examinations = [each.get() for each in exams if isinstance(each.get(), Examination)]
        assert len(examinations) <= 1
        assert len(set(probes)) == len(probes)
        if not examinations:
            assert sorted(probes) == ["p", "q"]
        for each in routes:
            if isinstance(each.get(), Assignment):
                assert each.get().probe
