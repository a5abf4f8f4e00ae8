"""Anthropic's Messages API: how the embedded provider reads requests and writes answers.

`Anthropic` satisfies `dialect.Dialect`. The order of events and the keys of each follow recorded streams of 2026.
"""

import base64
from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from .dialect import JSON, Frame, Refused, bearer, digest, fragments, mint, seed
from .script import Answer, Ask, Marked, Tool, words
from .signature import redact, sign
from .usage import Usage, tokens
from .validate_anthropic import VERSIONS, blocks, merged, validate

STOP_REASONS = {
    "end": "end_turn",
    "length": "max_tokens",
    "stop_sequence": "stop_sequence",
    "tools": "tool_use",
    "refusal": "refusal",
    "filter": "refusal",
}


class Anthropic:
    """The Messages dialect."""

    name = "anthropic"
    request_id_header = "request-id"

    def admit(self, headers: Mapping[str, str], keys: frozenset[str]) -> None:
        """Accepts `x-api-key`, `Authorization: Bearer` and `api-key`; wants a known `anthropic-version`."""
        key = bearer(headers, "x-api-key", "api-key")
        if key is None:
            raise Refused(401, "authentication_error", "x-api-key header is required")
        if key not in keys:
            raise Refused(401, "authentication_error", "invalid x-api-key")
        if "origin" in headers:
            message = "CORS requests are not allowed for this Organization because of its settings."
            raise Refused(401, "authentication_error", message)
        version = headers.get("anthropic-version")
        if version is None:
            raise Refused(400, "invalid_request_error", "anthropic-version: header is required")
        if version not in VERSIONS:
            message = f'anthropic-version: "{version}" is not a valid version.'
            raise Refused(400, "invalid_request_error", message)

    def validate(self, body: JSON, headers: Mapping[str, str]) -> None:
        validate(body, headers)

    def read(self, body: JSON) -> Ask:
        turns = merged(body["messages"])
        last = [block for _, block in turns[-1][1]] if turns[-1][0] == "user" else []
        asked = last or [block for _, block in turns[-2][1]]
        results = [block for block in asked if block["type"] == "tool_result"]
        choice = body.get("tool_choice", {"type": "auto"})
        thinking = body.get("thinking", {}).get("type")
        form = (body.get("output_config") or {}).get("format") or body.get("output_format")
        return Ask(
            model=body["model"],
            seed=seed(body),
            system="\n".join(_system_texts(body)),
            turns=sum(1 for role, _ in turns if role == "user"),
            text=_texts(asked),
            attachments=tuple(_attachments([*asked, *(part for r in results for part in _parts(r))])),
            results=tuple(_result(block) for block in results),
            tools=tuple(_tools(body)),
            tool_choice={"any": "required", "none": "none"}.get(choice["type"], "auto"),  # type: ignore[arg-type]
            forced_tool=choice.get("name"),
            parallel=not choice.get("disable_parallel_tool_use", False),
            thinking=thinking in ("enabled", "adaptive") or (thinking == "between_tools" and bool(results)),
            schema=form["schema"] if form else None,
            prefill="" if last else _texts([block for _, block in turns[-1][1]]),
            max_tokens=body.get("max_tokens"),
            stops=tuple(body.get("stop_sequences", ())),
            prompt_tokens=sum(tokens(part) for part in _prompt(body)),
            marked=tuple(_marked(body)),
        )

    def document(self, body: JSON, ask: Ask, answer: Answer, usage: Usage) -> JSON:
        return {
            **_envelope(ask),
            "content": list(_content(body, ask, answer)),
            **_stop(answer),
            "usage": {**_input_usage(usage), **_output_usage(usage), "service_tier": "standard"},
        }

    def frames(self, body: JSON, ask: Ask, answer: Answer, usage: Usage) -> list[Frame]:
        ping = Frame({"type": "ping"}, "ping")
        opening = {
            **_envelope(ask),
            "content": [],
            "stop_reason": None,
            "stop_sequence": None,
            "usage": {**_input_usage(usage), "output_tokens": 1, "service_tier": "standard"},
        }
        frames = [_frame({"type": "message_start", "message": opening}, "open"), ping]
        for index, block in enumerate(_content(body, ask, answer)):
            start, deltas = _STREAMED[block["type"]](block)
            frames.append(_frame({"type": "content_block_start", "index": index, "content_block": start}, "open"))
            frames += [_frame({"type": "content_block_delta", "index": index, "delta": delta}) for delta in deltas]
            frames.append(_frame({"type": "content_block_stop", "index": index}))
        closing = {**_uncached(usage), **_output_usage(usage)}
        frames.append(_frame({"type": "message_delta", "delta": _stop(answer), "usage": closing}, "close"))
        frames.append(_frame({"type": "message_stop"}, "close"))
        return frames

    def error(self, refused: Refused, request_id: str) -> JSON:
        error = {"type": refused.kind, "message": refused.message}
        return {"type": "error", "error": error, "request_id": request_id}

    def error_frames(self, refused: Refused, request_id: str, before: list[Frame]) -> list[Frame]:
        return [Frame(self.error(refused, request_id), "error", "close")]

    def models(self, names: tuple[str, ...]) -> JSON:
        data = [
            {
                "type": "model",
                "id": name,
                "display_name": name,
                "created_at": "2026-09-21T00:00:00Z",
                "lifecycle": "active",
            }
            for name in names
        ]
        return {"data": data, "has_more": False, "first_id": names[0], "last_id": names[-1]}

    def count_tokens(self, body: JSON, headers: Mapping[str, str]) -> JSON:
        """The answer to POST /v1/messages/count_tokens. Raises `Refused`."""
        validate(body, headers, counting=True)
        return {"input_tokens": self.read(body).prompt_tokens}


