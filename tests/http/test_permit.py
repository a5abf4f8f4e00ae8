"""Asking a pool: what is there at once, what is waited for, and what becomes of it when the caller goes away."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from busbar.actors.member import Member, MemberSpec
from busbar.actors.messages import Assignment, Exhausted, Refusal, Route, Snapshot
from busbar.actors.pool import Pool, PoolMember, PoolSpec
from busbar.actors.runtime import ActorSystem, LoopFuture, LoopRef
from busbar.actors.supervision import RestartPolicy
from busbar.http.permit import Permit, ask_at_once, wait_for


async def ask(pool: LoopRef, route: Route) -> Assignment | Exhausted:
    reply = ask_at_once(pool, route)
    return await wait_for(reply, pool, route) if isinstance(reply, LoopFuture) else reply


class Tree:
    """One member with one slot, and a pool in which one may wait for it."""

    def __init__(self, system: ActorSystem) -> None:
        spec = MemberSpec(model="a", provider="acme", protocol="openai", max_concurrent=1)
        self.member = system.spawn(Member, spec, name="member:a")
        line = PoolMember(model="a", ref=self.member)
        self.pool = system.spawn(
            Pool, PoolSpec(name="p", members=(line,), policy=RestartPolicy(), queue_secs=60.0), name="pool:p"
        )

    def take(self) -> Permit:
        reply = ask_at_once(self.pool, Route())
        assert isinstance(reply, Assignment)
        return Permit(reply)

    def shown(self, ref: LoopRef, what: str) -> object:
        return ref.ask(Snapshot(), block=True)[what]


@pytest.fixture
async def tree() -> AsyncIterator[Tree]:
    system = ActorSystem(register=False)
    yield Tree(system)
    await system.stop()


async def test_a_slot_that_is_free_is_there_at_once_and_given_back_once(tree: Tree) -> None:
    permit = tree.take()
    assert tree.shown(tree.member, "inflight") == 1
    permit.report(None, 5.0, refund=False)
    permit.release()
    assert [tree.shown(tree.member, what) for what in ("inflight", "ok", "ttft_ms")] == [0, 1, 5.0]


async def test_who_has_to_wait_gets_the_slot_when_it_is_free(tree: Tree) -> None:
    permit, route = tree.take(), Route(request_id="waits")
    asked = ask_at_once(tree.pool, route)
    assert isinstance(asked, LoopFuture)
    waiting = asyncio.create_task(wait_for(asked, tree.pool, route))
    await asyncio.sleep(0)
    permit.release()
    assert isinstance(await waiting, Assignment)


@pytest.mark.parametrize("answered", [False, True])
async def test_a_caller_that_goes_away_leaves_neither_its_place_nor_a_slot(tree: Tree, answered: bool) -> None:
    permit = tree.take()
    waiting = asyncio.create_task(ask(tree.pool, Route(request_id="goes away")))
    await asyncio.sleep(0)
    assert tree.shown(tree.pool, "waiting") == 1
    if answered:
        permit.release()
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    permit.release()
    assert (tree.shown(tree.pool, "waiting"), tree.shown(tree.member, "inflight")) == (0, 0)


@pytest.mark.parametrize("waits", [False, True])
async def test_a_pool_that_is_not_there_has_nobody(tree: Tree, waits: bool) -> None:
    nobody = Exhausted(reasons={}, retry_after_secs=1.0)
    if waits:
        tree.take()
        waiting = asyncio.create_task(ask(tree.pool, Route()))
        await asyncio.sleep(0)
        tree.pool.stop()
        assert await waiting == nobody
    else:
        tree.pool.stop()
        assert ask_at_once(tree.pool, Route()) == nobody


async def test_a_pool_that_has_nobody_says_why(tree: Tree) -> None:
    tree.member.stop()
    assert await ask(tree.pool, Route()) == Exhausted(reasons={"a": Refusal.DEAD}, retry_after_secs=60.0)
