"""Active probes over real sockets: members come back, or are found out, without a caller's request."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import pytest

from busbar.config.support import SUPPORTED_PROTOCOLS

from .asks import PATHS, ask
from .world import PROVIDERS, World

HURRY = "interval_secs: 0.02, timeout_secs: 5"
POOL = """
pools:
  pool:
    members: [{target: m}]
    breaker: {base_cooldown_secs: 3600, max_cooldown_secs: 3600, trip: {mode: consecutive, consecutive_n: 1}}
"""
MODELS = {
    "anthropic": ("claude-opus-4-5",),
    "openai": ("gpt-4o", "o4-mini", "gpt-5"),
    "responses": ("gpt-4o", "gpt-5"),
    "gemini": ("gemini-2.5-pro", "gemini-3-pro"),
    "bedrock": ("anthropic.claude-sonnet-4-v1:0", "amazon.nova-pro-v1:0"),
    "cohere": ("command-a-03-2025", "command-a-reasoning-08-2025"),
}
"""Names by which dialects tell what a model takes."""


def probing(mode: str, keys: str = HURRY) -> dict[str, str]:
    return dict.fromkeys(PROVIDERS, f"health: {{mode: {mode}, {keys}}}")


async def until_cell_is(world: World, state: str) -> dict[str, Any]:
    async with asyncio.timeout(10):
        while (member := await world.member("m"))["cells"]["pool"]["state"] != state:
            pass
    return member


@pytest.mark.parametrize(
    ("dialect", "model"), [(dialect, model) for dialect in SUPPORTED_PROTOCOLS for model in MODELS[dialect]]
)
async def test_a_tripped_member_comes_back_without_a_callers_request(
    dialect: str, model: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Half an hour before its cooldown is over. So the provider takes what it is sent as a probe."""
    caplog.set_level(logging.INFO, "busbar.health")
    models = {"m": f"{dialect}:{model}-fault-flaky-1"}
    async with World(models, POOL, provider_keys=probing("dead")) as world:
        assert (await world.post(PATHS["openai"], ask("openai", "pool"))).status in (500, 502)
        member = await until_cell_is(world, "closed")
        sent, probes = world.providers.requests[0], list(world.providers.requests)[1:]
        assert (member["inflight"], member["err"], member["ok"], member["cells"]["pool"]["trips"]) == (0, 1, 0, 1)
        assert len(probes) == 1
        assert (probes[0].path, probes[0].streams) == (sent.path, False)
        assert "Hello" not in probes[0].raw.decode()
        assert "m answers again: its breaker is closed in pool" in caplog.messages
        assert (await world.post(PATHS["openai"], ask("openai", "pool"))).status == 200
        assert (await world.stats())["metrics"]["requests"] == [
            {"ingress_protocol": "openai", "pool": "pool", "outcome": "error", "count": 1},
            {"ingress_protocol": "openai", "pool": "pool", "outcome": "ok", "count": 1},
        ]


@pytest.mark.parametrize(
    ("dialect", "where", "tokens"),
    [
        ("anthropic", ("max_tokens",), 1),
        ("openai", ("max_completion_tokens",), 1),
        ("responses", ("max_output_tokens",), 16),
        ("gemini", ("generationConfig", "maxOutputTokens"), 1),
        ("bedrock", ("inferenceConfig", "maxTokens"), 1),
        ("cohere", ("max_tokens",), 1),
    ],
)
async def test_a_probe_asks_for_as_little_as_its_dialect_lets_it(
    dialect: str, where: tuple[str, ...], tokens: int
) -> None:
    async with World({"m": f"{dialect}:demo"}, provider_keys=probing("active")) as world:
        await world.providers.until(lambda: bool(world.providers.requests))
        said: Any = world.providers.requests[0].body
        for key in where:
            said = said[key]
        assert said == tokens


@pytest.mark.parametrize("dialect", SUPPORTED_PROTOCOLS)
@pytest.mark.parametrize("fault", ["500", "hang", "cut-start", "401", "garbage", "error-200"])
async def test_a_broken_provider_is_found_out_before_a_caller_is(dialect: str, fault: str) -> None:
    keys = probing("active", "interval_secs: 0.02, timeout_secs: 0.1")
    async with World({"m": f"{dialect}:fault-{fault}"}, POOL, provider_keys=keys) as world:
        member = await until_cell_is(world, "open")
        assert member["cells"]["pool"]["trips"] == 1
        answer = await world.post(PATHS["openai"], ask("openai", "pool"))
        assert answer.status == 503
        assert all("Hello" not in request.raw.decode() for request in world.providers.requests)


async def test_the_interval_and_the_mode_are_each_providers_own() -> None:
    models = {"m": "openai:demo", "n": "anthropic:demo"}
    keys = {"demo-openai": f"health: {{mode: active, {HURRY}}}", "demo-anthropic": "health: {mode: active}"}
    async with World(models, provider_keys=keys) as world:
        await world.providers.until(lambda: len(world.providers.requests) >= 5)
        asked = [request.dialect for request in world.providers.requests]
        assert asked.count("openai") >= 4, "the other one's first probe is due within half a minute"


async def test_probes_stop_before_the_door_closes_and_leave_nothing() -> None:
    before = asyncio.all_tasks()
    async with World({"m": "openai:fault-hang"}, provider_keys=probing("active")) as world:
        await world.providers.until(lambda: world.providers.open_requests == 1)
        async with asyncio.timeout(2):
            await world.gateway.stop()
            await world.providers.until(lambda: world.providers.open_requests == 0)
        sent = len(world.providers.requests)
        assert world.providers.cancelled == 1
    assert len(world.providers.requests) == sent
    assert asyncio.all_tasks() == before
