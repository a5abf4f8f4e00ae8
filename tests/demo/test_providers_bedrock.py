"""The embedded Bedrock provider, driven by boto3, which signs what it sends and checks the frames it reads."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from busbar.demo.providers import DemoProviders

PNG = b"\x89PNG\r\n\x1a\n" + bytes(62)
MODEL = "anthropic.demo-claude-v1:0"
ARN = "arn:aws:bedrock:us-east-1:123456789012:inference-profile/us.anthropic.demo"
WEATHER = {
    "name": "get_weather",
    "inputSchema": {
        "json": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
}
TOOLS = {"tools": [{"toolSpec": WEATHER}]}
THINK = {"thinking": {"type": "enabled", "budget_tokens": 1024}}
SESSION = boto3.Session(region_name="us-east-1")


class Boto:
    """boto3's client, off the event loop."""

    def __init__(self, demo: DemoProviders, access: str = "demo-key", secret: str = "demo-key", **more: Any) -> None:
        self._client = SESSION.client(
            "bedrock-runtime",
            endpoint_url=demo.base_url,
            aws_access_key_id=access,
            aws_secret_access_key=secret,
            config=Config(retries={"total_max_attempts": 1}, read_timeout=10),
            **more,
        )

    async def converse(self, **asked: Any) -> dict[str, Any]:
        return await asyncio.to_thread(self._client.converse, **asked)

    async def stream(self, **asked: Any) -> list[dict[str, Any]]:
        return await asyncio.to_thread(lambda: list(self._client.converse_stream(**asked)["stream"]))

    async def both(self, **asked: Any) -> dict[str, Any]:
        """The answer, after checking that the stream adds up to the same one."""
        plain = await self.converse(**asked)
        streamed = joined(await self.stream(**asked))
        assert streamed == {key: plain[key] for key in streamed}
        return plain


def joined(events: list[dict[str, Any]]) -> dict[str, Any]:
    """What a stream says, as the answer that does not stream has it."""
    blocks: dict[int, dict[str, Any]] = {}
    for event in events:
        if start := event.get("contentBlockStart"):
            blocks[start["contentBlockIndex"]] = {"toolUse": {**start["start"]["toolUse"], "input": ""}}
        if said := event.get("contentBlockDelta"):
            block = blocks.setdefault(said["contentBlockIndex"], {})
            match said["delta"]:
                case {"text": text}:
                    block["text"] = block.get("text", "") + text
                case {"toolUse": {"input": piece}}:
                    block["toolUse"]["input"] += piece
                case {"reasoningContent": {"redactedContent": data}}:
                    block["reasoningContent"] = {"redactedContent": data}
                case {"reasoningContent": reasoning}:
                    whole = block.setdefault("reasoningContent", {}).setdefault("reasoningText", {"text": ""})
                    for key, piece in reasoning.items():
                        whole[key] = whole.get(key, "") + piece
    for block in blocks.values():
        if "toolUse" in block:
            block["toolUse"]["input"] = json.loads(block["toolUse"]["input"])
    message = {"role": events[0]["messageStart"]["role"], "content": [blocks[index] for index in sorted(blocks)]}
    return {"output": {"message": message}, **events[-2]["messageStop"], **events[-1]["metadata"]}


@pytest.fixture
async def demo() -> AsyncIterator[DemoProviders]:
    async with DemoProviders(keys=frozenset({"demo-key", "AKIDEXAMPLE:secret/of+it"})) as demo:
        yield demo


@pytest.fixture
def boto(demo: DemoProviders) -> Boto:
    return Boto(demo)


def user(*blocks: dict[str, Any] | str) -> dict[str, Any]:
    return {"role": "user", "content": [{"text": block} if isinstance(block, str) else block for block in blocks]}


def asks(*blocks: dict[str, Any] | str, **more: Any) -> dict[str, Any]:
    return {"modelId": MODEL, "messages": [user(*blocks or ("Hello",))], **more}


def content(answer: dict[str, Any]) -> list[dict[str, Any]]:
    return answer["output"]["message"]["content"]


def counts(answer: dict[str, Any]) -> tuple[int, ...]:
    usage = answer["usage"]
    cached = usage.get("cacheReadInputTokens"), usage.get("cacheWriteInputTokens")
    return usage["inputTokens"], *cached, usage["outputTokens"], usage["totalTokens"]


async def test_text_echoes_system_turn_and_words(boto):
    messages = [user("Hello"), {"role": "assistant", "content": [{"text": "Hi"}]}, user("How are", "you?")]
    answer = await boto.both(modelId=MODEL, messages=messages, system=[{"text": "Be brief."}])
    assert content(answer) == [{"text": "[system: Be brief.] [turn 2] You said: How are\nyou?"}]
    assert (answer["stopReason"], answer["metrics"]) == ("end_turn", {"latencyMs": 400})
    assert counts(answer) == (7, None, None, 10, 17)
    assert len(answer["ResponseMetadata"]["RequestId"]) == 36


