"""Coding agents as they come: what Claude Code, Codex and Gemini CLI were recorded to send, through the gateway.

Each recorded request goes to a member of its own dialect and to members of all others. The recordings lie beside the
repository, in `../shared/facts/captures/cli`; long texts in them are trimmed. Where they are absent, the tests are
skipped with the reason.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import msgspec
import pytest
from _pytest.mark import ParameterSet
from anthropic.types import RawMessageStreamEvent
from google.genai.types import GenerateContentResponse
from openai.types.responses import ResponseStreamEvent
from pydantic import TypeAdapter

from busbar.config.support import SUPPORTED_PROTOCOLS

from .speakers import JSON
from .ways import received
from .world import Answer, World

CAPTURES = Path(__file__).resolve().parents[3] / "shared" / "facts" / "captures" / "cli"
HOP_BY_HOP = frozenset({"host", "connection", "content-length", "upgrade", "accept-encoding"})
DIALECT_OF = {"/v1/messages": "anthropic", "/v1/responses": "responses", "/v1beta/models": "gemini"}


class Sent(msgspec.Struct, frozen=True, kw_only=True):
    """A request of an agent."""

    agent: str
    method: str
    path: str
    """With its query."""
    headers: dict[str, str]
    body: JSON | None = None

    @property
    def dialect(self) -> str:
        return next(dialect for path, dialect in DIALECT_OF.items() if self.path.startswith(path))

    @property
    def model(self) -> str:
        """The name that the agent was told to ask for."""
        assert self.body is not None
        return str(self.body.get("model") or self.path.partition("/models/")[2].partition(":")[0])

    def __str__(self) -> str:
        return f"{self.agent} {self.method} {self.path.partition('?')[0]}"


@cache
def captured() -> tuple[Sent, ...]:
    return tuple(sent for file in sorted(CAPTURES.glob("*.jsonl")) for sent in _read(file))


def _read(file: Path) -> Iterator[Sent]:
    for line in file.read_text().splitlines():
        record = json.loads(line)
        headers = {name.lower(): value for name, value in record["headers"]}
        kept = {name: value for name, value in headers.items() if name not in HOP_BY_HOP}
        yield Sent(agent=file.stem, method=record["method"], path=record["path"], headers=kept, body=record["body"])


def requests(wanted: Callable[[Sent], bool]) -> list[ParameterSet]:
    """The recorded requests of a kind; one placeholder that is skipped, where nothing was recorded."""
    found = [pytest.param(sent, id=str(sent)) for sent in captured() if wanted(sent)]
    return found or [pytest.param(None, marks=pytest.mark.skip(reason=f"no recordings at {CAPTURES}"))]


def is_question(sent: Sent) -> bool:
    return sent.method == "POST" and sent.dialect in SUPPORTED_PROTOCOLS


async def send(world: World, sent: Sent, path: str = "", body: JSON | None = None) -> Answer:
    """The request as it was recorded, or the same agent's with another path and body."""
    return await world.post(path or sent.path, body or sent.body, sent.headers)


# --- native streams --------------------------------------------------------------------------------------------


def data_of(answer: Answer) -> list[Any]:
    """The JSON of a stream's events."""
    assert answer.headers["content-type"].startswith("text/event-stream")
    lines = answer.body.decode().replace("\r\n", "\n").split("\n")
    return [json.loads(line.removeprefix("data: ")) for line in lines if line.startswith("data: ")]


@cache
def validator(kind: Any) -> Callable[[Any], Any]:
    """Checks a value against one of an SDK's types. Made once: the unions of events take a second to build."""
    return TypeAdapter(kind).validate_python


def told_by_anthropic(frames: list[Any]) -> str:
    events = [frame for frame in frames if frame["type"] != "ping"]
    assert [event["type"] for event in events].count("message_stop") == 1
    assert events[-1]["type"] == "message_stop"
    for event in events:
        validator(RawMessageStreamEvent)(event)
    return "".join(event["delta"].get("text", "") for event in events if event["type"] == "content_block_delta")


def told_by_responses(events: list[Any]) -> str:
    assert [event["sequence_number"] for event in events] == list(range(len(events)))
    assert events[-1]["type"] == "response.completed", "Codex waits for it"
    for event in events:
        validator(ResponseStreamEvent)(event)
    return "".join(event["delta"] for event in events if event["type"] == "response.output_text.delta")


