"""AWS Bedrock's Converse API: how the embedded provider reads requests and writes answers.

`Bedrock` satisfies `dialect.Dialect`. The members of answers and the order of events follow recorded streams of
2026, with the padding member `p` that every event carries.
"""

import base64
from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from .dialect import JSON, PATH_MODEL, Frame, Refused, bearer, digest, fragments, mint, seed
from .script import Answer, Ask, Marked, Tool, words
from .signature import redact, sign
from .sigv4 import access_key, signature_matches
from .usage import Usage, tokens
from .validate_bedrock import holding, output_schema, thinking_of, validate

STOP_REASONS = {
    "end": "end_turn",
    "length": "max_tokens",
    "stop_sequence": "stop_sequence",
    "tools": "tool_use",
    "refusal": "content_filtered",
    "filter": "guardrail_intervened",
}
LATENCY_MS = 400
PADDING = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
SIGNATURE_MISMATCH = (
    "The request signature we calculated does not match the signature you provided. Check your AWS Secret Access Key "
    "and signing method. Consult the service documentation for details."
)


class Bedrock:
    """The Converse dialect."""

    name = "bedrock"
    request_id_header = "x-amzn-requestid"

    def admit(self, headers: Mapping[str, str], keys: frozenset[str]) -> None:
        """Accepts a bearer key, or a signature by one of the keys, `ACCESS:SECRET`; a key without `:` is both."""
        secrets = {key.partition(":")[0]: key.partition(":")[2] or key for key in keys}
        access = access_key(headers)
        if access is not None:
            if access not in secrets:
                message = "The security token included in the request is invalid."
                raise Refused(403, "UnrecognizedClientException", message)
            if not signature_matches(headers, secrets[access], "bedrock"):
                raise Refused(403, "InvalidSignatureException", SIGNATURE_MISMATCH)
            return
        key = bearer(headers)
        if key is None:
            raise Refused(403, "MissingAuthenticationTokenException", "Missing Authentication Token")
        if key not in keys:
            message = "Authentication failed: Please make sure your API Key is valid."
            raise Refused(403, "AccessDeniedException", message)

    def validate(self, body: JSON, headers: Mapping[str, str]) -> None:
        validate(body)

    def read(self, body: JSON) -> Ask:
        messages = body["messages"]
        prefilled = messages[-1]["role"] == "assistant"
        asked = messages[-2 if prefilled else -1]
        results = holding(asked, "toolResult")
        config = body.get("inferenceConfig", {})
        choice = body.get("toolConfig", {}).get("toolChoice", {})
        inner = [part for result in results for part in result["content"]]
        return Ask(
            model=body[PATH_MODEL],
            seed=seed(body),
            system="\n".join(block["text"] for block in body.get("system", ()) if "text" in block),
            turns=sum(1 for message in messages if message["role"] == "user"),
            text="\n".join(_texts(asked["content"])),
            attachments=tuple(_attachments([*asked["content"], *inner])),
            results=tuple(_result(result) for result in results),
            tools=tuple(_tools(body)),
            tool_choice="required" if "any" in choice else "auto",
            forced_tool=choice.get("tool", {}).get("name"),
            thinking=thinking_of(body).get("type") in ("enabled", "adaptive"),
            schema=output_schema(body),
            prefill="\n".join(_texts(messages[-1]["content"])) if prefilled else "",
            max_tokens=config.get("maxTokens"),
            stops=tuple(config.get("stopSequences", ())),
            prompt_tokens=sum(tokens(part) for part in _prompt(body)),
            marked=tuple(_marked(body)),
        )

    def document(self, body: JSON, ask: Ask, answer: Answer, usage: Usage) -> JSON:
        return {
            "metrics": {"latencyMs": LATENCY_MS},
            "output": {"message": {"content": list(_content(ask, answer)), "role": "assistant"}},
            "stopReason": STOP_REASONS[answer.stop],
            **_trace(body, answer),
            "usage": _usage(ask, usage),
        }

    def frames(self, body: JSON, ask: Ask, answer: Answer, usage: Usage) -> list[Frame]:
        frames = [_frame("messageStart", {"role": "assistant"}, "open")]
        for index, block in enumerate(_content(ask, answer)):
            at = {"contentBlockIndex": index}
            start, deltas = _STREAMED[next(iter(block))](block)
            if start is not None:
                frames.append(_frame("contentBlockStart", {**at, "start": start}, "open"))
            frames += [_frame("contentBlockDelta", {**at, "delta": delta}) for delta in deltas]
            frames.append(_frame("contentBlockStop", at))
        frames.append(_frame("messageStop", {"stopReason": STOP_REASONS[answer.stop]}, "close"))
        closing = {"metrics": {"latencyMs": LATENCY_MS}, **_trace(body, answer), "usage": _usage(ask, usage)}
        return [*frames, _frame("metadata", closing, "close")]

    def error(self, refused: Refused, request_id: str) -> JSON:
        return {"message": refused.message}

    def error_frames(self, refused: Refused, request_id: str, before: list[Frame]) -> list[Frame]:
        kind = refused.kind[0].lower() + refused.kind[1:]
        return [Frame({"message": refused.message}, kind, "close")]

    def models(self, names: tuple[str, ...]) -> JSON:
        return {"modelSummaries": [{"modelId": name, "modelName": name} for name in names]}


# --- reading --------------------------------------------------------------------------------------------------


