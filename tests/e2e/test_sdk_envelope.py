"""What surrounds an answer, in the eyes of the official SDKs: ids, objects, models, receipts, base URLs."""

from __future__ import annotations

import anthropic
import pytest

from .speakers import Ingress
from .ways import EGRESS, INGRESS, Way, ask, every_way, hello, speak
from .world import World

POOL = "pools: {smart: {members: [{target: claude}, {target: gpt}]}}"


async def test_receipts_are_for_callers_who_ask() -> None:
    body = {"model": "claude", "messages": [{"role": "user", "content": "Hello"}], "seed": 7}
    async with World(EGRESS) as world:
        plain = await world.post("/v1/chat/completions", body)
        asked = await world.post("/v1/chat/completions", body, {"x-busbar-receipt": "1"})
        assert "x-busbar-dropped" not in plain.headers
        assert "seed" in asked.headers["x-busbar-dropped"].split(", ")


@every_way
async def test_object_created_and_model_are_native(way: Way) -> None:
    async with way.world() as world:
        reply = await ask(world, way, hello())
    documents = [model.to_dict(mode="json") for model in reply.raw]  # type: ignore[attr-defined]
    assert reply.model == EGRESS[way.egress].partition(":")[2]
    if way.ingress == "openai":
        kind = "chat.completion.chunk" if way.streamed else "chat.completion"
        assert {(document["object"], document["id"]) for document in documents} == {(kind, reply.id)}
        assert all(document["created"] > 1_700_000_000 for document in documents)
    else:
        message = documents[0]["message"] if way.streamed else documents[0]
        assert (message["type"], message["role"], message["id"]) == ("message", "assistant", reply.id)
    assert reply.headers[{"openai": "x-request-id", "anthropic": "request-id"}[way.ingress]]


@pytest.mark.parametrize("ingress", INGRESS)
async def test_models_are_listed_for_either_sdk(ingress: Ingress) -> None:
    async with World(EGRESS, POOL) as world, speak(ingress, world) as speaker:
        page = await speaker.client.models.list()
        assert {model.id for model in page.data} == {"smart", "claude", "gpt"}


@pytest.mark.parametrize("place", ["claude", "gpt", "smart", "demo-openai/gpt"])
async def test_the_anthropic_sdk_may_name_its_target_in_the_base_url(place: str) -> None:
    async with World(EGRESS, POOL) as world, speak("anthropic", world) as speaker:
        client = speaker.client.with_options(base_url=f"{world.gateway.url}/{place}")
        message = await client.messages.create(
            model="whatever", max_tokens=50, messages=[{"role": "user", "content": "Hello"}]
        )
        assert message.content[0].text == "You said: Hello"


async def test_the_openai_sdk_works_without_v1_in_its_base_url() -> None:
    async with World(EGRESS) as world, speak("openai", world) as speaker:
        client = speaker.client.with_options(base_url=world.gateway.url)
        completion = await client.chat.completions.create(
            model="claude", messages=[{"role": "user", "content": "Hello"}]
        )
        assert completion.choices[0].message.content == "You said: Hello"


async def test_counting_tokens_is_natively_not_found_where_nobody_counts() -> None:
    async with World(EGRESS) as world, speak("anthropic", world) as speaker:
        with pytest.raises(anthropic.NotFoundError):
            await speaker.client.messages.count_tokens(model="gpt", messages=[{"role": "user", "content": "Hello"}])
