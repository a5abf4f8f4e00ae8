"""What the embedded Bedrock provider refuses: one row per rule, one small change to a request that is accepted."""

import base64
import json
from collections.abc import Callable
from typing import Any

import pytest

from busbar.demo.providers.bedrock import Bedrock
from busbar.demo.providers.dialect import PATH_MODEL, Refused
from busbar.demo.providers.signature import redact, sign

BEDROCK = Bedrock()
PNG = base64.b64encode(b"\x89PNG").decode()
POINT = {"cachePoint": {"type": "default"}}


def use(name: str) -> dict[str, Any]:
    return {"toolUse": {"toolUseId": name, "name": "get", "input": {}}}


def result(name: str, *content: dict[str, Any]) -> dict[str, Any]:
    return {"toolResult": {"toolUseId": name, "content": [*content] or [{"text": "ok"}]}}


def reasoning(text: str, signature: str | None = None) -> dict[str, Any]:
    return {"reasoningContent": {"reasoningText": {"text": text, "signature": signature or sign(text)}}}


def bedrock_body() -> dict[str, Any]:
    """Accepted: every row below changes one thing in it."""
    image = {"image": {"format": "png", "source": {"bytes": PNG}}}
    document = {"document": {"name": "A paper (1)", "format": "pdf", "source": {"bytes": PNG}}}
    schema = {"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"]}
    body = {
        PATH_MODEL: "anthropic.demo-v1:0",
        "system": [{"text": "Be brief."}, POINT],
        "messages": [
            {"role": "user", "content": [{"text": "Hello"}, document]},
            {"role": "assistant", "content": [reasoning("Hm"), {"text": "Look:"}, use("t1"), use("t2")]},
            {
                "role": "user",
                "content": [result("t1", {"json": {"a": 1}}, image), result("t2"), {"text": "And?"}, image],
            },
        ],
        "inferenceConfig": {"maxTokens": 4096, "topP": 1, "stopSequences": ["z"]},
        "toolConfig": {
            "tools": [{"toolSpec": {"name": "get", "description": "Gets.", "inputSchema": {"json": schema}}}, POINT],
            "toolChoice": {"auto": {}},
        },
        "additionalModelRequestFields": {"thinking": {"type": "enabled", "budget_tokens": 1024}},
        "requestMetadata": {"user": "u1"},
    }
    return json.loads(json.dumps(body))  # nothing in it is shared


def put(*path: Any, value: Any) -> Callable[[dict], None]:
    def change(body: dict) -> None:
        *way, last = path
        node = body
        for step in way:
            node = node[step]
        node[last] = value

    return change


def pop(*path: Any) -> Callable[[dict], None]:
    def change(body: dict) -> None:
        *way, last = path
        node = body
        for step in way:
            node = node[step]
        node.pop(last)

    return change


def add(*path: Any, value: Any) -> Callable[[dict], None]:
    def change(body: dict) -> None:
        node: Any = body
        for step in path:
            node = node[step]
        node.append(value)

    return change


MODEL_SAYS = "The model returned the following errors: "
CONFIG = "inferenceConfig"
SPEC = ("toolConfig", "tools", 0, "toolSpec")
FIRST, SAID, LAST = [("messages", m, "content") for m in range(3)]
IMAGE = (*LAST, 3, "image")
DOCUMENT = (*FIRST, 1, "document")
THINKING = ("additionalModelRequestFields", "thinking")
FORM = {"type": "json_schema", "structure": {"jsonSchema": {"schema": "{}"}}}


def extra(name: str, where: str = "") -> str:
    return f"Malformed input request: #/{where}: extraneous key [{name}] is not permitted, please reformat your input"


def constraint(member: str, value: Any, text: str) -> str:
    return f"1 validation error detected: Value '{value}' at '{member}' failed to satisfy constraint: {text}"


