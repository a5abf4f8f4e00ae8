"""Streams that break in the middle, in pools that insure them: what the official SDKs hear, and who is charged."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from msgspec import Struct

from .asks import PATHS, ask, error_of, events
from .matrix_cases import INGRESSES
from .speakers import Reply
from .ways import BOTH, CALLS, check, hello, nameless, received, speak
from .world import World

SAID = "one two three four five six seven eight nine ten eleven twelve"
WHOLE = f"You said: {SAID}"
EVERY = {dialect: f"{dialect}:demo" for dialect in INGRESSES}


def pool(recovery: str = "continue", members: str = "first second", more: str = "") -> str:
    """Asked in this order: later ones only when earlier ones are out."""
    listed = ", ".join(f"{{target: {name}, weight: {100 ** (3 - at)}}}" for at, name in enumerate(members.split()))
    return f"pools: {{pool: {{stream_recovery: '{recovery}', members: [{listed}]{more}}}}}"


def world(first: str, second: str, *, prefill: bool = False, config: str = "", **others: str) -> World:
    models = {"first": first, "second": second, **others}
    return World(models, config or pool(), model_keys={"second": f"prefill: {str(prefill).lower()}"})


async def heard(here: World, ingress: Any, question: Any = None) -> Reply:
    """One whole answer, sound in the eyes of the SDK."""
    async with speak(ingress, here) as speaker:
        reply = await speaker.ask("pool", question or hello(SAID), streamed=True)
    check(ingress, reply)
    return reply


def asked(here: World) -> list[str | None]:
    return [request.model for request in here.providers.requests]


async def charged(here: World, name: str) -> tuple[int, int, int, int]:
    member = await here.member(name)
    return member["ok"], member["err"], member["client_fault"], member["free_slots"]


class Break(Struct, frozen=True):
    fault: str
    first: str
    second: str
    prefill: bool

    def __str__(self) -> str:
        return f"{self.fault}-{self.first}-{self.second}{'-prefill' if self.prefill else ''}"


def breaks(ingress: str) -> list[Break]:
    """Of the caller's own dialect and of others, on both sides of the break."""
    at = INGRESSES.index(ingress)  # type: ignore[arg-type]
    other, third = INGRESSES[(at + 1) % 6], INGRESSES[(at + 4) % 6]
    ways = [(ingress, ingress), (ingress, other), (other, ingress), (other, third)]
    faults = ["cut", "error-mid-5", "eof-mid", "cut"]
    return [
        Break(fault, first, second, prefill)
        for fault, (first, second) in zip(faults, ways, strict=True)
        for prefill in (False, True)
    ]


@pytest.mark.parametrize(
    ("ingress", "way"), [(ingress, way) for ingress in INGRESSES for way in breaks(ingress)], ids=str
)
async def test_the_caller_hears_one_whole_answer(ingress: str, way: Break) -> None:
    """And each attempt is its own member's affair. (Two of the providers do not go on from a prefill, whatever the
    configuration says: they begin anew, and the caller does not hear it.)"""
    async with world(f"{way.first}:fault-{way.fault}", f"{way.second}:demo", prefill=way.prefill) as here:
        reply = await heard(here, ingress)
        assert (reply.text, reply.stop) == (WHOLE, "end")
        assert asked(here) == [f"fault-{way.fault}", "demo"]
        assert await charged(here, "first") == (0, 1, 0, 20)
        assert await charged(here, "second") == (1, 0, 0, 20)
        metrics = (await here.stats())["metrics"]
        assert [entry["outcome"] for entry in metrics["requests"]] == ["ok"]


@pytest.mark.parametrize("egress", ["anthropic", "gemini"])
@pytest.mark.parametrize("ingress", INGRESSES)
async def test_tool_calls_of_which_one_was_told_and_half_another_go_on(ingress: str, egress: str) -> None:
    async with world(f"{ingress}:fault-cut", f"{egress}:demo", prefill=True) as here:
        reply = await heard(here, ingress, BOTH)
        assert (nameless(reply.calls), reply.stop) == (CALLS, "tools")


@pytest.mark.parametrize("ingress", ["anthropic", "responses", "cohere"])
async def test_thinking_is_not_told_twice(ingress: str) -> None:
    async with world("anthropic:fault-cut", "anthropic:demo", prefill=True) as here:
        question = hello(SAID, thinking=True)
        reply = await heard(here, ingress, question)
        assert (reply.text, reply.thinking) == (WHOLE, f"Thinking about: {SAID}")


@pytest.mark.parametrize("ingress", ["anthropic", "openai"])
async def test_with_a_prefill_only_the_rest_is_asked_for(ingress: str) -> None:
    async with world("anthropic:fault-cut", "anthropic:demo", prefill=True) as here:
        await heard(here, ingress, hello(SAID, max_tokens=500))
        body = received(here)
        last = body["messages"][-1]
        said = last["content"] if isinstance(last["content"], str) else last["content"][0]["text"]
        assert last["role"] == "assistant"
        assert WHOLE.startswith(said)
        assert said == said.rstrip() != ""
        assert body["max_tokens"] == 500 - len(said) // 4


