"""A caller's Converse request, row by row, and where its fields are on a receipt."""

from __future__ import annotations

from typing import Any

import pytest

from busbar.protocols.bedrock import PROTOCOL
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
    Request,
    Text,
    Thinking,
    ToolChoice,
    ToolResult,
    ToolUse,
)
from busbar.protocols.native import Native
from busbar.protocols.protocol import Hop, InvalidRequest
from busbar.protocols.receipt import Receipt

HI = {"role": "user", "content": [{"text": "Hi"}]}
OWN = Native("bedrock", {}, ("own",))


def native(fields: dict[str, Any] | None = None, form: Any = None) -> Native:
    return Native("bedrock", fields or {}, form)


def read(**document: Any) -> Request:
    document.setdefault("messages", [HI])
    request = PROTOCOL.read_request(document)
    assert PROTOCOL.write_request(request, Hop(), Receipt()) == document
    return request


def part(block: dict[str, Any]) -> Part:
    (message,) = read(messages=[{"role": "user", "content": [block]}]).messages
    (only,) = message.parts
    return only


def test_the_settings_are_read() -> None:
    request = read(
        system=[{"text": "Be brief."}],
        inferenceConfig={"maxTokens": 9, "temperature": 0.5, "topP": 0.9, "stopSequences": ["x"]},
        additionalModelRequestFields={"thinking": {"type": "enabled", "budget_tokens": 1024}, "top_k": 5},
        requestMetadata={"user_id": "u1", "team": "t"},
        guardrailConfig={"guardrailIdentifier": "g"},
    )
    assert request == Request(
        model="",
        system=[Text(text="Be brief.")],
        messages=[Message(role="user", parts=[Text(text="Hi")])],
        max_tokens=9,
        temperature=0.5,
        top_p=0.9,
        top_k=5,
        stop=["x"],
        reasoning=Reasoning(
            enabled=True,
            budget_tokens=1024,
            native=native(form=(("additionalModelRequestFields", "thinking"), None)),
        ),
        user="u1",
        native=native({"requestMetadata": {"team": "t"}, "guardrailConfig": {"guardrailIdentifier": "g"}}, ("own",)),
    )


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"thinking": {"type": "disabled"}}, (False, None, None, False)),
        ({"thinking": {"type": "adaptive"}, "output_config": {"effort": "high"}}, (True, "high", None, True)),
        ({"reasoning_config": {"type": "enabled", "budget_tokens": 2048}}, (True, None, 2048, False)),
        ({"reasoning_config": "low"}, (None, "low", None, False)),
        ({"reasoning_effort": "medium"}, (None, "medium", None, False)),
        ({"reasoningConfig": {"type": "enabled", "maxReasoningEffort": "low"}}, (True, "low", None, False)),
    ],
)
def test_each_family_s_way_to_ask_for_thinking_is_read(fields: dict[str, Any], expected: tuple[Any, ...]) -> None:
    asked = read(additionalModelRequestFields=fields).reasoning
    assert asked is not None
    assert (asked.enabled, asked.effort, asked.budget_tokens, asked.adaptive) == expected


def test_an_effort_of_its_own_field_is_read() -> None:
    asked = read(outputConfig={"effort": "high"}).reasoning
    assert asked is not None
    assert asked.effort == "high"


def test_an_unknown_kind_of_thinking_stays_with_the_request() -> None:
    request = read(additionalModelRequestFields={"thinking": {"type": "dreaming"}})
    assert request.reasoning is None
    assert request.native == native({"additionalModelRequestFields": {"thinking": {"type": "dreaming"}}}, ("own",))


def test_nova_s_top_k_is_read() -> None:
    assert read(additionalModelRequestFields={"inferenceConfig": {"topK": 7}}).top_k == 7


def test_a_schema_is_json_text_in_any_layout() -> None:
    for text, layout in (('{"type":"object"}', "compact"), ('{"type": "object"}', "spaced")):
        schema = {"schema": text, "name": "n", "description": "d"}
        request = read(outputConfig={"textFormat": {"type": "json_schema", "structure": {"jsonSchema": schema}}})
        assert request.output == OutputFormat(
            mode="schema", schema={"type": "object"}, name="n", description="d", native=native(form=layout)
        )
    schema = {"schema": '{ "type":"object" }'}
    request = read(outputConfig={"textFormat": {"type": "json_schema", "structure": {"jsonSchema": schema}}})
    assert request.output is not None
    assert request.output.schema == {"type": "object"}


