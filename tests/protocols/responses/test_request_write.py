"""Other dialects' requests, as OpenAI accepts them here."""

from __future__ import annotations

from typing import Any

import pytest
from openai.types.responses.response_create_params import ResponseCreateParams
from pydantic import TypeAdapter

from busbar.protocols.ir import (
    Audio,
    Base64Data,
    Cache,
    Document,
    FileId,
    FunctionTool,
    Image,
    Message,
    Opaque,
    OutputFormat,
    PlainText,
    Reasoning,
    RedactedThinking,
    Refusal,
    Request,
    Text,
    Thinking,
    ToolChoice,
    ToolResult,
    ToolUse,
    Url,
)
from busbar.protocols.native import Native
from tests.protocols.anthropic.test_request_settings import sdk_accepts
from tests.protocols.responses.wire import written, written_turns

USER = Message(role="user", parts=[Text(text="hi")])
CLOSED = {"type": "object", "properties": {}, "additionalProperties": False}
SDK: TypeAdapter[Any] = TypeAdapter(ResponseCreateParams)


def settings(**facts: Any) -> tuple[dict[str, Any], tuple[Any, ...]]:
    document, receipt = written(Request(model="m", messages=[USER], **facts))
    sdk_accepts(SDK.validate_python(document))
    return document, tuple((entry.change, entry.path) for entry in receipt.entries)


def test_a_conversation_becomes_items() -> None:
    request = Request(
        model="m",
        system=[Text(text="be brief"), Text(text="be kind", cache=Cache())],
        messages=[
            USER,
            Message(
                role="assistant",
                parts=[Text(text="a"), Text(text="b"), ToolUse(id="toolu_1", name="f", arguments='{"x":1}')],
            ),
            Message(
                role="user",
                parts=[ToolResult(tool_use_id="toolu_1", content=[Text(text="one")]), Text(text="go on")],
            ),
        ],
    )
    document, receipt = written(request)
    sdk_accepts(SDK.validate_python(document))
    assert document == {
        "model": "there",
        "instructions": "be brief\n\nbe kind",
        "input": [
            {"type": "message", "role": "user", "content": "hi"},
            {"type": "message", "role": "assistant", "content": "ab"},
            {"type": "function_call", "call_id": "call_1", "name": "f", "arguments": '{"x":1}'},
            {"type": "function_call_output", "call_id": "call_1", "output": "one"},
            {"type": "message", "role": "user", "content": "go on"},
        ],
    }
    assert receipt.dropped_paths == ("system[1].cache_control",)


def test_own_thinking_goes_back_to_who_thought_it_and_no_other_does() -> None:
    known = Native("responses", {}, None)
    items, receipt = written_turns(
        Message(
            role="assistant",
            parts=[
                Thinking(text="mine", signature="state", signer="responses", native=known),
                RedactedThinking(data="hidden", signer="responses"),
                Thinking(text="other", signature="sig", signer="anthropic"),
                RedactedThinking(data="other", signer="anthropic"),
                Thinking(text="unsigned"),
                Text(text="so"),
            ],
        )
    )
    assert items == [
        {
            "type": "reasoning",
            "summary": [{"type": "summary_text", "text": "mine"}],
            "encrypted_content": "state",
        },
        {"type": "reasoning", "summary": [], "encrypted_content": "hidden"},
        {"type": "message", "role": "assistant", "content": "so"},
    ]
    assert receipt.dropped_paths == tuple(f"messages[0].content[{at}]" for at in (2, 3, 4))


def test_a_failed_result_says_so_in_its_text() -> None:
    items, receipt = written_turns(
        Message(role="tool", parts=[ToolResult(tool_use_id="call_1", content=[Text(text="oh")], is_error=True)])
    )
    assert items == [{"type": "function_call_output", "call_id": "call_1", "output": "Error: oh"}]
    assert [(entry.change, entry.path) for entry in receipt.entries] == [
        ("changed", "messages[0].content[0].is_error")
    ]


def test_results_hold_images() -> None:
    image = Image(source=Base64Data(media_type="image/png", data="AA"))
    items, _ = written_turns(Message(role="tool", parts=[ToolResult(tool_use_id="call_1", content=[image])]))
    assert items[0]["output"] == [{"type": "input_image", "image_url": "data:image/png;base64,AA", "detail": "auto"}]


def test_content_of_a_user() -> None:
    parts = [
        Text(text="look"),
        Image(source=Url(url="https://x/y.png"), detail="high"),
        Document(source=Base64Data(media_type="application/pdf", data="BB"), title="a.pdf"),
        Document(source=Base64Data(media_type="text/plain; charset=utf-8", data="BB")),
        Document(source=Url(url="https://x/y.pdf")),
        Document(source=PlainText(text="words"), title="t"),
        Refusal(text="no"),
        Image(source=FileId(id="file-1")),
        Audio(data="AA", format="wav"),
        Opaque(dialect="anthropic", kind="container_upload", value={}),
    ]
    document, receipt = written(Request(model="m", messages=[Message(role="user", parts=list(parts))]))
    sdk_accepts(SDK.validate_python(document))
    assert document["input"][0]["content"] == [
        {"type": "input_text", "text": "look"},
        {"type": "input_image", "image_url": "https://x/y.png", "detail": "high"},
        {"type": "input_file", "filename": "a.pdf", "file_data": "data:application/pdf;base64,BB"},
        {"type": "input_file", "filename": "document.txt", "file_data": "data:text/plain;base64,BB"},
        {"type": "input_file", "file_url": "https://x/y.pdf"},
        {"type": "input_text", "text": "t\n\nwords"},
        {"type": "input_text", "text": "no"},
    ]
    assert receipt.dropped_paths == tuple(f"messages[0].content[{at}]" for at in (7, 8, 9))


