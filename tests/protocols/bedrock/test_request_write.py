"""Other dialects' requests become ones that the official SDK sends and the API accepts; the rest is reported."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from busbar.protocols.bedrock import PROTOCOL
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
    Part,
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
from busbar.protocols.protocol import Hop
from busbar.protocols.receipt import Receipt
from tests.protocols.bedrock.wire import CLAUDE, HOP, sdk_refuses

USER = Message(role="user", parts=[Text(text="Hi")])
TOOL = FunctionTool(name="look", description="", parameters={"type": "object", "properties": {}})
SPEC = {"toolSpec": {"name": "look", "inputSchema": {"json": {"type": "object", "properties": {}}}}}
PNG = Base64Data(media_type="image/png", data="aGk=")
CALL = Message(role="assistant", parts=[ToolUse(id="call_1", name="look", arguments='{"a":1}')])
RESULT = Message(role="tool", parts=[ToolResult(tool_use_id="call_1", content=[Text(text="42")])])


def written(*messages: Message, model: str = CLAUDE, **settings: Any) -> tuple[dict[str, Any], set[tuple[str, str]]]:
    """The document and what is on its receipt."""
    native = Native("openai", settings.pop("left", {}), "own")
    request = Request(model="gpt", messages=list(messages or [USER]), native=native, **settings)
    receipt = Receipt()
    hop = Hop(model=model, default_max_tokens=HOP.default_max_tokens, nonce="n1")
    document = PROTOCOL.write_request(request, hop, receipt)
    assert sdk_refuses(document) == ""
    return document, {(entry.change, entry.path) for entry in receipt.entries}


def settings(*messages: Message, **stated: Any) -> tuple[dict[str, Any], set[tuple[str, str]]]:
    document, report = written(*messages, **stated)
    del document["messages"]
    return document, report


def turns(*messages: Message, model: str = CLAUDE) -> tuple[list[tuple[str, list[Any]]], set[tuple[str, str]]]:
    document, report = written(*messages, tools=[TOOL], model=model)
    return [(turn["role"], turn["content"]) for turn in document["messages"]], report


def user_part(part: Part, model: str = CLAUDE) -> tuple[list[Any], set[tuple[str, str]]]:
    ((_, content),), report = turns(Message(role="user", parts=[Text(text="Hi"), part]), model=model)
    return content[1:], report


def test_turns_alternate_and_results_stand_together_in_front() -> None:
    again = Message(role="tool", parts=[ToolResult(tool_use_id="call_2", content=[Text(text="no")], is_error=True)])
    both = Message(role="assistant", parts=[*CALL.parts, ToolUse(id="call_2", name="look", arguments="")])
    assert turns(USER, USER, both, RESULT, USER, again) == (
        [
            ("user", [{"text": "Hi"}, {"text": "Hi"}]),
            (
                "assistant",
                [
                    {"toolUse": {"toolUseId": "tooluse_1", "name": "look", "input": {"a": 1}}},
                    {"toolUse": {"toolUseId": "tooluse_2", "name": "look", "input": {}}},
                ],
            ),
            (
                "user",
                [
                    {"toolResult": {"toolUseId": "tooluse_1", "content": [{"text": "42"}]}},
                    {"toolResult": {"toolUseId": "tooluse_2", "content": [{"text": "no"}], "status": "error"}},
                    {"text": "Hi"},
                ],
            ),
        ],
        set(),
    )


def test_instructions_stand_in_system() -> None:
    document, report = written(
        Message(role="developer", parts=[Text(text="B")]),
        USER,
        Message(role="system", parts=[Text(text="C")]),
        system=[Text(text="A")],
    )
    assert document["system"] == [{"text": "A"}, {"text": "B"}, {"text": "C"}]
    assert report == {("changed", "messages[2]")}


def test_a_conversation_begins_with_a_user_turn_and_a_prefill_is_trimmed() -> None:
    assert turns(Message(role="assistant", parts=[Text(text="So: ")], name="bot")) == (
        [("user", [{"text": "."}]), ("assistant", [{"text": "So:"}])],
        {("added", "messages[0]"), ("changed", "messages[0].content"), ("dropped", "messages[0].name")},
    )


@pytest.mark.parametrize(
    ("part", "block"),
    [
        (Image(source=PNG), {"image": {"format": "png", "source": {"bytes": "aGk="}}}),
        (
            Image(source=Base64Data(media_type="image/jpg", data="aGk=")),
            {"image": {"format": "jpeg", "source": {"bytes": "aGk="}}},
        ),
        (
            Document(source=Base64Data(media_type="application/pdf", data="aGk="), title="a"),
            {"document": {"format": "pdf", "name": "a", "source": {"bytes": "aGk="}}},
        ),
        (
            Document(source=PlainText(text="hi"), citations_enabled=True, context="c"),
            {
                "document": {
                    "format": "txt",
                    "name": "Document",
                    "source": {"bytes": "aGk="},
                    "citations": {"enabled": True},
                    "context": "c",
                }
            },
        ),
        (
            Document(source=Base64Data(media_type="text/x-python; charset=utf-8", data="aGk=")),
            {"document": {"format": "txt", "name": "Document", "source": {"bytes": "aGk="}}},
        ),
        (Document(source=PNG), {"image": {"format": "png", "source": {"bytes": "aGk="}}}),
    ],
)
def test_a_part_that_has_a_place_crosses(part: Part, block: dict[str, Any]) -> None:
    assert user_part(part) == ([block], set())


@pytest.mark.parametrize(
    "part",
    [
        Image(source=Url(url="https://x/y.png")),
        Image(source=FileId(id="file-1")),
        Image(source=Base64Data(media_type="image/tiff", data="aGk=")),
        Document(source=Url(url="https://x/y.pdf")),
        Document(source=PlainText(text=" ")),
        Document(source=Base64Data(media_type="application/zip", data="aGk=")),
        Audio(data="aGk=", format="wav"),
        Opaque(dialect="openai", kind="thing", value={}),
        Text(text=" "),
        Thinking(text="hm"),
    ],
)
def test_a_part_that_has_no_place_is_dropped_and_reported(part: Part) -> None:
    assert user_part(part) == ([], {("dropped", "messages[0].content[1]")})


def test_names_of_documents_are_fitting_and_none_comes_twice() -> None:
    source = PlainText(text="hi")
    parts: list[Part] = [Document(source=source, title=title) for title in ("Résumé_v2.pdf", "a", "a", None, "")]
    ((_, content),), report = turns(Message(role="user", parts=parts))
    names = [block["document"]["name"] for block in content[:-1]]
    assert names == ["R sum v2 pdf", "a", "a 2", "Document", "Document 2"]
    assert content[-1] == {"text": "."}
    assert report == {
        ("changed", "messages[0].content[0].title"),
        ("changed", "messages[0].content[2].title"),
        ("added", "messages.content"),
    }


def test_thinking_of_another_provider_is_not_sent() -> None:
    parts: list[Part] = [
        Thinking(text="hm", signature="s", signer="gemini"),
        RedactedThinking(data="x", signer="gemini"),
        Thinking(text="own", signature="s", signer="anthropic"),
        RedactedThinking(data="own", signer="anthropic"),
        Refusal(text="No."),
    ]
    found, report = turns(USER, Message(role="assistant", parts=parts), USER)
    assert found[1][1] == [
        {"reasoningContent": {"reasoningText": {"text": "own", "signature": "s"}}},
        {"reasoningContent": {"redactedContent": "own"}},
        {"text": "No."},
    ]
    assert report == {
        ("dropped", "messages[1].content[0]"),
        ("dropped", "messages[1].content[1]"),
        ("changed", "messages[1].content[4]"),
    }


def test_arguments_and_names_are_what_the_api_accepts() -> None:
    calls: list[Part] = [
        ToolUse(id="", name="a.b" * 30, arguments="[1]"),
        ToolUse(id="x" * 99, name="n", arguments="{"),
    ]
    found, report = turns(
        USER, Message(role="assistant", parts=calls), Message(role="tool", parts=[ToolResult(tool_use_id="")])
    )
    first, second = (block["toolUse"] for block in found[1][1])
    assert (first["input"], second["input"]) == ({"input": [1]}, {"input": "{"})
    assert len(first["name"]) == 64
    assert all(len(call["toolUseId"]) <= 64 for call in (first, second))
    assert found[2][1] == [{"toolResult": {"toolUseId": first["toolUseId"], "content": [{"text": "."}]}}]
    assert report == {
        ("changed", "messages[1].content[0].name"),
        ("changed", "messages[1].content[0].arguments"),
        ("changed", "messages[1].content[1].arguments"),
    }


def test_cache_breakpoints_become_cache_points_where_the_model_caches() -> None:
    parts: list[Part] = [
        ToolResult(tool_use_id="call_1", content=[Text(text="42", cache=Cache(ttl="1h"))]),
        Text(text="Hi", cache=Cache()),
    ]
    found, report = turns(USER, CALL, Message(role="user", parts=parts))
    assert found[2][1] == [
        {"toolResult": {"toolUseId": "tooluse_1", "content": [{"text": "42"}]}},
        {"cachePoint": {"type": "default", "ttl": "1h"}},
        {"text": "Hi"},
        {"cachePoint": {"type": "default"}},
    ]
    assert report == set()
    found, report = turns(Message(role="user", parts=[Text(text="Hi", cache=Cache())]), model="mistral.large")
    assert found == [("user", [{"text": "Hi"}])]
    assert report == {("dropped", "messages[0].content[0].cache_control")}


def test_at_most_four_cache_points_are_sent() -> None:
    parts: list[Part] = [Text(text=str(n), cache=Cache()) for n in range(6)]
    ((_, content),), report = turns(Message(role="user", parts=parts))
    assert [list(block) for block in content].count(["cachePoint"]) == 4
    assert content[:2] == [{"text": "0"}, {"text": "1"}]
    assert report == {("dropped", "cache_control")}


def test_citations_and_signatures_of_a_turn_are_reported() -> None:
    said = Text(text="So.", citations=[Citation(url="https://x")], signature="s", signer="gemini")
    found, report = turns(USER, Message(role="assistant", parts=[said]), USER)
    assert found[1] == ("assistant", [{"text": "So."}])
    assert report == {
        ("dropped", "messages[1].content[0].citations"),
        ("dropped", "messages[1].content[0].signature"),
    }


@pytest.mark.parametrize(
    ("choice", "config"),
    [
        (None, {"tools": [SPEC]}),
        (ToolChoice(mode="auto"), {"tools": [SPEC], "toolChoice": {"auto": {}}}),
        (ToolChoice(mode="required"), {"tools": [SPEC], "toolChoice": {"any": {}}}),
        (ToolChoice(mode="one", name="look"), {"tools": [SPEC], "toolChoice": {"tool": {"name": "look"}}}),
    ],
)
def test_a_tool_choice_crosses(choice: ToolChoice | None, config: dict[str, Any]) -> None:
    assert settings(tools=[TOOL], tool_choice=choice) == ({"toolConfig": config}, set())


def test_no_tools_are_sent_where_none_may_be_chosen_unless_the_conversation_used_some() -> None:
    none = ToolChoice(mode="none")
    assert settings(tools=[TOOL], tool_choice=none) == ({}, {("changed", "tool_choice"), ("dropped", "tools")})
    expected = ({"toolConfig": {"tools": [SPEC]}}, {("dropped", "tool_choice")})
    assert settings(USER, CALL, RESULT, tools=[TOOL], tool_choice=none) == expected


def test_a_conversation_that_used_tools_defines_them() -> None:
    assert settings(USER, CALL, RESULT) == ({"toolConfig": {"tools": [SPEC]}}, {("added", "tools")})


def test_a_tool_s_schema_is_an_object_without_alternatives() -> None:
    tool = FunctionTool(name="a b", parameters={"anyOf": [{}], "properties": {}}, strict=True)
    document, report = settings(tools=[tool, Opaque(dialect="openai", kind="web_search", value={})])
    spec = {"name": "a_b", "inputSchema": {"json": {"type": "object", "properties": {}}}}
    assert document == {"toolConfig": {"tools": [{"toolSpec": spec}]}}
    assert report == {
        ("changed", "tools[0].parameters"),
        ("dropped", "tools[0].strict"),
        ("changed", "tools[0].name"),
        ("dropped", "tools[1]"),
    }


@pytest.mark.parametrize(
    ("model", "stated", "expected", "report"),
    [
        (
            "mistral.large",
            {"max_tokens": 9, "temperature": 0.5, "top_p": 0.9, "stop": ["a"]},
            {"inferenceConfig": {"maxTokens": 9, "temperature": 0.5, "topP": 0.9, "stopSequences": ["a"]}},
            set(),
        ),
        (CLAUDE, {}, {}, set()),
        (CLAUDE, {"temperature": 1.7}, {"inferenceConfig": {"temperature": 1}}, {("clamped", "temperature")}),
        (
            CLAUDE,
            {"temperature": 0.2, "top_p": 0.9},
            {"inferenceConfig": {"temperature": 0.2}},
            {("dropped", "top_p")},
        ),
        (CLAUDE, {"temperature": 1, "top_p": 0.9}, {"inferenceConfig": {"topP": 0.9}}, set()),
        (CLAUDE, {"top_k": 5}, {"additionalModelRequestFields": {"top_k": 5}}, set()),
        (
            "us.amazon.nova-pro-v1:0",
            {"top_k": 5},
            {"additionalModelRequestFields": {"inferenceConfig": {"topK": 5}}},
            set(),
        ),
        ("meta.llama", {"top_k": 5}, {}, {("dropped", "top_k")}),
        (
            CLAUDE,
            {"stop": ["a", " ", "b", "c", "d", "e"]},
            {"inferenceConfig": {"stopSequences": ["a", "b", "c", "d"]}},
            {("dropped", "stop[1]"), ("dropped", "stop[5]")},
        ),
        (CLAUDE, {"user": "u-1@x"}, {"requestMetadata": {"user_id": "u-1@x"}}, set()),
        (CLAUDE, {"user": '{"a":1}'}, {}, {("dropped", "user")}),
        (
            CLAUDE,
            {"seed": 1, "n": 2, "logprobs": True, "presence_penalty": 0, "parallel_tool_calls": False},
            {},
            {("dropped", name) for name in ("seed", "n", "logprobs", "parallel_tool_calls")},
        ),
        (CLAUDE, {"left": {"store": True, "x": None}}, {}, {("dropped", "store")}),
    ],
)
def test_settings_cross_or_are_reported(
    model: str, stated: dict[str, Any], expected: dict[str, Any], report: set[tuple[str, str]]
) -> None:
    assert settings(model=model, **stated) == (expected, report)


@pytest.mark.parametrize(
    ("model", "asked", "expected"),
    [
        (CLAUDE, Reasoning(effort="low"), {"thinking": {"type": "enabled", "budget_tokens": 4096}}),
        (
            CLAUDE,
            Reasoning(enabled=True, budget_tokens=2000),
            {"thinking": {"type": "enabled", "budget_tokens": 2000}},
        ),
        (CLAUDE, Reasoning(effort="none"), {"thinking": {"type": "disabled"}}),
        ("openai.gpt-oss-120b-1:0", Reasoning(effort="minimal"), {"reasoning_effort": "low"}),
        ("openai.gpt-oss-120b-1:0", Reasoning(enabled=True, budget_tokens=9000), {"reasoning_effort": "high"}),
    ],
)
def test_thinking_is_asked_for_in_the_family_s_way(model: str, asked: Reasoning, expected: dict[str, Any]) -> None:
    document, _ = settings(model=model, reasoning=asked, max_tokens=8000)
    assert document["additionalModelRequestFields"] == expected


def test_with_thinking_other_settings_give_way() -> None:
    document, report = settings(
        reasoning=Reasoning(effort="high"),
        temperature=0.3,
        top_k=3,
        top_p=0.5,
        tools=[TOOL],
        tool_choice=ToolChoice(mode="required"),
    )
    assert document == {
        "inferenceConfig": {"maxTokens": 8192, "topP": 0.95},
        "additionalModelRequestFields": {"thinking": {"type": "enabled", "budget_tokens": 7168}},
        "toolConfig": {"tools": [SPEC], "toolChoice": {"auto": {}}},
    }
    assert report == {
        ("clamped", "reasoning"),
        ("added", "max_tokens"),
        ("dropped", "temperature"),
        ("dropped", "top_k"),
        ("clamped", "top_p"),
        ("changed", "tool_choice"),
    }


@pytest.mark.parametrize(
    ("messages", "stated"),
    [
        ([USER], {"max_tokens": 2000}),
        ([USER], {"model": "meta.llama"}),
        ([USER, CALL, RESULT], {"tools": [TOOL]}),
        ([USER, Message(role="assistant", parts=[Text(text="So")])], {}),
    ],
)
def test_thinking_that_would_be_refused_is_dropped(messages: list[Message], stated: dict[str, Any]) -> None:
    document, report = settings(*messages, reasoning=Reasoning(effort="low"), **stated)
    assert "additionalModelRequestFields" not in document
    assert report == {("dropped", "reasoning")}


def test_structured_output_is_the_api_s_own() -> None:
    schema = {"type": "object", "properties": {"a": {"type": "integer", "minimum": 1}}}
    document, report = settings(output=OutputFormat(mode="schema", schema=schema, name="an answer", strict=True))
    inner = document["outputConfig"]["textFormat"]["structure"]["jsonSchema"]
    assert document["outputConfig"]["textFormat"]["type"] == "json_schema"
    assert inner["name"] == "an_answer"
    assert json.loads(inner["schema"]) == {
        "type": "object",
        "properties": {"a": {"type": "integer"}},
        "additionalProperties": False,
    }
    assert report == {("changed", "output.schema")}


def test_output_of_any_json_has_no_place() -> None:
    assert settings(output=OutputFormat(mode="json")) == ({}, {("dropped", "output")})
    assert settings(output=OutputFormat(mode="text")) == ({}, set())


PARTS: st.SearchStrategy[Part] = st.one_of(
    st.builds(Text, text=st.text(max_size=5)),
    st.builds(Image, source=st.sampled_from([PNG, Url(url="https://x")])),
    st.builds(Document, source=st.builds(PlainText, text=st.text(max_size=5)), title=st.text(max_size=5)),
    st.builds(
        ToolUse,
        id=st.sampled_from(["", "call_1"]),
        name=st.text(min_size=1, max_size=70),
        arguments=st.text(max_size=5),
    ),
    st.builds(
        ToolResult,
        tool_use_id=st.sampled_from(["", "call_1"]),
        content=st.lists(st.builds(Text, text=st.text(max_size=3)), max_size=2),
    ),
    st.builds(Thinking, text=st.text(max_size=3)),
    st.builds(Audio, data=st.just("aGk="), format=st.just("wav")),
)
MESSAGES = st.builds(
    Message, role=st.sampled_from(["user", "assistant", "tool", "system"]), parts=st.lists(PARTS, max_size=4)
)


@given(st.lists(MESSAGES, max_size=5))
def test_any_conversation_becomes_one_that_alternates(messages: list[Message]) -> None:
    document, _ = written(*messages)
    roles = [turn["role"] for turn in document["messages"]]
    assert roles == [("user", "assistant")[n % 2] for n in range(len(roles))]
    for turn in document["messages"]:
        assert turn["content"]
        assert not any(block.get("text", "x").strip() == "" for block in turn["content"])
    used = any(
        key in block
        for turn in document["messages"]
        for block in turn["content"]
        for key in ("toolUse", "toolResult")
    )
    assert not used or document["toolConfig"]["tools"]
