"""A reload of the tree: what is known is kept by identity, what is under way runs to its end."""

from __future__ import annotations

import functools
import logging
from collections.abc import Iterator
from typing import Any

import pytest
from msgspec.structs import replace

from busbar.actors.gateway import Gateway, GatewayPlan, PoolLine, PoolPlan
from busbar.actors.member import MemberSpec
from busbar.actors.messages import (
    Assignment,
    Directory,
    Exhausted,
    Refusal,
    Release,
    Reload,
    Report,
    Resolve,
    Route,
    Snapshot,
)
from busbar.actors.pool import RETIRED_SECS
from busbar.actors.runtime import LoopRef
from busbar.actors.supervision import (
    BreakerSettings,
    CellView,
    Directive,
    Outcome,
    PoolContext,
    Resume,
    SupervisionPolicy,
    Throttle,
)
from busbar.protocols.failures import FailureClass
from busbar.testing import Kit

DOWN = FailureClass.SERVER_ERROR
TRIPS_AT_ONCE = BreakerSettings(mode="consecutive", consecutive_n=1)


@pytest.fixture
def kit() -> Iterator[Kit]:
    with Kit() as kit:
        yield kit


def member(model: str, **fields: Any) -> MemberSpec:
    return MemberSpec(model=model, provider="acme", protocol="openai", **fields)


def pool(name: str, *models: str, **fields: Any) -> PoolPlan:
    fields.setdefault("breaker", TRIPS_AT_ONCE)
    return PoolPlan(name=name, members=tuple(PoolLine(model=model) for model in models), **fields)


PLAN = GatewayPlan(members=(member("a"), member("b")), pools=(pool("fast", "a", "b"),), protocols=("openai",))


class Tree:
    """A gateway and its directory, as they are after the latest reload."""

    def __init__(self, kit: Kit, plan: GatewayPlan = PLAN) -> None:
        self.kit = kit
        self.root = kit.spawn(Gateway, plan)
        self.directory: Directory = kit.ask(self.root, Resolve())

    def reload(self, plan: GatewayPlan) -> Directory:
        before = self.directory
        self.directory = self.kit.ask(self.root, Reload(plan))
        self.kit.run()
        return before

    def take(self, ref: LoopRef | str = "fast", **fields: Any) -> Assignment:
        reply = self.kit.ask(self.directory.pools[ref] if isinstance(ref, str) else ref, Route(**fields))
        assert isinstance(reply, Assignment), reply
        return reply

    def refused(self, name: str = "fast") -> dict[str, Refusal]:
        reply = self.kit.ask(self.directory.pools[name], Route())
        assert isinstance(reply, Exhausted), reply
        return reply.reasons

    def report(self, taken: Assignment, failure: FailureClass | None = None) -> None:
        taken.ref.tell(Report(permit=taken.permit, outcome=Outcome(failure)))
        self.kit.run()

    def shown(self, model: str) -> dict[str, Any]:
        shown: dict[str, Any] = self.kit.ask(self.directory.members[model], Snapshot())
        return shown

    def names(self) -> list[str]:
        return [info.name for info in self.kit.system.snapshot()]


def test_a_member_that_stays_keeps_its_health_its_counters_and_its_running_requests(kit: Kit) -> None:
    tree = Tree(kit)
    tripped, running = tree.take(), tree.take()
    tree.report(tripped, DOWN)
    before = tree.reload(replace(PLAN, members=(*PLAN.members, member("c")), pools=(pool("fast", "a", "b", "c"),)))
    assert tree.directory.members["a"] == before.members["a"]
    assert tree.directory.pools["fast"] == before.pools["fast"]
    a, b = tree.shown("a"), tree.shown("b")
    assert (a["err"], a["cells"]["fast"]["state"], a["cells"]["fast"]["trips"]) == (1, "open", 1)
    assert (b["inflight"], b["ok"]) == (1, 0)
    tree.report(running)
    assert (tree.shown("b")["inflight"], tree.shown("b")["ok"]) == (0, 1)
    assert {tree.take().member for _ in range(4)} == {"b", "c"}


def test_the_generation_is_counted(kit: Kit) -> None:
    tree = Tree(kit)
    for number in (2, 3):
        tree.reload(PLAN)
        assert tree.directory.generation == number
    assert kit.ask(tree.root, Snapshot())["generation"] == 3


