"""Whole answers: what is read, and that other dialects' answers become messages that the SDK accepts."""

from __future__ import annotations

from typing import Any

import anthropic.types
import pytest

from busbar.protocols.anthropic import PROTOCOL
from busbar.protocols.ir import (
    Audio,
    Choice,
    Citation,
    Opaque,
    RedactedThinking,
    Refusal,
    Response,
    Stop,
    StopReason,
    Text,
    Thinking,
    ToolUse,
)
from busbar.protocols.native import Native
from busbar.protocols.protocol import Hop, InvalidRequest
from busbar.protocols.receipt import Receipt
from busbar.protocols.usage import Usage

HOP = Hop(model="claude", nonce="n1")


def foreign(parts: list[Any], stop: Stop | None = None, **fields: Any) -> Response:
    fields = {"id": "chatcmpl-7", "model": "gpt", "native": Native("openai", {}, "own"), **fields}
    return Response(choices=[Choice(parts=parts, stop=stop)], **fields)


def write(response: Response) -> tuple[dict[str, Any], set[tuple[str, str]]]:
    receipt = Receipt()
    document = PROTOCOL.write_response(response, HOP, receipt)
    anthropic.types.Message.model_validate(document, strict=True)
    return document, {(entry.change, entry.path) for entry in receipt.entries}


def test_an_answer_is_read() -> None:
    response = PROTOCOL.read_response(
        {
            "id": "msg_1",
            "type": "message",
            "role": "assistant",
            "model": "m",
            "content": [{"type": "text", "text": "a"}, {"type": "novel", "x": 1}, {"type": "text", "text": 7}],
            "stop_reason": "stop_sequence",
            "stop_sequence": "X",
            "stop_details": None,
            "usage": {
                "input_tokens": 1,
                "output_tokens": 2,
                "cache_read_input_tokens": 3,
                "cache_creation_input_tokens": 4,
                "output_tokens_details": {"thinking_tokens": 5},
                "service_tier": "standard",
            },
        }
    )
    assert response == Response(
        id="msg_1",
        model="m",
        choices=[
            Choice(
                parts=[
                    Text(text="a"),
                    Opaque(dialect="anthropic", kind="novel", value={"type": "novel", "x": 1}),
                    Opaque(dialect="anthropic", kind="text", value={"type": "text", "text": 7}),
                ],
                stop=Stop(reason=StopReason.STOP_SEQUENCE, sequence="X"),
            )
        ],
        usage=Usage(
            input_tokens=1,
            output_tokens=2,
            cache_read_tokens=3,
            cache_write_tokens=4,
            reasoning_tokens=5,
            native=Native("anthropic", {"service_tier": "standard"}),
        ),
        native=Native("anthropic", {"stop_details": None}, "own"),
    )


def test_citations_are_read() -> None:
    found = [
        {"type": "char_location", "cited_text": "c", "document_index": 0, "document_title": "T",
         "start_char_index": 1, "end_char_index": 2},
        {"type": "web_search_result_location", "cited_text": "c", "url": "https://x", "title": "T",
         "encrypted_index": "E"},
    ]  # fmt: skip
    response = PROTOCOL.read_response({"content": [{"type": "text", "text": "a", "citations": found}]})
    text = response.choices[0].parts[0]
    assert isinstance(text, Text)
    assert text.citations == [
        Citation(
            cited_text="c",
            title="T",
            start=1,
            end=2,
            native=Native("anthropic", {"document_index": 0}, "char_location"),
        ),
        Citation(
            cited_text="c",
            url="https://x",
            title="T",
            native=Native("anthropic", {"encrypted_index": "E"}, "web_search_result_location"),
        ),
    ]


@pytest.mark.parametrize("document", [{}, {"content": "x"}, {"type": "error", "error": {}}])
def test_a_document_without_content_is_no_answer(document: dict[str, Any]) -> None:
    with pytest.raises(InvalidRequest):
        PROTOCOL.read_response(document)


def test_an_unknown_stop_reason_comes_back_and_means_other() -> None:
    document = {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": "m",
        "content": [],
        "stop_reason": "novel",
        "stop_sequence": None,
    }
    response = PROTOCOL.read_response(document)
    assert response.choices[0].stop == Stop(reason=StopReason.OTHER, native=Native("anthropic", {}, "novel"))
    assert PROTOCOL.write_response(response, HOP, Receipt()) == document


