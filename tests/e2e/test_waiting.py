"""Requests that wait in a pool's queue when something else happens, and pools that others fall back on."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import pytest

from busbar.actors.messages import Resolve, Route

from .asks import PATHS, ask
from .world import World

LINE = "pools: {line: {members: [{target: slow}], on_exhausted: 'queue:20000'}}"
ONE_SLOT = {"slow": "max_concurrent: 1"}


async def waiting(world: World, count: int) -> None:
    async with asyncio.timeout(5):
        while (await world.stats())["pools"]["line"]["waiting"] != count:
            await asyncio.sleep(0.01)


def send(world: World, pool: str) -> asyncio.Future[Any]:
    return asyncio.ensure_future(world.post(PATHS["openai"], ask("openai", pool)))


async def test_a_caller_that_leaves_the_queue_leaves_no_task_behind() -> None:
    async with World({"slow": "openai:fault-slow"}, LINE, model_keys=ONE_SLOT) as world:
        first = send(world, "line")
        await world.providers.until(lambda: world.providers.open_requests == 1)
        await waiting(world, 0)
        before = len(asyncio.all_tasks())
        second = send(world, "line")
        await waiting(world, 1)
        assert len(asyncio.all_tasks()) > before
        second.cancel()
        await waiting(world, 0)
        async with asyncio.timeout(5):
            while len(asyncio.all_tasks()) > before:
                await asyncio.sleep(0.01)
        world.providers.release()
        assert (await first).status == 200
        assert (await world.member("slow"))["free_slots"] == 1


async def test_a_pool_that_crashes_answers_who_waited_with_when_to_come_back(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.CRITICAL)
    async with World({"slow": "openai:fault-slow"}, LINE, model_keys=ONE_SLOT) as world:
        first = send(world, "line")
        await world.providers.until(lambda: world.providers.open_requests == 1)
        second = send(world, "line")
        await waiting(world, 1)
        root = next(ref for ref in world.gateway.system.children() if ref.name == "gateway")
        directory = await root.ask(Resolve())
        directory.pools["line"].tell(Route(tried=None))  # type: ignore[arg-type]
        answer = await second
        assert (answer.status, answer.headers["retry-after"]) == (503, "1")
        world.providers.release()
        assert (await first).status == 200


async def test_a_fallback_pool_keeps_to_its_own_affinity_and_prices() -> None:
    """What the first pool does not ask of a request, the second may want to know."""
    models = {"down": "openai:demo", "cheap": "openai:demo", "dear": "openai:demo"}
    config = """
pools:
  empty: {members: [{target: down, weight: 0}], on_exhausted: "fallback_pool:thrifty"}
  sticky: {members: [{target: down, weight: 0}], affinity: {}, on_exhausted: "fallback_pool:plain"}
  thrifty: {members: [{target: dear, weight: 9}, {target: cheap}], strategy: cheapest}
  plain: {members: [{target: dear}, {target: cheap}]}
governance: {prices: {dear: {input: 0, output: 9}, cheap: {input: 0, output: 1}}}
"""
    async with World(models, config) as world:
        for _ in range(4):
            assert (await world.post(PATHS["openai"], ask("openai", "empty"))).status == 200
        assert ((await world.member("cheap"))["ok"], (await world.member("dear"))["ok"]) == (4, 0)
        for _ in range(4):
            await world.post(PATHS["openai"], ask("openai", "sticky"), {"x-session-id": "one"})
        assert ((await world.member("cheap"))["ok"], (await world.member("dear"))["ok"]) == (6, 2)
