"""What the embedded OpenAI provider refuses: one row per rule, one small change to a request that is accepted."""

import base64
import copy
from collections.abc import Callable

import pytest

from busbar.demo.providers.dialect import Refused
from busbar.demo.providers.openai import OpenAI

PNG = base64.b64encode(b"\x89PNG").decode()


def put(*path: object, value: object) -> Callable[[dict], None]:
    def change(body: dict) -> None:
        *way, last = path
        node = body
        for step in way:
            node = node[step]
        node[last] = value

    return change


def pop(*path: object) -> Callable[[dict], None]:
    def change(body: dict) -> None:
        *way, last = path
        node = body
        for step in way:
            node = node[step]
        node.pop(last)

    return change


def called(name: str, **function: object) -> dict:
    return {"id": name, "type": "function", "function": {"name": "get", "arguments": "{}", **function}}


def openai_body() -> dict:
    """Accepted: every row below changes one thing in it."""
    return {
        "model": "demo",
        "messages": [
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": "Hello"},
            {"role": "assistant", "content": None, "tool_calls": [called("c1"), called("c2")]},
            {"role": "tool", "tool_call_id": "c1", "content": "ok"},
            {"role": "tool", "tool_call_id": "c2", "content": "ok"},
            {"role": "user", "content": "And?"},
        ],
        "tools": [{"type": "function", "function": {"name": "get", "parameters": {"type": "object"}}}],
    }


def picture(url: str) -> list:
    return [{"type": "image_url", "image_url": {"url": url}}]


USER = ("messages", 1, "content")
CALL = ("messages", 2, "tool_calls", 0)
FUNCTION = ("tools", 0, "function")


def form(schema: dict, **named: object) -> dict:
    return {"type": "json_schema", "json_schema": {"name": "thing", "schema": schema, **named}}


