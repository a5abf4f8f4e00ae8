"""The receipt of a hop is held to its word, on recorded requests.

A field that can be left out and changes nothing in what is written did not cross: it is on the receipt, or on the
list of what goes without saying. What the receipt names stands in the caller's document under that very path.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from busbar.protocols.ir import Request
from busbar.protocols.leftovers import says_nothing
from busbar.protocols.protocol import Hop, InvalidRequest, Protocol
from busbar.protocols.receipt import Receipt
from busbar.protocols.registry import PROTOCOLS
from tests.protocols.test_across_requests import NO_REQUEST, crossed, requests
from tests.recordings import Recording, load, with_request

SCHEMAS = {
    *("input_schema", "parameters", "json", "schema", "parametersJsonSchema", "parameters_json_schema"),
    *("responseSchema", "response_schema", "responseJsonSchema", "input", "args", "response"),
}
"""Where keys are the caller's own, in objects."""

_NO_PARAMETERS = ({"type": "object", "properties": {}}, {"type": "object", "properties": {}, "required": []})
_AUTO = ("auto", {"type": "auto"})
_AUTOS = ("AUTO", "VALIDATED")  # the latter: with calls that fit their schema, as calls should
ASKS_FOR_NOTHING: Mapping[str, Mapping[str, tuple[Any, ...]]] = {
    "anthropic": {
        "max_tokens": (4096,),  # the default
        "messages[].content[].is_error": (False,),
        "messages[].content[].source.media_type": ("text/plain",),
        "tool_choice": _AUTO,
        "tool_choice.disable_parallel_tool_use": (False,),
        "tools[].input_schema": _NO_PARAMETERS,
    },
    "openai": {
        "frequency_penalty": (0,),
        "max_tokens": (4096,),
        "messages[].content[].file.filename": ("document.pdf",),  # the name of one that has none
        "messages[].content[].image_url.detail": ("auto",),
        "messages[].tool_calls[].function.arguments": ("{}",),
        "messages[].tool_calls[].type": ("function",),
        "messages[].type": ("text/plain",),  # a tag that no API knows
        "n": (1,),
        "parallel_tool_calls": (True,),
        "presence_penalty": (0,),
        "response_format": ({"type": "text"},),
        "response_format.type": ("text", "json_schema"),  # what has a schema is one
        "response_format.json_schema.strict": (True, False),  # Anthropic always enforces a schema
        "stream_options": ({"include_usage": True},),  # Anthropic always tells usage; the way back knows
        "stream_options.include_usage": (True,),
        "temperature": (1,),
        "tool_choice": _AUTO,
        "tool_choice.type": ("function",),
        "tools[].function.parameters": _NO_PARAMETERS,
        "tools[].function.strict": (False,),
    },
    "responses": {
        "input[].arguments": ("{}",),
        "input[].content[].detail": ("auto",),
        "input[].content[].filename": ("document.pdf",),
        "input[].role": ("user",),
        "input[].type": ("message",),
        "max_output_tokens": (4096,),
        "parallel_tool_calls": (True,),
        "text": ({"format": {"type": "text"}},),
        "text.format": ({"type": "text"},),
        "text.format.name": ("response",),  # the name of one that has none
        "text.format.strict": (True, False),
        "text.format.type": ("text",),
        "tool_choice": _AUTO,
        "tools[].strict": (False,),
    },
    "gemini": {
        "contents[].parts": ([{"text": ""}],),
        "contents[].role": ("user",),
        "generationConfig.candidateCount": (1,),
        "generationConfig.responseMimeType": ("application/json",),  # what has a schema is JSON
        "generationConfig.response_mime_type": ("application/json",),
        "generationConfig.temperature": (1,),
        "generationConfig.thinkingConfig.includeThoughts": (True,),  # who asks for thinking may show it
        "generationConfig.thinkingConfig.include_thoughts": (True,),
        "systemInstruction.role": ("user", "system"),
        "toolConfig": tuple({"functionCallingConfig": {"mode": mode}} for mode in _AUTOS),
        "toolConfig.functionCallingConfig": tuple({"mode": mode} for mode in _AUTOS),
        "toolConfig.functionCallingConfig.mode": _AUTOS,
        "tools[].functionDeclarations[].parameters": ({"type": "OBJECT", "properties": {}}, *_NO_PARAMETERS),
    },
    "bedrock": {
        "inferenceConfig": ({"maxTokens": 4096},),
        "inferenceConfig.maxTokens": (4096,),
        "messages[].content[].document.format": ("txt",),
        "messages[].content[].toolResult.status": ("success",),
        "outputConfig.textFormat.structure.jsonSchema.name": ("response",),
        "toolConfig.tools[].toolSpec.inputSchema": tuple({"json": schema} for schema in _NO_PARAMETERS),
        "toolConfig.tools[].toolSpec.inputSchema.json": _NO_PARAMETERS,
    },
    "cohere": {
        "messages[].content": ([{"type": "text", "text": ""}],),
        "max_tokens": (4096,),
        "messages[].content[].type": ("text",),
        "messages[].tool_calls[].function.arguments": ("{}",),
        "messages[].tool_calls[].type": ("function",),
        "tools[].function.parameters": _NO_PARAMETERS,
    },
}
"""What may be left out without a word: it says what goes without saying."""

