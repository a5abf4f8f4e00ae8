"""Requests: what is read, and that what is written for other dialects' requests is acceptable and reported."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from anthropic.types.message_create_params import MessageCreateParamsNonStreaming
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter

from busbar.protocols.anthropic import PROTOCOL
from busbar.protocols.ir import (
    Audio,
    Base64Data,
    Cache,
    Citation,
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
from busbar.protocols.protocol import Hop, InvalidRequest
from busbar.protocols.receipt import Entry, Receipt

HOP = Hop(model="claude", default_max_tokens=4096, nonce="n1")
USER = Message(role="user", parts=[Text(text="Hi")])
TOOL = FunctionTool(name="look", parameters={"type": "object", "properties": {}})


def foreign(*messages: Message, **settings: Any) -> Request:
    settings.setdefault("max_tokens", 1000)
    settings.setdefault("native", Native("openai", {}, "own"))
    return Request(model="gpt", messages=list(messages or [USER]), **settings)


def write(request: Request, hop: Hop = HOP) -> tuple[dict[str, Any], tuple[Entry, ...]]:
    receipt = Receipt()
    return PROTOCOL.write_request(request, hop, receipt), receipt.entries


def settings_of(request: Request) -> dict[str, Any]:
    document, _ = write(request)
    return {key: value for key, value in document.items() if key not in ("model", "messages", "max_tokens")}


def reported(request: Request) -> set[tuple[str, str]]:
    return {(entry.change, entry.path) for entry in write(request)[1]}


def turns(*messages: Message) -> list[tuple[str, list[Any]]]:
    document, _ = write(foreign(*messages))
    return [(turn["role"], turn["content"]) for turn in document["messages"]]


def text(value: str) -> dict[str, str]:
    return {"type": "text", "text": value}


# Reading


def test_every_block_of_a_turn_is_read() -> None:
    request = PROTOCOL.read_request(
        {
            "model": "m",
            "max_tokens": 5,
            "system": "Be kind.",
            "messages": [
                {
                    "role": "user",
                    "content": [
                        {"type": "text", "text": "t", "cache_control": {"type": "ephemeral", "ttl": "1h"}},
                        {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "AA=="}},
                        {"type": "image", "source": {"type": "url", "url": "https://x/y"}},
                        {
                            "type": "document",
                            "source": {"type": "text", "media_type": "text/plain", "data": "d"},
                            "title": "T",
                            "context": "C",
                            "citations": {"enabled": True},
                        },
                    ],
                },
                {
                    "role": "assistant",
                    "content": [
                        {"type": "thinking", "thinking": "hm", "signature": "s"},
                        {"type": "redacted_thinking", "data": "r"},
                        {"type": "tool_use", "id": "toolu_1", "name": "look", "input": {"a": 1}},
                    ],
                },
                {
                    "role": "user",
                    "content": [
                        {"type": "tool_result", "tool_use_id": "toolu_1", "content": "ok", "is_error": True},
                    ],
                },
                {"role": "system", "content": "Later."},
            ],
        }
    )
    assert request.system == [Text(text="Be kind.")]
    assert [message.role for message in request.messages] == ["user", "assistant", "user", "system"]
    assert request.messages[0].parts == [
        Text(text="t", cache=Cache(ttl="1h")),
        Image(source=Base64Data(media_type="image/png", data="AA==")),
        Image(source=Url(url="https://x/y")),
        Document(source=PlainText(text="d"), title="T", context="C", citations_enabled=True),
    ]
    assert request.messages[1].parts == [
        Thinking(text="hm", signature="s", signer="anthropic"),
        RedactedThinking(data="r", signer="anthropic"),
        ToolUse(id="toolu_1", name="look", arguments='{"a":1}'),
    ]
    result = ToolResult(
        tool_use_id="toolu_1", content=[Text(text="ok")], is_error=True, native=Native("anthropic", {}, "text")
    )
    assert request.messages[2].parts == [result]


def test_settings_are_read() -> None:
    request = PROTOCOL.read_request(
        {
            "model": "m",
            "messages": [],
            "max_tokens": 9,
            "temperature": 0.5,
            "top_p": 0.9,
            "top_k": 3,
            "stop_sequences": ["X"],
            "stream": True,
            "metadata": {"user_id": "u"},
            "tools": [
                {"name": "look", "description": "d", "input_schema": {"type": "object"}, "strict": True},
                {"type": "web_search_20250305", "name": "web_search"},
            ],
            "tool_choice": {"type": "tool", "name": "look", "disable_parallel_tool_use": True},
            "thinking": {"type": "enabled", "budget_tokens": 2000},
            "output_config": {
                "format": {"type": "json_schema", "schema": {"type": "object"}},
                "task_budget": {"n": 1},
            },
            "service_tier": "auto",
        }
    )
    assert request.native is not None
    assert request.native.fields == {"service_tier": "auto", "output_config": {"task_budget": {"n": 1}}}
    hosted = {"type": "web_search_20250305", "name": "web_search"}
    assert msgspec.structs.replace(request, native=None) == Request(
        model="m",
        messages=[],
        max_tokens=9,
        temperature=0.5,
        top_p=0.9,
        top_k=3,
        stop=["X"],
        stream=True,
        user="u",
        tools=[
            FunctionTool(name="look", description="d", parameters={"type": "object"}, strict=True),
            Opaque(dialect="anthropic", kind="web_search_20250305", value=hosted),
        ],
        tool_choice=ToolChoice(mode="one", name="look"),
        parallel_tool_calls=False,
        reasoning=Reasoning(enabled=True, budget_tokens=2000),
        output=OutputFormat(mode="schema", schema={"type": "object"}),
    )


@pytest.mark.parametrize(
    ("extra", "expected"),
    [
        ({"thinking": {"type": "disabled"}}, Reasoning(enabled=False)),
        ({"thinking": {"type": "adaptive"}}, Reasoning(enabled=True, adaptive=True)),
        ({"thinking": {"type": "adaptive"}, "output_config": {"effort": "max"}},
         Reasoning(enabled=True, adaptive=True, effort="max")),
        ({"output_config": {"effort": "low"}}, Reasoning(effort="low")),
        ({}, None),
    ],
)  # fmt: skip
def test_thinking_and_effort_are_read(extra: dict[str, Any], expected: Reasoning | None) -> None:
    assert PROTOCOL.read_request({"model": "m", "messages": [], **extra}).reasoning == expected


@pytest.mark.parametrize(
    "extra",
    [
        {"tools": []},
        {"stop_sequences": []},
        {"system": []},
        {"output_config": {}},
        {"metadata": {}},
        {"metadata": {"user_id": None}},
        {"output_format": {"type": "json_schema", "schema": {}}},
        {"output_format": {"type": "grammar"}},
        {"thinking": {"type": "between_tools"}},
        {"thinking": {"type": "enabled", "budget_tokens": 2000}, "output_config": {"effort": "low"}},
        {"tool_choice": {"type": "auto", "disable_parallel_tool_use": False}},
        {"tools": [{"type": "custom", "name": "n", "input_schema": {}, "defer_loading": True}]},
        {"tools": [{"type": None, "name": "n"}]},
        {"temperature": None, "cache_control": {"type": "ephemeral"}},
    ],
)
def test_rare_spellings_come_back_equal(extra: dict[str, Any]) -> None:
    document = {"model": "m", "messages": [], **extra}
    assert PROTOCOL.write_request(PROTOCOL.read_request(document), Hop(), Receipt()) == document


@pytest.mark.parametrize(
    "block",
    [
        {"type": "text", "text": "t", "citations": []},
        {"type": "text", "text": "t", "citations": None, "cache_control": None},
        {"type": "text", "text": "t", "cache_control": {"type": "persistent"}},
        {"type": "text", "text": "t", "citations": [{"type": "char_location", "cited_text": "c", "document_index": 0,
         "document_title": None, "start_char_index": 0, "end_char_index": 1}]},
        {"type": "text", "text": "t", "citations": [{"type": "page_location", "start_page_number": 1}]},
        {"type": "text", "text": "t", "citations": [{"type": "search_result_location", "source": "s", "title": "x"}]},
        {"type": "document", "source": {"type": "content", "content": "c"}},
        {"type": "document", "source": {"type": "content", "content": [text("a\n"), text(""), text("b")]}},
        {"type": "document", "source": {"type": "content", "content": [{"type": "image"}]}},
        {"type": "document", "source": {"type": "text", "data": "d"}, "citations": {"enabled": True, "x": 1}},
        {"type": "document", "source": {"type": "file", "file_id": "f"}, "title": None},
        {"type": "tool_result", "tool_use_id": "i"},
        {"type": "tool_result", "tool_use_id": "i", "content": None},
        {"type": "tool_result", "tool_use_id": "i", "content": []},
        {"type": "tool_result", "tool_use_id": "i", "content": ""},
        {"type": "tool_result", "tool_use_id": "i", "content": [{"type": "search_result"}]},
        {"type": "tool_use", "id": "i", "name": "n", "input": {}, "caller": {"type": "direct"}},
        {"type": "container_upload", "file_id": "f"},
    ],
)  # fmt: skip
def test_rare_blocks_come_back_equal(block: dict[str, Any]) -> None:
    document = {"model": "m", "messages": [{"role": "user", "content": [block]}]}
    assert PROTOCOL.write_request(PROTOCOL.read_request(document), Hop(), Receipt()) == document


@pytest.mark.parametrize(
    ("document", "path"),
    [
        ({}, "messages"),
        ({"messages": "x"}, "messages"),
        ({"messages": [1]}, "messages[0]"),
        ({"messages": [{"role": "robot", "content": ""}]}, "messages[0].role"),
        ({"messages": [{"role": "user"}]}, "messages[0].content"),
        ({"messages": [{"role": "user", "content": [{"text": "x"}]}]}, "messages[0].content[0].type"),
        ({"messages": [{"role": "user", "content": [{"type": "text"}]}]}, "messages[0].content[0].text"),
        ({"messages": [{"role": "user", "content": [{"type": "image"}]}]}, "messages[0].content[0].source"),
        ({"messages": [{"role": "assistant", "content": [{"type": "tool_use", "input": "{}"}]}]},
         "messages[0].content[0].input"),
        ({"messages": [], "max_tokens": "9"}, "max_tokens"),
        ({"messages": [], "tools": [{"description": "d"}]}, "tools[0].name"),
        ({"messages": [], "tool_choice": {"type": "some"}}, "tool_choice.type"),
        ({"messages": [], "thinking": {}}, "thinking.type"),
        ({"messages": [], "stop_sequences": [1]}, "stop_sequences[0]"),
        ({"messages": [], "output_config": {"format": {"type": "json_schema"}}}, "output_config.format.schema"),
    ],
)  # fmt: skip
def test_a_wrong_type_is_refused_with_its_path(document: dict[str, Any], path: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        PROTOCOL.read_request(document)
    assert refused.value.path == path


# Writing: turns


def test_model_and_required_max_tokens_are_there() -> None:
    document, entries = write(foreign(max_tokens=None))
    assert document == {
        "model": "claude",
        "max_tokens": 4096,
        "messages": [{"role": "user", "content": [text("Hi")]}],
    }
    assert entries == (Entry("added", "max_completion_tokens", "required"),)


def test_instructions_are_gathered_before_the_conversation() -> None:
    request = foreign(
        Message(role="system", parts=[Text(text="One")]),
        USER,
        Message(role="developer", parts=[Text(text="Two")]),
    )
    document, entries = write(request)
    assert document["system"] == [text("One"), text("Two")]
    assert document["messages"] == [{"role": "user", "content": [text("Hi")]}]
    assert [(entry.change, entry.path) for entry in entries] == [("changed", "messages[2]")]


def test_turns_alternate_and_tool_results_stand_first() -> None:
    call = ToolUse(id="call_1", name="look", arguments='{"a": 1}')
    second = ToolUse(id="call_2", name="look", arguments="")
    written = turns(
        Message(role="user", parts=[Text(text="a")]),
        Message(role="user", parts=[Text(text="b")]),
        Message(role="assistant", parts=[Text(text="c"), call]),
        Message(role="assistant", parts=[second]),
        Message(role="user", parts=[Text(text="d")]),
        Message(role="tool", parts=[ToolResult(tool_use_id="call_1", content=[Text(text="x")])]),
        Message(role="tool", parts=[ToolResult(tool_use_id="call_2", content=[], is_error=True)]),
    )
    assert written == [
        ("user", [text("a"), text("b")]),
        (
            "assistant",
            [
                text("c"),
                {"type": "tool_use", "id": "toolu_1", "name": "look", "input": {"a": 1}},
                {"type": "tool_use", "id": "toolu_2", "name": "look", "input": {}},
            ],
        ),
        (
            "user",
            [
                {"type": "tool_result", "tool_use_id": "toolu_1", "content": [text("x")]},
                {"type": "tool_result", "tool_use_id": "toolu_2", "is_error": True},
                text("d"),
            ],
        ),
    ]


@pytest.mark.parametrize("messages", [[], [Message(role="assistant", parts=[Text(text="Hello")])]])
def test_a_conversation_begins_with_a_user_turn(messages: list[Message]) -> None:
    document, entries = write(msgspec.structs.replace(foreign(), messages=messages))
    assert document["messages"][0] == {"role": "user", "content": [text(".")]}
    assert ("added", "messages[0]") in {(entry.change, entry.path) for entry in entries}


def test_empty_and_blank_texts_are_left_out_and_a_prefill_is_trimmed() -> None:
    request = foreign(
        Message(role="user", parts=[Text(text=""), Text(text=" \n"), Text(text="a ")]),
        Message(role="assistant", parts=[Text(text="")]),
        Message(role="user", parts=[Text(text="b")]),
        Message(role="assistant", parts=[Text(text="So: ")]),
    )
    document, entries = write(request)
    assert document["messages"] == [
        {"role": "user", "content": [text("a "), text("b")]},
        {"role": "assistant", "content": [text("So:")]},
    ]
    assert [(entry.change, entry.path) for entry in entries] == [
        ("dropped", "messages[0].content[1]"),
        ("changed", "messages[3].content"),
    ]


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ('{"a":1}', {"a": 1}),
        ("", {}),
        ("[1]", {"input": [1]}),
        ("{broken", {"input": "{broken"}),
        ('"{\\"a\\":1}"', {"input": '{"a":1}'}),
    ],
)
def test_tool_input_is_an_object(arguments: str, expected: object) -> None:
    call = ToolUse(id="call_1", name="look", arguments=arguments)
    assert turns(USER, Message(role="assistant", parts=[call]))[1][1][0]["input"] == expected


def test_calls_and_results_without_ids_are_paired() -> None:
    written = turns(
        USER,
        Message(
            role="assistant", parts=[ToolUse(id="", name="a", arguments=""), ToolUse(id="", name="b", arguments="")]
        ),
        Message(role="tool", parts=[ToolResult(tool_use_id=""), ToolResult(tool_use_id="")]),
    )
    calls = [block["id"] for block in written[1][1]]
    assert calls == [block["tool_use_id"] for block in written[2][1]]
    assert len(set(calls)) == 2
    assert all(call.startswith("toolu_") for call in calls)


@pytest.mark.parametrize(
    ("part", "block"),
    [
        (Image(source=Base64Data(media_type="image/jpg", data="AA==")),
         {"type": "image", "source": {"type": "base64", "media_type": "image/jpeg", "data": "AA=="}}),
        (Image(source=Url(url="https://x/y.png"), detail="auto"),
         {"type": "image", "source": {"type": "url", "url": "https://x/y.png"}}),
        (Document(source=Base64Data(media_type="application/pdf", data="AA=="), title="t.pdf"),
         {"type": "document", "title": "t.pdf",
          "source": {"type": "base64", "media_type": "application/pdf", "data": "AA=="}}),
        (Document(source=Base64Data(media_type="text/markdown", data="aGk=")),
         {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "hi"}}),
        (Document(source=Base64Data(media_type="image/png", data="AA==")),
         {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "AA=="}}),
        (Text(text="t", cache=Cache(ttl="1h")),
         {"type": "text", "text": "t", "cache_control": {"type": "ephemeral", "ttl": "1h"}}),
    ],
)  # fmt: skip
def test_media_cross(part: Any, block: dict[str, Any]) -> None:
    request = foreign(Message(role="user", parts=[part]))
    document, entries = write(request)
    assert document["messages"][0]["content"] == [block]
    assert entries == ()


@pytest.mark.parametrize(
    "part",
    [
        Audio(data="AA==", format="wav"),
        Image(source=FileId(id="file_1")),
        Image(source=Url(url="http://x/y.png")),
        Image(source=Base64Data(media_type="image/tiff", data="AA==")),
        Image(source=PlainText(text="x")),
        Document(source=Base64Data(media_type="application/zip", data="AA==")),
        Document(source=Base64Data(media_type="text/plain", data="/w==")),
        Document(source=FileId(id="file_1")),
        Opaque(dialect="openai", kind="x", value={}),
    ],
)
def test_what_has_no_place_is_dropped_and_reported(part: Any) -> None:
    request = foreign(Message(role="user", parts=[Text(text="Hi"), part]))
    document, entries = write(request)
    assert document["messages"] == [{"role": "user", "content": [text("Hi")]}]
    assert [(entry.change, entry.path) for entry in entries] == [("dropped", "messages[0].content[1]")]


def test_foreign_state_of_an_assistant_turn_is_dropped_and_reported() -> None:
    parts = [
        Thinking(text="hm", signature="s", signer="gemini"),
        Thinking(text="hm"),
        RedactedThinking(data="d", signer="responses"),
        Refusal(text="No."),
        Text(text="t", citations=[Citation(url="https://x")]),
        Opaque(dialect="openai", kind="custom", value={}),
    ]
    document, entries = write(foreign(USER, Message(role="assistant", parts=parts, name="bot"), USER))
    assert document["messages"][1]["content"] == [text("No."), text("t")]
    assert [(entry.change, entry.path) for entry in entries] == [
        ("dropped", "messages[1].name"),
        ("dropped", "messages[1].content[0]"),
        ("dropped", "messages[1].content[1]"),
        ("dropped", "messages[1].content[2]"),
        ("changed", "messages[1].content[3]"),
        ("dropped", "messages[1].content[4].citations"),
        ("dropped", "messages[1].content[5]"),
    ]


def test_own_state_in_a_foreign_request_is_kept() -> None:
    parts = [Thinking(text="hm", signature="s", signer="anthropic"), RedactedThinking(data="d", signer="anthropic")]
    written = turns(USER, Message(role="assistant", parts=[*parts, Text(text="t")]), USER)
    assert written[1][1][:2] == [
        {"type": "thinking", "thinking": "hm", "signature": "s"},
        {"type": "redacted_thinking", "data": "d"},
    ]


def test_leftovers_of_the_source_are_reported_in_its_words() -> None:
    request = foreign(
        Message(
            role="user",
            parts=[Text(text="t", native=Native("openai", {"annotations": [1], "type": "text", "x": None}))],
            native=Native("openai", {"weight": 1}),
        ),
        tools=[msgspec.structs.replace(TOOL, native=Native("openai", {"defer": True}))],
        native=Native("openai", {"store": True, "metadata": None}, "own"),
    )
    assert reported(request) == {
        ("dropped", "store"),
        ("dropped", "messages[0].weight"),
        ("dropped", "messages[0].content[0].annotations"),
        ("dropped", "tools[0].defer"),
    }


def test_only_the_last_four_cache_breakpoints_are_kept() -> None:
    parts = [Text(text=str(number), cache=Cache()) for number in range(5)]
    document, entries = write(foreign(Message(role="user", parts=parts), system=[Text(text="s", cache=Cache())]))
    marked = ["cache_control" in block for block in (*document["system"], *document["messages"][0]["content"])]
    assert marked == [False, False, True, True, True, True]
    assert [(entry.change, entry.path) for entry in entries] == [("dropped", "cache_control")]


# Writing: settings


@pytest.mark.parametrize(
    ("settings", "expected", "report"),
    [
        ({"temperature": 1.7}, {"temperature": 1}, {("clamped", "temperature")}),
        ({"temperature": 0.3, "top_p": 0.5}, {"temperature": 0.3}, {("dropped", "top_p")}),
        ({"temperature": 1, "top_p": 0.5}, {"top_p": 0.5}, set()),
        ({"top_k": 0}, {}, {("dropped", "top_k")}),
        ({"stop": ["X", " "]}, {"stop_sequences": ["X"]}, {("dropped", "stop[1]")}),
        ({"seed": 1, "n": 2, "logprobs": True, "top_logprobs": 2, "presence_penalty": 1, "frequency_penalty": 1}, {},
         {("dropped", name) for name in
          ("seed", "n", "logprobs", "top_logprobs", "presence_penalty", "frequency_penalty")}),
        ({"n": 1, "logprobs": False, "presence_penalty": 0}, {}, set()),
        ({"user": "u"}, {"metadata": {"user_id": "u"}}, set()),
        ({"user": "u" * 257}, {}, {("dropped", "user")}),
        ({"stream": True, "stream_usage": True}, {"stream": True}, set()),
        ({"max_tokens": 0}, {}, {("clamped", "max_completion_tokens")}),
        ({"output": OutputFormat(mode="text")}, {}, set()),
        ({"output": OutputFormat(mode="json")}, {}, {("dropped", "response_format")}),
    ],
)  # fmt: skip
def test_settings_are_brought_into_range(settings: dict[str, Any], expected: object, report: object) -> None:
    assert settings_of(foreign(**settings)) == expected
    assert reported(foreign(**settings)) == report


def test_an_output_schema_is_closed_and_stripped_of_bounds() -> None:
    schema = {
        "type": "object",
        "properties": {
            "age": {"type": "integer", "minimum": 0},
            "tags": {"type": "array", "items": {"type": "string", "format": "regex"}, "minItems": 2},
            "who": {"oneOf": [{"$ref": "#/$defs/P"}, {"type": "null"}]},
        },
        "required": ["age"],
        "$defs": {"P": {"type": "object", "properties": {}, "additionalProperties": True}},
    }
    request = foreign(output=OutputFormat(mode="schema", schema=schema, name="person"))
    assert settings_of(request) == {
        "output_config": {
            "format": {
                "type": "json_schema",
                "schema": {
                    "type": "object",
                    "properties": {
                        "age": {"type": "integer"},
                        "tags": {"type": "array", "items": {"type": "string"}},
                        "who": {"anyOf": [{"$ref": "#/$defs/P"}, {"type": "null"}]},
                    },
                    "required": ["age"],
                    "$defs": {"P": {"type": "object", "properties": {}, "additionalProperties": False}},
                    "additionalProperties": False,
                },
            }
        }
    }
    assert reported(request) == {("dropped", "response_format.name"), ("changed", "response_format.schema")}


@pytest.mark.parametrize(
    ("asked", "max_tokens", "thinking", "report"),
    [
        (Reasoning(effort="minimal"), 40_000, {"type": "enabled", "budget_tokens": 1024}, set()),
        (Reasoning(effort="low"), 40_000, {"type": "enabled", "budget_tokens": 4096}, set()),
        (Reasoning(effort="medium"), 40_000, {"type": "enabled", "budget_tokens": 8192}, set()),
        (Reasoning(effort="high"), 40_000, {"type": "enabled", "budget_tokens": 16384}, set()),
        (Reasoning(effort="xhigh"), 40_000, {"type": "enabled", "budget_tokens": 32768}, set()),
        (Reasoning(effort="none"), 40_000, {"type": "disabled"}, set()),
        (Reasoning(enabled=False), 40_000, {"type": "disabled"}, set()),
        (Reasoning(enabled=True), 40_000, {"type": "enabled", "budget_tokens": 8192}, set()),
        (Reasoning(budget_tokens=3000), 40_000, {"type": "enabled", "budget_tokens": 3000}, set()),
        (Reasoning(budget_tokens=9), 40_000, {"type": "enabled", "budget_tokens": 1024}, {"clamped"}),
        (Reasoning(effort="high"), 8000, {"type": "enabled", "budget_tokens": 6976}, {"clamped"}),
        (Reasoning(effort="low"), 2048, {"type": "enabled", "budget_tokens": 1024}, {"clamped"}),
        (Reasoning(effort="low"), 2047, None, {"dropped"}),
        (Reasoning(effort="vast"), 40_000, None, {"dropped"}),
    ],
)
def test_effort_becomes_a_budget_that_leaves_room_for_an_answer(
    asked: Reasoning, max_tokens: int, thinking: object, report: set[str]
) -> None:
    request = foreign(reasoning=asked, max_tokens=max_tokens)
    assert settings_of(request).get("thinking") == thinking
    assert reported(request) == {(change, "reasoning_effort") for change in report}


def test_with_thinking_nothing_is_sent_that_is_refused_with_it() -> None:
    request = foreign(
        reasoning=Reasoning(effort="low"),
        max_tokens=9000,
        temperature=0.2,
        top_k=4,
        top_p=0.5,
        tools=[TOOL],
        tool_choice=ToolChoice(mode="required"),
    )
    document, _ = write(request)
    assert "temperature" not in document
    assert "top_k" not in document
    assert document["top_p"] == 0.95
    assert document["tool_choice"] == {"type": "auto"}
    assert reported(request) == {
        ("dropped", "temperature"),
        ("dropped", "top_k"),
        ("clamped", "top_p"),
        ("changed", "tool_choice"),
    }


@pytest.mark.parametrize(
    "history",
    [
        [
            Message(role="assistant", parts=[ToolUse(id="call_1", name="look", arguments="{}")]),
            Message(role="tool", parts=[ToolResult(tool_use_id="call_1")]),
        ],
        [Message(role="assistant", parts=[Text(text="So")])],
    ],
)
def test_thinking_is_not_asked_where_the_last_turn_lacks_it(history: list[Message]) -> None:
    request = foreign(USER, *history, reasoning=Reasoning(effort="low"), max_tokens=9000, tools=[TOOL])
    assert "thinking" not in settings_of(request)
    assert ("dropped", "reasoning_effort") in reported(request)


def test_thinking_goes_on_where_the_last_turn_has_it() -> None:
    call = ToolUse(id="toolu_1", name="look", arguments="{}")
    thinking = Thinking(text="hm", signature="s", signer="anthropic")
    history = [
        Message(role="assistant", parts=[thinking, call]),
        Message(role="tool", parts=[ToolResult(tool_use_id="toolu_1")]),
    ]
    request = foreign(USER, *history, reasoning=Reasoning(effort="low"), max_tokens=9000, tools=[TOOL])
    assert settings_of(request)["thinking"] == {"type": "enabled", "budget_tokens": 4096}


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"tool_choice": ToolChoice(mode="auto")}, {"type": "auto"}),
        ({"tool_choice": ToolChoice(mode="none")}, {"type": "none"}),
        ({"tool_choice": ToolChoice(mode="required")}, {"type": "any"}),
        ({"tool_choice": ToolChoice(mode="one", name="look")}, {"type": "tool", "name": "look"}),
        ({"parallel_tool_calls": False}, {"type": "auto", "disable_parallel_tool_use": True}),
        ({"parallel_tool_calls": False, "tool_choice": ToolChoice(mode="none")}, {"type": "none"}),
        ({"parallel_tool_calls": False, "tool_choice": ToolChoice(mode="required")},
         {"type": "any", "disable_parallel_tool_use": True}),
        ({"parallel_tool_calls": True}, None),
        ({"parallel_tool_calls": False, "tools": []}, None),
        ({"tools": [], "tool_choice": ToolChoice(mode="auto")}, None),
    ],
)  # fmt: skip
def test_tool_choice_and_serial_calls(settings: dict[str, Any], expected: object) -> None:
    request = foreign(**{"tools": [TOOL], **settings})
    assert settings_of(request).get("tool_choice") == expected
    assert reported(request) == set()


def test_tool_definitions_are_made_acceptable() -> None:
    request = foreign(
        tools=[
            FunctionTool(name="a", description="d", strict=True),
            FunctionTool(name="b", parameters={"properties": {"x": {}}, "anyOf": [{"required": ["x"]}]}),
            Opaque(dialect="openai", kind="custom", value={}),
        ]
    )
    assert settings_of(request)["tools"] == [
        {"name": "a", "description": "d", "input_schema": {"type": "object", "properties": {}}},
        {"name": "b", "input_schema": {"type": "object", "properties": {"x": {}}}},
    ]
    assert reported(request) == {
        ("dropped", "tools[0].strict"),
        ("changed", "tools[1].parameters"),
        ("dropped", "tools[2]"),
    }


def test_a_conversation_that_used_tools_defines_them() -> None:
    call = Message(role="assistant", parts=[ToolUse(id="call_1", name="look", arguments="{}")])
    result = Message(role="tool", parts=[ToolResult(tool_use_id="call_1", content=[Text(text="x")])])
    document, entries = write(foreign(USER, call, result))
    assert document["tools"] == [{"name": "look", "input_schema": {"type": "object", "properties": {}}}]
    assert document["tool_choice"] == {"type": "none"}
    assert [(entry.change, entry.path) for entry in entries] == [("added", "tools")]


def sdk_accepts(value: Any) -> None:
    """The SDK's parameter types hold lazily validated iterables: going through them validates them."""
    if isinstance(value, dict):
        for inner in value.values():
            sdk_accepts(inner)
    elif not isinstance(value, str | int | float | None):
        for inner in value:
            sdk_accepts(inner)


