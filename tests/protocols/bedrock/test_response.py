"""Whole answers: read row by row, written for other dialects' answers so that the official SDK reads them."""

from __future__ import annotations

from typing import Any

import pytest

from busbar.protocols.bedrock import PROTOCOL
from busbar.protocols.failures import FailureSignal
from busbar.protocols.ir import (
    Choice,
    Citation,
    Opaque,
    Part,
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
from busbar.protocols.protocol import Hop, Inspection, InvalidRequest
from busbar.protocols.receipt import Receipt
from busbar.protocols.usage import Usage
from tests.protocols.bedrock.wire import HOP, sdk_answer

USAGE = {"inputTokens": 3, "outputTokens": 2, "totalTokens": 5}


def answer(*content: dict[str, Any], **fields: Any) -> dict[str, Any]:
    message = {"role": "assistant", "content": list(content)}
    return {
        "output": {"message": message},
        "stopReason": "end_turn",
        "usage": USAGE,
        "metrics": {"latencyMs": 7},
        **fields,
    }


def read(document: dict[str, Any]) -> Response:
    response = PROTOCOL.read_response(document)
    assert PROTOCOL.write_response(response, Hop(), Receipt()) == document
    return response


def write(
    *parts: Part, stop: Stop | None = None, usage: Usage | None = None, **fields: Any
) -> tuple[dict[str, Any], set[tuple[str, str]]]:
    native = Native("openai", fields, "own")
    response = Response(
        id="x", model="gpt", choices=[Choice(parts=list(parts), stop=stop)], usage=usage, native=native
    )
    receipt = Receipt()
    document = PROTOCOL.write_response(response, HOP, receipt)
    parsed = sdk_answer(document)
    assert parsed["output"]["message"]["role"] == "assistant"
    assert len(parsed["output"]["message"]["content"]) == len(document["output"]["message"]["content"])
    return document, {(entry.change, entry.path) for entry in receipt.entries}


def test_an_answer_is_read() -> None:
    usage = {"inputTokens": 3, "outputTokens": 2, "totalTokens": 9, "cacheReadInputTokens": 4}
    response = read(answer({"text": "Hi"}, usage=usage, serviceTier={"type": "default"}))
    left = {"metrics": {"latencyMs": 7}, "serviceTier": {"type": "default"}}
    assert response == Response(
        id="",
        model="",
        choices=[Choice(parts=[Text(text="Hi")], stop=Stop(reason=StopReason.END_TURN))],
        usage=Usage(
            input_tokens=3, output_tokens=2, cache_read_tokens=4, native=Native("bedrock", {}, ("totalTokens",))
        ),
        native=Native("bedrock", left, "own"),
    )


@pytest.mark.parametrize(
    ("word", "reason", "form"),
    [
        ("tool_use", StopReason.TOOL_USE, None),
        ("max_tokens", StopReason.MAX_TOKENS, None),
        ("content_filtered", StopReason.CONTENT_FILTER, None),
        ("guardrail_intervened", StopReason.CONTENT_FILTER, "guardrail_intervened"),
        ("malformed_tool_use", StopReason.ERROR, "malformed_tool_use"),
        ("malformed_model_output", StopReason.ERROR, None),
        ("model_context_window_exceeded", StopReason.CONTEXT_WINDOW, None),
        ("bored", StopReason.OTHER, "bored"),
    ],
)
def test_a_reason_to_stop_is_read(word: str, reason: StopReason, form: str | None) -> None:
    (choice,) = read(answer({"text": "Hi"}, stopReason=word)).choices
    assert choice.stop is not None
    assert (choice.stop.reason, choice.stop.native) == (reason, form and Native("bedrock", {}, form))


def test_the_stop_sequence_is_among_the_model_s_own_fields() -> None:
    fields = {"stop_sequence": "END", "other": 1}
    (choice,) = read(answer(stopReason="stop_sequence", additionalModelResponseFields=fields)).choices
    assert choice.stop == Stop(reason=StopReason.STOP_SEQUENCE, sequence="END")


def test_a_cited_passage_is_a_text_with_citations() -> None:
    location = {"documentChar": {"documentIndex": 0, "start": 1, "end": 9}}
    citation = {"title": "facts", "sourceContent": [{"text": "a"}, {"text": "bc"}], "location": location}
    web = {"location": {"web": {"url": "https://x", "domain": "x"}}}
    block = {"citationsContent": {"content": [{"text": "So"}, {"text": "."}], "citations": [citation, web]}}
    (choice,) = read(answer(block)).choices
    document = {"location": {"documentChar": {"documentIndex": 0}}}
    assert choice.parts == [
        Text(
            text="So.",
            citations=[
                Citation(title="facts", cited_text="abc", start=1, end=9, native=Native("bedrock", document, (1, 2))),
                Citation(url="https://x", native=Native("bedrock", {"location": {"web": {"domain": "x"}}})),
            ],
            native=Native("bedrock", {}, ((2, 1), True)),
        )
    ]


@pytest.mark.parametrize(
    "block",
    [
        {"citationsContent": {"citations": []}},
        {"citationsContent": {"content": "odd"}},
        {"toolUse": {"name": "n"}},
        {"toolUse": {"toolUseId": "t", "name": "n", "input": "text"}},
        {"text": 7},
        {"image": None},
        {"new": {}, "kind": {}},
        {},
        "text",
    ],
)
def test_an_odd_block_comes_back_as_it_came(block: Any) -> None:
    read(answer(block))


@pytest.mark.parametrize("document", [{}, {"output": {}}, {"output": {"message": {"content": "x"}}}])
def test_what_is_no_answer_is_refused(document: dict[str, Any]) -> None:
    with pytest.raises(InvalidRequest):
        PROTOCOL.read_response(document)


def test_a_foreign_answer_is_native() -> None:
    document, report = write(
        Thinking(text="hm"),
        Text(text="So."),
        ToolUse(id="call_1", name="look", arguments='{"a":1}'),
        stop=Stop(reason=StopReason.TOOL_USE),
        usage=Usage(input_tokens=3, output_tokens=5, cache_read_tokens=4, reasoning_tokens=2),
    )
    assert document == {
        "output": {
            "message": {
                "role": "assistant",
                "content": [
                    {"reasoningContent": {"reasoningText": {"text": "hm", "signature": ""}}},
                    {"text": "So."},
                    {"toolUse": {"toolUseId": "tooluse_1", "name": "look", "input": {"a": 1}}},
                ],
            }
        },
        "stopReason": "tool_use",
        "usage": {"inputTokens": 3, "outputTokens": 5, "totalTokens": 12, "cacheReadInputTokens": 4},
        "metrics": {"latencyMs": 0},
    }
    assert report == set()


@pytest.mark.parametrize(
    ("parts", "stop", "word"),
    [
        ([Text(text="a")], None, "end_turn"),
        ([Text(text="a")], Stop(reason=StopReason.TOOL_USE), "end_turn"),
        ([ToolUse(id="c", name="n", arguments="")], Stop(reason=StopReason.END_TURN), "tool_use"),
        ([ToolUse(id="c", name="n", arguments="")], Stop(reason=StopReason.MAX_TOKENS), "max_tokens"),
        ([Refusal(text="No.")], Stop(reason=StopReason.END_TURN), "content_filtered"),
        ([], Stop(reason=StopReason.REFUSAL), "content_filtered"),
        ([], Stop(reason=StopReason.PAUSE_TURN), "end_turn"),
        ([], Stop(reason=StopReason.OTHER, native=Native("openai", {}, "odd")), "end_turn"),
    ],
)
def test_a_foreign_reason_agrees_with_the_answer(parts: list[Part], stop: Stop | None, word: str) -> None:
    document, _ = write(*parts, stop=stop)
    assert document["stopReason"] == word


def test_a_stop_sequence_is_told_where_this_dialect_tells_it() -> None:
    document, _ = write(stop=Stop(reason=StopReason.STOP_SEQUENCE, sequence="END"))
    assert document["additionalModelResponseFields"] == {"stop_sequence": "END"}


def test_foreign_citations_become_a_cited_passage() -> None:
    here = Citation(url="https://x", title="X", start=0, end=3, of_answer=True)
    there = Citation(cited_text="abc", start=1, end=2)
    document, report = write(Text(text="So.", citations=[here, there]))
    (block,) = document["output"]["message"]["content"]
    assert block == {
        "citationsContent": {
            "content": [{"text": "So."}],
            "citations": [
                {"title": "X", "location": {"web": {"url": "https://x"}}},
                {"sourceContent": [{"text": "abc"}]},
            ],
        }
    }
    assert report == {("dropped", "choices[0].content[0].citations.start")}


def test_what_has_no_place_in_an_answer_is_reported() -> None:
    document, report = write(
        Thinking(text="hm", signature="s", signer="gemini"),
        RedactedThinking(data="x", signer="gemini"),
        Opaque(dialect="openai", kind="web_search_call", value={}),
        system_fingerprint="f",
    )
    assert document["output"]["message"]["content"] == [
        {"reasoningContent": {"reasoningText": {"text": "hm", "signature": ""}}}
    ]
    assert report == {
        ("dropped", "choices[0].content[0].signature"),
        ("dropped", "choices[0].content[1]"),
        ("dropped", "choices[0].content[2]"),
        ("dropped", "system_fingerprint"),
    }


def test_further_choices_have_no_place() -> None:
    choices = [Choice(index=n, parts=[Text(text=str(n))]) for n in range(2)]
    receipt = Receipt()
    document = PROTOCOL.write_response(Response(id="", model="m", choices=choices), HOP, receipt)
    assert document["output"]["message"]["content"] == [{"text": "0"}]
    assert receipt.dropped_paths == ("choices[1]",)


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (
            b'{"output":{},"usage":{"inputTokens":1}}',
            Inspection(usage=Usage(input_tokens=1)),
        ),
        (b'{"message":"Oh."}', Inspection(error=FailureSignal(message="Oh."))),
        (b'{"Output":{"__type":"x"}}', Inspection()),
        (b"[]", Inspection(readable=False)),
        (b"\xff", Inspection(readable=False)),
        (b'{"output":{},"usage":7}', Inspection()),
    ],
)
def test_a_light_look_never_raises(body: bytes, expected: Inspection) -> None:
    assert PROTOCOL.inspect_response(body) == expected


def test_a_receipt_of_an_answer_names_places_in_this_dialect_s_words() -> None:
    response = read(answer({"text": "a"}, {"toolUse": {"toolUseId": "t", "name": "n", "input": {}}}))
    assert PROTOCOL.spell(response, "choices[0].content[1].arguments") == "output.message.content[1].toolUse.input"
    assert PROTOCOL.spell(response, "choices[0].stop.reason") == "stopReason"
    assert PROTOCOL.spell(response, "metrics") == "metrics"
    assert PROTOCOL.spell(None, "choices[0].content.signature") == "contentBlockDelta.delta.signature"


def test_models_are_listed() -> None:
    (model,) = PROTOCOL.write_models(["smart"], Hop())["modelSummaries"]
    assert (model["modelId"], model["responseStreamingSupported"]) == ("smart", True)