OF_THE_SOURCE = {
    ("responses", "input[].id"): "an item's name at its provider",
    ("responses", "input[].status"): "what its provider made of an item",
    ("responses", "input[].phase"): "told once for the items of a turn",
    ("gemini", "contents[].parts[].functionResponse.id"): "a call is known by its name, too",
    ("gemini", "contents[].parts[].functionResponse.name"): "and by its id",
    ("gemini", "contents[].parts[].function_response.id"): "the same",
    ("gemini", "contents[].parts[].function_response.name"): "the same",
    ("gemini", "contents[].parts[].fileData.mimeType"): "who fetches a file is told what it is",
}
SAID_TWICE = {
    ("openai", 45, "messages[].reasoning"): "the same thought as `reasoning_content`",
    ("openai", 45, "messages[].reasoning_content"): "the same thought as `reasoning`",
    ("anthropic", 24, "thinking.budget_tokens"): "all the room that there is, as who says none gets",
    ("bedrock", 46, "additionalModelRequestFields.thinking"): "an effort asks for thinking, too",
    ("bedrock", 46, "additionalModelRequestFields.thinking.type"): "the same",
    ("gemini", 104, "tools"): "the conversation calls the tool: it would be defined all the same",
    ("gemini", 104, "tools[].functionDeclarations"): "the same",
}
"""Fields, or fields of one recording, that another one says as well."""


def every_request() -> list[Any]:
    return [
        pytest.param(*request.values, marks=request.marks, id=f"{dialect}-{request.id}")
        for dialect in PROTOCOLS
        for request in requests(dialect)
    ]


def others(source: Protocol) -> list[str]:
    return [target for target in PROTOCOLS if target != source.name]


def known_paths(value: Any, path: str = "") -> set[str]:
    """Every place in a document."""
    inner: list[tuple[str, Any]] = []
    if isinstance(value, list):
        inner = [(f"{path}[{at}]", each) for at, each in enumerate(value)]
    elif isinstance(value, dict):
        inner = [(f"{path}.{key}" if path else key, each) for key, each in value.items()]
    return {path} | {known for at, each in inner for known in known_paths(each, at)}


def places(value: Any, path: str = "") -> Iterator[tuple[str, dict[str, Any], str]]:
    """Every key of a document that says something: its path, and the object that holds it."""
    if isinstance(value, list):
        for at, inner in enumerate(value):
            yield from places(inner, f"{path}[{at}]")
    elif isinstance(value, dict):
        for key, inner in list(value.items()):
            here = f"{path}.{key}" if path else key
            if not says_nothing(inner):
                yield here, value, key
            if isinstance(inner, list) or (
                key not in SCHEMAS and not (key == "json_schema" and "schema" not in inner)
            ):
                yield from places(inner, here)


