"""The root of the tree: what it makes, who is where, and what happens when a member dies."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any

import pytest

from busbar.actors.continuity import Continuity
from busbar.actors.gateway import Gateway, GatewayPlan, PoolLine, PoolPlan
from busbar.actors.journal import Journal
from busbar.actors.member import Member, MemberSpec
from busbar.actors.messages import (
    Assignment,
    Directory,
    Drain,
    Exhausted,
    Join,
    Refusal,
    Report,
    Resolve,
    Route,
    Snapshot,
    Terms,
)
from busbar.actors.metrics import Metrics
from busbar.actors.pool import Pool
from busbar.actors.runtime import LoopRef
from busbar.actors.supervision import (
    BreakerSettings,
    CellView,
    ChildView,
    Directive,
    Escalate,
    Outcome,
    Resume,
    SupervisionPolicy,
)
from busbar.protocols.failures import FailureClass
from busbar.testing import Kit


@pytest.fixture(autouse=True)
def _quiet(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.CRITICAL, "busbar.actors")


@pytest.fixture
def kit() -> Iterator[Kit]:
    with Kit() as kit:
        yield kit


def member(model: str, **fields: Any) -> MemberSpec:
    return MemberSpec(model=model, provider="acme", protocol="openai", **fields)


def pool(name: str, *models: str, **fields: Any) -> PoolPlan:
    return PoolPlan(name=name, members=tuple(PoolLine(model=model) for model in models), **fields)


PLAN = GatewayPlan(members=(member("a"), member("b")), pools=(pool("fast", "a", "b"), pool("a", "b")), generation=3)


class Tree:
    """A gateway and its directory."""

    def __init__(self, kit: Kit, plan: GatewayPlan = PLAN) -> None:
        self.kit = kit
        self.root = kit.spawn(Gateway, plan)
        self.directory: Directory = kit.ask(self.root, Resolve())

    def take(self, ref: LoopRef, **fields: Any) -> Assignment:
        reply = self.kit.ask(ref, Route(**fields))
        assert isinstance(reply, Assignment), reply
        return reply

    def report(self, taken: Assignment, failure: FailureClass | None = None) -> None:
        taken.ref.tell(Report(permit=taken.permit, outcome=Outcome(failure)))
        self.kit.run()

    def cells(self, model: str) -> dict[str, str]:
        shown = self.kit.ask(self.directory.members[model], Snapshot())
        return {name: cell["state"] for name, cell in shown["cells"].items()}

    def crash(self, model: str) -> None:
        """By a message that no actor of ours sends: a pool whose name is a list."""
        self.directory.members[model].tell(Join(pool=[], ref=self.root, policy=None, window_secs=1.0))  # type: ignore[arg-type]
        self.kit.run()
        self.kit.expect_crash(TypeError)


def test_directory_names_everything_once(kit: Kit) -> None:
    tree = Tree(kit)
    directory = tree.directory
    assert directory.generation == 3
    names = {
        "pools": {name: ref.name for name, ref in directory.pools.items()},
        "direct": {name: ref.name for name, ref in directory.direct.items()},
        "members": {name: ref.name for name, ref in directory.members.items()},
        "metrics": directory.metrics.name,
        "continuity": directory.continuity.name,
    }
    assert names == {
        "pools": {"fast": "pool:fast", "a": "pool:a"},
        "direct": {"a": "direct:a", "b": "direct:b"},
        "members": {"a": "member:a", "b": "member:b"},
        "metrics": "metrics",
        "continuity": "continuity",
    }
    assert [ref.name for ref in kit.system.children(tree.root)] == [
        "journal",
        "metrics",
        "continuity",
        "member:a",
        "member:b",
        "pool:fast",
        "pool:a",
        "direct:a",
        "direct:b",
    ]


def test_every_model_has_an_implicit_pool_with_a_cell_of_its_own(kit: Kit) -> None:
    tree = Tree(kit)
    tree.report(tree.take(tree.directory.direct["b"]), FailureClass.AUTH)
    assert tree.cells("b") == {"fast": "closed", "a": "closed", "b": "open"}
    assert kit.ask(tree.directory.direct["b"], Route()) == Exhausted(
        reasons={"b": Refusal.BREAKER_OPEN}, retry_after_secs=1800.0
    )
    assert {tree.take(tree.directory.pools["fast"]).member for _ in range(2)} == {"a", "b"}


def test_pool_named_like_a_model_shares_no_cell_with_it(kit: Kit) -> None:
    plan = GatewayPlan(members=(member("a"),), pools=(pool("a", "a"),))
    tree = Tree(kit, plan)
    tree.report(tree.take(tree.directory.pools["a"]), FailureClass.AUTH)
    assert tree.cells("a") == {"a": "open", "a (direct)": "closed"}
    assert tree.take(tree.directory.direct["a"]).member == "a"


def test_excluded_and_drained_members_are_reachable_by_direct_route_only(kit: Kit) -> None:
    lines = (
        PoolLine(model="a", excluded=True),
        PoolLine(model="b", weight=0),
        PoolLine(model="c", terms=Terms(context_max=9)),
    )
    plan = GatewayPlan(members=(member("a"), member("b"), member("c")), pools=(PoolPlan(name="p", members=lines),))
    tree = Tree(kit, plan)
    taken = tree.take(tree.directory.pools["p"])
    assert (taken.member, taken.terms.context_max) == ("c", 9)
    assert kit.ask(tree.directory.pools["p"], Route(tried=frozenset("c"))).reasons == {"b": Refusal.DRAINING}
    assert [tree.take(tree.directory.direct[model]).member for model in "ab"] == ["a", "b"]


def test_each_pool_is_judged_by_its_own_breaker_settings(kit: Kit) -> None:
    strict = BreakerSettings(mode="consecutive", consecutive_n=1, window_secs=1.0)
    plan = GatewayPlan(members=(member("a"),), pools=(pool("strict", "a", breaker=strict), pool("plain", "a")))
    tree = Tree(kit, plan)
    for name in ("strict", "plain"):
        tree.report(tree.take(tree.directory.pools[name]), FailureClass.NETWORK)
    assert tree.cells("a") == {"strict": "open", "plain": "closed", "a": "closed"}
    kit.advance(1.0)
    shown = kit.ask(tree.directory.members["a"], Snapshot())["cells"]
    assert {name: cell["outcomes"] for name, cell in shown.items()} == {"strict": 0, "plain": 1, "a": 0}


def test_drain_is_shown(kit: Kit) -> None:
    tree = Tree(kit)
    assert kit.ask(tree.root, Snapshot()) == {"generation": 3, "draining": False}
    tree.root.tell(Drain())
    assert kit.ask(tree.root, Snapshot()) == {"generation": 3, "draining": True}


# --- crashes


def test_crashed_member_is_restarted_and_rejoined_by_all_of_its_pools(kit: Kit) -> None:
    tree = Tree(kit)
    held = tree.take(tree.directory.direct["b"])
    tree.report(tree.take(tree.directory.pools["fast"], tried=frozenset("a")), FailureClass.AUTH)
    assert tree.cells("b") == {"fast": "open", "a": "closed", "b": "closed"}
    tree.crash("b")
    assert tree.cells("b") == {"fast": "closed", "a": "closed", "b": "closed"}
    assert tree.take(tree.directory.pools["fast"], tried=frozenset("a")).member == "b"
    tree.report(held, FailureClass.AUTH)
    shown = kit.ask(tree.directory.members["b"], Snapshot())
    assert (shown["inflight"], shown["err"], shown["free_slots"]) == (1, 0, 19)
    assert tree.directory.members["b"] is kit.ask(tree.root, Resolve()).members["b"], "the ref stays valid"


def test_pools_forget_what_a_crashed_member_had_told_them(kit: Kit) -> None:
    tree = Tree(kit, GatewayPlan(members=(member("a", max_concurrent=1),)))
    tree.take(tree.directory.direct["a"])
    assert isinstance(kit.ask(tree.directory.direct["a"], Route()), Exhausted)
    tree.crash("a")
    assert tree.take(tree.directory.direct["a"]).member == "a"


def test_restarts_are_counted_and_siblings_unharmed(kit: Kit) -> None:
    tree = Tree(kit)
    for _ in range(3):
        tree.crash("a")
    restarts = {actor.name: actor.restarts for actor in kit.system.snapshot() if actor.restarts}
    assert restarts == {"member:a": 3}


class StopsTheSystem(SupervisionPolicy):
    """For the root: what has got that far is not mended by another try."""

    def on_outcome(self, cell: CellView, outcome: Outcome, now: float) -> Directive:
        return Resume()

    def on_crash(self, child: ChildView, error: BaseException) -> Directive:
        return Escalate()


def test_member_that_keeps_crashing_escalates_to_the_root_and_stops_the_system() -> None:
    with Kit(policy=StopsTheSystem()) as kit:
        tree = Tree(kit)
        for _ in range(5):
            tree.crash("a")
        assert kit.system.failure is None
        tree.crash("a")
        kit.expect_crash(TypeError)  # the gateway's, with the same error
        assert isinstance(kit.system.failure, TypeError)
        assert not tree.root.is_alive()
        assert kit.system.children() == []


def test_crashes_further_apart_than_the_window_do_not_escalate(kit: Kit) -> None:
    tree = Tree(kit)
    for _ in range(12):
        tree.crash("a")
        kit.advance(10.0)
    assert kit.system.failure is None
    assert tree.take(tree.directory.direct["a"]).member == "a"


# --- the end


def test_shutdown_stops_children_before_parents_and_pools_before_their_members(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    stopped: list[str] = []
    for kind in (Gateway, Member, Pool, Metrics, Journal, Continuity):
        monkeypatch.setattr(kind, "on_stop", lambda actor: stopped.append(actor.name))
    with Kit() as kit:
        Tree(kit)
    assert stopped == [
        "direct:b",
        "direct:a",
        "pool:a",
        "pool:fast",
        "member:b",
        "member:a",
        "continuity",
        "metrics",
        "journal",
        "gateway",
    ]
