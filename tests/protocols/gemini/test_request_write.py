"""Writing another dialect's request: nothing that Google refuses, and a report of what was lost."""

from __future__ import annotations

from typing import Any

import pytest
from google.genai import types

from busbar.protocols.gemini import PROTOCOL
from busbar.protocols.gemini.schema_write import write_schema
from busbar.protocols.gemini.words import NO_SIGNATURE
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
    Role,
    Text,
    Thinking,
    ToolChoice,
    ToolResult,
    ToolUse,
    Url,
)
from busbar.protocols.protocol import Document as Json
from busbar.protocols.protocol import Hop
from busbar.protocols.receipt import Receipt

USER = {"role": "user", "parts": [{"text": "hi"}]}


def message(role: Role, *parts: Part) -> Message:
    return Message(role=role, parts=list(parts))


def write(*messages: Message, model: str = "gemini-2.5-flash", **settings: Any) -> tuple[Json, list[tuple[str, str]]]:
    request = Request(model="m", messages=list(messages) or [message("user", Text(text="hi"))], **settings)
    receipt = Receipt()
    document = PROTOCOL.write_request(request, Hop(model=model, nonce="n"), receipt)
    for content in document["contents"]:
        assert types.Content.model_validate(content).parts
    types.GenerationConfig.model_validate(document.get("generationConfig", {}))
    for tool in document.get("tools", []):
        types.Tool.model_validate(tool)
    return document, [(entry.change, entry.path) for entry in receipt.entries]


def config(**settings: Any) -> tuple[Any, list[tuple[str, str]]]:
    document, report = write(**settings)
    return document.get("generationConfig"), report


def test_a_plain_request() -> None:
    document, report = write(system=[Text(text="be brief")], max_tokens=5)
    assert document == {
        "contents": [USER],
        "systemInstruction": {"role": "user", "parts": [{"text": "be brief"}]},
        "generationConfig": {"maxOutputTokens": 5},
    }
    assert report == []


def test_turns_alternate_and_begin_with_the_users() -> None:
    document, report = write(
        message("assistant", Text(text="hello")),
        message("user", Text(text="a")),
        message("user", Text(text="")),
        message("system", Text(text="late")),
        message("user", Text(text="b")),
    )
    assert document["contents"] == [
        {"role": "user", "parts": [{"text": "."}]},
        {"role": "model", "parts": [{"text": "hello"}]},
        {"role": "user", "parts": [{"text": "a"}, {"text": "b"}]},
    ]
    assert document["systemInstruction"]["parts"] == [{"text": "late"}]
    assert report == [("changed", "messages[3]"), ("added", "messages")]


def test_results_get_the_names_of_their_functions_and_stand_first() -> None:
    document, report = write(
        message("user", Text(text="go")),
        message(
            "assistant",
            ToolUse(id="toolu_1", name="f", arguments='{"x":1}'),
            ToolUse(id="toolu_2", name="g", arguments=""),
        ),
        message("tool", ToolResult(tool_use_id="toolu_1", content=[Text(text="1")])),
        message(
            "user",
            Text(text="and"),
            ToolResult(tool_use_id="toolu_2", content=[Text(text="boom")], is_error=True),
        ),
    )
    assert document["contents"][1:] == [
        {
            "role": "model",
            "parts": [
                {"functionCall": {"id": "call_1", "name": "f", "args": {"x": 1}}},
                {"functionCall": {"id": "call_2", "name": "g", "args": {}}},
            ],
        },
        {
            "role": "user",
            "parts": [
                {"functionResponse": {"id": "call_1", "name": "f", "response": {"output": "1"}}},
                {"functionResponse": {"id": "call_2", "name": "g", "response": {"error": "boom"}}},
                {"text": "and"},
            ],
        },
    ]
    assert report == []


def test_a_result_of_an_unknown_call_is_named_by_its_id() -> None:
    document, report = write(message("user", ToolResult(tool_use_id="call_9", content=[])))
    assert document["contents"][0]["parts"] == [
        {"functionResponse": {"id": "call_9", "name": "call_9", "response": {"output": ""}}}
    ]
    assert report == [("changed", "messages[0].content[0].tool_use_id")]


