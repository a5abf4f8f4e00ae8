"""Reading requests: what is understood is in the IR, what is not stays beside it, and what is none is refused."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest

from busbar.protocols.cohere import PROTOCOL
from busbar.protocols.ir import (
    Base64Data,
    Document,
    FunctionTool,
    Image,
    Message,
    Opaque,
    OutputFormat,
    PlainText,
    Reasoning,
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
from busbar.protocols.registry import PROTOCOLS

USER = {"role": "user", "content": "Hi"}


def read(*messages: dict[str, Any], **settings: Any) -> Request:
    """The request; it is also written back, and must be the same then."""
    document = {"model": "command-a", "messages": list(messages or [USER]), **settings}
    request = PROTOCOL.read_request(document)
    assert PROTOCOL.write_request(request, Hop(), Receipt()) == document
    return request


def parts_of(message: dict[str, Any]) -> list[Any]:
    return read(message).messages[0].parts


def bare(node: Any) -> Any:
    node.native = None
    return node


def test_settings_are_in_the_ir() -> None:
    request = read(
        max_tokens=9,
        temperature=0.5,
        p=0.75,
        k=40,
        seed=7,
        frequency_penalty=0.1,
        presence_penalty=0.2,
        logprobs=True,
        stop_sequences=["a", "b"],
        stream=True,
        safety_mode="STRICT",
        documents=[{"data": "d"}],
    )
    assert request.native is not None
    assert request.native.fields == {"safety_mode": "STRICT", "documents": [{"data": "d"}]}
    request.native = None
    request.messages = []
    assert request == Request(
        model="command-a",
        messages=[],
        max_tokens=9,
        temperature=0.5,
        top_p=0.75,
        top_k=40,
        seed=7,
        frequency_penalty=0.1,
        presence_penalty=0.2,
        logprobs=True,
        stop=["a", "b"],
        stream=True,
    )


@pytest.mark.parametrize("role", ["system", "developer", "user"])
def test_a_plain_message(role: Any) -> None:
    (message,) = read({"role": role, "content": "Hi"}).messages
    assert bare(message) == Message(role=role, parts=[Text(text="Hi")])


def test_what_a_user_says_and_shows() -> None:
    image = {"type": "image_url", "image_url": {"url": "https://host/a.png", "detail": "low"}}
    data = {"type": "image_url", "image_url": {"url": "data:image/png;base64,QUJD"}}
    odd = {"type": "video", "video": 1}
    assert parts_of({"role": "user", "content": [{"type": "text", "text": ""}, image, data, odd]}) == [
        Text(text=""),
        Image(source=Url(url="https://host/a.png"), detail="low"),
        Image(source=Base64Data(media_type="image/png", data="QUJD")),
        Opaque(dialect="cohere", kind="content.video", value=odd),
    ]


def test_an_assistants_plan_content_and_calls() -> None:
    call = {"id": "f_1", "type": "function", "function": {"name": "f", "arguments": '{"a": 1}'}}
    content = [{"type": "thinking", "thinking": "hm"}, {"type": "text", "text": "so"}]
    turn = {"role": "assistant", "content": content, "tool_plan": "I will", "tool_calls": [call]}
    plan, *others = parts_of(turn)
    assert bare(plan) == Thinking(text="I will")
    assert others == [Thinking(text="hm"), Text(text="so"), ToolUse(id="f_1", name="f", arguments='{"a": 1}')]


@pytest.mark.parametrize(
    ("data", "text", "title"),
    [
        ("plain", "plain", None),
        ({"text": "a", "title": "T"}, "a", "T"),
        ({"snippet": "a"}, "a", None),
        ({"roll": 5}, '{"roll":5}', None),
        ({"text": "a", "url": "https://host"}, '{"text":"a","url":"https://host"}', None),
    ],
)
def test_a_document_in_a_tools_result_is_its_text(data: Any, text: str, title: str | None) -> None:
    document = {"type": "document", "document": {"id": "d1", "data": data}}
    (result,) = parts_of({"role": "tool", "tool_call_id": "f_1", "content": [document]})
    assert isinstance(result, ToolResult)
    assert result.tool_use_id == "f_1"
    assert [bare(part) for part in result.content] == [Document(source=PlainText(text=text), title=title)]


def test_tools_share_their_strictness() -> None:
    function = {"name": "f", "description": "d", "parameters": {"type": "object"}}
    request = read(tools=[{"type": "function", "function": function}], strict_tools=True, tool_choice="required")
    expected = FunctionTool(name="f", description="d", parameters={"type": "object"}, strict=True)
    assert [bare(tool) for tool in request.tools] == [expected]
    assert bare(request.tool_choice) == ToolChoice(mode="required")


def test_strictness_without_tools_stays_beside() -> None:
    assert read(strict_tools=True, tools=[]).tools == []
    assert read(tools=[{"type": "other"}], strict_tools=True).tools == [
        Opaque(dialect="cohere", kind="tools", value={"type": "other"})
    ]


SCHEMA = {"type": "object"}


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"type": "text"}, OutputFormat(mode="text")),
        ({"type": "json_object"}, OutputFormat(mode="json")),
        ({"type": "json_object", "json_schema": SCHEMA}, OutputFormat(mode="schema", schema=SCHEMA)),
        ({"type": "json_object", "schema": SCHEMA}, OutputFormat(mode="schema", schema=SCHEMA)),
        ({"type": "json_schema", "json_schema": SCHEMA}, OutputFormat(mode="schema", schema=SCHEMA)),
    ],
)
def test_output_formats(given: dict[str, Any], expected: OutputFormat) -> None:
    assert bare(read(response_format=given).output) == expected


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"type": "enabled", "token_budget": 500}, Reasoning(enabled=True, budget_tokens=500)),
        ({"type": "disabled"}, Reasoning(enabled=False)),
    ],
)
def test_thinking(given: dict[str, Any], expected: Reasoning) -> None:
    assert bare(read(thinking=given).reasoning) == expected


@pytest.mark.parametrize(
    ("document", "path"),
    [
        ({}, "messages"),
        ({"messages": []}, "messages"),
        ({"messages": "x"}, "messages"),
        ({"messages": [7]}, "messages[0]"),
        ({"messages": [{"role": "bot", "content": "x"}]}, "messages[0].role"),
        ({"messages": [{"role": "user"}]}, "messages[0].content"),
        ({"messages": [{"role": "user", "content": 7}]}, "messages[0].content"),
        ({"messages": [{"role": "user", "content": [7]}]}, "messages[0].content[0]"),
        ({"messages": [{"role": "tool", "content": "x"}]}, "messages[0].tool_call_id"),
        ({"messages": [{"role": "assistant", "tool_calls": {}}]}, "messages[0].tool_calls"),
        ({"messages": [{"role": "assistant", "tool_calls": [{"id": "a"}]}]}, "messages[0].tool_calls"),
        ({"messages": [USER], "max_tokens": "x"}, "max_tokens"),
        ({"messages": [USER], "p": "x"}, "p"),
        ({"messages": [USER], "stop_sequences": ["a", 7]}, "stop_sequences"),
        ({"messages": [USER], "tools": [{"type": "function", "function": {"name": "f", "parameters": 7}}]}, None),
        ({"messages": [USER], "thinking": {"type": "enabled", "token_budget": "x"}}, "thinking.token_budget"),
    ],
)
def test_what_is_no_request_is_refused_by_name(document: dict[str, Any], path: str | None) -> None:
    with pytest.raises(InvalidRequest) as refused:
        PROTOCOL.read_request(document)
    assert refused.value.path == (path or "tools[0].function.parameters")


def test_a_receipt_speaks_this_dialects_words() -> None:
    call = {"id": "f_1", "type": "function", "function": {"name": "f", "arguments": "[1]"}}
    source = {"type": "document", "id": "d", "document": {"url": "https://host"}}
    document = {
        "model": "command-a",
        "k": 0,
        "seed": 3,
        "documents": ["d"],
        "messages": [
            USER,
            {
                "role": "assistant",
                "content": [{"type": "text", "text": "so"}],
                "tool_plan": "plan",
                "tool_calls": [call],
                "citations": [{"start": 0, "end": 2, "text": "so", "sources": [source], "type": "TEXT_CONTENT"}],
            },
            {
                "role": "tool",
                "tool_call_id": "f_1",
                "content": [{"type": "document", "document": {"data": "x", "id": "d"}}],
            },
        ],
        "response_format": {"type": "json_object"},
    }
    request = PROTOCOL.read_request(document)
    receipt = Receipt(spell=partial(PROTOCOL.spell, request))
    PROTOCOLS["anthropic"].write_request(request, Hop(model="claude"), receipt)
    assert {entry.path for entry in receipt.entries} == {
        "documents",
        "messages[1].tool_plan",
        "messages[1].citations",
        "messages[1].tool_calls[0].function.arguments",
        "messages[2].content[0].document",
        "seed",
        "k",
        "response_format",
        "max_tokens",
        "tools",
    }


@pytest.mark.parametrize(
    ("path", "spelled"),
    [
        ("top_p", "p"),
        ("stop[5]", "stop_sequences[5]"),
        ("reasoning.budget_tokens", "thinking.token_budget"),
        ("output.schema.additionalProperties", "response_format.json_schema.additionalProperties"),
        ("tools[0].name", "tools[0].function.name"),
        ("tools[0].strict", "strict_tools"),
        ("messages[0].name", "messages[0].name"),
        ("messages[0].content[0]", "messages[0].content"),
    ],
)
def test_places_of_a_request_in_this_dialects_words(path: str, spelled: str) -> None:
    tool = {"type": "function", "function": {"name": "f"}}
    request = read(tools=[tool], response_format={"type": "json_object", "json_schema": SCHEMA})
    assert PROTOCOL.spell(request, path) == spelled


def test_leftovers_belong_to_their_nodes() -> None:
    request = read({"role": "user", "content": [{"type": "text", "text": "a", "cache": 1}], "note": 2})
    (message,) = request.messages
    assert message.native is not None
    assert message.native.fields == {"note": 2}
    assert message.parts == [Text(text="a", native=Native("cohere", {"cache": 1}))]
