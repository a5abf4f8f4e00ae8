"""What is under way while the configuration changes: over real sockets."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from openai import AsyncOpenAI

from busbar.gateway import BusbarGateway
from busbar.http.config_admin import NotReloaded

from .asks import PATHS, ask
from .governed import ADMIN
from .test_reload import TOKEN, FiledWorld, world

SLOW = {"gpt": "openai:fault-paced-50"}
ONE_SLOT = {"gpt": "max_concurrent: 1"}
LINE = f"{TOKEN}\npools: {{line: {{members: [{{target: gpt}}], on_exhausted: 'queue:20000'}}}}"


@asynccontextmanager
async def a_stream(it: FiledWorld) -> AsyncIterator[Any]:
    """One that runs, of the model gpt."""
    client = AsyncOpenAI(base_url=f"{it.gateway.url}/v1", api_key="unused")
    async with client:
        stream = await client.chat.completions.create(
            model="gpt", messages=[{"role": "user", "content": "Hi"}], stream=True
        )
        await anext(stream)
        yield stream


async def until_it_waits(it: FiledWorld) -> None:
    async with asyncio.timeout(10):
        while not (await it.stats())["pools"]["line"]["waiting"]:
            await asyncio.sleep(0.01)


async def test_who_waits_in_a_queue_is_answered_by_a_model_that_a_reload_brings() -> None:
    async with world(LINE, models=SLOW, model_keys=ONE_SLOT) as it, a_stream(it):
        waiting = asyncio.create_task(it.post(PATHS["openai"], ask("openai", "line")))
        await until_it_waits(it)
        it.change("models:\n", "models:\n  mini: {provider: demo-openai, upstream_model: demo}\n")
        it.change("[{target: gpt}]", "[{target: gpt}, {target: mini}]")
        await it.reload()
        assert (await waiting).status == 200
        mini = await it.member("mini")
        assert (mini["ok"], mini["inflight"]) == (1, 0)


async def test_who_waits_for_a_member_that_became_another_one_is_sent_to_that_one() -> None:
    async with world(LINE, models=SLOW, model_keys=ONE_SLOT) as it, a_stream(it):
        waiting = asyncio.create_task(it.post(PATHS["openai"], ask("openai", "line")))
        await until_it_waits(it)
        it.change("fault-paced-50", "demo")
        await it.reload()
        answer = await waiting
        assert (answer.status, answer.json()["model"]) == (200, "demo")


async def test_a_fault_of_a_member_that_came_later_is_told_to_who_waited_for_it() -> None:
    async with world(LINE, models=SLOW, model_keys=ONE_SLOT) as it, a_stream(it):
        waiting = asyncio.create_task(it.post(PATHS["openai"], ask("openai", "line")))
        await until_it_waits(it)
        it.change("models:\n", "models:\n  mini: {provider: demo-openai, upstream_model: demo, max_concurrent: 1}\n")
        await it.reload()
        await it.post("/admin/faults", {"member": "mini", "kind": "500", "secs": 60}, ADMIN)
        it.change("[{target: gpt}]", "[{target: mini}]")
        await it.reload()
        assert "injected on purpose" in (await waiting).body.decode()


async def test_a_pool_that_goes_and_comes_back_still_serves_who_waits_in_it() -> None:
    async with world(LINE, models=SLOW, model_keys=ONE_SLOT) as it, a_stream(it) as stream:
        waiting = asyncio.create_task(it.post(PATHS["openai"], ask("openai", "line")))
        await until_it_waits(it)
        pools = it.text[it.text.index("pools:") :]
        it.change(pools, "")
        await it.reload()
        it.text += pools
        await it.reload()
        assert [chunk async for chunk in stream]
        assert (await waiting).status == 200


async def test_what_a_reload_retires_is_gone_with_the_last_request_that_knew_it() -> None:
    async with world(models={**SLOW, "claude": "anthropic:demo"}) as it:
        before = len((await it.stats())["actors"])
        async with a_stream(it) as stream:
            it.change("  gpt:\n", "  other:\n")
            await it.reload()
            it.change("  claude:\n", "  sonnet:\n")
            await it.reload()
            assert {"direct:gpt", "direct:claude"} <= {actor["name"] for actor in (await it.stats())["actors"]}
            assert [chunk async for chunk in stream]
        async with asyncio.timeout(10):
            while len((await it.stats())["actors"]) > before:
                await asyncio.sleep(0.01)


async def test_reload_after_reload_leaves_nothing_behind() -> None:
    async with world() as it:
        before = await it.stats()
        for number in range(20):
            name = f"m{number}"
            it.text = it.text.replace("models:\n", f"models:\n  {name}: {{provider: demo-openai}}\n", 1)
            await it.reload()
            assert await it.says(name) == 200
            it.text = it.text.replace(f"  {name}: {{provider: demo-openai}}\n", "")
            await it.reload()
        after = await it.stats()
        assert [actor["name"] for actor in after["actors"]] == [actor["name"] for actor in before["actors"]]
        assert after["process"]["tasks"] <= before["process"]["tasks"] + 1


async def test_who_asked_for_a_reload_and_went_away_gets_it_all_the_same(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level("INFO", "busbar.audit")
    async with world() as it:
        it.change("models:\n", "models:\n  mini: {provider: demo-openai, upstream_model: demo}\n")
        asked = asyncio.create_task(it.gateway.reloader.reload("admin"))
        await asyncio.sleep(0)
        asked.cancel()
        assert (await it.reload())["generation"] is None, "the one before it is done by then"
        assert await it.says("mini") == 200
        assert "who=admin action=reload generation=2 changes=1 done" in caplog.text


async def test_nothing_is_reloaded_before_the_start_nor_after_the_end() -> None:
    async with world() as it:
        it.change("models:\n", "models:\n  mini: {provider: demo-openai}\n")
        with pytest.raises(NotReloaded, match="has not started yet"):
            await BusbarGateway(it.gateway.config, load=it.load).reloader.reload("admin")
        async with a_stream(it):
            stopping = asyncio.create_task(it.gateway.stop())
            await asyncio.sleep(0)
            with pytest.raises(NotReloaded, match="is stopping"):
                await it.gateway.reloader.reload("admin")
            await stopping


async def test_a_key_that_rested_is_tried_where_the_account_is_now() -> None:
    """What another address thought of it says nothing."""
    several = {"demo-openai": "api_key_env: null, api_keys: [{env: WRONG}, {env: PROVIDER_KEY}]"}
    async with world(provider_keys=several) as it:

        async def rests() -> list[bool]:
            keys = (await it.stats())["credentials"]["demo-openai"]["keys"]
            return [key["benched_for"] is not None for key in keys]

        assert await it.says("gpt") == 200
        assert await rests() == [True, False]
        it.change("models:\n", "models:\n  mini: {provider: demo-openai}\n")
        await it.reload()
        assert await rests() == [True, False], "the account is the same"
        at = f"base_url: {it.providers.base_url}"
        it.text = it.text.replace(at, at.replace("127.0.0.1", "localhost"))
        await it.reload()
        assert await rests() == [False, False]
