"""Where the SDKs of the four younger dialects look: paths that name models, versions, framings, lists and counts."""

from __future__ import annotations

import json
from typing import Any

import httpx2
import pytest
from google import genai
from google.genai.errors import ClientError
from google.genai.types import GenerateContentResponse

from .matrix_cases import BOTH, INGRESSES
from .speaker_gemini import GeminiSpeaker
from .speakers import NO_ROOTS
from .ways import hello, speak
from .world import World

EVERY = {dialect: f"{dialect}:demo" for dialect in INGRESSES}
every_egress = pytest.mark.parametrize("egress", INGRESSES)


# --- gemini ----------------------------------------------------------------------------------------------------


def gemini(world: World, version: str | None = None) -> Any:
    """The SDK's own client; without a version, it takes the one of its choice."""
    options = {"base_url": world.gateway.url, "httpx_async_client": httpx2.AsyncClient(verify=NO_ROOTS)}
    return genai.Client(api_key="unused", http_options={**options, **({"api_version": version} if version else {})})


@every_egress
@pytest.mark.parametrize("question", [hello(), BOTH], ids=["text", "calls"])
async def test_gemini_streams_as_one_json_array_where_nobody_asks_for_events(egress: str, question: Any) -> None:
    """What callers without `alt=sse` get; the official SDK always asks for events."""
    body: dict[str, Any] = {"contents": [{"role": "user", "parts": [{"text": question.turns[0]}]}]}
    if question.tools:
        tools = [{"name": tool.name, "parametersJsonSchema": tool.schema} for tool in question.tools]
        body["tools"] = [{"functionDeclarations": tools}]
    async with World(EVERY) as world:
        answer = await world.post(f"/v1beta/models/{egress}:streamGenerateContent", body)
        assert answer.status == 200, answer
        assert answer.headers["content-type"].startswith("application/json")
        chunks = [GenerateContentResponse.model_validate(chunk) for chunk in json.loads(answer.body)]
        parts = [part for chunk in chunks for part in (chunk.candidates or [])[0].content.parts or ()]  # type: ignore[union-attr]
        assert len(chunks) > 1
        assert (chunks[-1].candidates or [])[0].finish_reason == "STOP"
        assert chunks[-1].usage_metadata is not None
        if question.tools:
            called = [part.function_call.args for part in parts if part.function_call]
            assert called == [{"city": "Paris"}, {"city": "Rome"}]
        else:
            assert "".join(part.text or "" for part in parts) == "You said: Hello"


@every_egress
async def test_a_json_array_that_breaks_ends_with_the_error(egress: str) -> None:
    """One last element, then `]`: what has come remains a document."""
    body = {"contents": [{"role": "user", "parts": [{"text": "one two three four five six"}]}]}
    async with World({"m": f"{egress}:demo-fault-cut"}) as world:
        answer = await world.post("/v1beta/models/m:streamGenerateContent", body)
        chunks = json.loads(answer.body)
        assert len(chunks) > 1
        assert set(chunks[-1]) == {"error"}
        assert chunks[-1]["error"]["code"] >= 500


@pytest.mark.parametrize("version", [None, "v1", "v1beta"])
@pytest.mark.parametrize("egress", ["gemini", "openai"])
async def test_gemini_is_spoken_under_both_versions(version: str | None, egress: str) -> None:
    async with World(EVERY) as world:
        client = gemini(world, version)
        answer = await client.aio.models.generate_content(model=egress, contents="Hello")
        assert answer.text == "You said: Hello"
        await client.aio.aclose()


@pytest.mark.parametrize("version", [None, "v1", "v1beta"])
async def test_models_are_listed_for_the_gemini_sdk(version: str | None) -> None:
    async with World(EVERY, "pools: {smart: {members: [{target: gemini}]}}") as world:
        client = gemini(world, version)
        names = [model.name async for model in await client.aio.models.list()]
        assert names == [f"models/{name}" for name in ("smart", *EVERY)]
        await client.aio.aclose()


async def test_models_are_listed_for_the_cohere_sdk() -> None:
    async with (
        World(EVERY, "pools: {smart: {members: [{target: gemini}]}}") as world,
        speak("cohere", world) as speaker,
    ):
        listed = await speaker.client.models.list()
        assert [model.name for model in listed.models] == ["smart", *EVERY]


