"""What retires at a reload ends, whatever happens to it; and a reload that cannot be applied changes nothing."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest
from msgspec.structs import replace
from test_reload import PLAN, Tree, member, pool

from busbar.actors.gateway import GatewayPlan, PolicyUnusable, PoolLine, PoolPlan
from busbar.actors.messages import Acquire, Examine, Release, Reload, Report, Resolve, Route
from busbar.actors.pool import RETIRED_SECS
from busbar.actors.runtime import LoopRef
from busbar.actors.supervision import Outcome, PoolContext, SupervisionPolicy
from busbar.protocols.failures import FailureClass
from busbar.testing import Kit


@pytest.fixture
def kit(caplog: pytest.LogCaptureFixture) -> Iterator[Kit]:
    caplog.set_level(logging.CRITICAL, "busbar.actors")
    with Kit() as kit:
        yield kit


@pytest.mark.parametrize("verdict", [True, False])
def test_a_member_that_is_probed_while_it_is_replaced_stops_when_the_probe_is_over(kit: Kit, verdict: bool) -> None:
    tree = Tree(kit)
    old = tree.directory.members["a"]
    probe = kit.ask(old, Examine(only_open=False))
    tree.reload(replace(PLAN, members=(member("a", identity="elsewhere"), member("b"))))
    assert old.is_alive()
    outcome = Outcome(FailureClass.SERVER_ERROR)
    old.tell(Report(permit=probe.permit, outcome=outcome) if verdict else Release(permit=probe.permit))
    kit.run()
    assert not old.is_alive()


def crash(kit: Kit, ref: LoopRef) -> None:
    ref.tell(Acquire(pool=[], ref=ref, route=Route()) if "member" in ref.name else Route(tried=None))  # type: ignore[arg-type]
    kit.run()
    kit.expect_crash(TypeError)


def test_a_member_that_retires_and_crashes_stops(kit: Kit) -> None:
    tree = Tree(kit)
    assert tree.take().member == "a"
    old = tree.directory.members["a"]
    tree.reload(replace(PLAN, members=(member("a", identity="elsewhere"), member("b"))))
    assert old.is_alive()
    crash(kit, old)
    assert not old.is_alive()


def test_a_pool_that_retires_and_crashes_still_ends_in_time(kit: Kit) -> None:
    tree = Tree(kit)
    old = tree.directory.pools["fast"]
    tree.reload(replace(PLAN, pools=()))
    crash(kit, old)
    assert kit.ask(old, Route()).member in "ab"
    kit.advance(RETIRED_SECS + 1)
    assert not old.is_alive()


def test_what_is_refunded_was_taken_from_the_budget_before(kit: Kit) -> None:
    unlimited = GatewayPlan(members=(member("a"),), pools=(pool("fast", "a"),))
    limited = replace(unlimited, members=(member("a", max_requests=3),))
    tree = Tree(kit, unlimited)
    early = tree.take()
    tree.reload(limited)
    assert tree.shown("a")["budget"] == 2
    early.ref.tell(Release(permit=early.permit, refund=True))
    kit.run()
    assert tree.shown("a")["budget"] == 3, "and not one more than it may have"
    tree.report(tree.take())
    tree.reload(unlimited)
    tree.reload(limited)
    assert tree.shown("a")["budget"] == 2


def test_credits_of_great_weights_do_not_weigh_on_small_ones(kit: Kit) -> None:
    def weighted(a: int, b: int) -> GatewayPlan:
        lines = (PoolLine(model="a", weight=a), PoolLine(model="b", weight=b))
        return replace(
            PLAN,
            members=(member("a", max_concurrent=999), member("b", max_concurrent=999)),
            pools=(PoolPlan(name="fast", members=lines),),
        )

    tree = Tree(kit, weighted(900, 100))
    assert [tree.take().member for _ in range(4)] == ["a"] * 4
    tree.reload(weighted(900, 100))
    assert [tree.take().member for _ in range(3)] == ["a", "b", "a"], "as if nothing had been"
    tree.reload(weighted(1, 1))
    assert [tree.take().member for _ in range(6)] == ["a", "b"] * 3


def test_a_model_may_be_called_what_an_actor_would_be(kit: Kit) -> None:
    plan = GatewayPlan(members=(member("a"), member("a#2")), pools=(pool("fast", "a"),))
    tree = Tree(kit, plan)
    tree.take()
    tree.reload(replace(plan, members=(member("a", identity="elsewhere"), member("a#2"))))
    assert tree.directory.members["a"].name == "member:a#3"
    assert tree.take().ref == tree.directory.members["a"]


def test_a_policy_that_cannot_be_made_leaves_everything_as_it_is(kit: Kit) -> None:
    def broken(context: PoolContext) -> SupervisionPolicy:
        raise OSError("its file is gone")

    tree = Tree(kit)
    running, names = tree.take(), tree.names()
    changed = replace(PLAN, members=(member("c"),), pools=(pool("new", "c"), pool("bad", "c", policy=broken)))
    with pytest.raises(PolicyUnusable, match=r"pools\.bad\.supervision: .* OSError: its file is gone"):
        kit.ask(tree.root, Reload(changed))
    kit.run()
    assert kit.ask(tree.root, Resolve()) == tree.directory
    assert tree.names() == names
    tree.report(running)
    assert {tree.take().member for _ in range(2)} == {"a", "b"}
    tree.reload(replace(PLAN, members=(*PLAN.members, member("c"))))
    assert tree.directory.generation == 2


def test_a_pool_that_takes_a_models_name_has_its_members_for_itself(kit: Kit) -> None:
    """Members know pools by name: the model's own pool of before must not leave them in its place."""
    tree = Tree(kit)
    named = replace(PLAN, pools=(*PLAN.pools, pool("a", "a", "b")))
    for plan in (named, PLAN, named):
        tree.reload(plan)
    kit.advance(RETIRED_SECS + 1)
    assert {tree.take("a").member for _ in range(2)} == {"a", "b"}
    assert set(tree.shown("a")["cells"]) == {"fast", "a", "a (direct)"}