def test_the_sdks_own_types_accept_what_is_written_for_a_foreign_request() -> None:
    request = foreign(
        Message(role="system", parts=[Text(text="Be kind.", cache=Cache())]),
        Message(
            role="user",
            parts=[
                Image(source=Base64Data(media_type="image/png", data="AA==")),
                Document(source=Base64Data(media_type="application/pdf", data="AA=="), title="t"),
                Text(text="Look."),
            ],
        ),
        Message(role="assistant", parts=[ToolUse(id="call_1", name="look", arguments='{"a":1}')]),
        Message(role="tool", parts=[ToolResult(tool_use_id="call_1", content=[Text(text="x")], is_error=False)]),
        tools=[TOOL],
        tool_choice=ToolChoice(mode="required"),
        parallel_tool_calls=False,
        output=OutputFormat(mode="schema", schema={"type": "object", "properties": {}}),
        reasoning=Reasoning(enabled=False),
        stop=["X"],
        user="u",
    )
    document, _ = write(request)
    params = TypeAdapter(MessageCreateParamsNonStreaming)
    sdk_accepts(params.validate_python(document))


# Whatever comes


texts = st.sampled_from(["", " ", "hello", "ä😀", "ends "])
anything = st.one_of(
    st.builds(lambda t: Text(text=t), texts),
    st.builds(lambda t: Thinking(text=t, signature="s", signer="gemini"), texts),
    st.builds(lambda i, a: ToolUse(id=i, name="n", arguments=a), texts, st.sampled_from(["", "{}", "[1]", "{", "1"])),
    st.builds(lambda i, c: ToolResult(tool_use_id=i, content=[Text(text=c)]), texts, texts),
    st.builds(lambda t: Image(source=Url(url=t)), texts),
    st.builds(lambda t: Refusal(text=t), texts),
    st.builds(lambda t: Audio(data=t, format="wav"), texts),
)  # fmt: skip
conversations = st.lists(
    st.builds(
        lambda role, parts: Message(role=role, parts=parts),
        st.sampled_from(["user", "assistant", "tool", "system", "developer"]),
        st.lists(anything, max_size=4),
    ),
    max_size=6,
)


@given(conversations)
def test_any_conversation_becomes_one_that_alternates_and_holds_no_blank_text(messages: list[Message]) -> None:
    document, _ = write(msgspec.structs.replace(foreign(), messages=messages))
    roles = [turn["role"] for turn in document["messages"]]
    assert roles == ["user" if place % 2 == 0 else "assistant" for place in range(len(roles))]
    for turn in document["messages"]:
        kinds = [block["type"] for block in turn["content"]]
        assert kinds
        assert kinds == sorted(kinds, key=lambda kind: kind != "tool_result")
        assert all(block["text"].strip() for block in turn["content"] if block["type"] == "text")
        assert all(isinstance(block["input"], dict) for block in turn["content"] if block["type"] == "tool_use")
    assert PROTOCOL.write_request(PROTOCOL.read_request(document), Hop(), Receipt()) == document
