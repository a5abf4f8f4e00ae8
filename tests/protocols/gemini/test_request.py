"""Reading a request: what the IR has of it, in either spelling."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from busbar.protocols.gemini import PROTOCOL
from busbar.protocols.gemini.words import NO_SIGNATURE
from busbar.protocols.ir import (
    Audio,
    Base64Data,
    Document,
    FileId,
    FunctionTool,
    Image,
    Opaque,
    Part,
    Request,
    Text,
    Thinking,
    ToolResult,
    ToolUse,
    Url,
)
from busbar.protocols.protocol import Hop, InvalidRequest
from busbar.protocols.receipt import Receipt

CAPTURES = Path(__file__).resolve().parents[4] / "shared" / "facts" / "captures"


def read(**document: Any) -> Request:
    return PROTOCOL.read_request({"contents": [], **document})


def parts(*values: dict[str, Any]) -> list[Part]:
    return [plain(part) for part in read(contents=[{"role": "user", "parts": list(values)}]).messages[0].parts]


def plain(node: Any) -> Any:
    """The node without what only this dialect said."""
    if isinstance(node, list):
        return [plain(each) for each in node]
    if not isinstance(node, msgspec.Struct):
        return node
    bare = {name: plain(getattr(node, name)) for name in node.__struct_fields__ if name != "native"}
    return type(node)(**bare)


def same(document: dict[str, Any]) -> None:
    receipt = Receipt()
    assert PROTOCOL.write_request(PROTOCOL.read_request(document), Hop(), receipt) == document
    assert not receipt.entries


@pytest.mark.parametrize(
    ("value", "part"),
    [
        ({"text": "hi"}, Text(text="hi")),
        ({"text": "hi", "thoughtSignature": "c2ln"}, Text(text="hi", signature="c2ln", signer="gemini")),
        ({"text": "hm", "thought": True}, Thinking(text="hm")),
        (
            {"text": "hm", "thought": True, "thought_signature": "c2ln"},
            Thinking(text="hm", signature="c2ln", signer="gemini"),
        ),
        (
            {"inlineData": {"mimeType": "image/png", "data": "YWJj"}},
            Image(source=Base64Data(media_type="image/png", data="YWJj")),
        ),
        (
            {"inline_data": {"mime_type": "image/png", "data": "-_8="}},
            Image(source=Base64Data(media_type="image/png", data="+/8=")),
        ),
        (
            {"inlineData": {"mime_type": "application/pdf", "data": "YWJj"}},
            Document(source=Base64Data(media_type="application/pdf", data="YWJj")),
        ),
        ({"inlineData": {"mimeType": "audio/mpeg", "data": "YWJj"}}, Audio(data="YWJj", format="mp3")),
        (
            {"fileData": {"mimeType": "image/png", "fileUri": "https://x.example/a.png"}},
            Image(source=Url(url="https://x.example/a.png", media_type="image/png")),
        ),
        (
            {"file_data": {"mime_type": "application/pdf", "file_uri": "gs://bucket/a.pdf"}},
            Document(source=FileId(id="gs://bucket/a.pdf")),
        ),
        (
            {"executableCode": {"language": "PYTHON", "code": "1"}},
            Opaque(
                dialect="gemini",
                kind="executableCode",
                value={"executableCode": {"language": "PYTHON", "code": "1"}},
            ),
        ),
    ],
)
def test_parts_in_either_spelling(value: dict[str, Any], part: Part) -> None:
    assert parts(value) == [part]
    same({"contents": [{"role": "user", "parts": [value]}]})


def test_a_call_and_its_result_keep_their_id() -> None:
    call = {"functionCall": {"id": "c1", "name": "f", "args": {"x": 1}}, "thoughtSignature": "c2ln"}
    result = {"functionResponse": {"id": "c1", "name": "f", "response": {"output": "20"}}}
    assert parts(call, result) == [
        ToolUse(id="c1", name="f", arguments='{"x":1}', signature="c2ln", signer="gemini"),
        ToolResult(tool_use_id="c1", content=[Text(text="20")]),
    ]


def test_calls_without_ids_find_their_results_by_name_and_order() -> None:
    def call(name: str) -> dict[str, Any]:
        return {"functionCall": {"name": name, "args": {}}}

    def result(name: str, text: str) -> dict[str, Any]:
        return {"functionResponse": {"name": name, "response": {"output": text}}}

    document = {
        "contents": [
            {"role": "user", "parts": [{"text": "go"}]},
            {"role": "model", "parts": [call("f"), call("g"), call("f")]},
            {"role": "function", "parts": [result("g", "2"), result("f", "1"), result("f", "3")]},
            {"role": "model", "parts": [call("f")]},
            {"role": "user", "parts": [result("f", "4")]},
        ]
    }
    messages = PROTOCOL.read_request(document).messages
    first_f, first_g, second_f = [part.id for part in messages[1].parts if isinstance(part, ToolUse)]
    answered = {
        part.tool_use_id: plain(part.content)
        for part in messages[2].parts + messages[4].parts
        if isinstance(part, ToolResult)
    }
    third_f = messages[3].parts[0].id  # type: ignore[union-attr]
    assert len({first_f, first_g, second_f, third_f}) == 4
    assert answered == {
        first_g: [Text(text="2")],
        first_f: [Text(text="1")],
        second_f: [Text(text="3")],
        third_f: [Text(text="4")],
    }
    assert messages[2].role == "tool"
    same(document)


@pytest.mark.parametrize(
    ("response", "text", "is_error"),
    [
        ({"output": "20"}, "20", None),
        ({"result": {"a": [1]}}, '{"a":[1]}', None),
        ({"error": "no"}, "no", True),
        ({"temperature": 20}, '{"temperature":20}', None),
        ({"output": "x", "error": "y"}, '{"output":"x","error":"y"}', None),
        ({}, "{}", None),
    ],
)
def test_a_functions_response_is_text(response: dict[str, Any], text: str, is_error: bool | None) -> None:
    result = {"functionResponse": {"id": "c", "name": "f", "response": response}}
    assert parts(result) == [ToolResult(tool_use_id="c", content=[Text(text=text)], is_error=is_error)]
    same({"contents": [{"role": "user", "parts": [result]}]})


@pytest.mark.parametrize(
    "system",
    ["be brief", {"parts": {"text": "be brief"}}, {"role": "user", "parts": [{"text": "be brief"}]}],
)
@pytest.mark.parametrize("key", ["systemInstruction", "system_instruction"])
def test_instructions_in_every_form(system: Any, key: str) -> None:
    document = {"contents": [], key: system}
    assert plain(PROTOCOL.read_request(document).system) == [Text(text="be brief")]
    same(document)


def test_settings() -> None:
    config = {
        "maxOutputTokens": 10,
        "temperature": 1.5,
        "topP": 0.5,
        "top_k": 40,
        "stopSequences": ["END"],
        "candidate_count": 2,
        "seed": 7,
        "presencePenalty": 0.1,
        "frequencyPenalty": 0.2,
        "responseLogprobs": True,
        "logprobs": 3,
        "mediaResolution": "MEDIA_RESOLUTION_LOW",
    }
    request = read(generationConfig=config)
    assert (request.max_tokens, request.temperature, request.top_p, request.top_k) == (10, 1.5, 0.5, 40)
    assert (request.stop, request.n, request.seed) == (["END"], 2, 7)
    assert (request.presence_penalty, request.frequency_penalty) == (0.1, 0.2)
    assert (request.logprobs, request.top_logprobs) == (True, 3)
    assert request.native is not None
    assert request.native.fields == {"generationConfig": {"mediaResolution": "MEDIA_RESOLUTION_LOW"}}
    same({"contents": [], "generationConfig": config})


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ({"thinkingBudget": 0}, (False, None, None, False)),
        ({"thinking_budget": -1}, (None, None, None, True)),
        ({"thinkingBudget": 2048, "includeThoughts": True}, (True, None, 2048, False)),
        ({"thinkingLevel": "HIGH"}, (None, "high", None, False)),
        ({"include_thoughts": True}, (True, None, None, False)),
    ],
)
def test_how_much_to_think(config: dict[str, Any], expected: tuple[Any, ...]) -> None:
    reasoning = read(generationConfig={"thinkingConfig": config}).reasoning
    assert reasoning is not None
    assert (reasoning.enabled, reasoning.effort, reasoning.budget_tokens, reasoning.adaptive) == expected
    same({"contents": [], "generationConfig": {"thinkingConfig": config}})


def test_a_schema_is_read_as_json_schema_and_keeps_its_spelling() -> None:
    schema = {
        "type": "OBJECT",
        "properties": {
            "a": {"type": "STRING", "nullable": True, "enum": ["x", "y"]},
            "b": {"any_of": [{"type": "INTEGER"}, {"type": "string"}], "nullable": True},
            "c": {"type": 5, "items": {"type": "NUMBER"}, "minItems": "1"},
        },
        "required": ["a"],
        "propertyOrdering": ["a", "b", "c"],
    }
    config = {"responseMimeType": "application/json", "response_schema": schema}
    output = read(generationConfig=config).output
    assert output is not None
    assert (output.mode, output.schema) == (
        "schema",
        {
            "type": "object",
            "properties": {
                "a": {"type": ["string", "null"], "enum": ["x", "y", None]},
                "b": {"anyOf": [{"type": "integer"}, {"type": "string"}, {"type": "null"}]},
                "c": {"type": "array", "items": {"type": "number"}, "minItems": 1},
            },
            "required": ["a"],
        },
    )
    same({"contents": [], "generationConfig": config})


def test_functions_and_hosted_tools() -> None:
    document = {
        "contents": [],
        "tools": [
            {"functionDeclarations": [{"name": "f", "parameters": {"type": "OBJECT", "properties": {}}}]},
            {"googleSearch": {}, "function_declarations": [{"name": "g", "parametersJsonSchema": {"$ref": "#"}}]},
        ],
        "toolConfig": {"functionCallingConfig": {"mode": "ANY", "allowedFunctionNames": ["f"]}},
    }
    request = PROTOCOL.read_request(document)
    assert plain(request.tools) == [
        FunctionTool(name="f", parameters={"type": "object", "properties": {}}),
        FunctionTool(name="g", parameters={"$ref": "#"}),
        Opaque(dialect="gemini", kind="googleSearch", value={"googleSearch": {}}),
    ]
    assert request.tool_choice is not None
    assert (request.tool_choice.mode, request.tool_choice.name) == ("one", "f")
    assert PROTOCOL.spell(request, "tools[1].parameters.$ref") == (
        "tools[1].function_declarations[0].parametersJsonSchema.$ref"
    )
    same(document)


@pytest.mark.parametrize(
    ("config", "mode"),
    [
        ({"mode": "AUTO"}, "auto"),
        ({"mode": "VALIDATED"}, "auto"),
        ({"mode": "NONE"}, "none"),
        ({"mode": 2, "allowed_function_names": ["f", "g"]}, "required"),
    ],
)
def test_tool_choices(config: dict[str, Any], mode: str) -> None:
    choice = read(tool_config={"function_calling_config": config}).tool_choice
    assert choice is not None
    assert choice.mode == mode
    same({"contents": [], "tool_config": {"function_calling_config": config}})


@pytest.mark.parametrize(
    ("document", "path"),
    [
        ({}, "contents"),
        ({"contents": "hi"}, "contents"),
        ({"contents": ["hi"]}, "contents[0]"),
        ({"contents": [{"role": "robot", "parts": []}]}, "contents[0].role"),
        ({"contents": [{"parts": [7]}]}, "contents[0].parts[0]"),
        ({"contents": [], "generationConfig": {"temperature": "hot"}}, "generationConfig.temperature"),
        ({"contents": [], "generationConfig": {"stopSequences": [1]}}, "generationConfig.stopSequences"),
        ({"contents": [], "tools": [{"functionDeclarations": [{}]}]}, "tools[0].functionDeclarations[0].name"),
    ],
)
def test_wrong_types_are_refused_by_name(document: dict[str, Any], path: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        PROTOCOL.read_request(document)
    assert refused.value.path == path


def test_receipts_name_places_in_this_dialects_words() -> None:
    request = PROTOCOL.read_request(
        {
            "contents": [{"role": "model", "parts": [{"functionCall": {"name": "f", "args": {}}}]}],
            "systemInstruction": "x",
            "generationConfig": {
                "thinkingConfig": {"thinkingLevel": "LOW"},
                "responseMimeType": "application/json",
                "responseSchema": {"type": "OBJECT"},
            },
        }
    )
    spelled = {
        path: PROTOCOL.spell(request, path)
        for path in (
            "messages[0].content[0].arguments",
            "max_tokens",
            "stop[5]",
            "reasoning",
            "output.schema",
            "user",
        )
    }
    assert spelled == {
        "messages[0].content[0].arguments": "contents[0].parts[0].functionCall.args",
        "max_tokens": "generationConfig.maxOutputTokens",
        "stop[5]": "generationConfig.stopSequences[5]",
        "reasoning": "generationConfig.thinkingConfig.thinkingLevel",
        "output.schema": "generationConfig.responseSchema",
        "user": "user",
    }
    assert PROTOCOL.spell(None, "choices[0].content.signature") == "candidates[0].content.parts.thoughtSignature"


def _captured() -> list[Any]:
    """Requests of the official SDKs and of Gemini CLI."""
    if not CAPTURES.exists():
        return []
    bodies = []
    for path in sorted(CAPTURES.glob("*_sdks*.json")):
        for row in json.loads(path.read_text()):
            bodies += [
                each["body"] for each in row["requests"] if ":" in each["path"] and "models/gem" in each["path"]
            ]
    for line in (CAPTURES / "cli" / "gemini_cli_0.61.0.jsonl").read_text().splitlines():
        bodies.append(json.loads(line)["body"])
    return [body for body in bodies if isinstance(body, dict) and "contents" in body]


def test_captured_requests_of_sdks_and_cli_come_back_equal() -> None:
    bodies = _captured()
    if not bodies:
        pytest.skip("no captures at ../shared/facts/captures")
    assert len(bodies) > 10
    for body in bodies:
        same(body)


def test_the_word_in_place_of_a_signature_goes_back_as_it_came() -> None:
    part = {"functionCall": {"name": "f", "args": {}}, "thoughtSignature": NO_SIGNATURE}
    same({"contents": [{"role": "model", "parts": [part]}]})
