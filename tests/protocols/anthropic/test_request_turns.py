"""Other dialects' conversations become ones that are accepted; what does not cross is reported."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from busbar.protocols.anthropic import PROTOCOL
from busbar.protocols.ir import (
    Audio,
    Base64Data,
    Cache,
    Citation,
    Document,
    FileId,
    Image,
    Message,
    Opaque,
    PlainText,
    RedactedThinking,
    Refusal,
    Text,
    Thinking,
    ToolResult,
    ToolUse,
    Url,
)
from busbar.protocols.native import Native
from busbar.protocols.protocol import Hop
from busbar.protocols.receipt import Entry, Receipt
from tests.protocols.anthropic.foreign import TOOL, USER, foreign, reported, text, turns, write


def test_model_and_required_max_tokens_are_there() -> None:
    document, entries = write(foreign(max_tokens=None))
    assert document == {
        "model": "claude",
        "max_tokens": 4096,
        "messages": [{"role": "user", "content": [text("Hi")]}],
    }
    assert entries == (Entry("added", "max_tokens", "required"),)


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
        Text(text="t", citations=[Citation(url="https://x")], signature="s", signer="gemini"),
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
        ("dropped", "messages[1].content[4].signature"),
        ("dropped", "messages[1].content[4].citations"),
        ("dropped", "messages[1].content[5]"),
    ]


def test_a_signature_on_a_call_is_dropped_and_reported() -> None:
    call = ToolUse(id="call_1", name="look", arguments="{}", signature="s", signer="gemini")
    document, entries = write(foreign(USER, Message(role="assistant", parts=[call])))
    assert document["messages"][1]["content"][0] == {"type": "tool_use", "id": "toolu_1", "name": "look", "input": {}}
    assert ("dropped", "messages[1].content[0].signature") in [(entry.change, entry.path) for entry in entries]


def test_a_cache_point_of_a_part_without_place_goes_to_the_one_before() -> None:
    blank = Text(text="\n", cache=Cache(ttl="1h"))
    ((_, content),) = turns(Message(role="user", parts=[Text(text="Hi"), blank, Text(text="you")]))
    assert content == [{**text("Hi"), "cache_control": {"type": "ephemeral", "ttl": "1h"}}, text("you")]


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