def test_a_member_that_is_reached_otherwise_is_another_member(kit: Kit) -> None:
    tree = Tree(kit)
    old = tree.take()
    assert old.member == "a"
    tree.report(tree.take(), DOWN)
    before = tree.reload(replace(PLAN, members=(member("a", identity="elsewhere"), member("b"))))
    assert tree.directory.members["a"] != before.members["a"]
    assert tree.shown("a")["inflight"] == 0
    assert tree.take().ref == tree.directory.members["a"]
    assert before.members["a"].is_alive(), "a request is still with it"
    tree.report(old)
    assert not before.members["a"].is_alive()
    assert tree.shown("a")["ok"] == 0, "that was the other one's"


def test_what_an_old_member_says_late_does_not_concern_the_new_one_of_its_name(kit: Kit) -> None:
    plan = GatewayPlan(members=(member("a", max_concurrent=1),), pools=(pool("fast", "a"),))
    tree = Tree(kit, plan)
    old = tree.take()
    tree.reload(replace(plan, members=(member("a", max_concurrent=1, identity="elsewhere"),)))
    new = tree.take()
    tree.report(old, DOWN)
    assert tree.refused() == {"a": Refusal.AT_CAPACITY}
    tree.report(new)
    assert tree.take().member == "a"


def test_slots_and_budgets_change_in_place(kit: Kit) -> None:
    plan = GatewayPlan(members=(member("a", max_concurrent=2, max_requests=5),), pools=(pool("fast", "a"),))
    tree = Tree(kit, plan)
    first, second = tree.take(), tree.take()
    tree.reload(replace(plan, members=(member("a", max_concurrent=1, max_requests=3),)))
    assert {key: tree.shown("a")[key] for key in ("max_concurrent", "inflight", "free_slots", "budget")} == {
        "max_concurrent": 1,
        "inflight": 2,
        "free_slots": 0,
        "budget": 1,
    }
    tree.report(first)
    assert tree.refused() == {"a": Refusal.AT_CAPACITY}, "one more than it may have is still there"
    tree.report(second)
    tree.report(tree.take())
    assert tree.refused() == {"a": Refusal.BUDGET_EXHAUSTED}
    tree.reload(replace(plan, members=(member("a", max_concurrent=3),)))
    assert (tree.shown("a")["budget"], tree.shown("a")["cells"]["fast"]["slots"]) == (None, 3)
    assert [tree.take().member for _ in range(3)] == ["a", "a", "a"]


def test_a_member_that_crashes_after_a_reload_starts_as_what_it_is_now(
    kit: Kit, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.CRITICAL, "busbar.actors")
    tree = Tree(kit)
    tree.reload(replace(PLAN, members=(member("a", max_concurrent=7), member("b"))))
    tree.directory.members["a"].tell(Report(permit={}, outcome=Outcome(None)))  # type: ignore[arg-type]  # it is unhashable
    kit.run()
    kit.expect_crash(TypeError)
    assert tree.shown("a")["max_concurrent"] == 7
    assert {tree.take().member for _ in range(2)} == {"a", "b"}


def test_weights_currents_and_strategy_change_in_place(kit: Kit) -> None:
    tree = Tree(kit)
    assert [tree.take().member for _ in range(3)] == ["a", "b", "a"]
    heavy = PoolPlan(name="fast", members=(PoolLine(model="a"), PoolLine(model="b", weight=0)))
    tree.reload(replace(PLAN, pools=(heavy,)))
    assert [tree.take().member for _ in range(3)] == ["a", "a", "a"]
    shown = kit.ask(tree.directory.pools["fast"], Snapshot())
    assert shown["picks"] == {"a": 5, "b": 1}


def test_a_member_that_left_a_pool_gets_nothing_new_of_it_and_is_forgotten_when_idle(kit: Kit) -> None:
    tree = Tree(kit)
    tree.report(tree.take())
    running = tree.take()
    assert running.member == "b"
    tree.reload(replace(PLAN, pools=(pool("fast", "a"),)))
    assert [tree.take().member for _ in range(3)] == ["a", "a", "a"]
    assert set(tree.shown("b")["cells"]) == {"fast", "b"}
    tree.report(running)
    assert set(tree.shown("b")["cells"]) == {"b"}


def test_a_member_that_is_gone_stops_when_its_last_request_is_over(kit: Kit) -> None:
    tree = Tree(kit)
    tree.report(tree.take())
    running = tree.take()
    tree.reload(replace(PLAN, members=(member("a"),), pools=(pool("fast", "a"),)))
    assert list(tree.directory.members) == ["a"]
    running.ref.tell(Release(permit=running.permit))
    kit.advance(RETIRED_SECS + 1)
    assert "member:b" not in tree.names()
    assert "direct:b" not in tree.names()