REFUSED = [
    # unknown members, at every level
    (put("model", value="x"), extra("model")),
    (put("modelId", value="x"), extra("modelId")),
    (put("max_tokens", value=5), extra("max_tokens")),
    (put("stream", value=True), extra("stream")),
    (put("messages", 0, "name", value="x"), extra("name", "messages/0")),
    (put(*FIRST, 0, "type", value="text"), extra("type", "messages/0/content/0")),
    (put(*FIRST, 0, "cache_control", value={}), extra("cache_control", "messages/0/content/0")),
    (put(*SAID, 2, "toolUse", "arguments", value={}), extra("arguments", "messages/1/content/2/toolUse")),
    (put(*LAST, 0, "toolResult", "isError", value=True), extra("isError", "messages/2/content/0/toolResult")),
    (put(*IMAGE, "source", "url", value="x"), extra("url", "messages/2/content/3/image/source")),
    (put(*IMAGE, "media_type", value="x"), extra("media_type", "messages/2/content/3/image")),
    (put(CONFIG, "topK", value=5), extra("topK", "inferenceConfig")),
    (put(*SPEC, "parameters", value={}), extra("parameters", "toolConfig/tools/0/toolSpec")),
    (put("toolConfig", "toolChoice", value={"none": {}}), extra("none", "toolConfig/toolChoice")),
    (put(*SAID, 0, "reasoningContent", "text", value="x"), extra("text", "messages/1/content/0/reasoningContent")),
    # shapes
    (pop("messages"), constraint("messages", "null", "Member must not be null")),
    (pop("messages", 0, "role"), constraint("messages.1.member.role", "null", "Member must not be null")),
    (pop(*SPEC, "inputSchema"), constraint("toolConfig.tools.1.member.toolSpec.inputSchema", "null", "Member must")),
    (
        put("messages", 0, "role", value="system"),
        constraint("messages.1.member.role", "system", "Member must satisfy enum value set: [user, assistant]"),
    ),
    (put(*FIRST, 0, value={}), "The value at messages.0.content.0 must set exactly one of the following keys: text,"),
    (put(*FIRST, 0, "image", value=None), "NULL_VALUE can not be converted to object at messages.0.content.0.image"),
    (put("messages", 0, "content", value="Hi"), "STRING_VALUE can not be converted to array at messages.0.content"),
    (put("system", value="Hi"), "STRING_VALUE can not be converted to array at system"),
    (
        put(CONFIG, "maxTokens", value="9"),
        "STRING_VALUE can not be converted to integer at inferenceConfig.maxTokens",
    ),
    (
        put(*SAID, 2, "toolUse", "input", value="{}"),
        "STRING_VALUE can not be converted to object at messages.1.content",
    ),
    # ranges
    (
        put(CONFIG, "maxTokens", value=0),
        constraint("inferenceConfig.maxTokens", 0, "Member must have value greater than or equal to 1"),
    ),
    (
        put(CONFIG, "temperature", value=1.1),
        constraint("inferenceConfig.temperature", 1.1, "Member must have value less than or equal to 1"),
    ),
    (
        put(CONFIG, "topP", value=-1),
        constraint("inferenceConfig.topP", -1, "Member must have value greater than or equal to 0"),
    ),
    (
        put(CONFIG, "stopSequences", value=list("abcde")),
        constraint("inferenceConfig.stopSequences", 5, "Member must have length less than or equal to 4"),
    ),
    (
        put(CONFIG, "stopSequences", value=[""]),
        constraint("inferenceConfig.stopSequences.1.member", "", "Member must"),
    ),
    # names
    (
        put(*IMAGE, "format", value="jpg"),
        constraint(
            "messages.3.member.content.4.member.image.format", "jpg", "Member must satisfy enum value set: [png"
        ),
    ),
    (
        put(*IMAGE, "source", "bytes", value="~"),
        constraint("messages.3.member.content.4.member.image.source.bytes", "None", "Member must be base64"),
    ),
    (
        put(*DOCUMENT, "format", value="rtf"),
        "1 validation error detected: Value 'rtf' at 'messages.1.member.content.2",
    ),
    (put(*DOCUMENT, "name", value="a.pdf"), "The document file name can only contain alphanumeric characters,"),
    (put(*DOCUMENT, "name", value="a  b"), "The document file name can only contain alphanumeric characters,"),
    (put(*DOCUMENT, "name", value="über"), "The document file name can only contain alphanumeric characters,"),
    (
        add(*FIRST, value={"document": bedrock_body()["messages"][0]["content"][1]["document"]}),
        f"{MODEL_SAYS}messages: doc",
    ),
    (
        put(*SPEC, "name", value="a.b"),
        constraint("toolConfig.tools.1.member.toolSpec.name", "a.b", "Member must satisfy"),
    ),
    (
        put(*SPEC, "name", value="x" * 65),
        constraint("toolConfig.tools.1.member.toolSpec.name", 65, "Member must have"),
    ),
    (put(*SPEC, "description", value=""), constraint("toolConfig.tools.1.member.toolSpec.description", "", "Member")),
    (
        put(*SAID, 2, "toolUse", "toolUseId", value="a b"),
        constraint(
            "messages.2.member.content.3.member.toolUse.toolUseId", "a b", "Member must satisfy regular expression"
        ),
    ),
    (
        put(*SAID, 2, "toolUse", "toolUseId", value="x" * 65),
        constraint("messages.2.member.content.3.member.toolUse.toolUseId", 65, "Member must have length less than"),
    ),
    # conversation
    (put("messages", value=[]), "A conversation must start with a user message."),
    (pop("messages", 0), "A conversation must start with a user message."),
    (
        add("messages", value={"role": "user", "content": [{"text": "x"}]}),
        "A conversation must alternate between user",
    ),
    (put("messages", 0, "content", value=[]), "The content field in the Message object at messages.0 is empty."),
    (put(*FIRST, 0, value=POINT), "The Message object at messages.0 has a document but no text."),
    (put(*FIRST, 0, "text", value=""), "The text field in the ContentBlock object at messages.0.content.0 is blank."),
    (
        put(*SAID, 1, "text", value="  "),
        "The text field in the ContentBlock object at messages.1.content.1 is blank.",
    ),
    (
        put(*LAST, 1, "toolResult", "content", value=[{"text": ""}]),
        "The text field in the ContentBlock object at messages.2.content.1.toolResult.content.0 is blank.",
    ),
    (
        put("system", 0, "text", value=""),
        constraint("system.1.member.text", "", "Member must satisfy regular expression"),
    ),
    (
        add(*SAID, value={"image": {"format": "png", "source": {"bytes": PNG}}}),
        "The ContentBlock object at messages.1",
    ),
    (add(*FIRST, value=use("t3")), "The toolUse block at messages.0.content.2 can only be in assistant messages."),
    (add(*SAID, value=result("t1")), "The toolResult block at messages.1.content.4 can only be in user messages."),
    (
        add(*FIRST, value=reasoning("x")),
        "The reasoningContent block at messages.0.content.2 can only be in assistant",
    ),
    (
        add("messages", value={"role": "assistant", "content": [{"text": "So "}]}),
        f"{MODEL_SAYS}messages: final assistant content cannot end with trailing whitespace",
    ),
    # tools
    (pop("toolConfig"), "The toolConfig field must be defined when using toolUse and toolResult content blocks."),
    (put("toolConfig", "tools", value=[]), constraint("toolConfig.tools", 0, "Member must have length greater than")),
    (
        add("toolConfig", "tools", value=bedrock_body()["toolConfig"]["tools"][0]),
        "The tool name get at toolConfig.tools",
    ),
    (
        put(*SPEC, "inputSchema", "json", value={}),
        "The value at toolConfig.tools.0.toolSpec.inputSchema.json.type must",
    ),
    (
        put(*SPEC, "inputSchema", "json", "properties", value=5),
        constraint(
            "toolConfig.tools.1.member.toolSpec.inputSchema.json", "None", "Member must be a valid JSON Schema"
        ),
    ),
    (
        put("toolConfig", "toolChoice", value={"tool": {"name": "x"}}),
        "The value at toolConfig.toolChoice.tool.name x",
    ),
    (pop(*LAST, 1), "Expected toolResult blocks at messages.2.content for the following Ids: t2"),
    (
        put(*LAST, value=[{"text": "x"}]),
        "Expected toolResult blocks at messages.2.content for the following Ids: t1, t2",
    ),
    (pop("messages", 2), "Expected toolResult blocks at messages.2.content for the following Ids: t1, t2"),
    (add(*LAST, value=result("t3")), "The number of toolResult blocks at messages.2.content exceeds the number of"),
    (add(*LAST, value=result("t1")), "The toolResult blocks at messages.2.content contain duplicate Ids: t1"),
    (put(*SAID, 3, value=use("t1")), "The toolUse blocks at messages.1.content contain duplicate Ids: t1"),
    # the model behind it
    (
        put("system", value=[POINT] * 4),
        f"{MODEL_SAYS}A maximum of 4 blocks with cache_control may be provided. Found 5.",
    ),
    (
        put(*THINKING, "budget_tokens", value=512),
        f"{MODEL_SAYS}thinking.enabled.budget_tokens: Input should be greater",
    ),
    (put(*THINKING, "budget_tokens", value=4096), f"{MODEL_SAYS}`max_tokens` must be greater than `thinking.budget_"),
    (
        put(CONFIG, "temperature", value=0.5),
        f"{MODEL_SAYS}`temperature` may only be set to 1 when thinking is enabled.",
    ),
    (put(CONFIG, "topP", value=0.5), f"{MODEL_SAYS}`top_p` must be greater than or equal to 0.95 or unset"),
    (put("additionalModelRequestFields", "top_k", value=5), f"{MODEL_SAYS}`top_k` must be unset when thinking is"),
    (put("toolConfig", "toolChoice", value={"any": {}}), f"{MODEL_SAYS}Thinking may not be enabled when tool_choice"),
    (
        pop(*SAID, 0),
        f"{MODEL_SAYS}messages.1.content.0.type: Expected `thinking` or `redacted_thinking`, but found `text`.",
    ),
    (put(*SAID, 0, value=reasoning("Hm", sign("Ha"))), f"{MODEL_SAYS}messages.1.content.0: Invalid `signature` in"),
    (
        pop(*SAID, 0, "reasoningContent", "reasoningText", "signature"),
        f"{MODEL_SAYS}messages.1.content.0.thinking.signature: Field required",
    ),
    (
        put(*SAID, 0, "reasoningContent", value={"redactedContent": "AAAA"}),
        f"{MODEL_SAYS}messages.1.content.0: Invalid `data` in `redacted_thinking` block",
    ),
    (
        put("outputConfig", value=json.loads(json.dumps({"textFormat": FORM}).replace("{}", "{"))),
        "The value at outputConfig.textFormat.structure.jsonSchema.schema is not valid JSON.",
    ),
    (
        put("outputConfig", value=json.loads(json.dumps({"textFormat": FORM}).replace("{}", "[]"))),
        "The value at outputConfig.textFormat.structure.jsonSchema.schema is not a valid JSON Schema.",
    ),
]


