"""What the embedded Cohere provider refuses: one row per rule, one small change to a request that is accepted."""

import base64
import copy
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import json, structs

from busbar.demo.providers.cohere import Cohere
from busbar.demo.providers.dialect import Refused
from busbar.demo.providers.faults import FAULTS, Scene
from busbar.demo.providers.script import play
from busbar.demo.providers.usage import PromptCache, count
from tests.demo.test_providers_hostile import JUNK, places
from tests.recordings import Recording, recordings, with_request

PNG = base64.b64encode(b"\x89PNG").decode()


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


def called(name: str) -> dict:
    return {"id": name, "type": "function", "function": {"name": "get", "arguments": "{}"}}


def cohere_body() -> dict:
    """Accepted: every row below changes one thing in it."""
    return {
        "model": "demo",
        "messages": [
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": "Hello"},
            {"role": "assistant", "tool_plan": "Look.", "tool_calls": [called("c1"), called("c2")]},
            {"role": "tool", "tool_call_id": "c1", "content": "ok"},
            {"role": "tool", "tool_call_id": "c2", "content": [{"type": "text", "text": "ok"}]},
            {"role": "user", "content": "And?"},
        ],
        "tools": [{"type": "function", "function": {"name": "get", "parameters": {"type": "object"}}}],
        "stream": False,
        "p": 0.01,
        "k": 500,
        "temperature": 1,
        "frequency_penalty": 1.0,
    }


def picture(url: str) -> list:
    return [{"type": "image_url", "image_url": {"url": url}}]


REFERENCE = " For proper usage, please refer to https://docs.cohere.com/reference/chat"
UNKNOWN = [
    (put("top_p", value=1), f"unknown field: parameter 'top_p' is not a valid field.{REFERENCE}"),
    (put("parallel_tool_calls", value=True), "unknown field: parameter 'parallel_tool_calls' is not a valid field."),
    (put("messages", 1, "name", value="x"), "unknown field: parameter 'messages.name' is not a valid field."),
    (
        put("tools", 0, "function", "strict", value=True),
        "unknown field: parameter 'tools.function.strict' is not a valid field.",
    ),
    (
        put("messages", 2, "reasoning_content", value="x"),
        "unknown field: parameter 'messages.reasoning_content' is not a valid field.",
    ),
]
ROWS = [
    (pop("model"), "invalid request: 'model' is required."),
    (pop("messages"), "invalid request: 'messages' is required."),
    (put("messages", value=[]), "invalid request: messages must not be empty."),
    (
        put("max_tokens", value="9"),
        f"invalid type: parameter 'max_tokens' is of type string but should be of type int32.{REFERENCE}",
    ),
    (put("stream", value="yes"), "invalid type: parameter 'stream' is of type string but should be of type bool."),
    (put("stop_sequences", value="x"), "invalid type: parameter 'stop_sequences' is of type string but should be of"),
    (put("max_tokens", value=0), "invalid request: 'max_tokens' must be at least 1, got 0."),
    (put("temperature", value=1.1), "invalid request: 'temperature' must be at most 1, got 1.1."),
    (put("p", value=0), "invalid request: 'p' must be at least 0.01, got 0."),
    (put("p", value=1), "invalid request: 'p' must be at most 0.99, got 1."),
    (put("k", value=501), "invalid request: 'k' must be at most 500, got 501."),
    (put("frequency_penalty", value=-0.1), "invalid request: 'frequency_penalty' must be at least 0, got -0.1."),
    (put("presence_penalty", value=2), "invalid request: 'presence_penalty' must be at most 1, got 2."),
    (put("seed", value=-1), "invalid request: 'seed' must be at least 0, got -1."),
    (put("stop_sequences", value=list("abcdef")), "invalid request: 'stop_sequences' can have at most 5 items"),
    (put("tool_choice", value="auto"), "invalid request: 'tool_choice' must be one of 'REQUIRED', 'NONE',"),
    (put("tool_choice", value={"type": "function"}), "invalid request: 'tool_choice' must be one of 'REQUIRED',"),
    (
        lambda body: [body.pop("tools"), body.update(tool_choice="REQUIRED")],
        "invalid request: tool_choice 'REQUIRED' requires 'tools' to be specified.",
    ),
    (put("messages", 1, "role", value="developer"), "invalid request: 'messages.role' must be one of 'system',"),
    (put("messages", 1, "content", value=""), "invalid request: message at index 1 must have non-empty content"),
    (put("messages", 1, "content", value=[]), "invalid request: message at index 1 must have non-empty content"),
    (
        put("messages", 1, "content", value=[{"type": "text", "text": ""}]),
        "invalid request: message at index 1 must be at least 1 token long.",
    ),
    (
        put("messages", 2, value={"role": "assistant", "content": None}),
        "invalid request: message at index 2 must have non-empty content or tool calls.",
    ),
    (
        put("messages", 1, "content", value=[{"type": "input_text", "text": "x"}]),
        "invalid request: 'messages.content.type' must be one of 'text', 'image_url', got 'input_text'.",
    ),
    (
        put("messages", 3, "content", value=picture("https://x")),
        "invalid request: 'messages.content.type' must be one of 'text', 'document', got 'image_url'.",
    ),
    (
        put("messages", 1, "content", value=picture("data:image/bmp;base64,AAAA")),
        "invalid request: image_url must be a web URL or a base64 data URI",
    ),
    (
        pop("messages", 4),
        "invalid request: tool calls must be followed by their tool results; missing results for",
    ),
    (
        put("messages", 4, "tool_call_id", value="c9"),
        "invalid request: message at index 4: tool call id 'c9' not found in previous tool calls.",
    ),
    (
        put("messages", 4, "tool_call_id", value="c1"),
        "invalid request: message at index 4: duplicate tool result for tool call id 'c1'.",
    ),
    (
        put("messages", 2, "tool_calls", 1, "id", value="c1"),
        "invalid request: message at index 2: tool call ids must be unique.",
    ),
    (
        put("messages", 2, "tool_calls", 0, "function", "arguments", value={}),
        "invalid type: parameter 'messages.tool_calls.function.arguments' is of type Object but should be of",
    ),
    (
        put("tools", 0, "function", "parameters", value={}),
        "invalid request: tool 'get': parameters must be a JSON schema of type 'object'.",
    ),
    (
        put("response_format", value={"type": "json_object"}),
        "invalid request: response_format is not supported with 'documents' or 'tools'.",
    ),
    (put("thinking", value={"type": "adaptive"}), "invalid request: 'thinking.type' must be one of 'enabled',"),
    (put("documents", value=[{"text": "x"}]), "invalid request: 'documents.data' is required."),
]


