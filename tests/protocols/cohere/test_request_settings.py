"""Writing another dialect's settings: never anything that Cohere refuses, and a word for all that is lost."""

from __future__ import annotations

from typing import Any

import pytest
from cohere.types import ResponseFormatV2, ToolV2
from cohere.types import Thinking as SdkThinking
from pydantic import TypeAdapter

from busbar.protocols.ir import Cache, FunctionTool, Opaque, OutputFormat, Reasoning, ToolChoice
from tests.protocols.cohere.foreign import PLAIN, SCHEMA, THINKER, TOOL, foreign, reported, settings_of, write


@pytest.mark.parametrize(
    ("setting", "expected", "change"),
    [
        ({"temperature": 1.7}, {"temperature": 1}, "clamped"),
        ({"temperature": 0.2}, {"temperature": 0.2}, None),
        ({"top_p": 1}, {"p": 0.99}, "clamped"),
        ({"top_p": 0}, {"p": 0.01}, "clamped"),
        ({"top_k": 900}, {"k": 500}, "clamped"),
        ({"max_tokens": 0}, {"max_tokens": 1}, "clamped"),
        ({"seed": -1}, {}, "dropped"),
        ({"seed": 5}, {"seed": 5}, None),
        ({"frequency_penalty": 2}, {"frequency_penalty": 1}, "clamped"),
        ({"presence_penalty": -1}, {}, "clamped"),
        ({"presence_penalty": 0}, {}, None),
        ({"n": 2}, {}, "dropped"),
        ({"n": 1}, {}, None),
        ({"user": "u"}, {}, "dropped"),
        ({"logprobs": True}, {"logprobs": True}, None),
        ({"top_logprobs": 3}, {}, "dropped"),
        ({"parallel_tool_calls": False}, {}, "dropped"),
        ({"stream": True}, {"stream": True}, None),
        ({"stop": ["", "a"]}, {"stop_sequences": ["a"]}, None),
    ],
)
def test_settings_within_bounds(setting: dict[str, Any], expected: dict[str, Any], change: str | None) -> None:
    assert settings_of(**setting) == expected
    (name,) = setting
    assert reported(foreign(**setting)) == ({(change, name)} if change else set())


def test_one_penalty_and_five_stops() -> None:
    request = foreign(frequency_penalty=0.5, presence_penalty=0.5, stop=list("abcdef"))
    document, _ = write(request)
    assert document["frequency_penalty"] == 0.5
    assert "presence_penalty" not in document
    assert document["stop_sequences"] == list("abcde")
    assert reported(request) == {("dropped", "presence_penalty"), ("dropped", "stop[5]")}


@pytest.mark.parametrize(
    ("choice", "word", "names"),
    [
        (None, None, ["look", "find"]),
        (ToolChoice(mode="auto"), None, ["look", "find"]),
        (ToolChoice(mode="none"), "NONE", ["look", "find"]),
        (ToolChoice(mode="required"), "REQUIRED", ["look", "find"]),
        (ToolChoice(mode="one", name="find"), "REQUIRED", ["find"]),
    ],
)
def test_tool_choices(choice: ToolChoice | None, word: str | None, names: list[str]) -> None:
    document = settings_of(tools=[TOOL, FunctionTool(name="find")], tool_choice=choice)
    assert document.get("tool_choice") == word
    assert [tool["function"]["name"] for tool in document["tools"]] == names
    TypeAdapter(list[ToolV2]).validate_python(document["tools"])


def test_one_tool_is_told_as_the_only_one() -> None:
    request = foreign(tools=[TOOL, FunctionTool(name="find")], tool_choice=ToolChoice(mode="one", name="find"))
    assert reported(request) == {("changed", "tool_choice"), ("dropped", "tools[0]")}


def test_tools_in_this_dialects_shape() -> None:
    odd = FunctionTool(name="3d-view", description="", parameters={"properties": {}}, cache=Cache())
    hosted = Opaque(dialect="openai", kind="web_search", value={})
    request = foreign(tools=[odd, hosted])
    assert settings_of(tools=[odd, hosted]) == {
        "tools": [
            {
                "type": "function",
                "function": {"name": "_3d_view", "parameters": {"properties": {}, "type": "object"}},
            }
        ]
    }
    assert reported(request) == {
        ("changed", "tools[0].name"),
        ("changed", "tools[0].parameters"),
        ("dropped", "tools[0].cache_control"),
        ("dropped", "tools[1]"),
    }


OPTIONAL = {"type": "object", "properties": {"q": {"type": "string"}}}


