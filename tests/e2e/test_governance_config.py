"""Every key of the section `governance`, by its effect."""

from __future__ import annotations

from pathlib import Path

import pytest

from .governed import ADMIN, GovernedWorld
from .ways import hello, speak
from .world import World

QUESTION = {"model": "gpt", "messages": [{"role": "user", "content": "Hello"}]}


async def spent(world: GovernedWorld) -> float:
    """In cents, for one answer of `gpt`."""
    key = await world.key()
    async with speak("openai", world, key=key.secret) as speaker:
        await speaker.ask("gpt", hello())
    cents: float = (await world.usage(key))["spend_cents"]
    return cents


async def test_enabled_wants_a_key_and_has_pages_for_them(tmp_path: Path) -> None:
    async with World(config="governance: {enabled: false, admin_token: '${T}'}", env={"T": "x" * 20}) as world:
        assert (await world.post("/v1/chat/completions", QUESTION)).status == 200
        assert (await world.post("/admin/keys", {"name": "a"}, {"x-admin-token": "x" * 20})).status == 404
    async with GovernedWorld(tmp_path) as governed:
        assert (await governed.post("/v1/chat/completions", QUESTION)).status == 401
        assert (await governed.post("/admin/keys", {"name": "a"}, ADMIN)).status == 201


async def test_admin_token_is_wanted_by_the_pages_in_either_header(tmp_path: Path) -> None:
    async with GovernedWorld(tmp_path) as world:
        for headers, status in (
            ({}, 401),
            ({"authorization": "Bearer the-operators-owm"}, 401),
            ({"x-admin-token": "the-operators-own"}, 201),
            ({"authorization": "Bearer the-operators-own"}, 201),
        ):
            assert (await world.post("/admin/keys", {"name": "a"}, headers)).status == status


async def test_db_path_is_where_the_database_is(tmp_path: Path) -> None:
    async with GovernedWorld(tmp_path) as world:
        await world.key()
        assert world.database.exists()
        assert sorted(path.name for path in tmp_path.iterdir() if "-" not in path.name) == [
            "governance.db",
            "governance.db.seed",
        ]


@pytest.mark.parametrize(("durability", "recorded"), [("strict", True), ("relaxed", False)])
async def test_durability_says_whether_an_answer_waits_until_it_is_recorded(
    durability: str, recorded: bool, tmp_path: Path
) -> None:
    async with GovernedWorld(tmp_path, governance=f"durability: {durability}") as world:
        key = await world.key()
        async with speak("openai", world, key=key.secret) as speaker:
            await speaker.ask("gpt", hello())
        unwritten = (await world.stats())["ledger"]["unwritten"]
        assert (unwritten == 0) is recorded
        assert (await world.usage(key))["requests"] == 1  # asking for it has it written


async def test_without_any_price_a_request_is_a_cent(tmp_path: Path) -> None:
    async with GovernedWorld(tmp_path, governance="prices: {}") as world:
        assert await spent(world) == 1.0


async def test_price_per_request_cents_is_what_a_request_costs(tmp_path: Path) -> None:
    async with GovernedWorld(tmp_path, governance="price_per_request_cents: 2.5, prices: {}") as world:
        assert await spent(world) == 2.5


async def test_price_per_1k_tokens_cents_is_what_tokens_cost_besides(tmp_path: Path) -> None:
    flat = "price_per_request_cents: 0, price_per_1k_tokens_cents: 1000, prices: {}"
    async with GovernedWorld(tmp_path, governance=flat) as world:
        key = await world.key()
        async with speak("openai", world, key=key.secret) as speaker:
            reply = await speaker.ask("gpt", hello())
        assert reply.usage is not None
        assert (await world.usage(key))["spend_cents"] == reply.usage.input + reply.usage.output


async def test_prices_are_a_models_own(tmp_path: Path) -> None:
    own = "price_per_request_cents: 7, prices: {gpt: {input: 10000, output: 0}}"  # a cent for a token of input
    async with GovernedWorld(tmp_path, governance=own) as world:
        key = await world.key()
        async with speak("openai", world, key=key.secret) as speaker:
            reply = await speaker.ask("gpt", hello())
            await speaker.ask("claude", hello())
        assert reply.usage is not None
        models = {model["model"]: model["spend_cents"] for model in (await world.usage(key))["models"]}
        assert models == {"gpt": reply.usage.input, "claude": 7.0}
