"""What providers answer with, whole: one thing that a model says, in the words of each of the six dialects."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from msgspec import Struct

from bench.scenarios import Dialect

MODEL = "bench-2026-01-01"
CREATED = 1790000000
PROMPT_TOKENS = 412


class Call(Struct, frozen=True):
    """A call of one of the caller's tools. `arguments` is JSON text."""

    id: str
    name: str
    arguments: str


class Said(Struct, frozen=True):
    """What the model says: a text, in the pieces in which it streams, and then calls."""

    texts: tuple[str, ...]
    calls: tuple[Call, ...] = ()

    @property
    def text(self) -> str:
        return "".join(self.texts)

    @property
    def tokens(self) -> int:
        return len(self.texts)


def dump(document: object) -> bytes:
    return json.dumps(document, separators=(",", ":")).encode()


def answer(dialect: Dialect, said: Said) -> dict[str, Any]:
    """The document of a whole answer."""
    return _ANSWERS[dialect](said)


def _openai(said: Said) -> dict[str, Any]:
    message: dict[str, Any] = {"role": "assistant", "content": said.text, "refusal": None, "annotations": []}
    if said.calls:
        message["tool_calls"] = [openai_call(call) for call in said.calls]
    finish = "tool_calls" if said.calls else "stop"
    return {
        "id": "chatcmpl-bench0000000000000000",
        "object": "chat.completion",
        "created": CREATED,
        "model": MODEL,
        "choices": [{"index": 0, "message": message, "logprobs": None, "finish_reason": finish}],
        "usage": openai_usage(said),
        "service_tier": "default",
        "system_fingerprint": "fp_bench",
    }


def openai_call(call: Call) -> dict[str, Any]:
    return {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}


def openai_usage(said: Said) -> dict[str, Any]:
    return {
        "prompt_tokens": PROMPT_TOKENS,
        "completion_tokens": said.tokens,
        "total_tokens": PROMPT_TOKENS + said.tokens,
        "prompt_tokens_details": {"cached_tokens": 0, "audio_tokens": 0},
        "completion_tokens_details": {"reasoning_tokens": 0, "audio_tokens": 0},
    }


def _anthropic(said: Said) -> dict[str, Any]:
    calls = [
        {"type": "tool_use", "id": call.id, "name": call.name, "input": json.loads(call.arguments)}
        for call in said.calls
    ]
    return {
        "id": "msg_bench0000000000000000",
        "type": "message",
        "role": "assistant",
        "model": MODEL,
        "content": [{"type": "text", "text": said.text}, *calls],
        "stop_reason": "tool_use" if said.calls else "end_turn",
        "stop_sequence": None,
        "usage": {"input_tokens": PROMPT_TOKENS, "output_tokens": said.tokens, "service_tier": "standard"},
    }


def responses_message(text: str) -> dict[str, Any]:
    content = [{"type": "output_text", "text": text, "annotations": [], "logprobs": []}]
    return {
        "id": "msg_bench000000000000",
        "type": "message",
        "status": "completed",
        "role": "assistant",
        "content": content,
    }


def responses_call(call: Call) -> dict[str, Any]:
    return {
        "id": f"fc_{call.id}",
        "type": "function_call",
        "status": "completed",
        "arguments": call.arguments,
        "call_id": call.id,
        "name": call.name,
    }


def responses_document(status: str, output: list[Any], usage: object) -> dict[str, Any]:
    return {
        "id": "resp_bench000000000000",
        "object": "response",
        "created_at": CREATED,
        "status": status,
        "error": None,
        "incomplete_details": None,
        "instructions": None,
        "max_output_tokens": None,
        "model": MODEL,
        "output": output,
        "parallel_tool_calls": True,
        "previous_response_id": None,
        "reasoning": {"effort": None, "summary": None},
        "store": False,
        "temperature": 1.0,
        "text": {"format": {"type": "text"}},
        "tool_choice": "auto",
        "tools": [],
        "top_p": 1.0,
        "truncation": "disabled",
        "usage": usage,
        "metadata": {},
    }


def responses_usage(said: Said) -> dict[str, Any]:
    return {
        "input_tokens": PROMPT_TOKENS,
        "input_tokens_details": {"cached_tokens": 0},
        "output_tokens": said.tokens,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": PROMPT_TOKENS + said.tokens,
    }


def _responses(said: Said) -> dict[str, Any]:
    output = [responses_message(said.text), *map(responses_call, said.calls)]
    return responses_document("completed", output, responses_usage(said))


def gemini_chunk(parts: list[Any], tokens: int, finish: str | None = None) -> dict[str, Any]:
    """A whole answer, or one chunk of a stream: they look alike."""
    candidate: dict[str, Any] = {"content": {"parts": parts, "role": "model"}, "index": 0}
    if finish is not None:
        candidate["finishReason"] = finish
    return {
        "candidates": [candidate],
        "usageMetadata": {
            "promptTokenCount": PROMPT_TOKENS,
            "candidatesTokenCount": tokens,
            "totalTokenCount": PROMPT_TOKENS + tokens,
            "promptTokensDetails": [{"modality": "TEXT", "tokenCount": PROMPT_TOKENS}],
        },
        "modelVersion": MODEL,
        "responseId": "bench00000000000000000",
    }


def gemini_call(call: Call) -> dict[str, Any]:
    return {"functionCall": {"name": call.name, "args": json.loads(call.arguments)}}


def _gemini(said: Said) -> dict[str, Any]:
    return gemini_chunk([{"text": said.text}, *map(gemini_call, said.calls)], said.tokens, "STOP")


def bedrock_usage(said: Said) -> dict[str, Any]:
    return {
        "inputTokens": PROMPT_TOKENS,
        "outputTokens": said.tokens,
        "totalTokens": PROMPT_TOKENS + said.tokens,
    }


def _bedrock(said: Said) -> dict[str, Any]:
    calls = [
        {"toolUse": {"toolUseId": call.id, "name": call.name, "input": json.loads(call.arguments)}}
        for call in said.calls
    ]
    return {
        "metrics": {"latencyMs": 551},
        "output": {"message": {"content": [{"text": said.text}, *calls], "role": "assistant"}},
        "stopReason": "tool_use" if said.calls else "end_turn",
        "usage": bedrock_usage(said),
    }


def cohere_usage(said: Said) -> dict[str, Any]:
    tokens = {"input_tokens": PROMPT_TOKENS, "output_tokens": said.tokens}
    return {"billed_units": tokens, "tokens": tokens}


def _cohere(said: Said) -> dict[str, Any]:
    message: dict[str, Any] = {"role": "assistant"}
    if said.calls:
        message |= {"tool_plan": said.text, "tool_calls": [openai_call(call) for call in said.calls]}
    else:
        message["content"] = [{"type": "text", "text": said.text}]
    finish = "TOOL_CALL" if said.calls else "COMPLETE"
    return {"id": "bench-0000", "finish_reason": finish, "message": message, "usage": cohere_usage(said)}


_ANSWERS: Mapping[Dialect, Callable[[Said], dict[str, Any]]] = {
    "openai": _openai,
    "anthropic": _anthropic,
    "responses": _responses,
    "gemini": _gemini,
    "bedrock": _bedrock,
    "cohere": _cohere,
}
