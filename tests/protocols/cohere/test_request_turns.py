"""Writing another dialect's conversations: never anything that Cohere refuses, and a word for all that is lost."""

from __future__ import annotations

from typing import Any

import pytest
from cohere.types import ChatMessageV2
from pydantic import TypeAdapter

from busbar.protocols.ir import (
    Audio,
    Base64Data,
    Cache,
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
from tests.protocols.cohere.foreign import (
    PLAIN,
    TOOL,
    USER,
    foreign,
    reported,
    turns,
)

PNG = Image(source=Base64Data(media_type="image/png", data="QUJD"))
CALL = ToolUse(id="toolu_1", name="look", arguments='{"q":"x"}')


def assistant(*parts: Any) -> Message:
    return Message(role="assistant", parts=list(parts))


def user(*parts: Any) -> Message:
    return Message(role="user", parts=list(parts))


def result(*content: Any, id: str = "toolu_1", **more: Any) -> ToolResult:  # noqa: A002
    return ToolResult(tool_use_id=id, content=list(content), **more)


def test_a_whole_conversation() -> None:
    written = turns(
        Message(role="developer", parts=[Text(text="Be"), Text(text="brief")]),
        user(Text(text="Hi")),
        assistant(Thinking(text="hm", signature="S", signer="anthropic"), Text(text="so"), CALL),
        user(result(Text(text="found")), Text(text="And?")),
        system=[Text(text="You are")],
        tools=[TOOL],
    )
    assert written == [
        {"role": "system", "content": "You are"},
        {"role": "system", "content": "Be\n\nbrief"},
        {"role": "user", "content": "Hi"},
        {
            "role": "assistant",
            "content": [{"type": "thinking", "thinking": "hm"}, {"type": "text", "text": "so"}],
            "tool_calls": [
                {"id": "toolu_1", "type": "function", "function": {"name": "look", "arguments": '{"q":"x"}'}}
            ],
        },
        {"role": "tool", "tool_call_id": "toolu_1", "content": "found"},
        {"role": "user", "content": "And?"},
    ]
    TypeAdapter(list[ChatMessageV2]).validate_python(written)


def test_who_does_not_think_is_not_told_of_thoughts() -> None:
    message = assistant(Thinking(text="hm"), Text(text="so"))
    assert turns(USER, message, hop=PLAIN)[1] == {"role": "assistant", "content": "so"}
    assert reported(foreign(USER, message), PLAIN) == {("dropped", "messages[1].content[0]")}


def test_images_go_to_who_sees() -> None:
    urls = [{"type": "image_url", "image_url": {"url": "data:image/png;base64,QUJD"}}]
    assert turns(user(PNG)) == [{"role": "user", "content": urls}]
    assert turns(user(Text(text="a"), PNG), hop=PLAIN) == [{"role": "user", "content": "a"}]
    assert reported(foreign(user(Text(text="a"), PNG)), PLAIN) == {("dropped", "messages[0].content[1]")}
    link = Image(source=Url(url="https://host/a.png"), detail="low")
    assert turns(user(link))[0]["content"][0]["image_url"] == {"url": "https://host/a.png", "detail": "low"}


def test_documents_are_text() -> None:
    report = Document(source=PlainText(text="long"), title="T", context="c")
    plain = Document(source=Base64Data(media_type="text/plain", data="bG9uZw=="))
    pdf = Document(source=Base64Data(media_type="application/pdf", data="QUJD"))
    request = foreign(user(report, plain, pdf))
    assert turns(*request.messages)[0]["content"] == [
        {"type": "text", "text": "T\n\nlong"},
        {"type": "text", "text": "long"},
    ]
    assert reported(request) == {
        ("changed", "messages[0].content[0]"),
        ("dropped", "messages[0].content[0].context"),
        ("changed", "messages[0].content[1]"),
        ("dropped", "messages[0].content[2]"),
    }


def test_a_result_holds_text_and_documents_and_the_rest_follows() -> None:
    report = Document(source=PlainText(text="long"), title="T")
    written = turns(assistant(CALL), user(result(Text(text="a"), report, PNG)))
    assert written[1:] == [
        {
            "role": "tool",
            "tool_call_id": "toolu_1",
            "content": [
                {"type": "text", "text": "a"},
                {"type": "document", "document": {"data": {"text": "long", "title": "T"}}},
            ],
        },
        {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:image/png;base64,QUJD"}}]},
    ]
    TypeAdapter(list[ChatMessageV2]).validate_python(written)


@pytest.mark.parametrize(
    ("given", "content"),
    [
        (result(Text(text="a"), Text(text="b")), "a\nb"),
        (result(Text(text="no"), is_error=True), "Error: no"),
        (result(), "(empty)"),
        (result(Text(text="  ")), "(empty)"),
    ],
)
def test_results_in_words(given: ToolResult, content: str) -> None:
    assert turns(assistant(CALL), user(given))[1]["content"] == content


def test_a_result_of_no_known_call_is_said_by_the_user() -> None:
    request = foreign(USER, user(result(Text(text="found"), id="gone")))
    assert turns(*request.messages)[1] == {"role": "user", "content": "found"}
    assert reported(request) == {("changed", "messages[1].content[0]")}


def test_ids_are_unique_and_results_find_their_calls() -> None:
    same = ToolUse(id="call_0", name="look", arguments="")
    nameless = ToolUse(id="", name="look", arguments="{}")
    written = turns(
        USER,
        assistant(same, nameless),
        user(result(Text(text="1"), id="call_0"), result(Text(text="2"), id="")),
        assistant(same),
        user(result(Text(text="3"), id="call_0")),
    )
    calls = [call for message in written for call in message.get("tool_calls", [])]
    answers = {message["tool_call_id"]: message["content"] for message in written if message["role"] == "tool"}
    assert [answers[call["id"]] for call in calls] == ["1", "2", "3"]
    assert calls[0]["id"] == "call_0"
    assert calls[0]["function"]["arguments"] == "{}"
    assert calls[1]["id"].startswith("look_")


def test_results_stand_after_their_calls_and_a_call_without_one_gets_one() -> None:
    other = ToolUse(id="toolu_2", name="look", arguments="{}")
    request = foreign(assistant(CALL), assistant(other), user(result(Text(text="1"))))
    written = turns(*request.messages)
    assert [(message["role"], message.get("tool_call_id")) for message in written] == [
        ("assistant", None),
        ("tool", "toolu_1"),
        ("assistant", None),
        ("tool", "toolu_2"),
    ]
    assert written[-1]["content"] == "(empty)"
    assert reported(request) == {("added", "messages[3]")}


@pytest.mark.parametrize(
    "source",
    [
        Base64Data(media_type="image/tiff", data="QUJD"),
        Base64Data(media_type="image/png", data=""),
        Url(url="gs://bucket/a.png"),
        FileId(id="f"),
    ],
)
def test_an_image_that_cannot_be_shown_is_dropped(source: Any) -> None:
    assert reported(foreign(user(Text(text="a"), Image(source=source)))) == {("dropped", "messages[0].content[1]")}


@pytest.mark.parametrize(
    "message",
    [
        user(Text(text=" ")),
        assistant(Text(text="")),
        assistant(Thinking(text="hm")),
        Message(role="system", parts=[Text(text="")]),
        user(),
    ],
)
def test_a_turn_that_says_nothing_is_left_out(message: Message) -> None:
    assert turns(USER, message) == [{"role": "user", "content": "Hi"}]


def test_somebody_speaks() -> None:
    request = foreign(Message(role="system", parts=[Text(text="Be")]))
    assert turns(*request.messages) == [{"role": "system", "content": "Be"}, {"role": "user", "content": "."}]
    assert reported(request) == {("added", "messages[1]")}


def test_what_has_no_place_in_a_turn_is_reported() -> None:
    request = foreign(
        Message(role="user", parts=[Text(text="a", cache=Cache()), Audio(data="x", format="wav")], name="Ann"),
        assistant(
            RedactedThinking(data="x", signer="anthropic"),
            Opaque(dialect="openai", kind="k", value=1),
            Refusal(text="no"),
        ),
        user(Image(source=FileId(id="f")), Text(text="b", native=Native("openai", {"extra": 1}))),
    )
    assert turns(*request.messages) == [
        {"role": "user", "content": "a"},
        {"role": "assistant", "content": "no"},
        {"role": "user", "content": "b"},
    ]
    assert reported(request) == {
        ("dropped", "messages[0].name"),
        ("dropped", "messages[0].content[0].cache_control"),
        ("dropped", "messages[0].content[1]"),
        ("dropped", "messages[1].content[0]"),
        ("dropped", "messages[1].content[1]"),
        ("changed", "messages[1].content[2]"),
        ("dropped", "messages[2].content[0]"),
        ("dropped", "messages[2].content[1].extra"),
    }
