"""What of a request is read into the IR."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest

from busbar.protocols.ir import (
    Base64Data,
    Document,
    FileId,
    FunctionTool,
    Image,
    Opaque,
    OutputFormat,
    Reasoning,
    RedactedThinking,
    Refusal,
    Text,
    Thinking,
    ToolResult,
    ToolUse,
    Url,
)
from busbar.protocols.protocol import InvalidRequest
from busbar.protocols.receipt import Receipt
from busbar.protocols.responses import PROTOCOL
from tests.protocols.responses.wire import HOP, read_input
from tests.recordings import FIXTURES


def bare(node: Any) -> Any:
    """The node without what only its dialect says."""
    if isinstance(node, list):
        return [bare(each) for each in node]
    if not isinstance(node, msgspec.Struct) or isinstance(node, Opaque):
        return node
    facts = {field: bare(getattr(node, field)) for field in node.__struct_fields__ if field != "native"}
    return type(node)(**facts)


def test_input_as_a_string_is_one_turn() -> None:
    request = PROTOCOL.read_request({"model": "m", "input": "hi", "instructions": "be brief"})
    assert [(it.role, bare(it.parts)) for it in request.messages] == [("user", [Text(text="hi")])]
    assert bare(request.system) == [Text(text="be brief")]


def test_what_an_assistant_made_in_a_row_is_one_turn() -> None:
    request = read_input(
        {"role": "user", "content": "hi"},
        {"type": "reasoning", "id": "rs_1", "summary": [{"type": "summary_text", "text": "hm"}]},
        {"type": "message", "role": "assistant", "id": "msg_1", "content": [{"type": "output_text", "text": "so"}]},
        {"type": "function_call", "call_id": "call_1", "name": "f", "arguments": '{"a":1}', "id": "fc_1"},
        {"type": "function_call", "call_id": "call_2", "name": "f", "arguments": "{}", "id": "fc_2"},
        {"type": "function_call_output", "call_id": "call_1", "output": "one"},
        {"type": "function_call_output", "call_id": "call_2", "output": [{"type": "input_text", "text": "two"}]},
    )
    assert [(it.role, bare(it.parts)) for it in request.messages] == [
        ("user", [Text(text="hi")]),
        (
            "assistant",
            [
                Thinking(text="hm"),
                Text(text="so"),
                ToolUse(id="call_1", name="f", arguments='{"a":1}'),
                ToolUse(id="call_2", name="f", arguments="{}"),
            ],
        ),
        ("tool", [ToolResult(tool_use_id="call_1", content=[Text(text="one")])]),
        ("tool", [ToolResult(tool_use_id="call_2", content=[Text(text="two")])]),
    ]


def test_reasoning_is_thinking_that_its_provider_signed() -> None:
    pieces = [{"type": "summary_text", "text": "a"}, {"type": "summary_text", "text": "b"}]
    (turn,) = read_input(
        {"type": "reasoning", "summary": pieces, "encrypted_content": "state"},
        {"type": "reasoning", "summary": [], "encrypted_content": "only state"},
        {"type": "reasoning", "summary": [], "id": "rs_stored"},
    ).messages
    assert bare(turn.parts) == [
        Thinking(text="a\n\nb", signature="state", signer="responses"),
        RedactedThinking(data="only state", signer="responses"),
        Opaque(dialect="responses", kind="reasoning", value={"type": "reasoning", "summary": [], "id": "rs_stored"}),
    ]


def test_content_parts() -> None:
    (turn,) = read_input(
        {
            "role": "user",
            "content": [
                {"type": "input_text", "text": "look"},
                {"type": "input_image", "image_url": "data:image/png;base64,AAAA", "detail": "low"},
                {"type": "input_image", "image_url": "https://x/y.png"},
                {"type": "input_file", "filename": "a.pdf", "file_data": "data:application/pdf;base64,BBBB"},
                {"type": "input_file", "file_url": "https://x/y.pdf"},
                {"type": "input_file", "file_id": "file-1"},
                {"type": "refusal", "refusal": "no"},
                {"type": "computer_screenshot", "image_url": "u"},
            ],
        }
    ).messages
    assert bare(turn.parts) == [
        Text(text="look"),
        Image(source=Base64Data(media_type="image/png", data="AAAA"), detail="low"),
        Image(source=Url(url="https://x/y.png")),
        Document(source=Base64Data(media_type="application/pdf", data="BBBB"), title="a.pdf"),
        Document(source=Url(url="https://x/y.pdf")),
        Document(source=FileId(id="file-1")),
        Refusal(text="no"),
        Opaque(
            dialect="responses",
            kind="content.computer_screenshot",
            value={"type": "computer_screenshot", "image_url": "u"},
        ),
    ]


def test_settings() -> None:
    request = read_input(
        max_output_tokens=5,
        temperature=0.5,
        top_p=1,
        parallel_tool_calls=False,
        user="u",
        stream=True,
        reasoning={"effort": "low", "summary": "auto"},
        text={"format": {"type": "json_schema", "name": "n", "schema": {}, "strict": True}, "verbosity": "low"},
        include=["reasoning.encrypted_content", "message.output_text.logprobs"],
        top_logprobs=3,
        store=False,
    )
    assert (request.max_tokens, request.temperature, request.top_p) == (5, 0.5, 1)
    assert (request.parallel_tool_calls, request.user, request.stream) == (False, "u", True)
    assert (request.logprobs, request.top_logprobs) == (True, 3)
    assert bare(request.reasoning) == Reasoning(effort="low")
    assert bare(request.output) == OutputFormat(mode="schema", schema={}, name="n", strict=True)
    assert request.native is not None
    assert request.native.fields == {
        "store": False,
        "include": ["reasoning.encrypted_content"],
        "text.verbosity": "low",
    }


def test_an_effort_of_none_switches_thinking_off() -> None:
    assert bare(read_input(reasoning={"effort": "none"}).reasoning) == Reasoning(enabled=False)


@pytest.mark.parametrize(
    ("choice", "expected"),
    [
        ("auto", ("auto", None)),
        ("none", ("none", None)),
        ("required", ("required", None)),
        ({"type": "function", "name": "f"}, ("one", "f")),
        ({"type": "file_search"}, None),
    ],
)
def test_tool_choice(choice: Any, expected: Any) -> None:
    read = read_input(tool_choice=choice).tool_choice
    assert (None if read is None else (read.mode, read.name)) == expected


def test_functions_in_a_namespace_are_tools_of_their_own() -> None:
    inner = [{"type": "function", "name": name, "parameters": {"type": "object"}} for name in ("go", "stop")]
    tools = [
        {"type": "function", "name": "f", "description": "d", "parameters": {}, "strict": True},
        {"type": "namespace", "name": "agents", "description": "many", "tools": inner},
        {"type": "web_search"},
    ]
    request = read_input(tools=tools)
    assert bare(request.tools) == [
        FunctionTool(name="f", description="d", parameters={}, strict=True),
        FunctionTool(name="agents.go", parameters={"type": "object"}),
        FunctionTool(name="agents.stop", parameters={"type": "object"}),
        Opaque(dialect="responses", kind="tools", value={"type": "web_search"}),
    ]
    assert PROTOCOL.write_request(request, HOP, Receipt())["tools"] == tools
    assert PROTOCOL.spell(request, "tools[2].parameters") == "tools[1].tools[1].parameters"
    assert PROTOCOL.spell(request, "tools[3]") == "tools[2]"


@pytest.mark.parametrize(
    ("document", "path"),
    [
        ({"model": "m"}, "input"),
        ({"model": "m", "input": 1}, "input"),
        ({"model": "m", "input": [1]}, "input[0]"),
        ({"model": "m", "input": [{"role": "tool", "content": "x"}]}, "input[0].role"),
        ({"model": "m", "input": [{"role": "user", "content": 1}]}, "input[0].content"),
        ({"model": "m", "input": [{"role": "user", "content": [1]}]}, "input[0].content[0]"),
        ({"model": "m", "input": [{"type": "function_call_output", "output": "x"}]}, "input[0].call_id"),
        ({"model": "m", "input": "x", "temperature": "hot"}, "temperature"),
        ({"model": "m", "input": "x", "max_output_tokens": 1.5}, "max_output_tokens"),
        ({"model": "m", "input": "x", "tools": [1]}, "tools[0]"),
    ],
)
def test_wrong_types_are_refused_by_their_path(document: dict[str, Any], path: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        PROTOCOL.read_request(document)
    assert refused.value.path == path


def test_a_stored_conversation_may_stand_for_the_input() -> None:
    document = {"model": "m", "previous_response_id": "resp_1"}
    assert PROTOCOL.write_request(PROTOCOL.read_request(document), HOP, Receipt()) == {**document, "model": "there"}


@pytest.mark.parametrize(
    ("path", "spelled"),
    [
        ("messages[1].content[0]", "input[1]"),
        ("messages[1].content[1].citations[0]", "input[2].content[0].annotations[0]"),
        ("messages[1].content[2].arguments", "input[3].arguments"),
        ("messages[2].content[0].content[0]", "input[4].output"),
        ("messages[0].content[0]", "input[0].content"),
        ("messages[1].phase", "input[1].phase"),
        ("system[0]", "instructions"),
        ("max_tokens", "max_output_tokens"),
        ("output.schema", "text.format.schema"),
        ("reasoning.effort", "reasoning.effort"),
    ],
)
def test_receipts_name_the_callers_own_fields(path: str, spelled: str) -> None:
    request = read_input(
        {"role": "user", "content": "hi"},
        {"type": "reasoning", "summary": [{"type": "summary_text", "text": "hm"}]},
        {"role": "assistant", "content": [{"type": "output_text", "text": "so"}]},
        {"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "c", "output": "one"},
    )
    assert PROTOCOL.spell(request, path) == spelled


CODEX = sorted((FIXTURES.parent / "facts" / "captures" / "cli").glob("codex_*.jsonl"))


@pytest.mark.skipif(not CODEX, reason="no captures at ../shared/facts/captures/cli")
@pytest.mark.parametrize("path", CODEX, ids=lambda path: path.stem)
def test_what_codex_sends_is_read_and_comes_back_equal(path: Path) -> None:
    bodies = [body for line in path.read_bytes().splitlines() if (body := msgspec.json.decode(line).get("body"))]
    assert bodies
    for body in bodies:
        request = PROTOCOL.read_request(body)
        functions = [tool.name for tool in request.tools if isinstance(tool, FunctionTool)]
        assert "exec_command" in functions
        assert any(name.startswith("multi_agent_v1.") for name in functions)
        assert [message.role for message in request.messages][-1] == "user"
        assert PROTOCOL.write_request(request, HOP, Receipt()) == {**body, "model": "there"}


def test_a_request_is_mended_of_thinking_that_another_provider_did() -> None:
    foreign = {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": ""}
    own = {"type": "reasoning", "id": "rs_2", "summary": [], "encrypted_content": "state"}
    said = {"role": "user", "content": "hi"}
    document = {"model": "m", "input": [foreign, own, said]}
    receipt = Receipt()
    assert PROTOCOL.mend_request(document, receipt) == {"model": "m", "input": [own, said]}
    assert receipt.dropped_paths == ("input[0]",)
    assert any(trace in msgspec.json.encode(document) for trace in PROTOCOL.hop_traces)
    assert PROTOCOL.mend_request({"model": "m", "input": [own, said]}, receipt) is None
    assert PROTOCOL.mend_request({"model": "m", "input": "hi"}, receipt) is None