def calls(signature: str | None = None, signer: str | None = None) -> list[Message]:
    def call(call_id: str, **signed: Any) -> ToolUse:
        return ToolUse(id=call_id, name="f", arguments="{}", **signed)

    return [
        message("user", Text(text="first")),
        message("assistant", call("call_0")),
        message("tool", ToolResult(tool_use_id="call_0")),
        message("assistant", Text(text="done")),
        message("user", Text(text="second")),
        message("assistant", call("call_1", signature=signature, signer=signer), call("call_2")),
        message("tool", ToolResult(tool_use_id="call_1"), ToolResult(tool_use_id="call_2")),
        message("assistant", call("call_3")),
        message("tool", ToolResult(tool_use_id="call_3")),
    ]


def signatures(document: Json) -> dict[str, str | None]:
    return {
        part["functionCall"]["id"]: part.get("thoughtSignature")
        for content in document["contents"]
        for part in content["parts"]
        if "functionCall" in part
    }


@pytest.mark.parametrize("signed", [(None, None), ("foreign", "anthropic")])
def test_unsigned_calls_of_the_running_turn_say_so_to_gemini_3(signed: tuple[str | None, str | None]) -> None:
    document, report = write(*calls(*signed), model="gemini-3-flash-preview")
    assert signatures(document) == {"call_0": None, "call_1": NO_SIGNATURE, "call_2": None, "call_3": NO_SIGNATURE}
    assert ("added", "thoughtSignature") in report
    assert (("dropped", "messages[5].content[0].signature") in report) == (signed[0] is not None)


def test_a_turn_runs_on_through_what_the_user_says_beside_results() -> None:
    turns = calls()
    turns[6].parts.append(Text(text="And?"))
    document, _ = write(*turns, model="gemini-3-flash-preview")
    assert signatures(document)["call_1"] == NO_SIGNATURE


@pytest.mark.parametrize(
    ("model", "goes_on"),
    [
        ("gemini-2.5-flash", True),
        ("gemini-3-flash-preview", True),
        ("gemini-3.5-flash", True),
        ("gemini-3.5-flash-lite", False),
        ("gemini-3.6-flash", False),
        ("gemini-4-pro", False),
        ("gemini-flash-latest", False),
    ],
)
def test_a_last_turn_of_the_model_stays_last_where_it_goes_on_with_it(model: str, goes_on: bool) -> None:
    document, report = write(message("user", Text(text="hi")), message("assistant", Text(text="{")), model=model)
    assert [content["role"] for content in document["contents"]] == ["user", "model"] + ["user"] * (not goes_on)
    assert report == ([] if goes_on else [("changed", "messages[1]")])


def test_own_signatures_go_back() -> None:
    document, _ = write(*calls("c2ln", "gemini"), model="gemini-3-flash-preview")
    assert signatures(document)["call_1"] == "c2ln"


def test_older_models_need_no_signatures() -> None:
    document, report = write(*calls())
    assert set(signatures(document).values()) == {None}
    assert report == []


def test_thinking_goes_back_only_to_who_signed_it() -> None:
    document, report = write(
        message("user", Text(text="hi")),
        message(
            "assistant",
            Thinking(text="mine", signature="c2ln", signer="gemini"),
            Thinking(text="theirs", signature="s", signer="anthropic"),
            Thinking(text="nobody's"),
            RedactedThinking(data="x", signer="anthropic"),
            Opaque(dialect="openai", kind="web_search", value={}),
            Text(text="ok", signature="dGV4dA", signer="gemini"),
        ),
    )
    assert document["contents"][1]["parts"] == [
        {"text": "mine", "thought": True, "thoughtSignature": "c2ln"},
        {"text": "ok", "thoughtSignature": "dGV4dA"},
    ]
    assert report == [("dropped", f"messages[1].content[{at}]") for at in (1, 2, 3, 4)]


