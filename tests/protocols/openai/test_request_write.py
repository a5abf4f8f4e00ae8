"""Writing requests of other dialects: in the order, the words and the bounds that OpenAI sets."""

from __future__ import annotations

from typing import Any

import pytest
from openai.types.chat import completion_create_params
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
from busbar.protocols.openai import PROTOCOL
from busbar.protocols.openai.messages_write import ERROR_PREFIX
from busbar.protocols.protocol import Hop
from busbar.protocols.receipt import Entry, Receipt

FOREIGN = Native("anthropic", form="own")
CLOSED = {"type": "object", "properties": {"x": {}}, "required": ["x"], "additionalProperties": False}
SDK: TypeAdapter[Any] = TypeAdapter(completion_create_params.CompletionCreateParams)


def foreign(*messages: Message, **fields: Any) -> Request:
    return Request(model="there", messages=list(messages), native=FOREIGN, **fields)


def write(request: Request) -> tuple[dict[str, Any], Receipt]:
    receipt = Receipt()
    document = PROTOCOL.write_request(request, Hop(model="here", nonce="n"), receipt)
    SDK.validate_python(document)
    return document, receipt


def written_messages(*messages: Message) -> list[dict[str, Any]]:
    return write(foreign(*messages))[0]["messages"]  # type: ignore[no-any-return]


def user(*parts: Part) -> Message:
    return Message(role="user", parts=list(parts))


def test_the_model_is_the_members() -> None:
    assert write(foreign(user(Text(text="hi"))))[0] == {
        "model": "here",
        "messages": [{"role": "user", "content": "hi"}],
    }
    assert (
        PROTOCOL.write_request(PROTOCOL.read_request({"messages": []}), Hop(model="here"), Receipt())["model"]
        == "here"
    )


def test_system_is_the_first_message() -> None:
    system: list[Part] = [Text(text="Be brief.", cache=Cache()), Text(text="Be kind.")]
    document, receipt = write(foreign(user(Text(text="hi")), system=system))
    assert document["messages"][0] == {"role": "system", "content": "Be brief.\n\nBe kind."}
    assert receipt.dropped_paths == ("system[0].cache_control",)


