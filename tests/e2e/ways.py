"""The ways through the gateway: from which SDK to which kind of provider, whole or streamed; and what is asked.

way = Way("anthropic", "gpt", streamed=True)
async with way.world() as world:
    reply = await ask(world, way, hello())
"""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import msgspec
import pytest

from .speaker_anthropic import AnthropicSpeaker
from .speaker_bedrock import BedrockSpeaker
from .speaker_cohere import CohereSpeaker
from .speaker_gemini import GeminiSpeaker
from .speaker_openai import OpenaiSpeaker
from .speaker_responses import ResponsesSpeaker
from .speakers import JSON, Call, Ingress, Question, Reply, Speaker, Tool, native_faults
from .world import World

SPEAKERS: dict[Ingress, Callable[[str, str, int], Speaker]] = {
    "openai": OpenaiSpeaker,
    "responses": ResponsesSpeaker,
    "anthropic": AnthropicSpeaker,
    "gemini": GeminiSpeaker,
    "bedrock": BedrockSpeaker,
    "cohere": CohereSpeaker,
}
"""Each takes the gateway's URL, a key, and how often the SDK tries again."""

ANSWER_IDS = {"openai": "chatcmpl-", "responses": "resp_", "anthropic": "msg_"}
CALL_IDS = {"openai": "call_", "responses": "call_", "anthropic": "toolu_", "bedrock": "tooluse_"}
"""By which first letters a dialect's ids are known. Ids of tool calls that are known by none keep as they are."""

EGRESS = {"claude": "anthropic:demo-claude", "gpt": "openai:demo-gpt"}

WEATHER = Tool("get_weather", {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]})
CLOCK = Tool("get_time", {"type": "object", "properties": {}})
BOTH = Question(turns=("What is the weather in Paris and Rome?",), tools=(WEATHER, CLOCK))
CALLS = (Call("get_weather", {"city": "Paris"}), Call("get_weather", {"city": "Rome"}))


class Way(msgspec.Struct, frozen=True):
    """From which SDK to which kind of provider, and how the answer comes."""

    ingress: Ingress
    egress: str
    streamed: bool

    @property
    def crosses(self) -> bool:
        return (self.ingress, self.egress) not in (("anthropic", "claude"), ("openai", "gpt"))

    def __str__(self) -> str:
        return f"{self.ingress}-{self.egress}-{'streamed' if self.streamed else 'whole'}"

    def world(self, upstream: str = "", config: str = "") -> World:
        """`upstream` is added to the upstream models' names, where it chooses what the providers do."""
        return World({name: place + upstream for name, place in EGRESS.items()}, config)


INGRESS: tuple[Ingress, ...] = ("openai", "anthropic")
WAYS = [Way(*way) for way in itertools.product(INGRESS, EGRESS, (False, True))]
every_way = pytest.mark.parametrize("way", WAYS, ids=str)


def hello(text: str = "Hello", **more: Any) -> Question:
    return Question(turns=(text,), **more)


@asynccontextmanager
async def speak(ingress: Ingress, world: World, *, retries: int = 0, key: str = "unused") -> AsyncIterator[Speaker]:
    """A speaker whose client is closed at the end. `retries` are the SDK's own."""
    speaker = SPEAKERS[ingress](world.gateway.url, key, retries)
    try:
        yield speaker
    finally:
        await speaker.aclose()


async def ask(world: World, way: Way, question: Question) -> Reply:
    """One question on its way. The answer is sound in the eyes of the SDK, and bears native ids."""
    async with speak(way.ingress, world) as speaker:
        reply = await speaker.ask(way.egress, question, streamed=way.streamed)
    check(way.ingress, reply)
    return reply


def check(ingress: str, reply: Reply) -> None:
    """Fails where an answer is not sound in the eyes of the SDK, or bears ids that are not of its dialect."""
    foreign = tuple({prefix for prefix in CALL_IDS.values() if prefix != CALL_IDS.get(ingress)})
    ids = [call.id for call in reply.calls]
    assert native_faults(reply) == []
    assert reply.id
    assert reply.id.startswith(ANSWER_IDS.get(ingress, ""))
    assert all(ids), "every call has an id"
    assert len(set(ids)) == len(ids)
    assert ingress not in CALL_IDS or not any(made.startswith(foreign) for made in ids)


def received(world: World) -> JSON:
    """The last body that a provider got."""
    body = world.providers.requests[-1].body
    assert body is not None
    return body


def nameless(calls: tuple[Call, ...]) -> tuple[Call, ...]:
    """Calls without their ids."""
    return tuple(Call(call.name, call.arguments) for call in calls)