@pytest.mark.parametrize(
    ("part", "written"),
    [
        (
            Image(source=Base64Data(media_type="image/jpg", data="YQ==")),
            {"inlineData": {"mimeType": "image/jpeg", "data": "YQ=="}},
        ),
        (
            Image(source=Url(url="https://x.example/a.PNG?b=c")),
            {"fileData": {"mimeType": "image/png", "fileUri": "https://x.example/a.PNG?b=c"}},
        ),
        (
            Document(source=Base64Data(media_type="text/plain; charset=utf-8", data="YQ==")),
            {"inlineData": {"mimeType": "text/plain", "data": "YQ=="}},
        ),
        (
            Document(source=Url(url="https://x.example/paper")),
            {"fileData": {"mimeType": "application/pdf", "fileUri": "https://x.example/paper"}},
        ),
        (Audio(data="YQ==", format="wav"), {"inlineData": {"mimeType": "audio/wav", "data": "YQ=="}}),
    ],
)
def test_media(part: Part, written: dict[str, Any]) -> None:
    document, report = write(message("user", part))
    assert document["contents"] == [{"role": "user", "parts": [written]}]
    assert report == []


@pytest.mark.parametrize(
    "part",
    [
        Image(source=Base64Data(media_type="image/gif", data="YQ==")),
        Document(source=FileId(id="file_1")),
        Opaque(dialect="anthropic", kind="search_result", value={}),
    ],
)
def test_what_google_refuses_is_dropped_and_reported(part: Part) -> None:
    document, report = write(message("user", Text(text="hi"), part))
    assert document["contents"] == [USER]
    assert report == [("dropped", "messages[0].content[1]")]


def test_a_text_document_is_text_and_a_breakpoint_is_reported() -> None:
    document, report = write(
        message("user", Document(source=PlainText(text="body"), title="T", cache=Cache()), Text(text="hi"))
    )
    assert document["contents"][0]["parts"] == [{"text": "T\n\nbody"}, {"text": "hi"}]
    assert report == [("dropped", "messages[0].content[0].cache_control"), ("changed", "messages[0].content[0]")]


@pytest.mark.parametrize(("model", "inside"), [("gemini-3-pro", True), ("gemini-2.5-pro", False)])
def test_images_in_results_stand_where_the_model_takes_them(model: str, inside: bool) -> None:
    result = ToolResult(
        tool_use_id="call_1",
        content=[Text(text="see"), Image(source=Base64Data(media_type="image/png", data="YQ=="))],
    )
    document, _ = write(
        message("user", Text(text="go")),
        message("assistant", ToolUse(id="call_1", name="f", arguments="{}")),
        message("tool", result),
        model=model,
    )
    blob = {"inlineData": {"mimeType": "image/png", "data": "YQ=="}}
    written = document["contents"][2]["parts"]
    assert written[0]["functionResponse"]["response"] == {"output": "see"}
    assert (written[0]["functionResponse"].get("parts"), written[1:]) == (([blob], []) if inside else (None, [blob]))


def test_settings_are_brought_into_range_and_reported() -> None:
    settings, report = config(
        temperature=3,
        top_p=0.9,
        top_k=0,
        presence_penalty=2,
        frequency_penalty=-3,
        n=9,
        seed=2**40,
        stop=["a", "", "b", "c", "d", "e", "f"],
        logprobs=True,
        top_logprobs=50,
        user="me",
        parallel_tool_calls=False,
    )
    assert settings == {
        "temperature": 2,
        "topP": 0.9,
        "presencePenalty": 1.99,
        "frequencyPenalty": -2,
        "candidateCount": 8,
        "responseLogprobs": True,
        "logprobs": 20,
        "stopSequences": ["a", "b", "c", "d", "e"],
    }
    assert sorted(report) == sorted(
        [("clamped", name) for name in ("temperature", "presence_penalty", "frequency_penalty", "n", "top_logprobs")]
        + [("dropped", name) for name in ("top_k", "seed", "stop[6]", "user", "parallel_tool_calls")]
    )