@pytest.mark.parametrize("model", ["plain", MODEL, ARN])
async def test_models_are_named_in_the_path(demo, boto, model):
    await boto.both(**asks() | {"modelId": model})
    assert [request.model for request in demo.requests] == [model, model]
    assert [request.streams for request in demo.requests] == [False, True]


async def test_parallel_calls_and_their_results(boto):
    asked = asks("weather in Paris and Rome", toolConfig=TOOLS)
    called = await boto.both(**asked)
    uses = [block["toolUse"] for block in content(called)]
    results = [
        {"toolResult": {"toolUseId": uses[0]["toolUseId"], "content": [{"text": "sun"}]}},
        {"toolResult": {"toolUseId": uses[1]["toolUseId"], "content": [{"json": {"a": 1}}], "status": "error"}},
    ]
    messages = [*asked["messages"], called["output"]["message"], user(*results)]
    answer = await boto.both(**{**asked, "messages": messages})
    assert [(use["name"], use["input"]) for use in uses] == [
        ("get_weather", {"city": "Paris"}),
        ("get_weather", {"city": "Rome"}),
    ]
    assert called["stopReason"] == "tool_use"
    assert content(answer) == [{"text": '[turn 2] Results: sun; {"a":1} (error)'}]


@pytest.mark.parametrize(
    ("choice", "text", "inputs"),
    [
        ({"auto": {}}, "Hi", []),
        ({"any": {}}, "Hi", [{"city": "text"}]),
        ({"tool": {"name": "get_weather"}}, "Hi", [{"city": "text"}]),
    ],
)
async def test_tool_choice(boto, choice, text, inputs):
    answer = await boto.both(**asks(text, toolConfig={**TOOLS, "toolChoice": choice}))
    assert [block["toolUse"]["input"] for block in content(answer) if "toolUse" in block] == inputs


async def thought(boto: Boto, model: str = MODEL) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    asked = asks("weather in Paris", toolConfig=TOOLS, additionalModelRequestFields=THINK) | {"modelId": model}
    return asked, content(await boto.both(**asked))


def next_turn(asked: dict[str, Any], said: list[dict[str, Any]]) -> dict[str, Any]:
    use = said[-1]["toolUse"]["toolUseId"]
    result = {"toolResult": {"toolUseId": use, "content": [{"text": "sun"}]}}
    return {**asked, "messages": [*asked["messages"], {"role": "assistant", "content": said}, user(result)]}


@pytest.mark.parametrize(
    ("model", "kind"),
    [(MODEL, "reasoningText"), ("demo-redacted", "redactedContent"), ("demo-preface", "reasoningText")],
)
async def test_thinking_comes_first_and_goes_back_untouched(boto, model, kind):
    asked, said = await thought(boto, model)
    answer = await boto.both(**next_turn(asked, said))
    assert list(said[0]["reasoningContent"]) == [kind]
    assert [next(iter(block)) for block in said[1:-1]] == (["text"] if model == "demo-preface" else [])
    assert content(answer)[-1] == {"text": "[turn 2] Results: sun"}
    assert counts(answer)[-2] == 8


SIGNATURE = "messages.1.content.0: Invalid `signature` in `thinking` block"


def text_of(blocks: list[dict[str, Any]]) -> dict[str, Any]:
    return blocks[0]["reasoningContent"]["reasoningText"]


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda blocks: text_of(blocks).update(text="Else"), SIGNATURE),
        (lambda blocks: text_of(blocks).update(signature="AAAA"), SIGNATURE),
        (lambda blocks: text_of(blocks).pop("signature"), "messages.1.content.0.thinking.signature: Field required"),
        (lambda blocks: blocks.pop(0), "messages.1.content.0.type: Expected `thinking` or `redacted_thinking`"),
    ],
)
async def test_thinking_that_was_touched_is_refused(boto, spoil, message):
    asked, said = await thought(boto)
    spoil(said)
    with pytest.raises(ClientError) as refused:
        await boto.both(**next_turn(asked, said))
    error = refused.value.response["Error"]
    assert error["Code"] == "ValidationException"
    assert error["Message"].startswith(f"The model returned the following errors: {message}")


async def test_structured_output(boto):
    schema = {"type": "object", "properties": {"ok": {"type": "boolean"}}, "required": ["ok"]}
    form = {"type": "json_schema", "structure": {"jsonSchema": {"name": "n", "schema": json.dumps(schema)}}}
    assert content(await boto.both(**asks(outputConfig={"textFormat": form}))) == [{"text": '{"ok":false}'}]


@pytest.mark.parametrize(
    ("ask", "text", "reason"),
    [
        ({"inferenceConfig": {"maxTokens": 3}}, "You said: a ", "max_tokens"),
        ({"inferenceConfig": {"stopSequences": ["zzz", "c"]}}, "You said: a b ", "stop_sequence"),
        ({"modelId": "demo-refuse"}, "", "content_filtered"),
        ({"modelId": "demo-filter"}, "You said: ", "guardrail_intervened"),
    ],
)
async def test_stop_reasons(boto, ask, text, reason):
    answer = await boto.both(**{**asks("a b c d"), **ask})
    assert ("".join(block["text"] for block in content(answer)), answer["stopReason"]) == (text, reason)


