"""Whole answers: what the reader takes, and what the writer makes of another dialect's."""

from __future__ import annotations

from typing import Any

import pytest
from openai.types.chat import ChatCompletion

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
from busbar.protocols.openai import PROTOCOL
from busbar.protocols.openai.usage import read_usage, write_usage
from busbar.protocols.protocol import Hop, InvalidRequest
from busbar.protocols.receipt import Receipt
from busbar.protocols.usage import Usage

FOREIGN = Native("anthropic", form="own")


def answer(message: dict[str, Any], finish: Any = "stop", **entry: Any) -> dict[str, Any]:
    choice = {"index": 0, "message": {"role": "assistant", **message}, "finish_reason": finish, **entry}
    return {"id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": "m", "choices": [choice]}


def read(message: dict[str, Any], finish: Any = "stop", **entry: Any) -> Choice:
    document = answer(message, finish, **entry)
    response = PROTOCOL.read_response(document)
    assert PROTOCOL.write_response(response, Hop(), Receipt()) == document
    return response.choices[0]


def write(*parts: Part, stop: StopReason = StopReason.END_TURN, **fields: Any) -> tuple[dict[str, Any], Receipt]:
    receipt = Receipt()
    choice = Choice(parts=list(parts), stop=Stop(reason=stop))
    response = Response(**{"id": "msg_01A", "model": "m", "choices": [choice], "native": FOREIGN, **fields})
    document = PROTOCOL.write_response(response, Hop(model="here", now=1700, nonce="n"), receipt)
    ChatCompletion.model_validate(document)
    return document, receipt


def test_reads_thinking_text_and_calls() -> None:
    call = {"id": "call_1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    choice = read({"content": "so", "reasoning_content": "hm", "tool_calls": [call], "refusal": None}, "tool_calls")
    thinking, text, use = choice.parts
    assert isinstance(thinking, Thinking)
    assert (thinking.text, text, use) == ("hm", Text(text="so"), ToolUse(id="call_1", name="f", arguments="{}"))
    assert choice.stop is not None
    assert choice.stop.reason is StopReason.TOOL_USE


def test_reads_citations_into_the_text() -> None:
    cited = {"url": "https://host", "title": "T", "start_index": 1, "end_index": 3}
    annotations = [{"type": "url_citation", "url_citation": cited}, {"type": "file", "file": {"hash": "x"}}]
    (text,) = read({"content": "abc", "annotations": annotations}).parts
    assert isinstance(text, Text)
    (citation,) = text.citations
    citation.native = None
    assert citation == Citation(url="https://host", title="T", start=1, end=3, of_answer=True)


@pytest.mark.parametrize(
    ("finish", "entry", "expected"),
    [
        ("stop", {}, StopReason.END_TURN),
        ("length", {}, StopReason.MAX_TOKENS),
        ("content_filter", {}, StopReason.CONTENT_FILTER),
        ("eos", {}, StopReason.END_TURN),
        ("insufficient_system_resource", {}, StopReason.ERROR),
        ("weather", {}, StopReason.OTHER),
        ("stop", {"stop_reason": "END"}, StopReason.STOP_SEQUENCE),
        ("stop", {"stop_reason": 151645}, StopReason.END_TURN),
    ],
)
def test_reads_why_it_stopped(finish: str, entry: dict[str, Any], expected: StopReason) -> None:
    choice = read({"content": "x"}, finish, **entry)
    assert choice.stop is not None
    assert choice.stop.reason is expected
    assert choice.stop.sequence == (entry.get("stop_reason") if expected is StopReason.STOP_SEQUENCE else None)


def test_a_forced_call_that_ends_with_stop_is_a_tool_use() -> None:
    call = {"id": "call_1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    stop = read({"content": None, "tool_calls": [call]}, "stop").stop
    assert stop is not None
    assert stop.reason is StopReason.TOOL_USE


@pytest.mark.parametrize(
    "message",
    [
        {"content": "", "function_call": {"name": "f", "arguments": "{}"}},
        {"content": None, "tool_calls": [{"id": "c", "type": "custom", "custom": {"name": "f", "input": "x"}}]},
        {"content": None, "tool_calls": [{"function": {"name": "f", "arguments": {"a": 1}}}]},
        {"content": None, "tool_calls": [{"id": "", "type": "function", "function": {"name": "f"}}]},
        {"content": None, "tool_calls": []},
        {"content": 3, "tool_calls": "x", "annotations": {}, "reasoning_details": [1], "function_call": {}},
        {"content": "x", "reasoning": "a", "reasoning_content": "a"},
        {"content": "x", "reasoning": "a", "reasoning_content": "b"},
        {"content": None, "refusal": "no"},
        {"content": None, "audio": {"id": "a", "data": "AA", "transcript": "x"}},
    ],
)
def test_odd_messages_come_back_equal(message: dict[str, Any]) -> None:
    read(message)


@pytest.mark.parametrize("document", [{}, {"choices": None}, {"error": {"message": "no"}}])
def test_a_document_without_choices_is_no_answer(document: dict[str, Any]) -> None:
    with pytest.raises(InvalidRequest):
        PROTOCOL.read_response(document)


@pytest.mark.parametrize(
    ("usage", "expected"),
    [
        (
            {
                "prompt_tokens": 100,
                "completion_tokens": 20,
                "total_tokens": 120,
                "prompt_tokens_details": {"cached_tokens": 60, "cache_write_tokens": 10, "audio_tokens": 0},
                "completion_tokens_details": {"reasoning_tokens": 5},
            },
            (30, 20, 60, 10, 5),
        ),
        (
            {
                "prompt_tokens": 9,
                "completion_tokens": 1,
                "total_tokens": 10,
                "prompt_cache_hit_tokens": 4,
                "prompt_cache_miss_tokens": 5,
            },
            (5, 1, 4, None, None),
        ),
        # xAI counts reasoning outside of the completion
        (
            {
                "prompt_tokens": 9,
                "completion_tokens": 1,
                "total_tokens": 60,
                "completion_tokens_details": {"reasoning_tokens": 50},
            },
            (9, 51, None, None, 50),
        ),
        ({"prompt_tokens": 1, "prompt_tokens_details": {"cached_tokens": 5}}, (0, None, 5, None, None)),
        ({"prompt_tokens": "9", "total_tokens": None}, (None, None, None, None, None)),
        ({"prompt_tokens": 7, "completion_tokens": 1, "total_tokens": 99}, (7, 1, None, None, None)),
    ],
)
def test_usage_counts_nothing_twice(usage: dict[str, Any], expected: tuple[int | None, ...]) -> None:
    read_in = read_usage(usage)
    assert (
        read_in.input_tokens,
        read_in.output_tokens,
        read_in.cache_read_tokens,
        read_in.cache_write_tokens,
        read_in.reasoning_tokens,
    ) == expected
    assert write_usage(read_in) == usage


def test_a_foreign_answer_has_all_that_the_sdk_requires() -> None:
    usage = Usage(input_tokens=10, output_tokens=5, cache_read_tokens=7, cache_write_tokens=3, reasoning_tokens=2)
    document, receipt = write(Text(text="Hello"), Text(text=" you"), usage=usage)
    assert document == {
        "id": "chatcmpl-01A",
        "object": "chat.completion",
        "created": 1700,
        "model": "m",
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": "Hello you", "refusal": None},
                "logprobs": None,
                "finish_reason": "stop",
            }
        ],
        "usage": {
            "prompt_tokens": 20,
            "completion_tokens": 5,
            "total_tokens": 25,
            "prompt_tokens_details": {"cached_tokens": 7, "cache_write_tokens": 3},
            "completion_tokens_details": {"reasoning_tokens": 2},
        },
    }
    assert receipt.entries == ()