def test_the_body_that_the_rows_change_is_accepted():
    Cohere().validate(cohere_body(), {})


@pytest.mark.parametrize(
    ("status", "change", "message"),
    [*((422, *row) for row in UNKNOWN), *((400, *row) for row in ROWS)],
    ids=[row[1][:70] for row in [*UNKNOWN, *ROWS]],
)
def test_cohere_refuses(status, change, message):
    body = copy.deepcopy(cohere_body())
    change(body)
    with pytest.raises(Refused) as refused:
        Cohere().validate(body, {})
    assert refused.value.status == status
    assert refused.value.message.startswith(message)


@pytest.mark.parametrize(
    ("headers", "message"),
    [
        ({}, "no api key supplied"),
        ({"x-api-key": "k"}, "no api key supplied"),
        ({"authorization": "Bearer other"}, "invalid api token"),
    ],
)
def test_keys(headers, message):
    with pytest.raises(Refused) as refused:
        Cohere().admit(headers, frozenset({"k"}))
    assert (refused.value.status, refused.value.message) == (401, message)
    Cohere().admit({"authorization": "Bearer k"}, frozenset({"k"}))


@pytest.mark.parametrize("word", FAULTS)
@pytest.mark.parametrize("stream", [True, False])
def test_every_fault_has_its_steps(word, stream):
    dialect, body = Cohere(), cohere_body()
    ask = dialect.read(body)
    answer = play(ask)
    usage = count(ask, answer, PromptCache())
    told = {"frames": dialect.frames(body, ask, answer, usage)}
    scene = Scene(dialect=dialect, request_id="req_1", model="demo", **told if stream else {})
    scene = scene if stream else structs.replace(scene, document=dialect.document(body, ask, answer, usage))
    assert FAULTS[word](scene)


RICH = {
    "documents": [{"id": "d", "data": {"title": "t", "text": "x"}}, "y"],
    "citation_options": {"mode": "ACCURATE"},
    "thinking": {"type": "enabled", "token_budget": 9},
    "tool_choice": "NONE",
    "stop_sequences": ["z"],
    "logprobs": True,
}


@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_junk_anywhere_is_answered_or_refused(data: st.DataObject):
    dialect, body = Cohere(), copy.deepcopy({**cohere_body(), **RICH})
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
        and recording.meta["upstream_host"] in ("api.cohere.com", "api.cohere.ai")
        and recording.response.status == 200
    )


@pytest.mark.parametrize("recording", recordings("cohere", native))
def test_a_recorded_request_that_was_answered_is_accepted_read_and_answered(recording: Recording):
    body, dialect = recording.request.body, Cohere()
    dialect.validate(body, {})
    ask = dialect.read(body)
    answer = play(ask)
    usage = count(ask, answer, PromptCache())
    assert usage.input > 0
    assert dialect.document(body, ask, answer, usage)["message"]["role"] == "assistant"
    assert dialect.frames(body, ask, answer, usage)[-1].data == "[DONE]"


@pytest.mark.parametrize("recording", recordings("cohere", lambda recording: recording.number == 92))
def test_a_recorded_request_that_was_refused_is_refused_in_the_same_words(recording: Recording):
    with pytest.raises(Refused) as refused:
        Cohere().validate(recording.request.body, {})
    assert (refused.value.status, refused.value.message) == (
        recording.response.status,
        recording.response.body["message"],
    )