def told_by_gemini(events: list[Any]) -> str:
    chunks = [GenerateContentResponse.model_validate(event) for event in events]
    ends = [chunk.candidates[0].finish_reason for chunk in chunks if chunk.candidates]
    assert [end.value for end in ends if end is not None] == ["STOP"]
    parts = [part for chunk in chunks if chunk.candidates for part in chunk.candidates[0].content.parts or ()]  # type: ignore[union-attr]
    return "".join(part.text or "" for part in parts if not part.thought)


TOLD: Mapping[str, Callable[[list[Any]], str]] = {
    "anthropic": told_by_anthropic,
    "responses": told_by_responses,
    "gemini": told_by_gemini,
}
"""dialect → the text of its stream; fails where the stream is not native."""


@pytest.mark.parametrize("egress", SUPPORTED_PROTOCOLS)
@pytest.mark.parametrize("sent", requests(is_question))
async def test_an_agents_question_gets_a_native_stream_from_any_provider(sent: Sent, egress: str) -> None:
    async with World({sent.model: f"{egress}:demo"}) as world:
        answer = await send(world, sent)
        assert answer.status == 200, answer
        assert "say hi" in TOLD[sent.dialect](data_of(answer))
        assert len(world.providers.requests) == 1


@pytest.mark.parametrize("sent", requests(is_question))
async def test_an_agents_question_reaches_its_own_kind_of_provider_as_it_was(sent: Sent) -> None:
    """But for the model's name; with the beta headers, and without the key that was for the gateway."""
    async with World({sent.model: f"{sent.dialect}:demo"}) as world:
        await send(world, sent)
        there = world.providers.requests[-1]
        assert sent.body is not None
        named = {"model": "demo"} if "model" in sent.body else {}
        assert received(world) == {**sent.body, **named}
        if "anthropic-beta" in sent.headers:
            assert there.headers["anthropic-beta"] == sent.headers["anthropic-beta"]
        assert not any("gw-key" in value or "gw-token" in value for value in there.headers.values())


# --- what agents ask besides -----------------------------------------------------------------------------------


@pytest.mark.parametrize("sent", requests(lambda sent: sent.path == "/api/hello"))
async def test_the_probe_at_the_start_is_answered(sent: Sent) -> None:
    async with World() as world, world.http.request(sent.method, sent.path, headers=sent.headers) as response:
        assert response.status == 200


@pytest.mark.parametrize("sent", requests(lambda sent: sent.method == "GET" and sent.path.startswith("/v1/models")))
async def test_models_are_discovered(sent: Sent) -> None:
    async with World() as world, world.http.get(sent.path, headers=sent.headers) as response:
        listed = await response.json()
        assert [model["id"] for model in listed["data"]] == ["claude", "gpt"]
        assert listed["has_more"] is False


@pytest.mark.parametrize("sent", requests(lambda sent: sent.method == "GET" and sent.path == "/v1/responses")[:1])
async def test_the_try_for_a_socket_is_sent_back_to_plain_requests(sent: Sent) -> None:
    """Anything but 426 costs Codex seven attempts and six seconds."""
    upgrade = {"connection": "Upgrade", "upgrade": "websocket"}
    async with World() as world, world.http.get(sent.path, headers={**sent.headers, **upgrade}) as response:
        assert response.status == 426


COUNTS: Mapping[str, tuple[str, Callable[[JSON], JSON], str]] = {
    "anthropic": (
        "/v1/messages/count_tokens",
        lambda body: {key: body[key] for key in ("model", "messages", "system", "tools")},
        "input_tokens",
    ),
    "gemini": (
        "/v1beta/models/{model}:countTokens",
        lambda body: {"contents": body["contents"]},
        "totalTokens",
    ),
}
"""dialect → where tokens are counted, what is sent of a question, and the field of the answer."""


@pytest.mark.parametrize("egress", SUPPORTED_PROTOCOLS)
@pytest.mark.parametrize("sent", requests(lambda sent: is_question(sent) and sent.dialect in COUNTS))
async def test_tokens_are_counted_by_the_same_kind_of_provider_and_natively_not_found_elsewhere(
    sent: Sent, egress: str
) -> None:
    path, part, field = COUNTS[sent.dialect]
    assert sent.body is not None
    async with World({sent.model: f"{egress}:demo"}) as world:
        answer = await send(world, sent, path.format(model=sent.model), part(sent.body))
        if egress == sent.dialect:
            assert answer.status == 200, answer
            assert answer.json()[field] > 0
        else:
            assert answer.status == 404, answer
            assert answer.json()["error"]["message"]