@pytest.mark.parametrize(
    ("block", "expected"),
    [
        ({"text": "a"}, Text(text="a")),
        (
            {"guardContent": {"text": {"text": "a", "qualifiers": ["query"]}}},
            Text(text="a", native=native({"qualifiers": ["query"]}, "guard")),
        ),
        (
            {"image": {"format": "png", "source": {"bytes": "aGk="}}},
            Image(source=Base64Data(media_type="image/png", data="aGk="), native=native(form="png")),
        ),
        (
            {"image": {"format": "png", "source": {"s3Location": {"uri": "s3://b/k", "bucketOwner": "1"}}}},
            Image(source=FileId(id="s3://b/k", native=native({"bucketOwner": "1"})), native=native(form="png")),
        ),
        (
            {
                "document": {
                    "format": "pdf",
                    "name": "n",
                    "source": {"bytes": "aGk="},
                    "context": "c",
                    "citations": {"enabled": True},
                }
            },
            Document(
                source=Base64Data(media_type="application/pdf", data="aGk="),
                title="n",
                context="c",
                citations_enabled=True,
                native=native(form="pdf"),
            ),
        ),
        (
            {"document": {"name": "n", "source": {"content": [{"text": "a"}, {"text": "bc"}]}}},
            Document(source=PlainText(text="a\nbc", native=native(form=(1, 2))), title="n", native=native()),
        ),
        ({"audio": {"format": "wav", "source": {"bytes": "aGk="}}}, Audio(data="aGk=", format="wav")),
        (
            {"toolUse": {"toolUseId": "t1", "name": "look", "input": {"a": "{}"}}},
            ToolUse(id="t1", name="look", arguments='{"a":"{}"}'),
        ),
        (
            {"toolResult": {"toolUseId": "t1", "status": "error", "content": [{"text": "no"}, {"json": {"a": 1}}]}},
            ToolResult(
                tool_use_id="t1",
                is_error=True,
                content=[Text(text="no"), Text(text='{"a":1}', native=native(form="json"))],
            ),
        ),
        (
            {"reasoningContent": {"reasoningText": {"text": "hm", "signature": "s"}}},
            Thinking(text="hm", signature="s", signer="anthropic"),
        ),
        ({"reasoningContent": {"redactedContent": "xx"}}, RedactedThinking(data="xx", signer="anthropic")),
        (
            {"video": {"format": "mp4", "source": {"bytes": "aGk="}}},
            Opaque(dialect="bedrock", kind="video", value={"video": {"format": "mp4", "source": {"bytes": "aGk="}}}),
        ),
        (
            {"toolUse": {"toolUseId": "t", "name": "n", "input": {}, "type": "server_tool_use"}},
            Opaque(
                dialect="bedrock",
                kind="toolUse",
                value={"toolUse": {"toolUseId": "t", "name": "n", "input": {}, "type": "server_tool_use"}},
            ),
        ),
        (
            {"cachePoint": {"type": "default"}},
            Opaque(dialect="bedrock", kind="cachePoint", value={"cachePoint": {"type": "default"}}),
        ),
    ],
)
def test_a_content_block_is_read(block: dict[str, Any], expected: Part) -> None:
    assert part(block) == expected


def test_a_cache_point_belongs_to_what_stands_before_it() -> None:
    point = {"cachePoint": {"type": "default", "ttl": "1h"}}
    request = read(
        system=[{"text": "S"}, point],
        messages=[{"role": "user", "content": [{"text": "a"}, point, {"text": "b"}]}],
        toolConfig={"tools": [{"toolSpec": {"name": "t", "inputSchema": {"json": {}}}}, point]},
    )
    assert request.system == [Text(text="S", cache=Cache(ttl="1h"))]
    assert request.messages[0].parts == [Text(text="a", cache=Cache(ttl="1h")), Text(text="b")]
    assert request.tools == [FunctionTool(name="t", parameters={}, cache=Cache(ttl="1h"))]


