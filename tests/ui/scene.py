"""A gateway in the middle of its day, for pictures: load, a member that is out, one that is tried again, one that was
broken on purpose, keys near their limits."""

from __future__ import annotations

import asyncio
import math
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from tests.e2e.governed import ADMIN, GovernedWorld, Key
from tests.e2e.world import World

MODELS = {
    "claude-sonnet": "anthropic:fault-paced-35",
    "gpt-mini": "openai:fault-paced-20",
    "gemini-flash": "gemini:fault-paced-12",
    "bedrock-nova": "bedrock:fault-500",
    "command-r": "cohere:fault-slow",
}
BREAKER = (
    "breaker: {{base_cooldown_secs: {secs}, max_cooldown_secs: 90, trip: {{mode: consecutive, consecutive_n: 2}}}}"
)
POOLS = f"""
pools:
  fast:
    strategy: least_busy
    members: [{{target: gpt-mini, weight: 3}}, {{target: gemini-flash, weight: 2}}]
    {BREAKER.format(secs=30)}
  smart:
    members: [{{target: claude-sonnet, weight: 4}}, {{target: bedrock-nova, weight: 2}}, {{target: gpt-mini}}]
    {BREAKER.format(secs=45)}
  careful:
    members: [{{target: command-r, weight: 50}}, {{target: claude-sonnet}}]
    {BREAKER.format(secs=1)}
"""
SAID = "The busbar takes one feed and fans it out over many breakered circuits, each of them with slots of its own."


@asynccontextmanager
async def scene(folder: Path, secs: float) -> AsyncIterator[World]:
    """After so many seconds of traffic, which goes on meanwhile."""
    keys = {name: f"max_concurrent: {slots}" for name, slots in zip(MODELS, (12, 24, 24, 8, 6), strict=True)}
    async with GovernedWorld(folder, MODELS, POOLS, model_keys=keys) as world:
        holders = [
            await world.key("checkout-service", max_budget_cents=2, rpm_limit=200),
            await world.key("research", max_budget_cents=40, budget_period="daily", rpm_limit=400, tpm_limit=60_000),
            await world.key("ci", rpm_limit=120),
        ]
        running = asyncio.create_task(_traffic(world, holders))
        try:
            await _break(world, holders[1])
            await asyncio.sleep(secs)
            yield world
        finally:
            running.cancel()
            world.providers.release()
            await asyncio.gather(running, return_exceptions=True)


async def _break(world: World, key: Key) -> None:
    """`command-r` fails until its breaker opens, and when it is tried again, nobody knows yet how that ends."""
    await world.post("/admin/faults", {"member": "command-r", "kind": "500", "secs": 60}, ADMIN)
    for _ in range(3):
        await _ask(world, "careful", key)
    async with world.http.delete("/admin/faults/command-r", headers=ADMIN):
        pass


async def _traffic(world: World, keys: list[Key]) -> None:
    dice = random.Random(7)
    asked: set[asyncio.Task[None]] = set()
    try:
        for tick in range(100_000):
            for _ in range(round(0.8 + 0.6 * math.sin(tick / 9) + dice.random())):
                pool = dice.choices(("fast", "smart", "careful"), (6, 5, 0.4))[0]
                key = dice.choices(keys, (5, 3, 1))[0]
                asked.add(task := asyncio.create_task(_ask(world, pool, key)))
                task.add_done_callback(asked.discard)
            await asyncio.sleep(0.25)
    finally:
        for task in asked:
            task.cancel()


async def _ask(world: World, pool: str, key: Key) -> None:
    body = {"model": pool, "stream": True, "max_tokens": 60, "messages": [{"role": "user", "content": SAID}]}
    await world.post("/v1/chat/completions", body, {"authorization": f"Bearer {key.secret}"})