async def test_a_guardrail_tells_what_it_did_when_asked(boto):
    guard = {"guardrailIdentifier": "abc", "guardrailVersion": "DRAFT", "trace": "enabled"}
    answer = await boto.both(**asks(guardrailConfig=guard) | {"modelId": "demo-filter"})
    assert answer["trace"] == {"guardrail": {"actionReason": "Guardrail blocked."}}
    assert "trace" not in await boto.both(**asks())


async def test_prefill_is_continued(boto):
    messages = [user("one two"), {"role": "assistant", "content": [{"text": "You said:"}]}]
    assert content(await boto.both(modelId=MODEL, messages=messages)) == [{"text": " one two"}]


async def test_cache_is_written_then_read_then_grown(boto):
    point = {"cachePoint": {"type": "default", "ttl": "1h"}}
    asked = asks("e f", system=[{"text": "a b c d"}, point])
    first, second = [await boto.converse(**asked) for _ in range(2)]
    third = await boto.converse(**asks("e f", {"cachePoint": {"type": "default"}}, system=asked["system"]))
    assert [counts(answer)[:3] for answer in (first, second, third)] == [(2, 0, 4), (2, 4, 0), (0, 4, 2)]
    assert [counts(answer)[3:] for answer in (first, second, third)] == [(9, 15)] * 3
    assert first["usage"]["cacheDetails"] == [{"inputTokens": 4, "ttl": "1h"}]


async def test_images_and_documents_are_seen_in_results_too(boto):
    image = {"image": {"format": "png", "source": {"bytes": PNG}}}
    document = {"document": {"name": "A paper (1)", "format": "pdf", "source": {"bytes": b"%PDF"}}}
    use = {"toolUse": {"toolUseId": "t1", "name": "get_weather", "input": {}}}
    result = {"toolResult": {"toolUseId": "t1", "content": [image]}}
    messages = [user("Go"), {"role": "assistant", "content": [use]}, user(result, document, image, "Look")]
    answer = await boto.both(modelId=MODEL, messages=messages, toolConfig=TOOLS)
    assert content(answer) == [
        {
            "text": "[turn 2] Results: I see 1 document (application/pdf, 4 bytes) "
            "I see 2 images (image/png, 70 bytes; image/png, 70 bytes) You said: Look"
        }
    ]


# --- auth -----------------------------------------------------------------------------------------------------


async def test_signatures_are_verified(demo):
    assert content(await Boto(demo, "AKIDEXAMPLE", "secret/of+it").both(**asks(modelId=ARN)))
    assert content(await Boto(demo, "AKIDEXAMPLE", "secret/of+it", aws_session_token="t").both(**asks()))
    for access, secret, code in (
        ("AKIDEXAMPLE", "wrong", "InvalidSignatureException"),
        ("AKIDOTHER", "secret/of+it", "UnrecognizedClientException"),
    ):
        with pytest.raises(ClientError) as refused:
            await Boto(demo, access, secret).converse(**asks())
        assert refused.value.response["Error"]["Code"] == code
        assert refused.value.response["ResponseMetadata"]["HTTPStatusCode"] == 403


@pytest.mark.parametrize(
    ("headers", "status", "kind"),
    [
        ({"authorization": "Bearer demo-key"}, 200, None),
        ({"authorization": "Bearer wrong"}, 403, "AccessDeniedException"),
        ({}, 403, "MissingAuthenticationTokenException"),
        ({"x-api-key": "demo-key"}, 403, "MissingAuthenticationTokenException"),
        ({"authorization": "AWS4-HMAC-SHA256 Credential=demo-key"}, 403, "MissingAuthenticationTokenException"),
    ],
)
async def test_bearer_keys_and_what_is_no_credential(demo, headers, status, kind):
    body = {"messages": [user("Hi")]}
    async with (
        aiohttp.ClientSession(headers=headers) as http,
        http.post(f"{demo.base_url}/model/demo/converse", json=body) as response,
    ):
        assert response.status == status
        assert response.headers.get("x-amzn-errortype", "").partition(":")[0] == (kind or "")


async def test_a_signature_covers_the_body(demo, boto):
    await boto.converse(**asks("Hello"))
    request = demo.requests[-1]
    headers = {name: request.headers[name] for name in ("authorization", "x-amz-date", "content-type")}
    async with aiohttp.ClientSession(headers=headers) as http:
        for raw, status in ((request.raw, 200), (request.raw.replace(b"Hello", b"HELLO"), 403)):
            url = demo.base_url + request.path
            async with http.post(aiohttp.client.URL(url, encoded=True), data=raw) as response:
                assert response.status == status
