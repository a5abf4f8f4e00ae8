"""The response object of OpenAI's Responses API and the items in its output."""

from collections.abc import Iterator
from typing import Any

import msgspec

from .dialect import CREATED, JSON, mint
from .script import REFUSAL, Answer, Ask, words
from .signature import encrypt
from .usage import Usage
from .validate_responses import functions

INCOMPLETE = {"length": "max_output_tokens", "filter": "content_filter"}
"""stop → the reason why a response is incomplete; with any other it is complete."""


def envelope(body: JSON, ask: Ask) -> JSON:
    """The response as it stands before anything was said: what was asked for, and the API's defaults."""
    reasoning, wanted = body.get("reasoning") or {}, body.get("text") or {}
    return {
        "id": mint("resp_", 50, ask.seed),
        "object": "response",
        "created_at": CREATED,
        "status": "in_progress",
        "background": bool(body.get("background")),
        "completed_at": None,
        "error": None,
        "frequency_penalty": 0.0,
        "incomplete_details": None,
        "instructions": body.get("instructions"),
        "max_output_tokens": body.get("max_output_tokens"),
        "max_tool_calls": body.get("max_tool_calls"),
        "model": ask.model,
        "output": [],
        "parallel_tool_calls": ask.parallel,
        "presence_penalty": 0.0,
        "previous_response_id": None,
        "prompt_cache_key": body.get("prompt_cache_key"),
        "prompt_cache_retention": body.get("prompt_cache_retention"),
        "reasoning": {"effort": reasoning.get("effort"), "summary": reasoning.get("summary")},
        "safety_identifier": body.get("safety_identifier"),
        "service_tier": "default",
        "store": _or_default(body.get("store"), True),
        "temperature": _or_default(body.get("temperature"), 1.0),
        "text": {
            "format": wanted.get("format") or {"type": "text"},
            "verbosity": wanted.get("verbosity") or "medium",
        },
        "tool_choice": body.get("tool_choice", "auto"),
        "tools": [_tool(tool) for tool in body.get("tools", ())],
        "top_logprobs": body.get("top_logprobs") or 0,
        "top_p": _or_default(body.get("top_p"), 1.0),
        "truncation": body.get("truncation") or "disabled",
        "usage": None,
        "user": body.get("user"),
        "metadata": body.get("metadata") or {},
    }


def finished(response: JSON, items: list[JSON], answer: Answer, usage: Usage) -> JSON:
    """The response with all that was said."""
    reason = INCOMPLETE.get(answer.stop)
    return {
        **response,
        "status": "incomplete" if reason else "completed",
        "completed_at": None if reason else CREATED + 1,
        "incomplete_details": {"reason": reason} if reason else None,
        "output": items,
        "usage": {
            "input_tokens": usage.input,
            "input_tokens_details": {"cache_write_tokens": usage.cache_write, "cached_tokens": usage.cache_read},
            "output_tokens": usage.output,
            "output_tokens_details": {"reasoning_tokens": usage.reasoning},
            "total_tokens": usage.input + usage.output,
        },
    }


def output(body: JSON, ask: Ask, answer: Answer) -> list[JSON]:
    """The items of an answer: reasoning, a message, calls."""
    return [*_reasoning(body, ask, answer), *_message(body, ask, answer), *_calls(body, ask, answer)]


def logprobs(body: JSON, pieces: list[str]) -> list[JSON]:
    """Every token was certain; its alternatives are itself."""
    if "message.output_text.logprobs" not in (body.get("include") or ()):
        return []
    tokens = [{"token": piece, "logprob": 0.0, "bytes": list(piece.encode())} for piece in pieces]
    return [{**token, "top_logprobs": [token] if body.get("top_logprobs") else []} for token in tokens]


def _or_default(value: Any, default: Any) -> Any:
    return default if value is None else value


def _tool(tool: JSON) -> JSON:
    """A tool as it is echoed: a function with all its keys."""
    if tool["type"] != "function":
        return tool
    flat = {key: value for key, value in tool.items() if key != "function"}
    return {"description": None, "parameters": None, "strict": True, **flat}


def _reasoning(body: JSON, ask: Ask, answer: Answer) -> Iterator[JSON]:
    if answer.thinking is None:
        return
    asked = body.get("reasoning") or {}
    shown = bool(asked.get("summary") or asked.get("generate_summary")) and bool(answer.thinking)
    secret = "reasoning.encrypted_content" in (body.get("include") or ())
    yield {
        "id": mint("rs_", 50, ask.seed),
        "type": "reasoning",
        **({"encrypted_content": encrypt(answer.thinking)} if secret else {}),
        "summary": [{"type": "summary_text", "text": answer.thinking}] if shown else [],
    }


def _message(body: JSON, ask: Ask, answer: Answer) -> Iterator[JSON]:
    if answer.stop == "refusal":
        part: JSON = {"type": "refusal", "refusal": REFUSAL}
    elif answer.text:
        told = logprobs(body, words(answer.text))
        part = {"type": "output_text", "annotations": [], "logprobs": told, "text": answer.text}
    else:
        return
    yield {
        "id": mint("msg_", 50, ask.seed),
        "type": "message",
        "status": "incomplete" if answer.stop in INCOMPLETE else "completed",
        "content": [part],
        "role": "assistant",
    }


def _calls(body: JSON, ask: Ask, answer: Answer) -> Iterator[JSON]:
    namespaces = {tool["name"]: namespace for _, namespace, tool in functions(body)}
    for number, call in enumerate(answer.calls):
        namespace = namespaces.get(call.name)
        yield {
            "id": mint("fc_", 50, ask.seed, number),
            "type": "function_call",
            "status": "completed",
            "arguments": msgspec.json.encode(call.arguments).decode(),
            "call_id": mint("call_", 24, ask.seed, number),
            "name": call.name,
            **({"namespace": namespace} if namespace else {}),
        }