@pytest.mark.parametrize(
    ("reasoning", "model", "max_tokens", "written"),
    [
        (Reasoning(effort="low"), "gemini-2.5-flash", None, {"includeThoughts": True, "thinkingBudget": 4096}),
        (Reasoning(effort="low"), "gemini-3-pro", None, {"includeThoughts": True, "thinkingLevel": "LOW"}),
        (Reasoning(effort="medium"), "gemini-3-pro", None, {"includeThoughts": True, "thinkingLevel": "HIGH"}),
        (
            Reasoning(enabled=True, budget_tokens=99999),
            "gemini-2.5-pro",
            None,
            {"includeThoughts": True, "thinkingBudget": 32768},
        ),
        (
            Reasoning(enabled=True, budget_tokens=4096),
            "gemini-2.5-flash",
            4096,
            {"includeThoughts": True, "thinkingBudget": 3072},
        ),
        (Reasoning(effort="high"), "gemini-2.5-flash", 1500, None),
        (Reasoning(enabled=True, adaptive=True), "gemini-2.5-flash", None, {"includeThoughts": True}),
        (Reasoning(enabled=False), "gemini-2.5-flash", None, {"thinkingBudget": 0}),
        (Reasoning(enabled=False), "gemini-2.5-pro", None, {"thinkingBudget": 128}),
        (Reasoning(enabled=False), "gemini-3-pro", None, {"thinkingLevel": "LOW"}),
        (Reasoning(effort="high"), "gemini-2.0-flash", None, None),
    ],
)
def test_how_much_to_think(
    reasoning: Reasoning, model: str, max_tokens: int | None, written: dict[str, Any] | None
) -> None:
    settings, _ = config(reasoning=reasoning, model=model, max_tokens=max_tokens)
    assert (settings or {}).get("thinkingConfig") == written


def test_structured_output() -> None:
    schema = {"type": "object", "properties": {"a": {"type": "string"}}, "additionalProperties": False}
    settings, report = config(output=OutputFormat(mode="schema", name="r", schema=schema))
    assert settings == {
        "responseMimeType": "application/json",
        "responseSchema": {"type": "OBJECT", "properties": {"a": {"type": "STRING"}}},
    }
    assert report == [("dropped", "output.name"), ("dropped", "output.schema.additionalProperties")]


def test_structured_output_beside_tools_waits_for_gemini_3() -> None:
    asked = {"output": OutputFormat(mode="json"), "tools": [FunctionTool(name="f")]}
    assert config(**asked) == (None, [("dropped", "output")])
    assert config(**asked, model="gemini-3-pro") == ({"responseMimeType": "application/json"}, [])


def test_tools_and_the_choice_among_them() -> None:
    document, report = write(
        tools=[
            FunctionTool(
                name="1 odd name",
                description="d",
                parameters={"type": "object", "properties": {"x": {"type": "integer"}}},
                strict=True,
            ),
            FunctionTool(name="bare", parameters={"type": "object", "properties": {}}),
            Opaque(dialect="anthropic", kind="web_search", value={}),
        ],
        tool_choice=ToolChoice(mode="one", name="1 odd name"),
    )
    assert document["tools"] == [
        {
            "functionDeclarations": [
                {
                    "name": "_1_odd_name",
                    "description": "d",
                    "parameters": {"type": "OBJECT", "properties": {"x": {"type": "INTEGER"}}},
                },
                {"name": "bare"},
            ]
        }
    ]
    assert document["toolConfig"] == {
        "functionCallingConfig": {"mode": "ANY", "allowedFunctionNames": ["_1_odd_name"]}
    }
    assert report == [
        ("dropped", "tools[0].strict"),
        ("changed", "tools[0].name"),
        ("dropped", "tools[2]"),
        ("changed", "tool_choice.name"),
    ]


NODE = {"type": "object", "properties": {"next": {"$ref": "#/$defs/Node"}}}


