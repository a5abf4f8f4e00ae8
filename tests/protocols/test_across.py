"""Recorded traffic goes from each dialect to each other: what comes out is native there, and says the same.

Requests are judged by the embedded providers, which refuse what the real ones refuse, and by the SDKs' parameter
types; answers and streams by the SDKs' own models.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import anthropic
import msgspec
import pytest
from anthropic.types.message_create_params import MessageCreateParams
from openai.types.chat import ChatCompletion, ChatCompletionChunk
from openai.types.chat.completion_create_params import CompletionCreateParams
from pydantic import BaseModel, TypeAdapter

from busbar.demo.providers import validate_anthropic, validate_openai
from busbar.demo.providers.dialect import Refused
from busbar.protocols.framing.sse import SseDecoder
from busbar.protocols.ir import (
    ArgumentsDelta,
    BlockStart,
    BlockStop,
    Choice,
    Ended,
    Errored,
    Event,
    Part,
    Refusal,
    RefusalDelta,
    Response,
    Started,
    Stopped,
    StopReason,
    Text,
    TextDelta,
    Thinking,
    ThinkingDelta,
    ToolUse,
    UsageSeen,
)
from busbar.protocols.protocol import Hop
from busbar.protocols.receipt import Receipt
from busbar.protocols.registry import PROTOCOLS
from busbar.protocols.translate import StreamTranslator
from busbar.protocols.usage import Usage, merged
from tests.protocols.anthropic.test_identity import messages_of
from tests.protocols.anthropic.test_request_settings import sdk_accepts
from tests.protocols.anthropic.wire import accumulated
from tests.protocols.identity import split_at_random
from tests.recordings import Recording, recordings, with_answer, with_request, with_stream

HOP = Hop(model="there", now=1_700_000_000, nonce="n")
OTHER = {"anthropic": "openai", "openai": "anthropic"}
VALIDATE = {"anthropic": validate_anthropic.validate, "openai": validate_openai.validate}
PARAMS: dict[str, TypeAdapter[Any]] = {
    "anthropic": TypeAdapter(MessageCreateParams),
    "openai": TypeAdapter(CompletionCreateParams),
}
ANSWER: dict[str, type[BaseModel]] = {"anthropic": anthropic.types.Message, "openai": ChatCompletion}
EVENT: dict[str, TypeAdapter[Any]] = {
    "anthropic": TypeAdapter(anthropic.types.RawMessageStreamEvent),
    "openai": TypeAdapter(ChatCompletionChunk),
}
TERMINAL = {"anthropic": b'"type":"message_stop"', "openai": b"data: [DONE]"}

NO_EXCHANGE = {
    ("openai", 4): "an error in a 200",
    ("openai", 155): "a request that OpenAI refused, and so do we",
}
REFUSED_ALL_THE_SAME = {
    ("anthropic", 96): "two assistant turns stand side by side, each with a call, answered together",
    ("anthropic", 97): "the same",
    ("openai", 114): "Anthropic's own signature, by way of OpenRouter: the demo can only verify what it signed",
}


def exchanges(when: Any) -> list[Any]:
    return [
        parameter
        for dialect in OTHER
        for parameter in recordings(dialect, lambda it: when(it) and (it.protocol, it.number) not in NO_EXCHANGE)
    ]


def hop_of(recording: Recording, document: dict[str, Any]) -> tuple[dict[str, Any], Receipt]:
    source, target = PROTOCOLS[recording.protocol], PROTOCOLS[OTHER[recording.protocol]]
    request = source.read_request(document)
    receipt = Receipt(spell=partial(source.spell, request))
    return target.write_request(request, HOP, receipt), receipt


def known_paths(value: Any, path: str = "") -> set[str]:
    inner: list[tuple[str, Any]] = []
    if isinstance(value, list):
        inner = [(f"{path}[{at}]", each) for at, each in enumerate(value)]
    elif isinstance(value, dict):
        inner = [(f"{path}.{key}" if path else key, each) for key, each in value.items()]
    return {path} | {known for at, each in inner for known in known_paths(each, at)}


# --- requests ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("recording", exchanges(with_request))
def test_a_request_is_accepted_in_the_other_dialect(recording: Recording) -> None:
    target = OTHER[recording.protocol]
    document, _ = hop_of(recording, recording.request.body)
    sdk_accepts(PARAMS[target].validate_python(document))
    if (recording.protocol, recording.number) in REFUSED_ALL_THE_SAME:
        with pytest.raises(Refused):
            VALIDATE[target](document, {})
    else:
        VALIDATE[target](document, {})


# --- answers -------------------------------------------------------------------------------------------------------

SAID_AS = {
    "openai": {
        StopReason.STOP_SEQUENCE: StopReason.END_TURN,
        StopReason.REFUSAL: StopReason.CONTENT_FILTER,
        StopReason.PAUSE_TURN: StopReason.END_TURN,
        StopReason.CONTEXT_WINDOW: StopReason.MAX_TOKENS,
    },
    "anthropic": {StopReason.CONTENT_FILTER: StopReason.REFUSAL, None: StopReason.END_TURN},
}
"""Reasons to stop that a dialect has no word of its own for, and what it says instead."""

NATIVE_EXTRAS = {"reasoning_content", "annotations"}
"""Keys that the SDK's models lack, and that providers and clients of the dialect know all the same (OpenAI streams
annotations without having typed them)."""


def extras(value: Any) -> set[str]:
    """Keys that no model of the SDK knows, at any depth."""
    if isinstance(value, list):
        return {key for inner in value for key in extras(inner)}
    if not isinstance(value, BaseModel):
        return set()
    known = {name: getattr(value, name) for name in type(value).model_fields}
    return set(value.model_extra or ()) | extras(list(known.values()))


def arguments_of(use: ToolUse) -> Any:
    try:
        return msgspec.json.decode(use.arguments or "{}")
    except msgspec.DecodeError:
        return use.arguments


def content_of(parts: list[Part]) -> tuple[str, str, list[tuple[str, Any]]]:
    """The text (a refusal is one), the thinking, the tool calls."""
    return (
        "".join(part.text for part in parts if isinstance(part, Text | Refusal)),
        "".join(part.text for part in parts if isinstance(part, Thinking)),
        [(part.name, arguments_of(part)) for part in parts if isinstance(part, ToolUse)],
    )


def totals(usage: Usage | None) -> tuple[int, int]:
    return (0, 0) if usage is None else (usage.prompt_tokens, usage.output_tokens or 0)


def reason_of(choice: Choice) -> StopReason | None:
    return None if choice.stop is None else choice.stop.reason


def expected_reason(choice: Choice, target: str) -> StopReason | None:
    reason = reason_of(choice)
    if target == "anthropic" and any(isinstance(part, Refusal) for part in choice.parts):
        return StopReason.REFUSAL
    return SAID_AS[target].get(reason, reason)


def first(response: Response) -> Choice:
    return response.choices[0] if response.choices else Choice()


@pytest.mark.parametrize("recording", exchanges(with_answer))
def test_an_answer_is_native_and_says_the_same(recording: Recording) -> None:
    source, target = PROTOCOLS[recording.protocol], PROTOCOLS[OTHER[recording.protocol]]
    answer = source.read_response(recording.response.body)
    receipt = Receipt(spell=partial(source.spell, answer))
    document = target.write_response(answer, HOP, receipt)
    assert extras(ANSWER[target.name].model_validate(document, strict=True)) <= NATIVE_EXTRAS
    there = target.read_response(document)
    assert content_of(first(there).parts) == content_of(first(answer).parts)
    assert reason_of(first(there)) is expected_reason(first(answer), target.name)
    assert totals(there.usage) == totals(answer.usage)
    assert {entry.path for entry in receipt.entries} <= known_paths(recording.response.body)


# --- streams -------------------------------------------------------------------------------------------------------


def streams_of(recording: Recording) -> list[bytes]:
    return messages_of(recording) if recording.protocol == "anthropic" else [recording.response.wire]


def events_of(dialect: str, wire: bytes) -> list[Event]:
    """The events of a stream's first choice (the only one that Anthropic's dialect has)."""
    reader = PROTOCOLS[dialect].stream_reader()
    chunks = reader.feed(wire) + reader.close()
    assert reader.malformed == 0
    return [event for chunk in chunks for event in chunk.events if getattr(event, "choice", 0) == 0]


def assembled(events: list[Event]) -> Response:
    """What a stream says, as a whole answer. Fails where blocks are out of balance."""
    parts: list[Part] = []
    open_blocks: set[int] = set()
    choice = Choice(parts=parts)
    answer = Response(id="", model="", choices=[choice])
    for event in events:
        match event:
            case BlockStart():
                assert event.index == len(parts)
                parts.append(msgspec.structs.replace(event.part))
                open_blocks.add(event.index)
            case TextDelta() | ThinkingDelta() | RefusalDelta() | ArgumentsDelta():
                assert event.index in open_blocks
                grow(parts[event.index], event)
            case BlockStop():
                open_blocks.remove(event.index)
            case Stopped():
                assert choice.stop is None
                assert not open_blocks
                choice.stop = event.stop
            case Started() | UsageSeen():
                answer.usage = merged(answer.usage, event.usage)
            case _:
                pass
    assert not open_blocks or not any(isinstance(event, Ended) for event in events)
    return answer


def grow(part: Part, delta: TextDelta | ThinkingDelta | RefusalDelta | ArgumentsDelta) -> None:
    match part, delta:
        case (Text() | Thinking() | Refusal(), TextDelta() | ThinkingDelta() | RefusalDelta()):
            part.text += delta.text
        case (ToolUse(), ArgumentsDelta()):
            part.arguments += delta.fragment
        case _:
            raise AssertionError(f"a {type(delta).__name__} in a {type(part).__name__}")


def natively_typed(dialect: str, wire: bytes) -> None:
    for event in SseDecoder().feed(wire):
        if event.data != b"[DONE]":
            value = EVENT[dialect].validate_python(msgspec.json.decode(event.data), strict=True)
            assert extras(value) <= NATIVE_EXTRAS


@pytest.mark.parametrize("recording", exchanges(with_stream))
def test_a_stream_is_native_and_says_the_same(recording: Recording) -> None:
    source, target = recording.protocol, OTHER[recording.protocol]
    for seed, stream in enumerate(streams_of(recording), recording.number):
        pipe = StreamTranslator(PROTOCOLS[source], PROTOCOLS[target], HOP, Receipt())
        wire = b"".join([pipe.feed(piece) for piece in split_at_random(stream, seed)]) + pipe.close()
        natively_typed(target, wire)
        here, there = events_of(source, stream), events_of(target, wire)
        said, told = assembled(here), assembled(there)
        assert content_of(first(told).parts) == content_of(first(said).parts)
        assert pipe.ended is any(isinstance(event, Ended) for event in here)
        assert wire.count(TERMINAL[target]) == pipe.ended
        if pipe.ended:
            assert isinstance(there[-1], Ended)
            assert reason_of(first(told)) is expected_reason(first(said), target)
            assert totals(told.usage) == totals(said.usage) == totals(pipe.usage)
        else:
            (failed,) = [event for event in here if isinstance(event, Errored)]
            assert pipe.error == failed.signal
        if target == "anthropic" and pipe.ended:
            theirs = PROTOCOLS[target].read_response(accumulated(wire).to_dict())
            assert content_of(first(theirs).parts)[:2] == content_of(first(said).parts)[:2]
            assert totals(theirs.usage) == totals(said.usage)