def test_foreign_thinking_calls_and_refusals() -> None:
    document, receipt = write(
        Thinking(text="hm", signature="S", signer="anthropic"),
        RedactedThinking(data="x", signer="anthropic"),
        ToolUse(id="toolu_01B", name="f", arguments='{"a":1}'),
        ToolUse(id="", name="g", arguments=""),
        Refusal(text="no"),
        Opaque(dialect="anthropic", kind="server_tool_use", value={}),
        stop=StopReason.TOOL_USE,
        id="",
    )
    message = document["choices"][0]["message"]
    assert document["id"].startswith("chatcmpl-")
    assert (message["content"], message["reasoning_content"], message["refusal"]) == (None, "hm", "no")
    first, second = message["tool_calls"]
    assert first == {"id": "call_01B", "type": "function", "function": {"name": "f", "arguments": '{"a":1}'}}
    assert second["id"].startswith("call_")
    assert second["function"] == {"name": "g", "arguments": "{}"}
    assert document["choices"][0]["finish_reason"] == "tool_calls"
    assert receipt.dropped_paths == (
        "choices[0].content[0].signature",
        "choices[0].content[1]",
        "choices[0].content[5]",
    )


def test_foreign_citations_point_into_the_whole_text() -> None:
    web = Citation(url="https://host", title="T", cited_text="there")
    document, receipt = write(Text(text="abc"), Text(text="defg", citations=[web, Citation(cited_text="mine")]))
    assert document["choices"][0]["message"]["annotations"] == [
        {
            "type": "url_citation",
            "url_citation": {"url": "https://host", "title": "T", "start_index": 3, "end_index": 7},
        }
    ]
    assert receipt.dropped_paths == ("choices[0].content[1].citations[1]",)


@pytest.mark.parametrize("reason", list(StopReason))
def test_every_stop_has_a_word_that_the_sdk_knows(reason: StopReason) -> None:
    write(Text(text="x"), stop=reason)


def test_a_stop_that_says_more_is_reported() -> None:
    receipt = Receipt()
    stop = Stop(reason=StopReason.STOP_SEQUENCE, sequence="END")
    response = Response(id="x", model="m", choices=[Choice(parts=[Text(text="x")], stop=stop)], native=FOREIGN)
    document = PROTOCOL.write_response(response, Hop(), receipt)
    assert document["choices"][0]["finish_reason"] == "stop"
    assert "stop_reason" not in document["choices"][0]
    assert receipt.dropped_paths == ("choices[0].stop.sequence",)


def test_inspection_finds_usage_and_errors() -> None:
    found = PROTOCOL.inspect_response(b'{"choices":[],"usage":{"prompt_tokens":3,"completion_tokens":1}}')
    assert found.usage is not None
    assert (found.usage.input_tokens, found.error) == (3, None)
    broken = PROTOCOL.inspect_response(b'{"error":{"message":"no","code":502}}')
    assert broken.error is not None
    assert broken.error.status == 502