def test_a_foreign_answer_is_a_whole_message() -> None:
    parts = [
        Thinking(text="hm"),
        Text(text="Hi"),
        ToolUse(id="call_1", name="look", arguments='{"a":1}'),
        ToolUse(id="call_2", name="look", arguments=""),
    ]
    usage = Usage(input_tokens=10, output_tokens=20, cache_read_tokens=5, reasoning_tokens=7)
    document, report = write(foreign(parts, Stop(reason=StopReason.TOOL_USE), usage=usage))
    assert document == {
        "id": "msg_7",
        "type": "message",
        "role": "assistant",
        "model": "gpt",
        "content": [
            {"type": "thinking", "thinking": "hm", "signature": ""},
            {"type": "text", "text": "Hi"},
            {"type": "tool_use", "id": "toolu_1", "name": "look", "input": {"a": 1}},
            {"type": "tool_use", "id": "toolu_2", "name": "look", "input": {}},
        ],
        "stop_reason": "tool_use",
        "stop_sequence": None,
        "usage": {
            "input_tokens": 10,
            "cache_creation_input_tokens": 0,
            "cache_read_input_tokens": 5,
            "output_tokens": 20,
            "output_tokens_details": {"thinking_tokens": 7},
        },
    }
    assert report == set()


def test_the_least_answer_has_every_required_field() -> None:
    document, report = write(Response(id="", model=""))
    assert document.pop("id").startswith("msg_")
    assert document == {
        "type": "message",
        "role": "assistant",
        "model": "claude",
        "content": [],
        "stop_reason": "end_turn",
        "stop_sequence": None,
        "usage": {
            "input_tokens": 0,
            "cache_creation_input_tokens": 0,
            "cache_read_input_tokens": 0,
            "output_tokens": 0,
        },
    }
    assert report == set()


@pytest.mark.parametrize(
    ("reason", "word"),
    [
        (StopReason.END_TURN, "end_turn"),
        (StopReason.STOP_SEQUENCE, "stop_sequence"),
        (StopReason.MAX_TOKENS, "max_tokens"),
        (StopReason.TOOL_USE, "end_turn"),
        (StopReason.REFUSAL, "refusal"),
        (StopReason.CONTENT_FILTER, "refusal"),
        (StopReason.PAUSE_TURN, "pause_turn"),
        (StopReason.CONTEXT_WINDOW, "model_context_window_exceeded"),
        (StopReason.ERROR, "end_turn"),
        (StopReason.OTHER, "end_turn"),
    ],
)
def test_every_reason_to_stop_has_a_word(reason: StopReason, word: str) -> None:
    document, _ = write(foreign([Text(text="a")], Stop(reason=reason)))
    assert document["stop_reason"] == word


def test_a_stop_agrees_with_the_content() -> None:
    call = ToolUse(id="call_1", name="look", arguments="{}")
    assert write(foreign([call], Stop(reason=StopReason.END_TURN)))[0]["stop_reason"] == "tool_use"
    assert write(foreign([call], Stop(reason=StopReason.MAX_TOKENS)))[0]["stop_reason"] == "max_tokens"
    assert write(foreign([Refusal(text="No.")], Stop(reason=StopReason.END_TURN)))[0]["stop_reason"] == "refusal"
    stopped = Stop(reason=StopReason.STOP_SEQUENCE, sequence="X")
    assert write(foreign([Text(text="a")], stopped))[0]["stop_sequence"] == "X"


def test_what_a_message_cannot_hold_is_reported() -> None:
    parts = [
        Thinking(text="hm", signature="s", signer="gemini"),
        RedactedThinking(data="d", signer="bedrock"),
        Text(text="a", citations=[Citation(url="https://x")]),
        Audio(data="AA==", format="wav"),
        Opaque(dialect="openai", kind="x", value={}),
    ]
    response = foreign(parts, native=Native("openai", {"system_fingerprint": "f", "service_tier": None}, "own"))
    response.choices.append(Choice(index=1, parts=[Text(text="other")]))
    document, report = write(response)
    assert document["content"] == [
        {"type": "thinking", "thinking": "hm", "signature": ""},
        {"type": "text", "text": "a"},
    ]
    assert report == {
        ("dropped", "system_fingerprint"),
        ("dropped", "choices[1]"),
        ("dropped", "choices[0].content[0].signature"),
        ("dropped", "choices[0].content[1]"),
        ("dropped", "choices[0].content[2].citations"),
        ("dropped", "choices[0].content[3]"),
        ("dropped", "choices[0].content[4]"),
    }


def test_models_are_listed_as_the_sdk_reads_them() -> None:
    page = PROTOCOL.write_models(["fast", "smart"], HOP)
    models = [anthropic.types.ModelInfo.model_validate(model) for model in page["data"]]
    assert [model.id for model in models] == ["fast", "smart"]
    assert {key: value for key, value in page.items() if key != "data"} == {
        "has_more": False,
        "first_id": "fast",
        "last_id": "smart",
    }
    assert PROTOCOL.write_models([], HOP) == {"data": [], "has_more": False, "first_id": None, "last_id": None}
