"""Whole answers: those of this dialect, and those of others written for a caller of this one."""

from __future__ import annotations

from functools import partial
from typing import Any

import cohere
import pytest

from busbar.protocols.cohere import PROTOCOL
from busbar.protocols.failures import FailureSignal
from busbar.protocols.ir import (
    Choice,
    Citation,
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
from busbar.protocols.native import Native, own_form
from busbar.protocols.protocol import Hop, InvalidRequest
from busbar.protocols.receipt import Receipt
from busbar.protocols.registry import PROTOCOLS
from busbar.protocols.usage import Usage
from tests.protocols.cohere.wire import HOP

COUNTS = {"input_tokens": 30, "output_tokens": 7}


def answer(message: dict[str, Any] | None = None, **more: Any) -> dict[str, Any]:
    said = {"role": "assistant", "content": [{"type": "text", "text": "so"}]} if message is None else message
    return {"id": "1", "message": said, "finish_reason": "COMPLETE", **more}


def read(document: dict[str, Any]) -> Response:
    """The answer; it is also written back, and must be the same then."""
    response = PROTOCOL.read_response(document)
    assert PROTOCOL.write_response(response, Hop(), Receipt()) == document
    return response


@pytest.mark.parametrize(
    ("word", "reason"),
    [
        ("COMPLETE", StopReason.END_TURN),
        ("STOP_SEQUENCE", StopReason.STOP_SEQUENCE),
        ("MAX_TOKENS", StopReason.MAX_TOKENS),
        ("TOOL_CALL", StopReason.TOOL_USE),
        ("ERROR", StopReason.ERROR),
        ("TIMEOUT", StopReason.ERROR),
        ("ERROR_TOXIC", StopReason.CONTENT_FILTER),
        ("USER_CANCEL", StopReason.OTHER),
    ],
)
def test_reasons_to_stop(word: str, reason: StopReason) -> None:
    (choice,) = read({**answer(), "finish_reason": word}).choices
    assert choice.stop is not None
    assert choice.stop.reason is reason


def citation(start: int, text: str, **more: Any) -> dict[str, Any]:
    source = {
        "type": "document",
        "id": "d",
        "document": {"id": "d", "title": "T", "url": "https://host", "snippet": "s"},
    }
    return {"start": start, "end": start + len(text), "text": text, "sources": [source], **more}


def test_citations_belong_to_the_text_that_they_cite() -> None:
    content = [
        {"type": "thinking", "thinking": "hm"},
        {"type": "text", "text": "one"},
        {"type": "text", "text": "two"},
    ]
    cited = [
        citation(0, "two", type="TEXT_CONTENT", content_index=2),
        citation(0, "hm", type="THINKING_CONTENT", content_index=0),
        citation(0, "o", type="TEXT_CONTENT"),
        citation(1, "wo", content_index=2),
        citation(0, "I", type="PLAN"),
    ]
    (choice,) = read(answer({"role": "assistant", "content": content, "citations": cited})).choices
    texts = [part for part in choice.parts if isinstance(part, Text)]
    held = [
        [(each.start, each.end, each.cited_text, each.title, each.url) for each in text.citations] for text in texts
    ]
    assert held == [
        [(0, 1, "o", "T", "https://host")],
        [(0, 3, "two", "T", "https://host"), (1, 3, "wo", "T", "https://host")],
    ]
    assert all(each.of_answer for text in texts for each in text.citations)


def test_a_plan_is_thinking() -> None:
    call = {"id": "f_1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    (choice,) = read(answer({"role": "assistant", "tool_plan": "I will", "tool_calls": [call]})).choices
    assert choice.parts == [
        Thinking(text="I will", native=Native("cohere", {}, "tool_plan")),
        ToolUse(id="f_1", name="f", arguments="{}"),
    ]


@pytest.mark.parametrize(
    ("stated", "expected"),
    [
        (
            {"tokens": COUNTS, "billed_units": {"input_tokens": 2}},
            Usage(input_tokens=30, output_tokens=7, billed_input_tokens=2),
        ),
        (
            {"tokens": {**COUNTS, "reasoning_tokens": 3, "image_tokens": 1}, "cached_tokens": 20},
            Usage(input_tokens=10, output_tokens=7, cache_read_tokens=20, reasoning_tokens=3),
        ),
        ({"billed_units": COUNTS}, Usage(input_tokens=30, output_tokens=7)),
        ({"tokens": {"input_tokens": 5}, "cached_tokens": 9}, Usage(input_tokens=0, cache_read_tokens=9)),
        ({"tokens": {"input_tokens": 5.0}}, Usage(input_tokens=5)),
        ({"cached_tokens": 4}, Usage(cache_read_tokens=4)),
        ({"tokens": {"input_tokens": "x"}}, None),
        ({}, None),
    ],
)
def test_usage(stated: dict[str, Any], expected: Usage | None) -> None:
    usage = read(answer(usage=stated)).usage
    if usage is not None:
        usage.native = None
    assert usage == expected


def test_odd_answers_are_read_leniently() -> None:
    odd = {"content": [{"type": "image"}], "tool_calls": [{"id": "a"}], "citations": [7], "tool_plan": ""}
    assert len(read({"message": odd, "usage": None}).choices[0].parts) == 2
    with pytest.raises(InvalidRequest):
        PROTOCOL.read_response({"message": "invalid api token"})


def write(*parts: Part, stop: StopReason | None = StopReason.END_TURN, **more: Any) -> tuple[dict[str, Any], Receipt]:
    stopped = None if stop is None else Stop(reason=stop)
    choice = Choice(parts=list(parts), stop=stopped, native=Native("openai"))
    receipt = Receipt()
    response = Response(id="chatcmpl-1", model="gpt", choices=[choice], native=Native("openai", {}, "own"), **more)
    document = PROTOCOL.write_response(response, HOP, receipt)
    cohere.V2ChatResponse.model_validate(document)
    return document, receipt


def test_a_foreign_answer_is_native() -> None:
    cited = Citation(url="https://host", title="T", start=0, end=2, of_answer=True)
    document, receipt = write(
        Thinking(text="hm", signature="S", signer="anthropic"),
        Text(text="so be it", citations=[cited, Citation(cited_text="source", title="D")]),
        ToolUse(id="call_1", name="f", arguments='{"a":1}'),
        ToolUse(id="", name="g", arguments=""),
        usage=Usage(input_tokens=5, cache_read_tokens=20, cache_write_tokens=2, output_tokens=7, reasoning_tokens=3),
    )
    counts = {"input_tokens": 27, "output_tokens": 7}
    minted = document["message"]["tool_calls"][1].pop("id")
    assert minted.startswith("g_")
    assert len(document["id"]) == 36
    document.pop("id")
    assert document == {
        "message": {
            "role": "assistant",
            "content": [{"type": "thinking", "thinking": "hm"}, {"type": "text", "text": "so be it"}],
            "tool_calls": [
                {"id": "call_1", "type": "function", "function": {"name": "f", "arguments": '{"a":1}'}},
                {"type": "function", "function": {"name": "g", "arguments": "{}"}},
            ],
            "citations": [
                {
                    "start": 0,
                    "end": 2,
                    "text": "so",
                    "sources": [
                        {
                            "type": "document",
                            "id": "https://host",
                            "document": {"id": "https://host", "title": "T", "url": "https://host"},
                        }
                    ],
                    "type": "TEXT_CONTENT",
                    "content_index": 1,
                },
                {
                    "start": 0,
                    "end": 8,
                    "text": "so be it",
                    "sources": [
                        {"type": "document", "id": "D", "document": {"id": "D", "title": "D", "snippet": "source"}}
                    ],
                    "type": "TEXT_CONTENT",
                    "content_index": 1,
                },
            ],
        },
        "finish_reason": "TOOL_CALL",
        "usage": {"billed_units": counts, "tokens": {**counts, "reasoning_tokens": 3}, "cached_tokens": 20},
    }
    assert [(entry.change, entry.path) for entry in receipt.entries] == [
        ("dropped", "choices[0].content[0].signature"),
        ("changed", "usage"),
    ]


@pytest.mark.parametrize(
    ("reason", "word"),
    [
        (None, "COMPLETE"),
        (StopReason.STOP_SEQUENCE, "STOP_SEQUENCE"),
        (StopReason.MAX_TOKENS, "MAX_TOKENS"),
        (StopReason.REFUSAL, "ERROR"),
        (StopReason.CONTENT_FILTER, "ERROR"),
        (StopReason.CONTEXT_WINDOW, "MAX_TOKENS"),
        (StopReason.ERROR, "ERROR"),
        (StopReason.OTHER, "COMPLETE"),
    ],
)
def test_why_a_foreign_answer_stopped(reason: StopReason | None, word: str) -> None:
    assert write(Text(text="so"), stop=reason)[0]["finish_reason"] == word


def test_an_empty_answer_has_its_required_fields() -> None:
    document, _ = write()
    assert document["message"] == {"role": "assistant", "content": [{"type": "text", "text": ""}]}
    assert document["usage"]["tokens"] == {"input_tokens": 0, "output_tokens": 0}


def test_what_has_no_place_in_an_answer_is_reported() -> None:
    document, receipt = write(Refusal(text="no"), RedactedThinking(data="x"))
    assert document["message"]["content"] == [{"type": "text", "text": "no"}]
    assert [(entry.change, entry.path) for entry in receipt.entries] == [
        ("changed", "choices[0].content[0]"),
        ("dropped", "choices[0].content[1]"),
    ]


def test_a_receipt_of_an_answer_speaks_this_dialects_words() -> None:
    document = answer(
        {"role": "assistant", "content": [{"type": "text", "text": "so"}], "citations": [citation(0, "so")]},
        logprobs=[{"text": "so", "token_ids": [1]}],
    )
    response = PROTOCOL.read_response(document)
    receipt = Receipt(spell=partial(PROTOCOL.spell, response))
    PROTOCOLS["anthropic"].write_response(response, Hop(model="m"), receipt)
    assert receipt.dropped_paths == ("logprobs", "message.citations")
    assert PROTOCOL.spell(response, "choices[0].content[0].citations[0].sources") == "message.citations[0].sources"
    assert PROTOCOL.spell(response, "choices[0].stop.reason") == "finish_reason"


def test_the_same_id_always_becomes_the_same() -> None:
    assert write()[0]["id"] == write()[0]["id"]
    given = "e5ddfd20-3e92-4a1e-8a1d-0732622b85c7"
    response = Response(id=given, model="m", native=Native("openai"))
    assert PROTOCOL.write_response(response, HOP, Receipt())["id"] == given


@pytest.mark.parametrize(
    ("body", "error"),
    [
        (b'{"message":"invalid api token"}', FailureSignal(message="invalid api token")),
        (b'{"error":{"message":"no"}}', FailureSignal(message="no")),
        (
            b'{"message":{},"finish_reason":"ERROR","error":"no tool"}',
            FailureSignal(type="ERROR", message="no tool"),
        ),
        (b'{"message":{},"finish_reason":"TIMEOUT"}', FailureSignal(type="TIMEOUT", message="the generation failed")),
        (b'{"message":{},"finish_reason":"COMPLETE"}', None),
    ],
)
def test_an_error_in_a_200_is_noticed(body: bytes, error: FailureSignal | None) -> None:
    assert PROTOCOL.inspect_response(body).error == error


@pytest.mark.parametrize("body", [b"", b"{", b"\xff", b"[1]", b"3", b"[" * 100_000])
def test_inspection_never_raises(body: bytes) -> None:
    inspection = PROTOCOL.inspect_response(body)
    assert not inspection.readable
    assert (inspection.usage, inspection.error) == (None, None)


def test_the_models_that_a_caller_may_use() -> None:
    document = PROTOCOL.write_models(["fast", "smart"], Hop())
    listed = cohere.ListModelsResponse.model_validate(document)
    assert [model.name for model in listed.models] == ["fast", "smart"]
    assert document["models"][0]["endpoints"] == ["chat"]


def test_a_node_knows_that_it_is_own() -> None:
    assert own_form(read(answer()), "cohere") is not None
