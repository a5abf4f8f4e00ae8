"""Reading requests: what is taken into the IR, what is refused, and that odd spellings come back."""

from __future__ import annotations

from typing import Any

import pytest

from busbar.protocols.ir import (
    Audio,
    Base64Data,
    Document,
    FileId,
    FunctionTool,
    Image,
    Message,
    Opaque,
    OutputFormat,
    Reasoning,
    RedactedThinking,
    Request,
    Text,
    Thinking,
    ToolResult,
    ToolUse,
    Url,
)
from busbar.protocols.native import Native
from busbar.protocols.openai import PROTOCOL
from busbar.protocols.protocol import Hop, InvalidRequest
from busbar.protocols.receipt import Receipt


def read(**fields: Any) -> Request:
    return PROTOCOL.read_request({"model": "m", "messages": [], **fields})


def read_message(message: dict[str, Any]) -> Message:
    return read(messages=[message]).messages[0]


def bare(node: Any) -> Any:
    """`node` without what its dialect remembers, to be compared whole."""
    node.native = None
    return node


def test_reads_text_image_audio_and_file_parts() -> None:
    parts = read_message(
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "look", "cache_control": {"type": "ephemeral", "ttl": "1h"}},
                {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA", "detail": "low"}},
                {"type": "image_url", "image_url": {"url": "https://host/a.png"}},
                {"type": "input_audio", "input_audio": {"data": "BBBB", "format": "wav"}},
                {"type": "file", "file": {"filename": "a.pdf", "file_data": "data:application/pdf;base64,CCCC"}},
                {"type": "file", "file": {"file_id": "file-1"}},
                {"type": "video_url", "video_url": {"url": "https://host/a.mp4"}},
            ],
        }
    ).parts
    text, image, linked, audio, file, stored, video = parts
    assert isinstance(text, Text)
    assert text.cache is not None
    assert (text.text, text.cache.ttl) == ("look", "1h")
    assert image == Image(source=Base64Data(media_type="image/png", data="AAAA"), detail="low")
    assert linked == Image(source=Url(url="https://host/a.png"))
    assert audio == Audio(data="BBBB", format="wav", native=Native("openai"))
    assert bare(file) == Document(source=Base64Data(media_type="application/pdf", data="CCCC"), title="a.pdf")
    assert bare(stored) == Document(source=FileId(id="file-1"))
    assert isinstance(video, Opaque)
    assert video.kind == "content.video_url"


@pytest.mark.parametrize(
    "part",
    [
        {"type": "image_url", "image_url": {"url": "data:image/png;charset=x;base64,AA"}},
        {"type": "image_url", "image_url": "https://host/a.png"},
        {"type": "file", "file": {"file_data": "AAAA"}},
        {"type": "file", "file": {"file_data": "https://host/a.pdf", "filename": "a"}},
        {"type": "text", "text": "x", "cache_control": {"type": "persistent"}},
        {"type": "text", "text": 3},
        {"type": "refusal", "refusal": "no"},
        {"text": "untyped"},
        {
            "type": "thinking",
            "thinking": [{"type": "text", "text": "a"}, {"type": "text", "text": "bc"}],
            "closed": True,
        },
    ],
)
def test_odd_parts_come_back_equal(part: dict[str, Any]) -> None:
    document = {"model": "m", "messages": [{"role": "user", "content": [part]}]}
    assert PROTOCOL.write_request(PROTOCOL.read_request(document), Hop(), Receipt()) == document


def test_reads_an_assistant_in_the_order_of_thinking_text_calls() -> None:
    message = read_message(
        {
            "role": "assistant",
            "tool_calls": [{"id": "call_1", "type": "function", "function": {"name": "f", "arguments": '"{}"'}}],
            "content": "so",
            "reasoning_content": "hm",
        }
    )
    thinking, text, call = message.parts
    assert bare(thinking) == Thinking(text="hm")
    assert text == Text(text="so")
    assert call == ToolUse(id="call_1", name="f", arguments='"{}"')


