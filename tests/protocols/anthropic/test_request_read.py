"""Requests as they are read; rare spellings come back equal."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from busbar.protocols.anthropic import PROTOCOL
from busbar.protocols.ir import (
    Base64Data,
    Cache,
    Document,
    FunctionTool,
    Image,
    Opaque,
    OutputFormat,
    PlainText,
    Reasoning,
    RedactedThinking,
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
from busbar.protocols.receipt import Receipt
from tests.protocols.anthropic.foreign import text


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