OPENAI = [
    (put("top_k", value=1), None, None, "Unrecognized request argument supplied: top_k"),
    (pop("messages"), "messages", "missing_required_parameter", "Missing required parameter: 'messages'."),
    (put("messages", value=[]), "messages", "empty_array", "Invalid 'messages': empty array. Expected an array with"),
    (put("temperature", value=2.1), "temperature", "decimal_above_max_value", "Invalid 'temperature': decimal above"),
    (put("n", value=0), "n", "integer_below_min_value", "Invalid 'n': integer below minimum value. Expected a value"),
    (put("stop", value=list("abcde")), "stop", "array_above_max_length", "Invalid 'stop': array too long. Expected"),
    (
        put("stream", value=1),
        "stream",
        "invalid_type",
        "Invalid type for 'stream': expected a boolean, but got an int",
    ),
    (
        put(*USER, value={}),
        "messages[1].content",
        "invalid_type",
        "Invalid type for 'messages[1].content': expected one of a string or array of objects, but got an object",
    ),
    (
        put(*USER, value=[{"type": "image"}]),
        "messages[1].content[0].type",
        "invalid_value",
        "Invalid value: 'image'.",
    ),
    (put("messages", 1, "role", value="model"), "messages[1].role", "invalid_value", "Invalid value: 'model'. Supp"),
    (put("messages", 1, "x", value=1), "messages[1].x", "unknown_parameter", "Unknown parameter: 'messages[1].x'."),
    (
        put("messages", 2, value={"role": "assistant", "content": None}),
        "messages.[2].content",
        None,
        "Invalid value for 'content': expected a string, got null.",
    ),
    (
        pop("messages", 2),
        "messages.[2].role",
        None,
        "Invalid parameter: messages with role 'tool' must be a response",
    ),
    (
        pop("messages", 4),
        "messages.[4].role",
        None,
        "An assistant message with 'tool_calls' must be followed by tool",
    ),
    (put("messages", 4, "tool_call_id", value="c9"), "messages.[4].role", None, "Invalid parameter: messages with"),
    (
        put("messages", 4, "tool_call_id", value="c1"),
        "messages.[4]",
        None,
        "Duplicate value for 'tool_call_id' of 'c1'",
    ),
    (put(*CALL, "id", value="c2"), "messages.[2].tool_calls", None, "Duplicate value for 'tool_call_id'"),
    (
        put(*CALL, "id", value="c" * 41),
        "messages[2].tool_calls[0].id",
        "string_above_max_length",
        "Invalid 'messages[2].tool_calls[0].id': string too long. Expected a string with maximum length 40",
    ),
    (
        put(*CALL, "function", "arguments", value={}),
        "messages[2].tool_calls[0].function.arguments",
        "invalid_type",
        "Invalid type for 'messages[2].tool_calls[0].function.arguments': expected a string, but got an object",
    ),
    (
        put(*FUNCTION, "name", value="a.b"),
        "tools[0].function.name",
        "invalid_value",
        "Invalid 'tools[0].function.name'",
    ),
    (put(*FUNCTION, "name", value="x" * 65), "tools[0].function.name", "invalid_value", "Invalid 'tools[0].function"),
    (
        put(*FUNCTION, "parameters", "type", value="string"),
        "tools[0].function.parameters",
        "invalid_function_parameters",
        "Invalid schema for function 'get': schema must be a JSON Schema of 'type: \"object\"', got",
    ),
    (
        put(*FUNCTION, "strict", value=True),
        "tools[0].function.parameters",
        "invalid_function_parameters",
        "Invalid schema for function 'get': In context=(), 'additionalProperties' is required to be supplied and",
    ),
    (put("tools", value=[]), "tools", "empty_array", "Invalid 'tools': empty array."),
    (
        put("tool_choice", value={"type": "function", "function": {"name": "x"}}),
        "tool_choice",
        None,
        "Tool choice 'x' not found in 'tools' parameter.",
    ),
    (put("tool_choice", value="any"), "tool_choice", "invalid_value", "Invalid value: 'any'. Supported values are:"),
    (
        lambda body: [body.pop("tools"), body.update(parallel_tool_calls=True)],
        "parallel_tool_calls",
        None,
        "'parallel_tool_calls' is only allowed when 'tools' are specified.",
    ),
    (
        put(*USER, value=picture("ftp://x")),
        "messages[1].content[0].image_url.url",
        "invalid_value",
        "Invalid 'messages",
    ),
    (
        put(*USER, value=picture("data:image/png;base64,***")),
        "messages[1].content[0].image_url.url",
        "invalid_base64",
        "Invalid base64 image_url.",
    ),
    (
        put(*USER, value=picture(f"data:image/bmp;base64,{PNG}")),
        None,
        "invalid_image_format",
        "You uploaded an unsupported image.",
    ),
    (
        put("response_format", value={"type": "json"}),
        "response_format.type",
        "invalid_value",
        "Invalid value: 'json'.",
    ),
    (
        put("response_format", value={"type": "json_schema"}),
        "response_format.json_schema",
        "missing_required_parameter",
        "Missing required parameter: 'response_format.json_schema'.",
    ),
    (
        put("response_format", value=form({"type": "object", "properties": {"a": {}}}, strict=True)),
        "response_format",
        None,
        "Invalid schema for response_format 'thing': In context=(), 'additionalProperties' is required",
    ),
    (
        put(
            "response_format",
            value=form({"type": "object", "properties": {"a": {}}, "additionalProperties": False}, strict=True),
        ),
        "response_format",
        None,
        "Invalid schema for response_format 'thing': In context=(), 'required' is required to be supplied and to be",
    ),
    (
        put("response_format", value={"type": "json_object"}),
        "messages",
        None,
        "'messages' must contain the word 'json'",
    ),
    (put("stream_options", value={}), "stream_options", None, "The 'stream_options' parameter is only allowed when"),
    (put("top_logprobs", value=1), "top_logprobs", None, "The 'top_logprobs' parameter is only allowed when"),
    (
        lambda body: body.update(max_tokens=1, max_completion_tokens=1),
        "max_tokens",
        "invalid_parameter_combination",
        "Setting 'max_tokens' and 'max_completion_tokens' at the same time is not supported.",
    ),
    (
        lambda body: body.update(max_tokens=1, model="gpt-5-mini"),
        "max_tokens",
        "unsupported_parameter",
        "Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens' instead.",
    ),
]


def test_the_openai_body_that_the_rows_change_is_accepted():
    OpenAI().validate(openai_body(), {})


@pytest.mark.parametrize(("change", "param", "code", "message"), OPENAI, ids=[row[3][:60] for row in OPENAI])
def test_openai_refuses(change, param, code, message):
    body = copy.deepcopy(openai_body())
    change(body)
    with pytest.raises(Refused) as refused:
        OpenAI().validate(body, {})
    said = refused.value
    assert (said.status, said.kind, said.param, said.code) == (400, "invalid_request_error", param, code)
    assert said.message.startswith(message)


@pytest.mark.parametrize(
    ("headers", "code", "message"),
    [
        ({}, None, "You didn't provide an API key."),
        ({"x-api-key": "k"}, None, "You didn't provide an API key."),
        ({"authorization": "Bearer other"}, "invalid_api_key", "Incorrect API key provided: othe****."),
    ],
)
def test_openai_headers(headers, code, message):
    with pytest.raises(Refused) as refused:
        OpenAI().admit(headers, frozenset({"k"}))
    assert (refused.value.status, refused.value.code) == (401, code)
    assert refused.value.message.startswith(message)


@pytest.mark.parametrize("carrier", [{"authorization": "Bearer k"}, {"api-key": "k"}])
def test_a_good_key_is_admitted(carrier):
    OpenAI().admit(carrier, frozenset({"k"}))