def related(one: str, other: str) -> bool:
    """One is the other, or holds it."""
    short, long = sorted((one, other), key=len)
    return long == short or (long.startswith(short) and long[len(short)] in ".[")


def pattern_of(path: str) -> str:
    return re.sub(r"\[\d+\]", "[]", path)


def goes_without_saying(recording: Recording, path: str, value: Any) -> bool:
    pattern = pattern_of(path)
    return (
        path == "model"
        or value in ASKS_FOR_NOTHING[recording.protocol].get(pattern, ())
        or (recording.protocol, pattern) in OF_THE_SOURCE
        or (recording.protocol, recording.number, pattern) in SAID_TWICE
    )


def without(source: Protocol, document: dict[str, Any], holder: dict[str, Any], key: str) -> Request | None:
    """The request when a field is missing; None when it must be there."""
    before = dict(holder)
    del holder[key]
    try:
        return source.read_request(document)
    except InvalidRequest:
        return None
    finally:
        holder.clear()
        holder.update(before)


@pytest.mark.parametrize("recording", every_request())
def test_a_field_that_did_not_cross_is_on_the_receipt(recording: Recording) -> None:
    source, asked = PROTOCOLS[recording.protocol], recording.request.body
    there = {target: crossed(source, target, source.read_request(asked)) for target in others(source)}
    named = {target: [entry.path for entry in receipt.entries] for target, (_, receipt) in there.items()}
    unnamed = []
    for path, holder, key in places(asked):
        untold = [target for target in there if not any(related(path, name) for name in named[target])]
        if path == "stream":
            untold = [target for target in untold if PROTOCOLS[target].model_in == "body"]  # the others' path says it
        if not untold or goes_without_saying(recording, path, holder[key]):
            continue
        if (request := without(source, asked, holder, key)) is not None:
            unnamed += [(target, path) for target in untold if crosses_as(source, target, request, there[target][0])]
    assert unnamed == []


def crosses_as(source: Protocol, target: str, request: Request, document: dict[str, Any]) -> bool:
    try:
        return crossed(source, target, request)[0] == document
    except InvalidRequest:
        return False


@pytest.mark.parametrize("recording", every_request())
def test_a_receipt_speaks_of_the_callers_own_fields(recording: Recording) -> None:
    source, known = PROTOCOLS[recording.protocol], known_paths(recording.request.body)
    for target in others(source):
        _, receipt = crossed(source, target, source.read_request(recording.request.body))
        assert {entry.path for entry in receipt.entries if entry.change != "added"} <= known, target


SECRET = "sk-secret"
ODD = (SECRET, {SECRET: SECRET}, 7)


def refusal(source: Protocol, document: dict[str, Any]) -> str:
    """What a refusal of the request says; empty where it is taken: then it comes back equal, and crosses."""
    try:
        back = source.write_request(source.read_request(document), Hop(), Receipt())
    except InvalidRequest as refused:
        return str(refused)
    assert back == document
    for target in others(source):
        crossed(source, target, source.read_request(document))
    return ""


def shapes(dialect: str) -> Iterator[tuple[dict[str, Any], str, dict[str, Any], str]]:
    """One place of each shape in the recorded requests: the request, the path, its last key and what holds that."""
    met = set()
    for recording in filter(with_request, load(dialect)):
        if (dialect, recording.number) in NO_REQUEST:
            continue
        for path, holder, key in places(recording.request.body):
            shape = (pattern_of(path), type(holder[key]))
            if shape not in met:
                met.add(shape)
                yield recording.request.body, path, holder, key


@pytest.mark.parametrize("dialect", PROTOCOLS)
def test_a_field_of_another_type_is_kept_or_refused_without_an_echo(dialect: str) -> None:
    if not load(dialect):
        pytest.skip(f"no recordings at ../shared/fixtures/{dialect}")
    for document, path, holder, key in shapes(dialect):
        before = dict(holder)
        for odd in ODD:
            holder[key] = odd
            assert SECRET not in refusal(PROTOCOLS[dialect], document), path
        holder.clear()
        holder.update(before)