def test_calls_and_results_without_ids_find_each_other() -> None:
    items, _ = written_turns(
        Message(role="assistant", parts=[ToolUse(id="", name="f", arguments="") for _ in range(2)]),
        Message(role="tool", parts=[ToolResult(tool_use_id="") for _ in range(2)]),
    )
    calls, results = items[:2], items[2:]
    assert [it["call_id"] for it in calls] == [it["call_id"] for it in results]
    assert len({it["call_id"] for it in calls}) == 2
    assert [it["arguments"] for it in calls] == ["{}", "{}"]


def test_a_request_that_says_nothing_here_still_says_something() -> None:
    document, receipt = written(Request(model="m", messages=[Message(role="user", parts=[Text(text="")])]))
    assert document["input"] == "."
    assert [entry.change for entry in receipt.entries] == ["added"]


def test_what_has_no_place_is_reported() -> None:
    document, entries = settings(top_k=1, seed=2, presence_penalty=0.5, frequency_penalty=0.5, n=2, stop=["a", "b"])
    assert document == {"model": "there", "input": [{"type": "message", "role": "user", "content": "hi"}]}
    assert entries == tuple(
        ("dropped", path)
        for path in ("top_k", "seed", "presence_penalty", "frequency_penalty", "n", "stop[0]", "stop[1]")
    )


def test_what_asks_for_nothing_is_not_missed() -> None:
    assert settings(presence_penalty=0, frequency_penalty=0, n=1)[1] == ()


def test_ranges_are_clamped() -> None:
    document, entries = settings(max_tokens=1, temperature=3.0, top_p=0.5, top_logprobs=50, logprobs=True)
    assert document["max_output_tokens"] == 16
    assert (document["temperature"], document["top_p"], document["top_logprobs"]) == (2, 0.5, 20)
    assert document["include"] == ["message.output_text.logprobs"]
    assert entries == (("clamped", "max_tokens"), ("clamped", "temperature"), ("clamped", "top_logprobs"))


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        (Reasoning(effort="low"), {"effort": "low"}),
        (Reasoning(effort="extreme"), {"effort": "high"}),
        (Reasoning(enabled=True, budget_tokens=5000), {"effort": "medium", "summary": "auto"}),
        (Reasoning(enabled=True), {"summary": "auto"}),
        (Reasoning(adaptive=True, enabled=True), {"summary": "auto"}),
    ],
)
def test_who_thinks_gets_the_state_back(asked: Reasoning, expected: dict[str, str]) -> None:
    document, entries = settings(reasoning=asked)
    assert document["reasoning"] == expected
    assert document["store"] is False
    assert document["include"] == ["reasoning.encrypted_content"]
    assert ("added", "store") in entries


@pytest.mark.parametrize("asked", [Reasoning(enabled=False), Reasoning(effort="none"), Reasoning(budget_tokens=0)])
def test_who_does_not_want_thinking_is_told_that_it_cannot_be_had(asked: Reasoning) -> None:
    document, entries = settings(reasoning=asked)
    assert "reasoning" not in document
    assert "store" not in document
    assert entries == (("dropped", "reasoning"),)


def test_tools_and_choice() -> None:
    tools = [
        FunctionTool(name="f", description="d", parameters=CLOSED, strict=True),
        FunctionTool(name="a b", parameters={"anyOf": [{"type": "object"}]}, strict=True),
        Opaque(dialect="anthropic", kind="web_search", value={}),
    ]
    document, entries = settings(
        tools=tools, tool_choice=ToolChoice(mode="one", name="a b"), parallel_tool_calls=False
    )
    empty = {"type": "object", "properties": {}}
    assert document["tools"] == [
        {"type": "function", "name": "f", "description": "d", "parameters": CLOSED, "strict": True},
        {"type": "function", "name": "a_b", "parameters": empty, "strict": False},
    ]
    assert document["tool_choice"] == {"type": "function", "name": "a_b"}
    assert document["parallel_tool_calls"] is False
    assert entries == (
        ("changed", "tools[1].name"),
        ("dropped", "tools[1].parameters.anyOf"),
        ("changed", "tools[1].strict"),
        ("dropped", "tools[2]"),
        ("changed", "tool_choice.name"),
    )


def test_a_choice_without_tools_is_dropped() -> None:
    document, entries = settings(tool_choice=ToolChoice(mode="auto"))
    assert "tool_choice" not in document
    assert entries == (("dropped", "tool_choice"),)


def test_structured_output() -> None:
    document, _ = settings(output=OutputFormat(mode="schema", schema={"type": "object"}, name="a b"))
    assert document["text"] == {"format": {"type": "json_schema", "name": "a_b", "schema": {"type": "object"}}}
    assert settings(output=OutputFormat(mode="json"))[0]["text"] == {"format": {"type": "json_object"}}
    assert "text" not in settings(output=OutputFormat(mode="text"))[0]


def test_a_long_user_is_hashed() -> None:
    document, entries = settings(user="u" * 65)
    assert len(document["user"]) == 64
    assert entries == (("changed", "user"),)


def test_leftovers_of_another_dialect_are_reported() -> None:
    request = Request(model="m", messages=[USER], native=Native("openai", {"logit_bias": {"1": 2}, "x": None}))
    assert written(request)[1].dropped_paths == ("logit_bias",)