def test_tool_results_stand_directly_after_their_calls() -> None:
    calls = Message(
        role="assistant",
        parts=[
            Thinking(text="hm", signature="S", signer="anthropic"),
            Text(text="Let me look. "),
            ToolUse(id="toolu_01A", name="f", arguments=""),
            ToolUse(id="toolu_01B", name="g", arguments='{"a":1}'),
        ],
    )
    picture = Image(source=Base64Data(media_type="image/png", data="AA"))
    results = user(
        ToolResult(tool_use_id="toolu_01A", content=[Text(text="one"), picture]),
        ToolResult(tool_use_id="toolu_01B", content=[Text(text="bad")], is_error=True),
        Text(text="go on"),
    )
    document, receipt = write(foreign(calls, results))
    assert document["messages"] == [
        {
            "role": "assistant",
            "content": "Let me look. ",
            "tool_calls": [
                {"id": "call_01A", "type": "function", "function": {"name": "f", "arguments": "{}"}},
                {"id": "call_01B", "type": "function", "function": {"name": "g", "arguments": '{"a":1}'}},
            ],
        },
        {"role": "tool", "tool_call_id": "call_01A", "content": "one"},
        {"role": "tool", "tool_call_id": "call_01B", "content": f"{ERROR_PREFIX}bad"},
        {
            "role": "user",
            "content": [
                {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA"}},
                {"type": "text", "text": "go on"},
            ],
        },
    ]
    assert [(entry.change, entry.path) for entry in receipt.entries] == [
        ("dropped", "messages[0].content[0]"),
        ("changed", "messages[1].content[0].content[1]"),
        ("changed", "messages[1].content[1].is_error"),
    ]


def test_a_turn_of_nothing_but_thinking_is_not_written() -> None:
    silent = Message(role="assistant", parts=[Thinking(text="hm"), RedactedThinking(data="x", signer="anthropic")])
    document, receipt = write(Request(model="m", messages=[silent, user(Text(text=""))]))
    assert document["messages"] == [{"role": "user", "content": "."}]
    assert ("added", "messages[0]") in [(entry.change, entry.path) for entry in receipt.entries]


def test_a_call_without_text_has_null_content() -> None:
    (message,) = written_messages(Message(role="assistant", parts=[ToolUse(id="x", name="f", arguments="{}")]))
    assert message["content"] is None


def test_long_ids_and_names_fit() -> None:
    call = ToolUse(id="call_" + "x" * 60, name="n" * 100, arguments="{}")
    document, receipt = write(
        foreign(
            Message(role="assistant", parts=[call]),
            Message(role="tool", parts=[ToolResult(tool_use_id=call.id)]),
            tools=[FunctionTool(name="n" * 100)],
            tool_choice=ToolChoice(mode="one", name="n" * 100),
        )
    )
    written, result = document["messages"]
    assert len(written["tool_calls"][0]["id"]) <= 40
    assert result["tool_call_id"] == written["tool_calls"][0]["id"]
    name = written["tool_calls"][0]["function"]["name"]
    assert len(name) == 64
    assert document["tools"][0]["function"]["name"] == name == document["tool_choice"]["function"]["name"]
    assert {entry.change for entry in receipt.entries} == {"changed"}


@pytest.mark.parametrize(
    ("part", "expected"),
    [
        (PlainText(text="words"), {"type": "text", "text": "Title\n\nwords"}),
        (Base64Data(media_type="text/plain", data="d29yZHM="), {"type": "text", "text": "Title\n\nwords"}),
        (
            Base64Data(media_type="application/pdf", data="AA"),
            {"type": "file", "file": {"filename": "Title", "file_data": "data:application/pdf;base64,AA"}},
        ),
        (Url(url="https://host/a.pdf"), None),
        (FileId(id="file_1"), None),
        (Base64Data(media_type="text/plain", data="!"), None),
        (Base64Data(media_type="application/msword", data="AA"), None),
    ],
)
def test_documents(part: Any, expected: dict[str, Any] | None) -> None:
    document, receipt = write(foreign(user(Text(text="see"), Document(source=part, title="Title"))))
    if expected is None:
        assert document["messages"] == [{"role": "user", "content": "see"}]
        assert receipt.dropped_paths == ("messages[0].content[1]",)
    else:
        assert document["messages"][0]["content"][1] == expected
        assert receipt.dropped_paths == ()


def test_what_has_no_place_is_reported() -> None:
    odd = user(
        Text(text="x", native=Native("anthropic", {"beta": 1, "empty": None}), cache=Cache()),
        Image(source=FileId(id="file_1")),
        Audio(data="AA", format="flac"),
        Opaque(dialect="anthropic", kind="search_result", value={}),
    )
    request = foreign(odd, top_k=5, tools=[Opaque(dialect="anthropic", kind="web_search", value={})])
    request.native = Native("anthropic", {"metadata": {"a": 1}}, "own")
    request.tool_choice = ToolChoice(mode="auto")
    assert set(write(request)[1].dropped_paths) == {
        "messages[0].content[0].beta",
        "messages[0].content[0].cache_control",
        "messages[0].content[1]",
        "messages[0].content[2]",
        "messages[0].content[3]",
        "top_k",
        "metadata",
        "tools[0]",
        "tool_choice",
    }


def test_settings_stay_within_bounds() -> None:
    document, receipt = write(
        foreign(
            max_tokens=50,
            temperature=3.0,
            presence_penalty=-5,
            stop=["a", "", "b", "c", "d", "e"],
            user="u" * 65,
            top_logprobs=99,
            logprobs=True,
            stream=True,
            seed=3,
        )
    )
    assert document["max_completion_tokens"] == 50
    assert (document["temperature"], document["presence_penalty"], document["top_logprobs"]) == (2, -2, 20)
    assert document["stop"] == ["a", "b", "c", "d"]
    assert len(document["user"]) == 64
    assert document["stream_options"] == {"include_usage": True}
    changes = {(entry.change, entry.path) for entry in receipt.entries}
    assert changes == {
        ("added", "messages[0]"),
        ("clamped", "temperature"),
        ("clamped", "presence_penalty"),
        ("clamped", "top_logprobs"),
        ("dropped", "stop[5]"),
        ("changed", "user"),
    }


def test_own_settings_are_never_touched() -> None:
    document = {"model": "m", "messages": [], "temperature": 3, "stop": ["a", "b", "c", "d", "e"], "user": "u" * 99}
    receipt = Receipt()
    assert PROTOCOL.write_request(PROTOCOL.read_request(document), Hop(), receipt) == document
    assert receipt.entries == ()


@pytest.mark.parametrize(
    ("reasoning", "expected"),
    [
        (Reasoning(enabled=True, budget_tokens=1024), "minimal"),
        (Reasoning(enabled=True, budget_tokens=4096), "low"),
        (Reasoning(enabled=True, budget_tokens=8192), "medium"),
        (Reasoning(enabled=True, budget_tokens=8193), "high"),
        (Reasoning(effort="high"), "high"),
        (Reasoning(effort="max"), "high"),
        (Reasoning(enabled=False), None),
        (Reasoning(enabled=True, adaptive=True), None),
    ],
)
def test_thinking_is_asked_for_as_effort(reasoning: Reasoning, expected: str | None) -> None:
    assert write(foreign(reasoning=reasoning))[0].get("reasoning_effort") == expected


def test_tools_are_what_openai_accepts() -> None:
    tools = [
        FunctionTool(name="a", description="d", parameters={"anyOf": [], "properties": {"x": {}}}, cache=Cache()),
        FunctionTool(name="b", strict=True, parameters=CLOSED),
        FunctionTool(name="c"),
    ]
    document, receipt = write(
        foreign(tools=tools, tool_choice=ToolChoice(mode="required"), parallel_tool_calls=False)
    )
    assert document["tools"] == [
        {
            "type": "function",
            "function": {"name": "a", "description": "d", "parameters": {"type": "object", "properties": {"x": {}}}},
        },
        {
            "type": "function",
            "function": {"name": "b", "parameters": CLOSED, "strict": True},
        },
        {"type": "function", "function": {"name": "c", "parameters": {"type": "object", "properties": {}}}},
    ]
    assert document["tool_choice"] == "required"
    assert document["parallel_tool_calls"] is False
    assert receipt.dropped_paths == ("tools[0].cache_control", "tools[0].parameters.anyOf")


@pytest.mark.parametrize(
    "loose",
    [
        None,
        {"type": "object", "properties": {"x": {}}, "required": ["x"]},
        {"type": "object", "properties": {"x": {}}, "additionalProperties": False},
        CLOSED | {"properties": {"x": {"type": "array", "items": {"type": "object"}}}},
        CLOSED | {"properties": {"x": {"anyOf": [{"type": "null"}, {"type": "object"}]}}},
        CLOSED | {"$defs": {"x": {"properties": {}}}},
    ],
)
def test_a_schema_that_openai_would_refuse_to_enforce_is_not_enforced(loose: dict[str, Any] | None) -> None:
    tool = FunctionTool(name="f", strict=True, parameters=loose)
    document, receipt = write(foreign(user(Text(text="x")), tools=[tool]))
    assert document["tools"][0]["function"]["strict"] is False
    assert [(entry.change, entry.path) for entry in receipt.entries] == [("changed", "tools[0].strict")]


def test_an_assistant_that_goes_on_after_its_calls_is_one_message_with_them() -> None:
    called, after = ToolUse(id="toolu_A", name="f", arguments="{}"), ToolUse(id="toolu_B", name="g", arguments="{}")
    results: list[Part] = [ToolResult(tool_use_id="toolu_A"), ToolResult(tool_use_id="toolu_B")]
    messages = written_messages(
        Message(role="assistant", parts=[Text(text="Said."), called]),
        Message(role="assistant", parts=[Text(text="And on."), after]),
        Message(role="user", parts=results),
        Message(role="assistant", parts=[Text(text="One.")]),
        Message(role="assistant", parts=[Text(text="Two.")]),
    )
    assert [(message["role"], message["content"]) for message in messages] == [
        ("assistant", "Said.\n\nAnd on."),
        ("tool", ""),
        ("tool", ""),
        ("assistant", "One."),
        ("assistant", "Two."),
    ]
    assert [call["id"] for call in messages[0]["tool_calls"]] == ["call_A", "call_B"]


def test_a_schema_gets_the_name_that_openai_requires() -> None:
    document, _ = write(foreign(output=OutputFormat(mode="schema", schema={"type": "object"}, strict=True)))
    assert document["response_format"] == {
        "type": "json_schema",
        "json_schema": {"name": "response", "schema": {"type": "object"}, "strict": True},
    }


def test_a_refusal_in_the_history_is_kept() -> None:
    (message,) = written_messages(Message(role="assistant", parts=[Refusal(text="no")]))
    assert message == {"role": "assistant", "content": None, "refusal": "no"}


def test_the_same_request_gives_the_same_receipt() -> None:
    request = foreign(user(Text(text="x")), top_k=1)
    assert write(request)[1].entries == (Entry("dropped", "top_k", "no place in this dialect"),)
