"""What the embedded Responses provider refuses: one row per rule, one small change to a request that is accepted."""

import base64
import copy
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import json, structs

from busbar.demo.providers.dialect import Refused
from busbar.demo.providers.faults import FAULTS, Scene
from busbar.demo.providers.responses import Responses
from busbar.demo.providers.script import play
from busbar.demo.providers.signature import encrypt, redact, sign
from busbar.demo.providers.usage import PromptCache, count
from tests.demo.test_providers_hostile import JUNK, places
from tests.recordings import Recording, recordings, with_request

PNG = base64.b64encode(b"\x89PNG").decode()
SCHEMA = {"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"], "additionalProperties": False}


def at(body: Any, path: tuple[object, ...]) -> Any:
    for step in path:
        body = body[step]
    return body


def put(*path: object, value: object) -> Callable[[dict], None]:
    def change(body: dict) -> None:
        at(body, path[:-1])[path[-1]] = value

    return change


def pop(*path: object) -> Callable[[dict], None]:
    return lambda body: at(body, path[:-1]).pop(path[-1])


def responses_body() -> dict:
    """Accepted: every row below changes one thing in it."""
    return {
        "model": "demo",
        "instructions": "Be brief.",
        "input": [
            {"role": "user", "content": [{"type": "input_text", "text": "Hello"}]},
            {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": encrypt("Hm.")},
            {"type": "function_call", "id": "fc_1", "call_id": "c1", "name": "get", "arguments": "{}"},
            {"type": "function_call", "call_id": "c2", "name": "get", "arguments": "{}"},
            {"type": "function_call_output", "call_id": "c1", "output": "ok"},
            {"type": "function_call_output", "call_id": "c2", "output": [{"type": "input_text", "text": "ok"}]},
            {
                "type": "message",
                "id": "msg_1",
                "role": "assistant",
                "status": "completed",
                "content": [{"type": "output_text", "text": "Hi", "annotations": []}],
            },
            {"role": "user", "content": "And?"},
        ],
        "tools": [{"type": "function", "name": "get", "parameters": {"type": "object"}}],
    }


def form(schema: dict, **named: object) -> Callable[[dict], None]:
    return put("text", value={"format": {"type": "json_schema", "name": "thing", "schema": schema, **named}})


USER = ("input", 0, "content")
CALL = ("input", 2)
TOOL = ("tools", 0)
ROWS = [
    (put("top_k", value=1), "top_k", "unknown_parameter", "Unknown parameter: 'top_k'."),
    (put("stop", value=["x"]), "stop", "unknown_parameter", "Unknown parameter: 'stop'."),
    (put("max_tokens", value=99), "max_tokens", "unknown_parameter", "Unknown parameter: 'max_tokens'."),
    (pop("model"), "model", "missing_required_parameter", "Missing required parameter: 'model'."),
    (pop("input"), "input", "missing_required_parameter", 'One of "input" or "previous_response_id" or'),
    (put("input", value=[]), "input", "missing_required_parameter", 'One of "input" or "previous_response_id" or'),
    (
        put("max_output_tokens", value=15),
        "max_output_tokens",
        "integer_below_min_value",
        "Invalid 'max_output_tokens': integer below minimum value. Expected a value >= 16, but got 15 instead.",
    ),
    (put("temperature", value=3), "temperature", "decimal_above_max_value", "Invalid 'temperature': decimal above"),
    (put("stream", value=1), "stream", "invalid_type", "Invalid type for 'stream': expected a boolean, but got"),
    (put("stream_options", value={}), "stream_options", None, "The 'stream_options' parameter is only allowed when"),
    (
        put("previous_response_id", value="resp_1"),
        "previous_response_id",
        "previous_response_not_found",
        "Previous response with id 'resp_1' not found.",
    ),
    (put("input", 0, "role", value="tool"), "input[0]", "invalid_value", "Invalid value: 'tool'. Supported values"),
    (put("input", 0, "type", value="text"), "input[0]", "invalid_value", "Invalid value: 'text'. Supported values"),
    (put("input", 0, "name", value="x"), "input[0].name", "unknown_parameter", "Unknown parameter: 'input[0].name'."),
    (
        put(*USER, 0, "type", value="text"),
        "input[0].content[0].type",
        "invalid_value",
        "Invalid value: 'text'. Supported values are: 'input_text', 'input_image', 'output_text', 'refusal',",
    ),
    (
        put(*USER, 0, "type", value="output_text"),
        "input[0].content[0].type",
        "invalid_value",
        "Invalid value: 'output_text'. Supported values are: 'input_text', 'input_image', and 'input_file'.",
    ),
    (
        put("input", 6, "content", 0, "type", value="input_text"),
        "input[6].content[0].type",
        "invalid_value",
        "Invalid value: 'input_text'. Supported values are: 'output_text' and 'refusal'.",
    ),
    (
        put("input", 6, "id", value="chatcmpl-1"),
        "input[6].id",
        "invalid_value",
        "Invalid 'input[6].id': 'chatcmpl-1'. Expected an ID that begins with 'msg'.",
    ),
    (
        put(*CALL, "id", value="call_1"),
        "input[2].id",
        "invalid_value",
        "Invalid 'input[2].id': 'call_1'. Expected an ID that begins with 'fc'.",
    ),
    (
        put(*CALL, "call_id", value="c" * 65),
        "input[2].call_id",
        "string_above_max_length",
        "Invalid 'input[2].call_id': string too long. Expected a string with maximum length 64, but got a string",
    ),
    (
        put(*CALL, "arguments", value={}),
        "input[2].arguments",
        "invalid_type",
        "Invalid type for 'input[2].arguments': expected a string, but got an object instead.",
    ),
    (
        put(*CALL, "parsed_arguments", value={}),
        "input[2].parsed_arguments",
        "unknown_parameter",
        "Unknown parameter: 'input[2].parsed_arguments'.",
    ),
    (pop("input", 5), "input", None, "No tool output found for function call c2."),
    (pop("input", 3), "input", None, "No tool call found for function call output with call_id c2."),
    (put("input", 3, "call_id", value="c1"), "input", None, "Duplicate item found with call_id c1."),
    (put("input", 5, "call_id", value="c1"), "input", None, "No tool call found for function call output with"),
    (
        put("input", 1, "encrypted_content", value=encrypt("Hm.")[:-1]),
        None,
        "invalid_encrypted_content",
        "The encrypted content for item rs_1 could not be verified.",
    ),
    (
        put("input", 1, "encrypted_content", value=redact("Hm.")),
        None,
        "invalid_encrypted_content",
        "The encrypted content for item rs_1 could not be verified.",
    ),
    (
        put("input", 1, "encrypted_content", value=sign("Hm.")),
        None,
        "invalid_encrypted_content",
        "The encrypted content for item rs_1 could not be verified.",
    ),
    (
        put("input", 1, "content", value=[{"type": "reasoning_text", "text": "Hm."}]),
        "input[1].content",
        "array_above_max_length",
        "Invalid 'input[1].content': array too long. Expected an array with maximum length 0",
    ),
    (
        put(*TOOL, value={"type": "function", "function": {"name": "get", "parameters": {"type": "object"}}}),
        "tools[0].name",
        "missing_required_parameter",
        "Missing required parameter: 'tools[0].name'.",
    ),
    (put(*TOOL, "name", value="a.b"), "tools[0].name", "invalid_value", "Invalid 'tools[0].name': string does not"),
    (put(*TOOL, "type", value="retrieval"), "tools[0]", "invalid_value", "Invalid value: 'retrieval'."),
    (
        put(*TOOL, "parameters", value={"properties": {}}),
        "tools[0].parameters",
        "invalid_function_parameters",
        "Invalid schema for function 'get': schema must be a JSON Schema of 'type: \"object\"', got 'type:",
    ),
    (
        put(*TOOL, "strict", value=True),
        "tools[0].parameters",
        "invalid_function_parameters",
        "Invalid schema for function 'get': In context=(), 'additionalProperties' is required to be supplied and",
    ),
    (
        put("tool_choice", value={"type": "function", "name": "x"}),
        "tool_choice",
        None,
        "Tool choice 'x' not found in 'tools' parameter.",
    ),
    (
        put("tool_choice", value={"type": "function", "function": {"name": "get"}}),
        "tool_choice.name",
        "missing_required_parameter",
        "Missing required parameter: 'tool_choice.name'.",
    ),
    (put("tool_choice", value="any"), "tool_choice", "invalid_value", "Invalid value: 'any'. Supported values are:"),
    (
        lambda body: [body.pop("tools"), body.update(tool_choice="required")],
        "tool_choice",
        None,
        "Tool choices other than 'auto' must be specified with 'tools' parameter.",
    ),
    (
        put(*USER, value=[{"type": "input_image", "image_url": {"url": "https://x"}}]),
        "input[0].content[0].image_url",
        "invalid_type",
        "Invalid type for 'input[0].content[0].image_url': expected a string, but got an object instead.",
    ),
    (
        put(*USER, value=[{"type": "input_image", "image_url": "data:image/png;base64,***"}]),
        "input[0].content[0].image_url",
        "invalid_base64",
        "Invalid base64 image_url.",
    ),
    (
        put(*USER, value=[{"type": "input_image", "image_url": f"data:image/bmp;base64,{PNG}"}]),
        None,
        "invalid_image_format",
        "You uploaded an unsupported image.",
    ),
    (
        put(*USER, value=[{"type": "input_image"}]),
        "input[0].content[0].image_url",
        "missing_required_parameter",
        "Missing required parameter: 'input[0].content[0].image_url'.",
    ),
    (
        put(*USER, value=[{"type": "input_file", "file_data": PNG, "filename": "a"}]),
        "input[0].content[0].file_data",
        "invalid_value",
        "Invalid file data: 'input[0].content[0].file_data'. Expected a base64-encoded data URL",
    ),
    (
        put(*USER, value=[{"type": "input_file", "file_data": f"data:application/pdf;base64,{PNG}"}]),
        "input[0].content[0].filename",
        "missing_required_parameter",
        "Missing required parameter: 'input[0].content[0].filename'.",
    ),
    (
        put(*USER, value=[{"type": "input_file", "file_url": "data:application/pdf;base64,AAAA"}]),
        "url",
        "invalid_value",
        "Failed to download file from data:application/pdf;base64,AAAA.",
    ),
    (
        put("text", value={"format": {"type": "json_schema", "json_schema": {"name": "n", "schema": SCHEMA}}}),
        "text.format.name",
        "missing_required_parameter",
        "Missing required parameter: 'text.format.name'.",
    ),
    (
        form({"type": "object", "properties": {"a": {}}}, strict=True),
        "text.format.schema",
        "invalid_json_schema",
        "Invalid schema for response_format 'thing': In context=(), 'additionalProperties' is required",
    ),
    (
        form({**SCHEMA, "required": []}, strict=True),
        "text.format.schema",
        "invalid_json_schema",
        "Invalid schema for response_format 'thing': In context=(), 'required' is required to be supplied and to be",
    ),
    (
        put("text", value={"format": {"type": "json_object"}}),
        "input",
        None,
        "Response input messages must contain the word 'json' in some form",
    ),
    (put("include", value=["everything"]), "include[0]", "invalid_value", "Invalid value: 'everything'."),
    (put("reasoning", value={"effort": "huge"}), "reasoning.effort", "invalid_value", "Invalid value: 'huge'."),
]
STORED = [
    (put("conversation", value="conv_1"), "Conversation with id 'conv_1' not found."),
    (put("input", 1, value={"type": "item_reference", "id": "rs_9"}), "Item with id 'rs_9' not found."),
    (pop("input", 1, "encrypted_content"), "Item with id 'rs_1' not found."),
]


def test_the_body_that_the_rows_change_is_accepted():
    Responses().validate(responses_body(), {})
    strict = responses_body()
    strict["tools"][0] |= {"parameters": SCHEMA, "strict": True}
    form(SCHEMA, strict=True)(strict)
    Responses().validate(strict, {})


@pytest.mark.parametrize(("change", "param", "code", "message"), ROWS, ids=[row[3][:60] for row in ROWS])
def test_responses_refuses(change, param, code, message):
    body = copy.deepcopy(responses_body())
    change(body)
    with pytest.raises(Refused) as refused:
        Responses().validate(body, {})
    said = refused.value
    assert (said.status, said.kind, said.param, said.code) == (400, "invalid_request_error", param, code)
    assert said.message.startswith(message)


@pytest.mark.parametrize(("change", "message"), STORED, ids=[row[1] for row in STORED])
def test_nothing_is_stored(change, message):
    body = copy.deepcopy(responses_body())
    change(body)
    with pytest.raises(Refused) as refused:
        Responses().validate(body, {})
    assert refused.value.status == 404
    assert refused.value.message.startswith(message)


@pytest.mark.parametrize("word", FAULTS)
@pytest.mark.parametrize("stream", [True, False])
def test_every_fault_has_its_steps(word, stream):
    dialect, body = Responses(), responses_body()
    ask = dialect.read(body)
    answer = play(ask)
    usage = count(ask, answer, PromptCache())
    told = {"frames": dialect.frames(body, ask, answer, usage)}
    scene = Scene(dialect=dialect, request_id="req_1", model="demo", **told if stream else {})
    scene = scene if stream else structs.replace(scene, document=dialect.document(body, ask, answer, usage))
    assert FAULTS[word](scene)


RICH = {
    "reasoning": {"effort": "low", "summary": "auto"},
    "include": ["reasoning.encrypted_content", "message.output_text.logprobs"],
    "text": {"format": {"type": "json_schema", "name": "n", "schema": SCHEMA, "strict": True}},
    "tool_choice": {"type": "function", "name": "get"},
    "max_output_tokens": 99,
    "metadata": {"a": "b"},
}


@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_junk_anywhere_is_answered_or_refused(data: st.DataObject):
    dialect, body = Responses(), copy.deepcopy({**responses_body(), **RICH})
    *way, last = data.draw(st.sampled_from(places(body)), label="place")
    at(body, tuple(way))[last] = data.draw(JUNK, label="junk")
    try:
        dialect.validate(body, {})
    except Refused as refused:
        json.encode(dialect.error(refused, "req_1"))
        return
    ask = dialect.read(body)
    answer = play(ask)
    usage = count(ask, answer, PromptCache())
    assert json.encode(dialect.document(body, ask, answer, usage))
    assert all(frame.encode() for frame in dialect.frames(body, ask, answer, usage))


def native(recording: Recording) -> bool:
    return (
        with_request(recording)
        and recording.meta["kind"] == "recorded"
        and recording.meta["upstream_host"] == "api.openai.com"
        and recording.response.status == 200
    )


CONVERSATIONS = {31}
"""Recordings that go on with a conversation that OpenAI stores."""


@pytest.mark.parametrize("recording", recordings("responses", native))
def test_a_recorded_request_that_was_answered_is_accepted_read_and_answered(recording: Recording):
    body, dialect = copy.deepcopy(recording.request.body), Responses()
    for item in body["input"] if isinstance(body["input"], list) else ():
        if item.get("type") == "reasoning":
            item["encrypted_content"] = encrypt("recorded reasoning was encrypted by another key")
    if recording.number in CONVERSATIONS:
        body.pop("conversation")
    dialect.validate(body, {})
    ask = dialect.read(body)
    answer = play(ask)
    usage = count(ask, answer, PromptCache())
    assert usage.input > 0
    assert dialect.document(body, ask, answer, usage)["model"] == body["model"]
    assert dialect.frames(body, ask, answer, usage)[-1].part == "close"


@pytest.mark.parametrize(
    "recording", recordings("responses", lambda r: r.number in {149, 150, 151, 152, 154, 156, 159, 161, 165})
)
def test_a_recorded_request_that_was_refused_is_refused_in_the_same_words(recording: Recording):
    with pytest.raises(Refused) as refused:
        Responses().validate(recording.request.body, {})
    recorded = recording.response.body["error"]
    said = refused.value
    assert {"message": said.message, "type": said.kind, "param": said.param, "code": said.code} == {
        key: recorded.get(key) for key in ("message", "type", "param", "code")
    }