@pytest.mark.parametrize(
    ("tools", "strict"),
    [
        ([FunctionTool(name="a", parameters=SCHEMA, strict=True)], True),
        ([FunctionTool(name="a", parameters=None, strict=True)], True),
        ([FunctionTool(name="a", parameters=OPTIONAL, strict=True)], False),
        ([FunctionTool(name="a", parameters=SCHEMA, strict=True), TOOL], False),
        ([TOOL], None),
    ],
)
def test_strictness_is_for_all_tools(tools: list[FunctionTool], strict: bool | None) -> None:
    assert settings_of(tools=tools).get("strict_tools", False) is bool(strict)
    assert reported(foreign(tools=list(tools))) == ({("dropped", "tools[0].strict")} if strict is False else set())


def test_a_choice_without_tools_is_dropped() -> None:
    assert reported(foreign(tool_choice=ToolChoice(mode="required"))) == {("dropped", "tool_choice")}


def schema_of(schema: dict[str, Any]) -> Any:
    written = settings_of(output=OutputFormat(mode="schema", schema=schema))["response_format"]
    TypeAdapter(ResponseFormatV2).validate_python(written)
    assert written["type"] == "json_object"
    return written.get("json_schema")


def test_output_schemas_in_the_subset() -> None:
    assert schema_of(SCHEMA) == SCHEMA
    nullable = {"anyOf": [{"type": "string", "maxLength": 3}, {"type": "null"}], "title": "A"}
    listed = {"type": ["integer", "null"], "minimum": 1}
    day = {"type": "string", "format": "date", "pattern": "^x"}
    loose = {"type": "object", "properties": {"a": nullable, "b": listed, "c": day}}
    assert schema_of(loose) == {
        "type": "object",
        "properties": {
            "a": {"type": "string", "title": "A"},
            "b": {"type": "integer"},
            "c": {"type": "string", "format": "date"},
        },
        "required": ["a"],
    }


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "array", "items": {"type": "string"}},
        {"type": "object"},
        {"type": "object", "properties": {"a": {"anyOf": [{"type": "string"}, {"type": "integer"}]}}},
        {"type": "object", "properties": {"a": {"not": {"type": "string"}}}},
    ],
)
def test_a_schema_that_cannot_be_said_is_any_object(schema: dict[str, Any]) -> None:
    assert schema_of(schema) is None
    assert reported(foreign(output=OutputFormat(mode="schema", schema=schema))) == {("dropped", "output.schema")}


def test_output_formats_beside_tools_and_names() -> None:
    named = OutputFormat(mode="schema", schema=SCHEMA, name="n", strict=True)
    assert reported(foreign(output=named)) == {("dropped", "output.name")}
    assert "response_format" not in settings_of(output=named, tools=[TOOL])
    assert reported(foreign(output=named, tools=[TOOL])) == {("dropped", "output")}
    assert settings_of(output=OutputFormat(mode="text")) == {}
    assert settings_of(output=OutputFormat(mode="json")) == {"response_format": {"type": "json_object"}}


@pytest.mark.parametrize(
    ("asked", "written"),
    [
        (Reasoning(enabled=False), {"type": "disabled"}),
        (Reasoning(effort="none"), {"type": "disabled"}),
        (Reasoning(enabled=True), {"type": "enabled"}),
        (Reasoning(adaptive=True, enabled=True), {"type": "enabled"}),
        (Reasoning(effort="low"), {"type": "enabled", "token_budget": 4096}),
        (Reasoning(enabled=True, budget_tokens=700), {"type": "enabled", "token_budget": 700}),
        (Reasoning(), None),
    ],
)
def test_thinking(asked: Reasoning, written: dict[str, Any] | None) -> None:
    document = settings_of(reasoning=asked)
    assert document.get("thinking") == written
    if written is not None:
        TypeAdapter(SdkThinking).validate_python(written)


def test_thinking_leaves_room_for_the_answer() -> None:
    asked = Reasoning(effort="high")
    assert settings_of(reasoning=asked, max_tokens=5000)["thinking"]["token_budget"] == 3976
    assert reported(foreign(reasoning=asked, max_tokens=5000)) == {("clamped", "reasoning")}
    assert "thinking" not in settings_of(reasoning=asked, max_tokens=900)
    assert reported(foreign(reasoning=asked, max_tokens=900)) == {("dropped", "reasoning")}


def test_who_cannot_think_is_not_asked_to() -> None:
    assert settings_of(PLAIN, reasoning=Reasoning(effort="high")) == {}
    assert reported(foreign(reasoning=Reasoning(effort="high")), PLAIN) == {("dropped", "reasoning")}
    assert reported(foreign(reasoning=Reasoning(enabled=False)), PLAIN) == set()


def test_the_model_is_the_upstreams() -> None:
    assert write(foreign(), THINKER)[0]["model"] == THINKER.model
