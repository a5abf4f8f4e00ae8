"""Other dialects' settings and tools become ones that are accepted; what does not cross is reported."""

from __future__ import annotations

from typing import Any

import pytest
from anthropic.types.message_create_params import MessageCreateParamsNonStreaming
from pydantic import TypeAdapter

from busbar.protocols.ir import (
    Base64Data,
    Cache,
    Document,
    FunctionTool,
    Image,
    Message,
    Opaque,
    OutputFormat,
    Reasoning,
    Text,
    Thinking,
    ToolChoice,
    ToolResult,
    ToolUse,
)
from tests.protocols.anthropic.foreign import TOOL, USER, foreign, reported, settings_of, write


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
        ({"max_tokens": 0}, {}, {("clamped", "max_tokens")}),
        ({"output": OutputFormat(mode="text")}, {}, set()),
        ({"output": OutputFormat(mode="json")}, {}, {("dropped", "output")}),
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
    assert reported(request) == {("dropped", "output.name"), ("changed", "output.schema")}


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
    assert reported(request) == {(change, "reasoning") for change in report}


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
    assert ("dropped", "reasoning") in reported(request)


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


def test_a_tools_name_is_spelled_alike_wherever_it_stands() -> None:
    request = foreign(
        USER,
        Message(role="assistant", parts=[ToolUse(id="call_1", name="shop.find", arguments="{}")]),
        Message(role="tool", parts=[ToolResult(tool_use_id="call_1", content=[Text(text="x")])]),
        tools=[FunctionTool(name="shop.find", parameters={"type": "object"})],
        tool_choice=ToolChoice(mode="one", name="shop.find"),
    )
    document, _ = write(request)
    assert document["tools"][0]["name"] == "shop_find"
    assert document["tool_choice"]["name"] == "shop_find"
    assert document["messages"][1]["content"][0]["name"] == "shop_find"
    assert ("changed", "tools[0].name") in reported(request)


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