@pytest.mark.parametrize("ingress", ["anthropic", "openai"])
async def test_without_one_the_same_request_is_made_again(ingress: str) -> None:
    async with world("anthropic:fault-cut", "anthropic:demo") as here:
        await heard(here, ingress)
        first, second = (request.body for request in here.providers.requests)
        assert first is not None
        assert second == {**first, "model": "demo"}


async def test_the_caller_is_told_what_all_attempts_used() -> None:
    """Anthropic states the prompt at the start; what a provider that broke had generated is estimated."""
    async with world("anthropic:fault-cut", "anthropic:demo") as here:
        reply = await heard(here, "anthropic")
        async with speak("anthropic", here) as speaker:
            once = await speaker.ask("second", hello(SAID), streamed=True)
        assert reply.usage is not None
        assert once.usage is not None
        assert reply.usage.input == 2 * once.usage.input
        assert once.usage.output < reply.usage.output < 2 * once.usage.output
        assert (await here.stats())["metrics"]["tokens"]["input"] == 3 * once.usage.input


@pytest.mark.parametrize("ingress", INGRESSES)
async def test_where_only_the_end_is_missing_nobody_is_asked_again(ingress: str) -> None:
    async with world("anthropic:fault-eof", "openai:demo") as here:
        reply = await heard(here, ingress)
        assert (reply.text, reply.stop, asked(here)) == (WHOLE, "end", ["fault-eof"])
        assert await charged(here, "first") == (0, 1, 0, 20)


# --- where it cannot be gone on with ----------------------------------------------------------------------------


def told(ingress: str, body: bytes) -> str:
    """The message of the native error that ends a stream of the two oldest dialects, which has no good end."""
    frames = events(body)
    assert not {"message_stop", "[DONE]"} & {value for frame in frames for value in frame if isinstance(value, str)}
    _, _, message = error_of(ingress, json.dumps(frames[-1][1]).encode())
    return message


@pytest.mark.parametrize("ingress", PATHS)
@pytest.mark.parametrize(
    ("second", "prefill", "counted"),
    [
        ("anthropic:fault-400", True, (0, 0, 1, 20)),
        ("openai:fault-500", False, (0, 1, 0, 20)),
        ("openai:fault-401", False, (0, 1, 0, 20)),
        ("anthropic:demo-refuse", False, (0, 0, 0, 20)),
        ("openai:demo-refuse", False, (0, 0, 0, 20)),
    ],
)
async def test_the_first_failure_is_the_one_that_is_told(
    ingress: str, second: str, prefill: bool, counted: tuple[int, ...]
) -> None:
    """A fallback that refuses the prefill does not mask it, nor one that is broken itself. One that gives another
    answer is not blamed for it."""
    async with world("anthropic:fault-error-mid-5", second, prefill=prefill) as here:
        answer = await here.post(PATHS[ingress], ask(ingress, "pool", SAID, stream=True))
        assert answer.status == 200
        assert "overloaded" in told(ingress, answer.body).lower()
        assert len(asked(here)) == 2
        assert await charged(here, "first") == (0, 1, 0, 20)
        assert await charged(here, "second") == counted
        assert [entry["outcome"] for entry in (await here.stats())["metrics"]["requests"]] == ["error"]


@pytest.mark.parametrize("second", ["anthropic:fault-400", "openai:demo-refuse", "gemini:fault-cut-start"])
async def test_where_one_cannot_another_may(second: str) -> None:
    config = pool(members="first second third")
    async with world("openai:fault-cut", second, prefill=True, config=config, third="cohere:demo") as here:
        assert (await heard(here, "openai")).text == WHOLE
        assert asked(here)[0::2] == ["fault-cut", "demo"]
        assert await charged(here, "third") == (1, 0, 0, 20)


def last_text(body: Any) -> str:
    text: str = body["messages"][-1]["content"][0]["text"]
    return text


@pytest.mark.parametrize("ingress", ["openai", "anthropic", "gemini"])
async def test_what_the_second_said_before_it_broke_too_is_gone_on_with(ingress: str) -> None:
    config = pool(members="first second third")
    models = {"first": "openai:fault-cut", "second": "anthropic:fault-cut", "third": "bedrock:demo"}
    keys = {"second": "prefill: true", "third": "prefill: true"}
    async with World(models, config, model_keys=keys) as here:
        assert (await heard(here, ingress)).text == WHOLE
        second, third = (last_text(request.body) for request in list(here.providers.requests)[1:])
        assert third.startswith(second)
        assert len(second) < len(third) < len(WHOLE)