@pytest.mark.parametrize(
    ("choice", "expected"),
    [
        ({"auto": {}}, ToolChoice(mode="auto")),
        ({"any": {}}, ToolChoice(mode="required")),
        ({"tool": {"name": "look"}}, ToolChoice(mode="one", name="look")),
    ],
)
def test_tools_and_the_choice_among_them_are_read(choice: dict[str, Any], expected: ToolChoice) -> None:
    spec = {"name": "look", "description": "d", "inputSchema": {"json": {"type": "object"}}, "strict": True}
    system_tool = {"systemTool": {"name": "nova_grounding"}}
    request = read(toolConfig={"tools": [{"toolSpec": spec}, system_tool], "toolChoice": choice})
    assert request.tool_choice == expected
    assert request.tools == [
        FunctionTool(name="look", description="d", parameters={"type": "object"}, strict=True),
        Opaque(dialect="bedrock", kind="systemTool", value=system_tool),
    ]


@pytest.mark.parametrize(
    ("document", "path"),
    [
        ({}, "messages"),
        ({"messages": [{"role": "tool", "content": []}]}, "messages[0].role"),
        ({"messages": [{"role": "user", "content": "Hi"}]}, "messages[0].content"),
        ({"messages": [{"role": "user", "content": ["Hi"]}]}, "messages[0].content[0]"),
        ({"messages": [], "inferenceConfig": {"maxTokens": "9"}}, "inferenceConfig.maxTokens"),
        ({"messages": [], "inferenceConfig": {"stopSequences": [1]}}, "inferenceConfig.stopSequences[0]"),
        ({"messages": [], "toolConfig": {"tools": [{"toolSpec": {}}]}}, "toolConfig.tools[0].toolSpec.name"),
        ({"messages": [], "toolConfig": {"toolChoice": {"tool": {}}}}, "toolConfig.toolChoice.tool.name"),
        (
            {"messages": [{"role": "user", "content": [{"toolUse": {"name": "n"}}]}]},
            "messages[0].content[0].toolUse",
        ),
        (
            {"messages": [{"role": "user", "content": [{"image": {"format": "png"}}]}]},
            "messages[0].content[0].image.source",
        ),
    ],
)
def test_a_wrong_type_is_refused_by_name(document: dict[str, Any], path: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        PROTOCOL.read_request(document)
    assert refused.value.path == path


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("stop[4]", "inferenceConfig.stopSequences[4]"),
        ("max_tokens", "inferenceConfig.maxTokens"),
        ("top_k", "additionalModelRequestFields.top_k"),
        ("reasoning.budget_tokens", "additionalModelRequestFields.thinking.budget_tokens"),
        ("output.schema.properties.a", "outputConfig.textFormat.structure.jsonSchema.schema"),
        ("system[0].cache_control", "system[1].cachePoint"),
        ("messages[0].content[0].cache_control", "messages[0].content[1].cachePoint"),
        ("messages[0].content[1]", "messages[0].content[2]"),
        ("messages[0].content[1].arguments", "messages[0].content[2].toolUse.input"),
        ("messages[0].content[2].content[0].source", "messages[0].content[3].toolResult.content[0].image.source"),
        ("tools[0].cache_control.ttl", "toolConfig.tools[1].cachePoint.ttl"),
        ("tools[1].parameters", "toolConfig.tools[2].toolSpec.inputSchema.json"),
        ("seed", "seed"),
    ],
)
def test_a_receipt_names_places_in_this_dialect_s_words(path: str, expected: str) -> None:
    point = {"cachePoint": {"type": "default"}}
    image = {"image": {"format": "png", "source": {"bytes": "aGk="}}}
    request = read(
        system=[{"text": "S"}, point],
        messages=[
            {
                "role": "user",
                "content": [
                    {"text": "a"},
                    point,
                    {"toolUse": {"toolUseId": "t", "name": "n", "input": {}}},
                    {"toolResult": {"toolUseId": "t", "content": [image]}},
                ],
            }
        ],
        toolConfig={"tools": [{"toolSpec": {"name": "t"}}, point, {"toolSpec": {"name": "u"}}]},
        additionalModelRequestFields={"thinking": {"type": "enabled", "budget_tokens": 1024}},
    )
    assert PROTOCOL.spell(request, path) == expected


def test_models_are_one_percent_encoded_segment_of_the_path() -> None:
    assert PROTOCOL.egress_path("a.b-v1:0", False) == "/model/a.b-v1%3A0/converse"
    arn = "arn:aws:bedrock:us-east-1:1:inference-profile/us.a.b"
    assert PROTOCOL.egress_path(arn, True) == (
        "/model/arn%3Aaws%3Abedrock%3Aus-east-1%3A1%3Ainference-profile%2Fus.a.b/converse-stream"
    )
