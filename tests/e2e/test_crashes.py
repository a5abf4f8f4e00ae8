"""When an actor crashes in a running gateway."""

from __future__ import annotations

import asyncio
import logging

import pytest

from busbar.actors.messages import Acquire, Resolve, Route

from .asks import PATHS, ask
from .world import World


class Poison:
    """A message part that no handler survives."""

    def __hash__(self) -> int:
        raise RuntimeError("poison")


async def crash(world: World, member: str) -> None:
    root = next(ref for ref in world.gateway.system.children() if ref.name == "gateway")
    directory = await root.ask(Resolve())
    with pytest.raises(RuntimeError, match="poison"):
        await directory.members[member].ask(Acquire(pool=Poison(), ref=root, route=Route()))  # type: ignore[arg-type]


async def test_a_crashed_member_serves_again_with_fresh_state(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.CRITICAL)
    async with World() as world:
        await world.post(PATHS["openai"], ask("openai", "gpt"))
        await crash(world, "gpt")
        assert (await world.post(PATHS["openai"], ask("openai", "gpt"))).status == 200
        member = await world.member("gpt")
        actor = next(row for row in (await world.stats())["actors"] if row["name"] == "member:gpt")
        assert (member["ok"], member["free_slots"], actor["restarts"]) == (1, 20, 1)


async def test_an_actor_that_keeps_crashing_ends_the_process_instead_of_serving_nonsense(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.CRITICAL)
    async with World() as world:
        ended = asyncio.ensure_future(_terminated(world))
        for _ in range(6):
            await crash(world, "gpt")
        async with asyncio.timeout(5):
            assert "poison" in str(await ended)


async def _terminated(world: World) -> BaseException | None:
    try:
        await world.gateway.system.terminated
    except RuntimeError as error:
        return error
    return None


async def test_a_member_that_was_stopped_is_shown_as_dead_and_never_asked() -> None:
    config = "pools: {pool: {members: [{target: gpt, weight: 9}, {target: claude}, {target: idle, weight: 0}]}}"
    models = {"gpt": "openai:demo", "claude": "anthropic:demo", "idle": "openai:demo"}
    async with World(models, config) as world:
        root = next(ref for ref in world.gateway.system.children() if ref.name == "gateway")
        directory = await root.ask(Resolve())
        await directory.members["gpt"].stop()
        for _ in range(3):
            assert (await world.post(PATHS["openai"], ask("openai", "pool"))).status == 200
        refused = await world.post(PATHS["openai"], ask("openai", "gpt"))
        stats = await world.stats()
        assert (refused.status, refused.headers["retry-after"]) == (503, "60")
        assert await world.member("gpt") == {"model": "gpt", "usable": False, "availability": "dead"}
        assert stats["pools"]["pool"]["availability"] == {"gpt": "dead", "claude": "available", "idle": "draining"}
        async with world.http.get("/healthz") as response:
            assert response.status == 200