@pytest.mark.parametrize(
    ("more", "second", "requests"),
    [
        (", failover: {cap: 0}", "openai:demo", 1),
        (", failover: {deadline_secs: 0.3}", "openai:fault-hang", 2),
        (", failover: {deadline_secs: 0.3}", "openai:fault-stall-start", 2),
    ],
)
async def test_cap_and_deadline_bound_it(more: str, second: str, requests: int) -> None:
    async with world("openai:fault-cut", second, config=pool(more=more)) as here:
        answer = await here.post(PATHS["openai"], ask("openai", "pool", SAID, stream=True))
        assert "middle of the answer" in told("openai", answer.body)
        assert len(asked(here)) == requests
        assert (await here.member("second"))["free_slots"] == 20


async def test_a_stall_is_a_break_too() -> None:
    keys = {"first": "stall_timeout_ms: 50"}
    async with World({"first": "openai:fault-stall", "second": "openai:demo"}, pool(), model_keys=keys) as here:
        assert (await heard(here, "openai")).text == WHOLE


async def test_several_choices_are_not_insured() -> None:
    async with world("openai:fault-cut", "openai:demo") as here:
        answer = await here.post(PATHS["openai"], ask("openai", "pool", SAID, stream=True, n=2))
        assert "middle of the answer" in told("openai", answer.body)
        assert len(asked(here)) == 1


async def test_a_json_array_that_breaks_goes_on_as_one() -> None:
    body = {"contents": [{"role": "user", "parts": [{"text": SAID}]}]}
    for first in ("gemini", "anthropic"):
        async with world(f"{first}:fault-cut", "openai:demo") as here:
            answer = await here.post("/v1beta/models/pool:streamGenerateContent", body)
            texts = [
                part["text"] for chunk in answer.json() for part in chunk["candidates"][0]["content"].get("parts", ())
            ]
            assert "".join(texts) == WHOLE


async def test_a_caller_that_goes_away_while_another_member_is_asked_leaves_nothing_behind() -> None:
    async with world("openai:fault-cut", "openai:fault-hang") as here:
        body = ask("openai", "pool", SAID, stream=True)
        async with here.http.post(PATHS["openai"], json=body) as response:
            await response.content.readany()
            await here.providers.until(lambda: "fault-hang" in asked(here))
        async with asyncio.timeout(1):
            await here.providers.until(lambda: here.providers.open_requests == 0)
        assert await charged(here, "first") == (0, 1, 0, 20)
        assert await charged(here, "second") == (0, 0, 0, 20)


# --- hold --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("fault", ["error-mid", "cut", "eof-mid"])
@pytest.mark.parametrize("ingress", INGRESSES)
async def test_what_breaks_within_the_hold_fails_over_unseen(ingress: str, fault: str) -> None:
    async with world(f"anthropic:fault-{fault}", "openai:demo", config=pool("hold:60000")) as here:
        reply = await heard(here, ingress)
        assert (reply.text, asked(here)) == (WHOLE, [f"fault-{fault}", "demo"])
        assert await charged(here, "first") == (0, 1, 0, 20)


async def test_after_the_hold_a_break_is_told() -> None:
    async with world("openai:fault-error-mid-100", "openai:demo", config=pool("hold:5")) as here:
        answer = await here.post(PATHS["openai"], ask("openai", "pool", SAID, stream=True))
        assert told("openai", answer.body)
        assert len(asked(here)) == 1


async def test_a_whole_answer_does_not_wait_for_the_hold_to_end() -> None:
    async with world("openai:demo", "openai:demo", config=pool("hold:60000")) as here:
        async with asyncio.timeout(5):
            assert (await heard(here, "openai")).text == WHOLE
            while (await here.member("first"))["free_slots"] < 20:
                await asyncio.sleep(0)


async def test_a_caller_that_goes_away_within_the_hold_leaves_nothing_behind() -> None:
    async with world("openai:fault-stall", "openai:demo", config=pool("hold:60000")) as here:
        request = asyncio.ensure_future(here.post(PATHS["openai"], ask("openai", "pool", SAID, stream=True)))
        await here.providers.until(lambda: here.providers.open_requests == 1)
        request.cancel()
        async with asyncio.timeout(1):
            await here.providers.until(lambda: here.providers.open_requests == 0)
        assert await charged(here, "first") == (0, 0, 0, 20)


# --- what is odd, and whole -------------------------------------------------------------------------------------


@pytest.mark.parametrize("fault", ["malformed-chunk", "nodone"])
@pytest.mark.parametrize("egress", INGRESSES)
@pytest.mark.parametrize("ingress", INGRESSES)
async def test_a_malformed_chunk_is_skipped_and_a_missing_mark_of_the_end_is_not_missed(
    ingress: str, egress: str, fault: str
) -> None:
    """Also where the bytes pass as they came: an SDK would break on what is no JSON."""
    async with World({"pool": f"{egress}:fault-{fault}"}) as here:
        reply = await heard(here, ingress)
        assert (reply.text, reply.stop) == (WHOLE, "end")
        assert await charged(here, "pool") == (1, 0, 0, 20)