# --- reading --------------------------------------------------------------------------------------------------


def _system_texts(body: JSON) -> Iterator[str]:
    """The top-level system, then system messages in their order."""
    spoken = [message["content"] for message in body["messages"] if message["role"] == "system"]
    for content in [body.get("system", []), *spoken]:
        yield from (block["text"] for block in blocks(content) if block["type"] == "text")


def _texts(content: list[JSON]) -> str:
    return "\n".join(block["text"] for block in content if block["type"] == "text")


def _parts(result: JSON) -> list[JSON]:
    return blocks(result.get("content") or [])


def _result(result: JSON) -> str:
    return _texts(_parts(result)) + (" (error)" if result.get("is_error") else "")


def _attachments(content: list[JSON]) -> Iterator[tuple[str, str]]:
    for block in content:
        source = block.get("source")
        if block["type"] in ("image", "document") and source is not None:
            yield block["type"], _described(source)


def _described(source: JSON) -> str:
    if source["type"] == "base64":
        return f"{source['media_type']}, {len(base64.b64decode(source['data']))} bytes"
    return str(source.get("url") or source.get("file_id") or source["type"])


def _tools(body: JSON) -> Iterator[Tool]:
    yield from (Tool(tool["name"], tool["input_schema"]) for tool in body.get("tools", ()) if "input_schema" in tool)


def _prompt(body: JSON) -> list[JSON]:
    """The prompt in the order the cache sees it: tools, system, messages; one entry per tool or block."""
    return [
        *body.get("tools", ()),
        *blocks(body.get("system", [])),
        *(block for message in body["messages"] for block in blocks(message["content"])),
    ]


def _marked(body: JSON) -> Iterator[Marked]:
    """A prefix per breakpoint, shortest first; a top-level `cache_control` marks the whole prompt."""
    prompt = _prompt(body)
    for at, block in enumerate(prompt, start=1):
        control = block.get("cache_control") or (body.get("cache_control") if at == len(prompt) else None)
        if control:
            bare = [{k: v for k, v in part.items() if k != "cache_control"} for part in prompt[:at]]
            prefix = digest([body["model"], bare])
            yield Marked(prefix, sum(tokens(part) for part in bare), control.get("ttl", "5m"))


# --- writing --------------------------------------------------------------------------------------------------


def _frame(data: JSON, part: Any = "content") -> Frame:
    return Frame(data, data["type"], part)


def _envelope(ask: Ask) -> JSON:
    return {
        "id": mint("msg_01", 22, ask.seed),
        "type": "message",
        "role": "assistant",
        "model": ask.model,
    }


def _stop(answer: Answer) -> JSON:
    reason = STOP_REASONS[answer.stop]
    details = {
        "type": "refusal",
        "category": "general_harms",
        "explanation": "This request was blocked under the Usage Policy.",
    }
    return {
        "stop_reason": reason,
        "stop_sequence": answer.stop_sequence,
        "stop_details": details if reason == "refusal" else None,
    }


def _content(body: JSON, ask: Ask, answer: Answer) -> Iterator[JSON]:
    if answer.thinking and answer.redacted:
        yield {"type": "redacted_thinking", "data": redact(answer.thinking)}
    elif answer.thinking:
        shown = "" if body["thinking"].get("display") == "omitted" else answer.thinking
        yield {"type": "thinking", "thinking": shown, "signature": sign(shown)}
    if answer.text:
        yield {"type": "text", "text": answer.text}
    for number, call in enumerate(answer.calls):
        yield {
            "type": "tool_use",
            "id": mint("toolu_01", 22, ask.seed, number),
            "name": call.name,
            "input": call.arguments,
        }


def _stream_thinking(block: JSON) -> tuple[JSON, list[JSON]]:
    said = [{"type": "thinking_delta", "thinking": piece} for piece in words(block["thinking"])]
    signed = {"type": "signature_delta", "signature": block["signature"]}
    return {"type": "thinking", "thinking": "", "signature": ""}, [*said, signed]


def _stream_text(block: JSON) -> tuple[JSON, list[JSON]]:
    return {"type": "text", "text": ""}, [{"type": "text_delta", "text": piece} for piece in words(block["text"])]


def _stream_tool_use(block: JSON) -> tuple[JSON, list[JSON]]:
    pieces = ["", *fragments(msgspec.json.encode(block["input"]).decode())]
    return {**block, "input": {}}, [{"type": "input_json_delta", "partial_json": piece} for piece in pieces]


_STREAMED: dict[str, Any] = {
    "thinking": _stream_thinking,
    "redacted_thinking": lambda block: (block, []),
    "text": _stream_text,
    "tool_use": _stream_tool_use,
}
"""block type → (the block as it starts, its deltas)."""


def _uncached(usage: Usage) -> JSON:
    """Anthropic's `input_tokens` are what was neither read from the cache nor written to it."""
    return {
        "input_tokens": usage.input - usage.cache_read - usage.cache_write,
        "cache_creation_input_tokens": usage.cache_write,
        "cache_read_input_tokens": usage.cache_read,
    }


def _input_usage(usage: Usage) -> JSON:
    kept = {
        "ephemeral_5m_input_tokens": usage.cache_write - usage.cache_write_1h,
        "ephemeral_1h_input_tokens": usage.cache_write_1h,
    }
    return {**_uncached(usage), "cache_creation": kept}


def _output_usage(usage: Usage) -> JSON:
    details = {"output_tokens_details": {"thinking_tokens": usage.reasoning}} if usage.reasoning else {}
    return {"output_tokens": usage.output, **details}