def test_reads_reasoning_details_with_their_signer() -> None:
    details = [
        {"type": "reasoning.text", "text": "hm", "signature": "SIG", "format": "anthropic-claude-v1", "index": 0},
        {"type": "reasoning.encrypted", "data": "DATA", "format": "xai-responses-v1"},
    ]
    message = {"role": "assistant", "content": "x", "reasoning": "hm", "reasoning_details": details}
    thinking, redacted, _ = read_message(message).parts
    assert bare(thinking) == Thinking(text="hm", signature="SIG", signer="anthropic")
    assert bare(redacted) == RedactedThinking(data="DATA", signer="openai")
    document = {"model": "m", "messages": [message]}
    assert PROTOCOL.write_request(PROTOCOL.read_request(document), Hop(), Receipt()) == document


def test_reads_tool_results_and_old_functions() -> None:
    request = read(
        messages=[
            {"role": "tool", "tool_call_id": "call_1", "content": "42"},
            {"role": "assistant", "content": None, "function_call": {"name": "f", "arguments": "{}"}},
            {"role": "function", "name": "f", "content": "43"},
        ],
        functions=[{"name": "f", "parameters": {"type": "object"}}],
        function_call={"name": "f"},
    )
    assert request.messages[0].parts == [ToolResult(tool_use_id="call_1", content=[Text(text="42")])]
    call, result = request.messages[1].parts[0], request.messages[2].parts[0]
    assert isinstance(call, ToolUse)
    assert isinstance(result, ToolResult)
    assert call.id == result.tool_use_id != ""
    assert isinstance(request.tools[0], FunctionTool)
    assert request.tool_choice is not None
    assert (request.tools[0].name, request.tool_choice.mode, request.tool_choice.name) == ("f", "one", "f")


def test_reads_settings() -> None:
    request = read(
        max_completion_tokens=100,
        stop="END",
        seed=7,
        n=2,
        temperature=0.5,
        logprobs=True,
        top_logprobs=3,
        user="u",
        stream=True,
        stream_options={"include_usage": True},
        parallel_tool_calls=False,
        response_format={"type": "json_schema", "json_schema": {"name": "x", "schema": {"type": "object"}}},
    )
    assert (request.max_tokens, request.stop, request.seed, request.n) == (100, ["END"], 7, 2)
    assert (request.temperature, request.logprobs, request.top_logprobs) == (0.5, True, 3)
    assert (request.user, request.stream, request.stream_usage) == ("u", True, True)
    assert request.parallel_tool_calls is False
    assert bare(request.output) == OutputFormat(mode="schema", name="x", schema={"type": "object"})
    assert isinstance(request.native, Native)
    assert request.native.fields == {}


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"reasoning_effort": "low"}, Reasoning(effort="low")),
        ({"reasoning_effort": "none"}, Reasoning(enabled=False)),
        ({"reasoning": {"max_tokens": 2000}}, Reasoning(budget_tokens=2000)),
        ({"reasoning": {"enabled": True}}, Reasoning(enabled=True)),
        ({"thinking": {"type": "disabled"}}, Reasoning(enabled=False)),
    ],
)
def test_reads_how_much_to_think(fields: dict[str, Any], expected: Reasoning) -> None:
    request = read(**fields)
    assert request.reasoning is not None
    again = PROTOCOL.write_request(request, Hop(), Receipt())
    assert again == {"model": "m", "messages": [], **fields}
    assert bare(request.reasoning) == expected


@pytest.mark.parametrize(
    ("document", "path"),
    [
        ({}, "messages"),
        ({"messages": {}}, "messages"),
        ({"messages": ["hi"]}, "messages[0]"),
        ({"messages": [{"role": "robot", "content": "x"}]}, "messages[0].role"),
        ({"messages": [{"role": "user", "content": {}}]}, "messages[0].content"),
        ({"messages": [{"role": "user", "content": ["x"]}]}, "messages[0].content[0]"),
        ({"messages": [{"role": "assistant", "tool_calls": {}}]}, "messages[0].tool_calls"),
        ({"messages": [{"role": "tool", "content": "x"}]}, "messages[0].tool_call_id"),
        ({"messages": [], "model": 3}, "model"),
        ({"messages": [], "temperature": "hot"}, "temperature"),
        ({"messages": [], "max_tokens": 1.5}, "max_tokens"),
        ({"messages": [], "stop": [1]}, "stop"),
        ({"messages": [], "tools": "x"}, "tools"),
        ({"messages": [], "stream": "yes"}, "stream"),
    ],
)
def test_refuses_what_is_no_request(document: dict[str, Any], path: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        PROTOCOL.read_request(document)
    assert refused.value.path == path
