"""What the embedded Anthropic provider refuses: one row per rule, one small change to a request that is accepted."""

import base64
import copy
from collections.abc import Callable

import pytest

from busbar.demo.providers.anthropic import Anthropic
from busbar.demo.providers.dialect import Refused

PNG = base64.b64encode(b"\x89PNG").decode()
OLD = {"anthropic-version": "2023-06-01"}


def use(name: str) -> dict:
    return {"type": "tool_use", "id": name, "name": "get", "input": {}}


def result(name: str) -> dict:
    return {"type": "tool_result", "tool_use_id": name, "content": "ok"}


def anthropic_body() -> dict:
    """Accepted: every row below changes one thing in it."""
    return {
        "model": "demo",
        "max_tokens": 4096,
        "system": [{"type": "text", "text": "Be brief."}],
        "messages": [
            {"role": "user", "content": "Hello"},
            {"role": "assistant", "content": [{"type": "text", "text": "Look:"}, use("t1"), use("t2")]},
            {"role": "user", "content": [result("t1"), result("t2"), {"type": "text", "text": "And?"}]},
        ],
        "tools": [{"name": "get", "input_schema": {"type": "object"}}],
    }


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


def image(**source: object) -> list:
    return [{"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PNG, **source}}]


EPHEMERAL = {"type": "ephemeral"}
FIVE_MARKED = [{"type": "text", "text": "x", "cache_control": EPHEMERAL}] * 5
THINK = {"type": "enabled", "budget_tokens": 2048}
LAST = ("messages", 2, "content")
JSON_SCHEMA = {"format": {"type": "json_schema", "schema": {"type": "object"}}}

ANTHROPIC = [
    (put("n", value=1), "n: Extra inputs are not permitted"),
    (put("context_management", value={}), "context_management: Extra inputs are not permitted"),
    (put("output_format", value=None), "output_format: Extra inputs are not permitted"),
    (pop("max_tokens"), "max_tokens: Field required"),
    (pop("messages"), "messages: Field required"),
    (put("messages", value=[]), "messages: at least one message is required"),
    (put("max_tokens", value="9"), "max_tokens: Input should be a valid integer"),
    (put("max_tokens", value=-1), "max_tokens: Input should be greater than or equal to 0"),
    (put("temperature", value=1.1), "temperature: Input should be less than or equal to 1"),
    (put("top_p", value=-0.1), "top_p: Input should be greater than or equal to 0"),
    (put("messages", 0, "role", value="tool"), "messages.0.role: Input should be 'user', 'assistant' or 'system'"),
    (put("messages", 0, "role", value="assistant"), 'messages: first message must use the "user" role'),
    (put("messages", 0, "content", value=""), "messages.0: all messages must have non-empty content"),
    (put("messages", 0, "content", value=None), "messages.0.content: Input should be a valid string"),
    (put("messages", 0, "name", value="x"), "messages.0.name: Extra inputs are not permitted"),
    (
        put("messages", 0, "content", value=[{"type": "input_audio"}]),
        "messages.0.content.0: Input tag 'input_audio' found using 'type' does not match any of the expected tags",
    ),
    (
        put("messages", 0, "content", value=[{"type": "text", "text": ""}]),
        "messages: text content blocks must be non-empty",
    ),
    (put("system", 0, "text", value=" \n"), "system: text content blocks must contain non-whitespace text"),
    (put("messages", 0, "content", value=[use("t0")]), "messages.0: `tool_use` blocks can only be in `assistant`"),
    (pop("messages", 2), "messages.1: `tool_use` ids were found without `tool_result` blocks"),
    (pop(*LAST, 1), "messages.2: `tool_use` ids were found without `tool_result` blocks immediately after: t2"),
    (lambda body: body["messages"][2]["content"].reverse(), "messages.2: `tool_use` ids were found without"),
    (put(*LAST, 1, "tool_use_id", value="t9"), "messages.2: `tool_use` ids were found without `tool_result` blocks"),
    (put(*LAST, 2, value=result("t9")), "messages.2.content.2: unexpected `tool_use_id` found in `tool_result`"),
    (put(*LAST, 2, value=result("t2")), "messages.2.content.2: each tool_use must have a single result"),
    (put("messages", 1, "content", 2, "id", value="t1"), "messages: `tool_use` ids must be unique"),
    (put("messages", 1, "content", 2, "id", value="a.b"), "messages.1.content.2.tool_use.id: String should match"),
    (
        put("messages", 1, "content", 1, "input", value="{}"),
        "messages.1.content.1.tool_use.input: Input should be a valid dictionary",
    ),
    (put("messages", 2, value={"role": "assistant", "content": "x "}), "messages: final assistant content cannot"),
    (put("tools", 0, "name", value="a.b"), "tools.0.custom.name: String should match pattern"),
    (put("tools", 0, "name", value="x" * 129), "tools.0.custom.name: String should match pattern"),
    (put("tools", 0, "parameters", value={}), "tools.0.custom.parameters: Extra inputs are not permitted"),
    (put("tools", 0, "type", value="function"), "tools.0: Input tag 'function' found using 'type'"),
    (put("tools", 0, "input_schema", value={}), "tools.0.custom.input_schema.type: Field required"),
    (
        put("tools", 0, "input_schema", "anyOf", value=[{}]),
        "tools.0.custom.input_schema: input_schema does not support oneOf, allOf, or anyOf at the top level",
    ),
    (
        put("tools", 0, "input_schema", "required", value="a"),
        "tools.0.custom.input_schema.object: JSON schema is invalid.",
    ),
    (lambda body: body["tools"].append(body["tools"][0]), "tools: Tool names must be unique."),
    (put("tool_choice", value={"type": "tool", "name": "x"}), "Tool 'x' not found in provided tools"),
    (put("tool_choice", value="auto"), "tool_choice: Input should be a valid dictionary"),
    (lambda body: body.update(tools=[], tool_choice={"type": "auto"}), "tool_choice may only be specified while"),
    (put("system", value=FIVE_MARKED), "A maximum of 4 blocks with cache_control may be provided. Found 5."),
    (
        put("messages", 0, "content", value=image(data="***")),
        "messages.0.content.0.image.source.base64.data: Invalid",
    ),
    (
        put("messages", 0, "content", value=image(media_type="image/bmp")),
        "messages.0.content.0.image.source.base64.media_type: Input should be 'image/jpeg', 'image/png', ",
    ),
    (
        put("messages", 0, "content", value=[{"type": "image", "source": {"type": "file", "file_id": "f"}}]),
        "messages.0.content.0.image.source: Input tag 'file' found using 'type'",
    ),
    (put("stop_sequences", value=["\n"]), "stop_sequences: each stop sequence must contain non-whitespace"),
    (put("thinking", value={"type": "enabled"}), "thinking.enabled.budget_tokens: Field required"),
    (
        put("thinking", value={**THINK, "budget_tokens": 1023}),
        "thinking.enabled.budget_tokens: Input should be greater than or equal to 1024",
    ),
    (put("thinking", value={**THINK, "budget_tokens": 4096}), "`max_tokens` must be greater than `thinking.budget"),
    (lambda body: body.update(thinking=THINK, temperature=0.5), "`temperature` may only be set to 1 when thinking"),
    (lambda body: body.update(thinking=THINK, top_k=5), "`top_k` must be unset when thinking is enabled."),
    (lambda body: body.update(thinking=THINK, top_p=0.5), "`top_p` must be greater than or equal to 0.95"),
    (lambda body: body.update(thinking=THINK, tool_choice={"type": "any"}), "Thinking may not be enabled when tool"),
    (
        put("thinking", value=THINK),
        "messages.1.content.0.type: Expected `thinking` or `redacted_thinking`, but found",
    ),
    (
        lambda body: body["messages"][1]["content"].insert(0, {"type": "redacted_thinking", "data": "AAAA"}),
        "messages.1.content.0: Invalid `data` in `redacted_thinking` block",
    ),
    (
        put("output_config", value=JSON_SCHEMA),
        "output_config.format.schema: For 'object' type, 'additionalProperties'",
    ),
]


def test_the_anthropic_body_that_the_rows_change_is_accepted():
    Anthropic().validate(anthropic_body(), OLD)


@pytest.mark.parametrize(("change", "message"), ANTHROPIC, ids=[message[:60] for _, message in ANTHROPIC])
def test_anthropic_refuses(change, message):
    body = copy.deepcopy(anthropic_body())
    change(body)
    with pytest.raises(Refused) as refused:
        Anthropic().validate(body, OLD)
    assert (refused.value.status, refused.value.kind) == (400, "invalid_request_error")
    assert refused.value.message.startswith(message)


@pytest.mark.parametrize("key", ["temperature", "top_p", "top_k"])
def test_anthropic_took_sampling_away_with_its_newest_version(key):
    body = {**anthropic_body(), key: 1}
    Anthropic().validate(body, OLD)
    with pytest.raises(Refused, match=f"^{key}: Extra inputs are not permitted$"):
        Anthropic().validate(body, {"anthropic-version": "2026-10-21"})


@pytest.mark.parametrize(
    ("headers", "status", "message"),
    [
        ({}, 401, "x-api-key header is required"),
        ({"x-api-key": "other"}, 401, "invalid x-api-key"),
        ({"authorization": "Bearer other"}, 401, "invalid x-api-key"),
        ({"x-api-key": "k"}, 400, "anthropic-version: header is required"),
        ({"x-api-key": "k", "anthropic-version": "1"}, 400, 'anthropic-version: "1" is not a valid version.'),
        ({"x-api-key": "k", **OLD, "origin": "https://a"}, 401, "CORS requests are not allowed"),
    ],
)
def test_anthropic_headers(headers, status, message):
    with pytest.raises(Refused) as refused:
        Anthropic().admit(headers, frozenset({"k"}))
    assert refused.value.status == status
    assert refused.value.message.startswith(message)


@pytest.mark.parametrize("carrier", [{"authorization": "Bearer k"}, {"x-api-key": "k"}, {"api-key": "k"}])
def test_a_good_key_is_admitted(carrier):
    Anthropic().admit({**carrier, **OLD}, frozenset({"k"}))
