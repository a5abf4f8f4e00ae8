"""What each dialect's official SDK makes of an answer and of a stream.

The SDKs are lenient where they read; here they are strict: a value of another type than the SDK declares is an
error, and so is a key that it declares nowhere, but for those that providers are known to send (`UNTYPED`).
"""

from __future__ import annotations

import typing
from functools import cache
from typing import Any

import anthropic
import cohere
import msgspec
from botocore.model import Shape
from botocore.validate import ParamValidator
from google.genai import types as genai
from openai.types.chat import ChatCompletion, ChatCompletionChunk
from openai.types.responses import Response as OpenAIResponse
from openai.types.responses import ResponseStreamEvent
from pydantic import BaseModel

from busbar.protocols.framing.eventstream import EventStreamDecoder
from busbar.protocols.framing.sse import SseDecoder
from tests.protocols.bedrock.wire import operation, sdk_answer, sdk_events

Frame: typing.TypeAlias = tuple[str, Any]
"""A stream's event: its name (empty where the dialect gives none) and its value."""

UNTYPED: dict[str, set[str]] = {
    "openai": {
        "reasoning_content",  # DeepSeek's, and since then everybody's
        "annotations",  # streamed as they stand in whole answers, where they are typed
    },
    "responses": {"store"},  # an echo of the request, in every answer of OpenAI's
    "cohere": {
        "reasoning_tokens",  # in the usage of every model that thinks
        # what `message-start` says of the message to come, in every stream of Cohere's
        *("content", "tool_plan", "tool_calls", "citations"),
    },
}
"""Keys that an SDK's models lack, and the providers of its dialect send all the same."""


def native_answer(dialect: str, document: dict[str, Any]) -> Any:
    """A whole answer as the SDK's own value."""
    if dialect == "bedrock":
        _check_shape(operation("Converse").output_shape, document)
        return sdk_answer(document)
    return _native(dialect, _ANSWER[dialect], document)


def native_events(dialect: str, wire: bytes, frames: list[Frame]) -> list[Any]:
    """A stream's events as the SDK's own values; an error event, of which SDKs make an exception, is left out.
    `frames` are those of `wire`.

    OpenAI's and Cohere's events are unions of which pydantic would try every member: the event's own `type` picks
    the model, as the SDKs themselves do.
    """
    frames = [frame for frame in frames if not is_error(dialect, *frame)]
    if dialect == "bedrock":
        shapes = operation("ConverseStream").output_shape.members["stream"].members
        for kind, value in frames:
            _check_shape(shapes[kind], value)
        return sdk_events(wire[: _bytes_of_events(wire)])
    values = [(kind, value) for kind, value in frames if value is not None]
    if dialect in _EVENT:
        assert {kind for kind, _ in values} <= {""}
        return [_native(dialect, _EVENT[dialect], value) for _, value in values]
    models = _by_type(_EVENTS[dialect])
    assert all(kind == value["type"] for kind, value in values)
    return [_native(dialect, models[kind], value) for kind, value in values]


def frames_of(dialect: str, wire: bytes) -> list[Frame]:
    """A stream's events, decoded; the value of `[DONE]` is None."""
    if dialect == "bedrock":
        messages = EventStreamDecoder().feed(wire)
        return [
            (str(message.headers.get(":event-type", "exception")), msgspec.json.decode(message.payload))
            for message in messages
        ]
    events = SseDecoder().feed(wire)
    return [(event.event, None if event.data == b"[DONE]" else msgspec.json.decode(event.data)) for event in events]


def is_error(dialect: str, kind: str, value: Any) -> bool:
    """Whether an event says that the stream broke. Cohere says so in its usual last event, Responses in one that has
    a model."""
    match dialect:
        case "bedrock":
            return kind == "exception"
        case "openai" | "gemini":
            return value is not None and "error" in value
        case _:
            return kind == "error"


_ANSWER: dict[str, type[BaseModel]] = {
    "anthropic": anthropic.types.Message,
    "openai": ChatCompletion,
    "responses": OpenAIResponse,
    "gemini": genai.GenerateContentResponse,
    "cohere": cohere.V2ChatResponse,
}
_EVENT: dict[str, type[BaseModel]] = {"openai": ChatCompletionChunk, "gemini": genai.GenerateContentResponse}
_EVENTS: dict[str, Any] = {
    "anthropic": anthropic.types.RawMessageStreamEvent,
    "responses": ResponseStreamEvent,
    "cohere": cohere.V2ChatStreamResponse,
}


@cache
def _by_type(union: Any) -> dict[str, type[BaseModel]]:
    """The members of a union of events, by the `type` that each declares."""
    members = typing.get_args(typing.get_args(union)[0])
    return {kind: member for member in members for kind in typing.get_args(member.model_fields["type"].annotation)}


def _native(dialect: str, model: type[BaseModel], value: Any) -> BaseModel:
    if dialect == "gemini":  # of JSON, in which bytes are base64; this SDK forbids keys that it does not know
        return model.model_validate_json(msgspec.json.encode(value))
    native = model.model_validate(value, strict=True)
    assert _extras(native) <= UNTYPED.get(dialect, set())
    return native


def _extras(value: Any) -> set[str]:
    """Keys that no model of the SDK knows, at any depth."""
    if isinstance(value, list):
        return {key for inner in value for key in _extras(inner)}
    if not isinstance(value, BaseModel):
        return set()
    known = [inner for inner in value.__dict__.values() if isinstance(inner, BaseModel | list)]
    return set(value.model_extra or ()) | _extras(known)


def _check_shape(shape: Shape, value: Any) -> None:
    """botocore reads leniently, and validates only what it sends; but its shapes of answers are as exact."""
    report = ParamValidator().validate(value, shape)
    assert not report.has_errors(), report.generate_report()


def _bytes_of_events(wire: bytes) -> int:
    """Where the exception begins that a broken stream ends with."""
    sizes, at = [], 0
    while at < len(wire):
        sizes.append(int.from_bytes(wire[at : at + 4], "big"))
        at += sizes[-1]
    broken = frames_of("bedrock", wire)[-1][0] == "exception"
    return at - sizes[-1] if broken else at