def test_a_request_on_its_way_is_still_routed_by_the_pool_that_is_gone(kit: Kit) -> None:
    tree = Tree(kit)
    before = tree.reload(replace(PLAN, pools=()))
    assert tree.directory.pools == {}
    assert {tree.take(before.pools["fast"]).member for _ in range(2)} == {"a", "b"}
    kit.advance(RETIRED_SECS + 1)
    assert not before.pools["fast"].is_alive()
    assert set(tree.shown("a")["cells"]) == {"a", "fast"}, "its requests are still there"


def test_a_pool_that_comes_back_is_the_one_that_had_retired(kit: Kit) -> None:
    tree = Tree(kit)
    tree.reload(replace(PLAN, pools=()))
    tree.reload(PLAN)
    assert {tree.take().member for _ in range(2)} == {"a", "b"}
    kit.advance(RETIRED_SECS + 1)
    assert {tree.take().member for _ in range(2)} == {"a", "b"}, "it does not retire any more"


def test_who_waits_in_a_queue_is_served_by_a_member_that_a_reload_brings(kit: Kit) -> None:
    plan = GatewayPlan(
        members=(member("a", max_concurrent=1), member("b")), pools=(pool("fast", "a", queue_secs=10.0),)
    )
    tree = Tree(kit, plan)
    tree.take()
    waiting = tree.directory.pools["fast"].ask(Route())
    kit.run()
    assert not waiting.done()
    tree.reload(replace(plan, pools=(pool("fast", "a", "b", queue_secs=10.0),)))
    assert waiting.get().member == "b"


class Learning(SupervisionPolicy):
    """Throttles to one slot less at each failure."""

    def __init__(self) -> None:
        self.seen = 0

    @classmethod
    def create(cls, context: PoolContext, step: int = 1) -> Learning:
        del context, step
        return cls()

    def on_outcome(self, cell: CellView, outcome: Outcome, now: float) -> Directive:
        del now
        self.seen += 1
        return Throttle(max(1, cell.slots - 1)) if outcome.failure else Resume()


def test_a_policy_stays_while_it_and_the_breaker_are_configured_alike(kit: Kit) -> None:
    def plan(step: int) -> GatewayPlan:
        judged = pool("fast", "a", policy=functools.partial(Learning.create, step=step))
        return GatewayPlan(members=(member("a", max_concurrent=5),), pools=(judged,))

    tree = Tree(kit, plan(1))
    tree.report(tree.take(), DOWN)
    assert tree.shown("a")["cells"]["fast"]["slots"] == 4
    tree.reload(plan(1))
    assert tree.shown("a")["cells"]["fast"]["slots"] == 4
    tree.reload(plan(2))
    assert tree.shown("a")["cells"]["fast"]["slots"] == 5, "what the other policy decreed went with it"


def test_other_breaker_settings_judge_the_cell_that_is_there(kit: Kit) -> None:
    tree = Tree(kit)
    tree.report(tree.take(), DOWN)
    assert tree.shown("a")["cells"]["fast"]["state"] == "open"
    tree.reload(replace(PLAN, pools=(pool("fast", "a", "b", breaker=BreakerSettings(window_secs=1.0)),)))
    assert tree.shown("a")["cells"]["fast"]["state"] == "open"
    tree.report(tree.take(), DOWN)
    assert tree.shown("b")["cells"]["fast"]["state"] == "closed", "one failure is not enough any more"
    kit.advance(1.1)
    assert tree.shown("b")["cells"]["fast"]["failures"] == 0, "and the window is shorter"


def test_a_model_whose_name_a_pool_takes_keeps_a_direct_route(kit: Kit) -> None:
    tree = Tree(kit)
    tree.reload(replace(PLAN, pools=(*PLAN.pools, pool("a", "b"))))
    assert tree.take("a").member == "b"
    assert tree.take(tree.directory.direct["a"]).pool == "a (direct)"
    kit.advance(RETIRED_SECS + 1)
    assert tree.take("a").member == "b"
    tree.reload(PLAN)
    assert tree.take(tree.directory.direct["a"]).pool == "a"


def test_many_reloads_leave_no_more_actors_than_one(kit: Kit) -> None:
    tree = Tree(kit)
    many = [replace(PLAN, members=(member("a", identity=n), member("b")), pools=()) for n in range(20)]
    for plan in many:
        tree.reload(plan)
        tree.reload(PLAN)
    kit.advance(RETIRED_SECS + 1)
    assert len(tree.names()) == len(Tree(Kit(), PLAN).names())