def _texts(content: list[JSON]) -> Iterator[str]:
    for block in content:
        if "text" in block:
            yield block["text"]
        elif "text" in block.get("guardContent", {}):
            yield block["guardContent"]["text"]["text"]


def _result(result: JSON) -> str:
    said = [
        part["text"] if "text" in part else msgspec.json.encode(part["json"]).decode()
        for part in result["content"]
        if "text" in part or "json" in part
    ]
    return "\n".join(said) + (" (error)" if result.get("status") == "error" else "")


def _attachments(content: list[JSON]) -> Iterator[tuple[str, str]]:
    for block in content:
        if "image" in block:
            yield "image", _described(f"image/{block['image']['format']}", block["image"]["source"])
        elif "document" in block:
            document = block["document"]
            form = document.get("format", "txt")
            kind = {"pdf": "application/pdf", "txt": "text/plain"}.get(form, form)
            yield "document", _described(kind, document["source"])
        elif "audio" in block:
            yield "audio clip", str(block["audio"].get("format"))


def _described(kind: str, source: JSON) -> str:
    if "bytes" in source:
        return f"{kind}, {len(base64.b64decode(source['bytes']))} bytes"
    return str(source["s3Location"]["uri"]) if "s3Location" in source else next(iter(source))


def _tools(body: JSON) -> Iterator[Tool]:
    for tool in body.get("toolConfig", {}).get("tools", ()):
        if "toolSpec" in tool:
            yield Tool(tool["toolSpec"]["name"], tool["toolSpec"]["inputSchema"]["json"])


def _prompt(body: JSON) -> list[JSON]:
    """The prompt in the order the cache sees it: tools, system, messages; one entry per tool or block."""
    return [
        *body.get("toolConfig", {}).get("tools", ()),
        *body.get("system", ()),
        *(block for message in body["messages"] for block in message["content"]),
    ]


def _marked(body: JSON) -> Iterator[Marked]:
    """A prefix for each cache point, shortest first."""
    bare: list[JSON] = []
    for block in _prompt(body):
        if "cachePoint" in block:
            prefix = digest([body[PATH_MODEL], bare])
            yield Marked(prefix, sum(tokens(part) for part in bare), block["cachePoint"].get("ttl", "5m"))
        else:
            bare.append(block)


# --- writing --------------------------------------------------------------------------------------------------


def _frame(event: str, data: JSON, part: Any = "content") -> Frame:
    padding = PADDING[: int(digest(data)[:4], 16) % len(PADDING)]
    return Frame({**data, "p": padding}, event, part)


def _content(ask: Ask, answer: Answer) -> Iterator[JSON]:
    if answer.thinking and answer.redacted:
        yield {"reasoningContent": {"redactedContent": redact(answer.thinking)}}
    elif answer.thinking:
        signed = {"text": answer.thinking, "signature": sign(answer.thinking)}
        yield {"reasoningContent": {"reasoningText": signed}}
    if answer.text:
        yield {"text": answer.text}
    for number, call in enumerate(answer.calls):
        made = {"toolUseId": mint("tooluse_", 22, ask.seed, number), "name": call.name, "input": call.arguments}
        yield {"toolUse": made}


def _stream_reasoning(block: JSON) -> tuple[JSON | None, list[JSON]]:
    reasoning = block["reasoningContent"]
    if "redactedContent" in reasoning:
        return None, [{"reasoningContent": reasoning}]
    said = [{"reasoningContent": {"text": piece}} for piece in words(reasoning["reasoningText"]["text"])]
    return None, [*said, {"reasoningContent": {"signature": reasoning["reasoningText"]["signature"]}}]


def _stream_text(block: JSON) -> tuple[JSON | None, list[JSON]]:
    return None, [{"text": piece} for piece in words(block["text"])]


def _stream_tool_use(block: JSON) -> tuple[JSON | None, list[JSON]]:
    use = block["toolUse"]
    pieces = fragments(msgspec.json.encode(use["input"]).decode())
    start = {"toolUse": {"name": use["name"], "toolUseId": use["toolUseId"]}}
    return start, [{"toolUse": {"input": piece}} for piece in pieces]


_STREAMED: dict[str, Any] = {
    "reasoningContent": _stream_reasoning,
    "text": _stream_text,
    "toolUse": _stream_tool_use,
}
"""block → (its start, where it has one; its deltas)."""


def _trace(body: JSON, answer: Answer) -> JSON:
    """What a guardrail tells of itself, when it is asked to."""
    guardrail = body.get("guardrailConfig", {})
    if guardrail.get("trace", "disabled") == "disabled":
        return {}
    reason = "Guardrail blocked." if answer.stop == "filter" else "No action."
    return {"trace": {"guardrail": {"actionReason": reason}}}


def _usage(ask: Ask, usage: Usage) -> JSON:
    """`inputTokens` are what was neither read from the cache nor written to it."""
    counted = {
        "inputTokens": usage.input - usage.cache_read - usage.cache_write,
        "outputTokens": usage.output,
        "totalTokens": usage.input + usage.output,
    }
    if not usage.cache_read and not usage.cache_write:
        return counted
    written = [{"inputTokens": usage.cache_write, "ttl": ask.marked[-1].ttl}] if usage.cache_write else []
    return {
        **counted,
        "cacheReadInputTokens": usage.cache_read,
        "cacheWriteInputTokens": usage.cache_write,
        **({"cacheDetails": written} if written else {}),
    }