@pytest.mark.parametrize(("change", "message"), REFUSED, ids=[message[:70] for _, message in REFUSED])
def test_bedrock_refuses(change, message):
    body = bedrock_body()
    BEDROCK.validate(body, {})
    change(body)
    with pytest.raises(Refused) as refused:
        BEDROCK.validate(body, {})
    converted = "can not be converted" in message
    assert refused.value.status == 400
    assert refused.value.kind == ("SerializationException" if converted else "ValidationException")
    assert refused.value.message.startswith(message)


ACCEPTED = [
    put(*SAID, 0, "reasoningContent", value={"redactedContent": redact("Hm")}),
    put(*LAST, 0, "toolResult", "status", value="error"),
    put(*LAST, 0, "toolResult", "content", value=[]),
    put(*DOCUMENT, "source", value={"s3Location": {"uri": "s3://bucket/key"}}),
    put("outputConfig", value={"textFormat": FORM}),
    put("additionalModelRequestFields", value={"reasoning_config": {"type": "enabled", "budget_tokens": 2048}}),
    put("additionalModelRequestFields", value={"top_k": 5}),
    put("guardrailConfig", value={"guardrailIdentifier": "abc", "guardrailVersion": "1", "trace": "enabled"}),
    put("serviceTier", value={"type": "flex"}),
    pop(CONFIG),
    add(*LAST, value=POINT),
    add("messages", value={"role": "assistant", "content": [{"text": "So"}]}),
]


@pytest.mark.parametrize("change", ACCEPTED)
def test_bedrock_accepts(change):
    body = bedrock_body()
    change(body)
    BEDROCK.validate(body, {})