@pytest.mark.parametrize(
    ("schema", "written", "lost"),
    [
        ({"type": ["string", "null"]}, {"type": "STRING", "nullable": True}, []),
        ({"type": ["string", "integer"]}, {"anyOf": [{"type": "STRING"}, {"type": "INTEGER"}]}, []),
        ({"const": "a"}, {"type": "STRING", "enum": ["a"]}, []),
        ({"type": "integer", "enum": [1, 2]}, {"type": "INTEGER"}, ["s.enum"]),
        ({"enum": ["a", None]}, {"type": "STRING", "enum": ["a"], "nullable": True}, []),
        (
            {"oneOf": [{"type": "string"}, {"type": "number"}], "description": "d"},
            {"anyOf": [{"type": "STRING", "description": "d"}, {"type": "NUMBER", "description": "d"}]},
            [],
        ),
        (
            {"anyOf": [{"type": "string"}, {"type": "null"}], "default": None, "title": "T"},
            {"type": "STRING", "nullable": True, "title": "T"},
            ["s.default"],
        ),
        (
            {
                "allOf": [
                    {"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"]},
                    {"properties": {"b": {"type": "boolean"}}, "required": ["b"]},
                ]
            },
            {
                "type": "OBJECT",
                "properties": {"a": {"type": "STRING"}, "b": {"type": "BOOLEAN"}},
                "required": ["a", "b"],
            },
            [],
        ),
        (
            {
                "$schema": "https://json-schema.org/draft/2020-12/schema",
                "type": "object",
                "properties": {"a": {"$ref": "#/$defs/A", "description": "mine"}},
                "required": ["a", "ghost"],
                "additionalProperties": False,
                "$defs": {"A": {"type": "number", "exclusiveMinimum": 0, "minimum": 1}},
            },
            {
                "type": "OBJECT",
                "properties": {"a": {"type": "NUMBER", "minimum": 1, "description": "mine"}},
                "required": ["a"],
            },
            ["s.additionalProperties", "s.$defs.A.exclusiveMinimum"],
        ),
        (
            {"$ref": "#/$defs/Node", "$defs": {"Node": NODE}},
            {"type": "OBJECT", "properties": {"next": {"type": "OBJECT"}}},
            ["s.$defs.Node.properties.next.$ref"],
        ),
        ({"type": "array"}, {"type": "ARRAY", "items": {"type": "STRING"}}, ["s"]),
        ({"type": "string", "format": "uuid", "minLength": 3}, {"type": "STRING", "minLength": 3}, ["s.format"]),
        (
            {
                "type": "object",
                "properties": {"a": {"type": "string"}},
                "anyOf": [{"required": ["a"]}, {"required": ["b"]}],
            },
            {"type": "OBJECT", "properties": {"a": {"type": "STRING"}}},
            ["s.anyOf"],
        ),
    ],
)
def test_schemas_are_written_in_the_subset(schema: dict[str, Any], written: dict[str, Any], lost: list[str]) -> None:
    receipt = Receipt()
    assert write_schema(schema, "s", receipt) == written
    assert [entry.path for entry in receipt.entries] == lost
    types.Schema.model_validate(written)


def test_what_of_a_schema_is_lost_is_told_once_and_where_it_stood() -> None:
    a, b = {"type": "string", "default": "a"}, {"type": "array", "items": {"anyOf": [{"type": "number", "not": {}}]}}
    schema = {
        "type": "object",
        "properties": {"a": a, "b": b, "c": {"type": "string", "default": "c"}},
        "allOf": [{"minContains": 1}],
    }
    receipt = Receipt()
    write_schema(schema, "s", receipt)
    assert [entry.path for entry in receipt.entries] == [
        "s",
        "s.properties.a.default",
        "s.properties.b.items.anyOf[0].not",
    ]


def test_a_schema_that_grows_without_end_is_cut() -> None:
    schema: dict[str, Any] = {"$ref": "#/$defs/N0", "$defs": {}}
    for at in range(12):
        both = {"$ref": f"#/$defs/N{at + 1}"}
        schema["$defs"][f"N{at}"] = {"type": "object", "properties": {"l": both, "r": both}}
    schema["$defs"]["N12"] = {"type": "string"}
    receipt = Receipt()
    written = write_schema(schema, "s", receipt)
    assert [(entry.change, entry.path) for entry in receipt.entries] == [("changed", "s.$defs.N10.properties.r.$ref")]
    assert len(str(written)) < 200_000