async def test_gemini_counts_tokens_where_the_provider_does_and_is_natively_not_found_elsewhere() -> None:
    async with World(EVERY) as world:
        client = gemini(world)
        counted = await client.aio.models.count_tokens(model="gemini", contents="one two three")
        assert (counted.total_tokens or 0) > 0
        with pytest.raises(ClientError) as error:
            await client.aio.models.count_tokens(model="anthropic", contents="one two three")
        assert (error.value.code, error.value.status) == (404, "NOT_FOUND")
        await client.aio.aclose()


async def test_an_unknown_model_is_not_found_in_each_of_the_four() -> None:
    async with World(EVERY) as world:
        async with speak("gemini", world) as speaker:
            with pytest.raises(ClientError, match="NOT_FOUND"):
                await speaker.ask("nobody", hello())
        for ingress, name in (("responses", "NotFoundError"), ("cohere", "NotFoundError")):
            async with speak(ingress, world) as speaker:  # type: ignore[arg-type]
                with pytest.raises(Exception, match="nobody") as error:
                    await speaker.ask("nobody", hello())
                assert type(error.value).__name__ == name
        async with speak("bedrock", world) as speaker:
            with pytest.raises(speaker.client.exceptions.ResourceNotFoundException):
                await speaker.ask("nobody", hello())
        assert len(world.providers.requests) == 0


async def test_the_key_of_a_gemini_caller_may_stand_in_the_query() -> None:
    guard = "auth: {mode: token, client_tokens: ['${TOKEN}']}"
    body = {"contents": [{"role": "user", "parts": [{"text": "Hello"}]}]}
    async with World(EVERY, guard, {"TOKEN": "client-token"}) as world:
        for key, status in (("client-token", 200), ("wrong", 400)):
            answer = await world.post(f"/v1beta/models/openai:generateContent?key={key}", body)
            assert answer.status == status
        speaker = GeminiSpeaker(world.gateway.url, "client-token", 0)
        assert (await speaker.ask("openai", hello())).text == "You said: Hello"
        await speaker.aclose()


# --- bedrock ---------------------------------------------------------------------------------------------------

PROFILE = "arn:aws:bedrock:us-east-1:123456789012:inference-profile/us.anthropic.claude-sonnet-4-5-v1:0"


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize("name", ["anthropic.claude-sonnet-4-5-v1:0", PROFILE], ids=["id", "arn"])
@pytest.mark.parametrize("egress", ["bedrock", "gemini"])
async def test_ids_and_arns_reach_the_gateway_encoded_and_the_provider_encoded_again(
    egress: str, name: str, streamed: bool
) -> None:
    """boto3 sends one segment: colons and slashes are percent-encoded. The upstream's name may be such a one, too."""
    async with World({name: f"{egress}:{name if egress == 'bedrock' else 'demo'}"}) as world:
        async with speak("bedrock", world) as speaker:
            assert (await speaker.ask(name, hello(), streamed=streamed)).text == "You said: Hello"
        there = world.providers.requests[-1]
        assert there.model == (name if egress == "bedrock" else "demo")
        assert there.path.count("/") == (3 if egress == "bedrock" else there.path.count("/"))


async def test_a_session_token_goes_upstream_signed() -> None:
    key = {"AWS_PROVIDER_KEY": "AKIDPROVIDER:provider-secret:the-session:us-east-1"}
    async with World(EVERY, env=key) as world, speak("openai", world) as speaker:
        assert (await speaker.ask("bedrock", hello())).text == "You said: Hello"
        sent = world.providers.requests[-1].headers
        assert sent["x-amz-security-token"] == "the-session"
        assert "x-amz-security-token" in sent["authorization"]


async def test_a_bedrock_api_key_is_a_bearer() -> None:
    env = {"PROVIDER_KEY": "provider-key"}
    keys = {"demo-bedrock": "auth: bearer, api_key_env: PROVIDER_KEY"}
    async with World(EVERY, env=env, provider_keys=keys) as world, speak("openai", world) as speaker:
        assert (await speaker.ask("bedrock", hello(), streamed=True)).text == "You said: Hello"
        assert world.providers.requests[-1].headers["authorization"] == "Bearer provider-key"
