"""Governance end to end: real SDKs with virtual keys, real providers, a database on disk."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anthropic
import boto3
import botocore.exceptions
import cohere
import openai
import pytest
from botocore.config import Config as BotoConfig
from google.genai import errors as genai_errors

from .governed import ADMIN, GovernedWorld
from .speakers import Ingress, Speaker
from .ways import hello, speak

DIALECTS: tuple[Ingress, ...] = ("openai", "responses", "anthropic", "gemini", "bedrock", "cohere")
OWN = {dialect: f"{dialect}:demo" for dialect in DIALECTS}
"""A model at a provider of each dialect, named like it."""

TOKEN = "operators-token-0123456789"

every_dialect = pytest.mark.parametrize("ingress", DIALECTS)
every_framing = pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])


@asynccontextmanager
async def speaking(world: GovernedWorld, ingress: Ingress, secret: str) -> AsyncIterator[Speaker]:
    async with speak(ingress, world, key=secret) as speaker:
        yield speaker


async def refusal(world: GovernedWorld, ingress: Ingress, secret: str, model: str = "", **more: Any) -> Exception:
    """What the SDK raises, once: no SDK may try a refusal of ours again by itself but a 429."""
    async with speaking(world, ingress, secret) as speaker:
        with pytest.raises(Exception) as raised:  # each SDK has a class of its own: see the tables
            await speaker.ask(model or ingress, hello(**more))
    return raised.value


def seen(error: Exception) -> tuple[str, int]:
    """(the SDK's own class, the status)"""
    match error:
        case openai.APIStatusError() | anthropic.APIStatusError():
            return type(error).__name__, error.status_code
        case genai_errors.APIError():
            return type(error).__name__, error.code
        case botocore.exceptions.ClientError():
            response = error.response
            return response["Error"]["Code"], response["ResponseMetadata"]["HTTPStatusCode"]
        case cohere.core.ApiError():
            return type(error).__name__, error.status_code or 0
    raise error


WRONG = dict.fromkeys(DIALECTS, "sk-bb-" + "0" * 64) | {"bedrock": "AKBBAAAAAAAAAAAAAAAA:" + "0" * 40}

# --- refusals, as six SDKs raise them -----------------------------------------------------------------------------

INVALID = {
    "openai": ("AuthenticationError", 401),
    "responses": ("AuthenticationError", 401),
    "anthropic": ("AuthenticationError", 401),
    "gemini": ("ClientError", 400),
    "bedrock": ("AccessDeniedException", 403),
    "cohere": ("UnauthorizedError", 401),
}
FORBIDDEN = {
    "openai": ("PermissionDeniedError", 403),
    "responses": ("PermissionDeniedError", 403),
    "anthropic": ("PermissionDeniedError", 403),
    "gemini": ("ClientError", 403),
    "bedrock": ("AccessDeniedException", 403),
    "cohere": ("ForbiddenError", 403),
}
BUDGET = {
    "openai": ("APIStatusError", 402),
    "responses": ("APIStatusError", 402),
    "anthropic": ("PaymentRequiredError", 402),
    "gemini": ("ClientError", 402),
    "bedrock": ("ServiceQuotaExceededException", 402),
    "cohere": ("ApiError", 402),
}
RATE = {
    "openai": ("RateLimitError", 429),
    "responses": ("RateLimitError", 429),
    "anthropic": ("RateLimitError", 429),
    "gemini": ("ClientError", 429),
    "bedrock": ("ThrottlingException", 429),
    "cohere": ("TooManyRequestsError", 429),
}


@every_dialect
async def test_a_key_that_is_wrong_disabled_expired_or_deleted_is_refused(ingress: Ingress, tmp_path: Path) -> None:
    async with GovernedWorld(tmp_path, OWN) as world:
        key = await world.key()
        async with speaking(world, ingress, key.shown_by(ingress)) as speaker:
            await speaker.ask(ingress, hello())
        assert seen(await refusal(world, ingress, WRONG[ingress])) == INVALID[ingress]
        await world.change(key, enabled=False)
        disabled = await refusal(world, ingress, key.shown_by(ingress))
        assert seen(disabled) == INVALID[ingress]
        assert "disabled" in str(disabled)
        async with world.http.delete(f"/admin/keys/{key.id}", headers=ADMIN) as response:
            assert response.status == 204
        assert seen(await refusal(world, ingress, key.shown_by(ingress))) == INVALID[ingress]
        assert len(world.providers.requests) == 1


@every_dialect
async def test_a_key_is_kept_to_its_pools(ingress: Ingress, tmp_path: Path) -> None:
    async with GovernedWorld(tmp_path, {**OWN, "other": "openai:demo"}) as world:
        key = await world.key(allowed_pools=["other"])
        error = await refusal(world, ingress, key.shown_by(ingress))
        assert seen(error) == FORBIDDEN[ingress]
        assert f'key "dev" may not use the model `{ingress}`' in str(error)
        assert len(world.providers.requests) == 0


@every_dialect
async def test_a_budget_that_is_exceeded_is_told_with_all_its_figures(ingress: Ingress, tmp_path: Path) -> None:
    async with GovernedWorld(tmp_path, OWN) as world:
        key = await world.key(max_budget_cents=0, budget_period="daily")
        error = await refusal(world, ingress, key.shown_by(ingress))
        assert seen(error) == BUDGET[ingress]
        assert 'The daily budget of the key "dev" is exceeded: $0.00 of $0.00 used; it resets at 20' in str(error)
        assert len(world.providers.requests) == 0


@every_dialect
async def test_a_rate_limit_admits_its_number_and_tells_when_to_come_back(ingress: Ingress, tmp_path: Path) -> None:
    async with GovernedWorld(tmp_path, OWN) as world:
        key = await world.key(rpm_limit=2)
        async with speaking(world, ingress, key.shown_by(ingress)) as speaker:
            for _ in range(2):
                await speaker.ask(ingress, hello())
        error = await refusal(world, ingress, key.shown_by(ingress))
        assert seen(error) == RATE[ingress]
        assert "over its limit of 2 requests per minute" in str(error)
        assert len(world.providers.requests) == 2


async def test_the_refusals_headers(tmp_path: Path) -> None:
    async with GovernedWorld(tmp_path) as world:
        key = await world.key(rpm_limit=1)
        body = {"model": "gpt", "messages": [{"role": "user", "content": "Hello"}]}
        headers = {"authorization": f"Bearer {key.secret}"}
        first = await world.post("/v1/chat/completions", body, headers)
        assert {name: first.headers[name] for name in first.headers if name.startswith("x-ratelimit")} == {
            "x-ratelimit-limit-requests": "1",
            "x-ratelimit-remaining-requests": "0",
            "x-ratelimit-reset-requests": "1m0s",
        }
        second = await world.post("/v1/chat/completions", body, headers)
        assert second.status == 429
        assert 55 <= int(second.headers["retry-after"]) <= 60
        assert second.headers["x-ratelimit-remaining-requests"] == "0"
        await world.change(key, rpm_limit=None, max_budget_cents=0)
        third = await world.post("/v1/chat/completions", body, headers)
        assert (third.status, third.headers["x-should-retry"]) == (402, "false")
        assert third.json()["error"]["code"] == "insufficient_quota"
        messages = {"model": "claude", "max_tokens": 9, "messages": [{"role": "user", "content": "Hello"}]}
        await world.change(key, rpm_limit=5, tpm_limit=100_000, max_budget_cents=None)
        fourth = await world.post("/v1/messages", messages, {"x-api-key": key.secret})
        assert fourth.headers["anthropic-ratelimit-requests-limit"] == "5"
        assert fourth.headers["anthropic-ratelimit-tokens-limit"] == "100000"


SAYING = "one two three four five six seven eight nine ten"
MESSAGES = [{"role": "user", "content": SAYING}]
CONTENTS = {"contents": [{"role": "user", "parts": [{"text": SAYING}]}]}
STREAMED: dict[Ingress, tuple[str, dict[str, Any]]] = {
    "openai": ("/v1/chat/completions", {"model": "cut", "messages": MESSAGES, "stream": True}),
    "responses": ("/v1/responses", {"model": "cut", "input": SAYING, "stream": True}),
    "anthropic": ("/v1/messages", {"model": "cut", "max_tokens": 99, "messages": MESSAGES, "stream": True}),
    "gemini": ("/v1beta/models/cut:streamGenerateContent?alt=sse", CONTENTS),
    "bedrock": ("/model/cut/converse-stream", {"messages": [{"role": "user", "content": [{"text": SAYING}]}]}),
    "cohere": ("/v2/chat", {"model": "cut", "messages": MESSAGES, "stream": True}),
}
"""A streamed request of each dialect, by path and body."""


# --- what is charged -----------------------------------------------------------------------------------------------


@every_dialect
@every_framing
async def test_an_answer_is_charged_with_what_its_caller_was_told(
    ingress: Ingress, streamed: bool, tmp_path: Path
) -> None:
    async with GovernedWorld(tmp_path, {**OWN, "claude": "anthropic:demo"}) as world:
        key = await world.key(max_budget_cents=1000)
        async with speaking(world, ingress, key.shown_by(ingress)) as speaker:
            replies = [await speaker.ask(model, hello("a b c"), streamed=streamed) for model in (ingress, "claude")]
        counts = [reply.usage for reply in replies]
        assert all(counts)
        told = sum(each.input for each in counts if each), sum(each.output for each in counts if each)
        usage = await world.usage(key)
        assert (usage["requests"], usage["estimated_requests"]) == (2, 0)
        assert (usage["input_tokens"], usage["output_tokens"]) == told
        nanodollars = told[0] * 1000 + told[1] * 2000  # at $1 and $2 for a million
        assert usage["spend_nanodollars"] == nanodollars
        assert usage["spend_cents"] == nanodollars / 10**7
        assert usage["budget"]["reserved_cents"] == 0


async def test_only_the_answer_is_billed_when_others_failed_before(tmp_path: Path) -> None:
    models = {"bad": "openai:demo-fault-500", "cut": "openai:demo-fault-cut-start", "good": "anthropic:demo"}
    pool = "pools: {p: {members: [{target: bad, weight: 100}, {target: cut, weight: 50}, {target: good}]}}"
    async with GovernedWorld(tmp_path, models, pool) as world:
        key = await world.key()
        async with speaking(world, "openai", key.secret) as speaker:
            reply = await speaker.ask("p", hello())
        assert reply.usage is not None
        usage = await world.usage(key)
        assert [model["model"] for model in usage["models"]] == ["good"]
        assert (usage["input_tokens"], usage["output_tokens"]) == (reply.usage.input, reply.usage.output)


async def test_a_request_that_failed_costs_nothing_and_keeps_its_place_in_the_window(tmp_path: Path) -> None:
    async with GovernedWorld(tmp_path, {"bad": "openai:demo-fault-400"}) as world:
        key = await world.key(rpm_limit=1, max_budget_cents=10)
        assert seen(await refusal(world, "openai", key.secret, "bad")) == ("BadRequestError", 400)
        assert seen(await refusal(world, "openai", key.secret, "bad")) == RATE["openai"]
        assert await world.tokens(key) == (0, 0, 0, 0)
        assert (await world.usage(key))["budget"]["reserved_cents"] == 0


@every_dialect
async def test_a_stream_that_breaks_is_charged_with_what_was_seen_and_marked(
    ingress: Ingress, tmp_path: Path
) -> None:
    async with GovernedWorld(tmp_path, {"cut": f"{ingress}:demo-fault-cut"}) as world:
        key = await world.key()
        path, body = STREAMED[ingress]
        answer = await world.post(path, body, {"authorization": f"Bearer {key.secret}"})
        assert answer.status == 200
        requests, input_tokens, output_tokens, estimated = await world.tokens(key)
        assert (requests, estimated) == (1, 1)
        assert input_tokens > 0
        assert output_tokens > 0


async def test_a_caller_who_leaves_is_charged_with_what_it_saw(tmp_path: Path) -> None:
    async with GovernedWorld(tmp_path, {"slow": "anthropic:demo-fault-paced-20"}) as world:
        key = await world.key(max_budget_cents=100)
        client = anthropic.AsyncAnthropic(base_url=world.gateway.url, api_key=key.secret)
        async with client.messages.stream(
            model="slow", max_tokens=500, messages=[{"role": "user", "content": "say many words " * 10}]
        ) as stream:
            async for event in stream:
                if event.type == "content_block_delta":
                    break
        await client.close()
        for _ in range(200):
            if (await world.stats())["governance"]["reservations"] == 0:
                break
            await asyncio.sleep(0.01)
        requests, input_tokens, output_tokens, estimated = await world.tokens(key)
        assert (requests, estimated) == (1, 1)
        assert input_tokens > 0
        assert 0 < output_tokens < 30
        assert (await world.usage(key))["budget"]["reserved_cents"] == 0


async def test_a_stream_without_usage_is_an_estimate_and_says_so(tmp_path: Path) -> None:
    async with GovernedWorld(tmp_path) as world:
        key = await world.key()
        client = openai.AsyncOpenAI(base_url=f"{world.gateway.url}/v1", api_key=key.secret)
        stream = await client.chat.completions.create(
            model="gpt", messages=[{"role": "user", "content": "one two three"}], stream=True
        )
        assert {chunk.usage async for chunk in stream} == {None}
        await client.close()
        requests, input_tokens, output_tokens, estimated = await world.tokens(key)
        assert (requests, estimated) == (1, 1)
        assert input_tokens > 0
        assert output_tokens > 0


# --- groups, lists, signatures -------------------------------------------------------------------------------------


async def test_groups_share_a_budget_and_the_level_that_refuses_is_named(tmp_path: Path) -> None:
    async with GovernedWorld(tmp_path) as world:
        above = await world.group("company")
        team = await world.group("research", parent=above, rpm_limit=2)
        first, second = await world.key("a", group=team), await world.key("b", group=team)
        for key in (first, second):
            async with speaking(world, "openai", key.secret) as speaker:
                await speaker.ask("gpt", hello())
        error = await refusal(world, "openai", second.secret, "gpt")
        assert seen(error) == RATE["openai"]
        assert 'The group "research" is over its limit' in str(error)
        assert (await world.usage(team))["requests"] == (await world.usage(above))["requests"] == 2


async def test_a_key_is_shown_the_models_that_it_may_use(tmp_path: Path) -> None:
    async with GovernedWorld(tmp_path) as world:
        key = await world.key(allowed_pools=["gpt"])
        async with world.http.get("/v1/models", headers={"authorization": f"Bearer {key.secret}"}) as response:
            assert [model["id"] for model in (await response.json())["data"]] == ["gpt"]
        async with world.http.get("/v1/models") as response:
            assert response.status == 401


@every_framing
async def test_a_bedrock_caller_may_sign_with_a_pair_of_its_key(streamed: bool, tmp_path: Path) -> None:
    async with GovernedWorld(tmp_path, {"nova": "bedrock:demo", "gpt": "openai:demo"}) as world:
        key = await world.key()

        def converse(secret: str, model: str) -> int:
            client = boto3.client(
                "bedrock-runtime",
                endpoint_url=world.gateway.url,
                region_name="eu-central-1",
                aws_access_key_id=key.document["aws_access_key_id"],
                aws_secret_access_key=secret,
                config=BotoConfig(retries={"max_attempts": 0}),
            )
            messages = [{"role": "user", "content": [{"text": "Hello"}]}]
            if not streamed:
                return client.converse(modelId=model, messages=messages)["usage"]["outputTokens"]  # type: ignore[no-any-return]
            events = list(client.converse_stream(modelId=model, messages=messages)["stream"])
            return next(event["metadata"]["usage"]["outputTokens"] for event in events if "metadata" in event)

        secret = key.document["aws_secret_access_key"]
        told = [await asyncio.to_thread(converse, secret, model) for model in ("nova", "gpt")]
        assert (await world.tokens(key))[0::2] == (2, sum(told))
        with pytest.raises(botocore.exceptions.ClientError) as raised:
            await asyncio.to_thread(converse, secret[::-1], "nova")
        assert seen(raised.value) == INVALID["bedrock"]
        assert (await world.tokens(key))[0] == 2


# --- it lasts ----------------------------------------------------------------------------------------------------


async def test_keys_budgets_and_windows_survive_a_restart(tmp_path: Path) -> None:
    async with GovernedWorld(tmp_path) as world:
        key = await world.key(rpm_limit=3, max_budget_cents=100)
        async with speaking(world, "openai", key.secret) as speaker:
            for _ in range(2):
                await speaker.ask("gpt", hello())
        before = await world.usage(key)
    async with GovernedWorld(tmp_path) as world:
        assert await world.usage(key) == before
        async with speaking(world, "openai", key.secret) as speaker:
            await speaker.ask("gpt", hello())
        assert seen(await refusal(world, "openai", key.secret, "gpt")) == RATE["openai"]


async def test_operators_pages_are_not_for_those_who_hold_a_virtual_key(tmp_path: Path) -> None:
    async with GovernedWorld(tmp_path) as world:
        key = await world.key()
        for headers in ({}, {"authorization": f"Bearer {key.secret}"}):
            for path in ("/stats", "/stats/requests", "/admin/keys"):
                async with world.http.get(path, headers=headers) as response:
                    assert response.status == 401
        assert (await world.stats())["governance"]["keys"] == 1


async def test_the_trace_of_a_request_names_its_key_and_what_it_cost(tmp_path: Path) -> None:
    async with GovernedWorld(tmp_path) as world:
        key = await world.key()
        async with speaking(world, "openai", key.secret) as speaker:
            await speaker.ask("gpt", hello())
        async with world.http.get("/stats/requests", headers=ADMIN) as response:
            (latest,) = (await response.json())["requests"]
        assert latest["key_id"] == key.id
        assert latest["cost_nanodollars"] == (await world.usage(key))["spend_nanodollars"]


async def test_the_operators_own_token_is_not_governed(tmp_path: Path) -> None:
    config = "auth: {mode: token, client_tokens: ['${CLIENT}']}"
    async with GovernedWorld(tmp_path, config=config, env={"CLIENT": TOKEN}) as world:
        async with speaking(world, "openai", TOKEN) as speaker:
            await speaker.ask("gpt", hello())
        assert seen(await refusal(world, "openai", "nonsense", "gpt")) == INVALID["openai"]


async def test_what_a_cut_stream_cost_is_told_too(tmp_path: Path) -> None:
    async with GovernedWorld(tmp_path, {"cut": "anthropic:demo-fault-cut"}) as world:
        key = await world.key()
        path, body = STREAMED["anthropic"]
        await world.post(path, body, {"authorization": f"Bearer {key.secret}"})
        async with world.http.get("/stats/requests", headers=ADMIN) as response:
            (latest,) = (await response.json())["requests"]
        assert latest["cost_nanodollars"] == (await world.usage(key))["spend_nanodollars"] > 0
