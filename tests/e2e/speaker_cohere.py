"""The official `cohere` SDK (ClientV2), asked and understood in nobody's dialect."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import cohere
import httpx
from cohere import Usage

from .speakers import JSON, NO_ROOTS, Attachment, Call, Counts, Question, Reply, Turn, User

STOPS = {
    "COMPLETE": "end",
    "TOOL_CALL": "tools",
    "MAX_TOKENS": "length",
    "STOP_SEQUENCE": "stop_sequence",
    "ERROR": "error",
}


class CohereSpeaker:
    def __init__(self, url: str, key: str, retries: int) -> None:
        self._http = httpx.AsyncClient(verify=NO_ROOTS)
        self.client: Any = cohere.AsyncClientV2(
            key, base_url=url, max_retries=retries, httpx_client=self._http, timeout=20
        )

    async def aclose(self) -> None:
        await self._http.aclose()

    async def ask(self, model: str, question: Question, *, streamed: bool = False) -> Reply:
        parameters = _parameters(model, question)
        if not streamed:
            answer = await self.client.with_raw_response.chat(**parameters)
            response = answer.data
            message = response.message.model_dump(exclude_none=True, by_alias=True)
            return _reply(response.id, message, response.finish_reason, response.usage, (response,), answer.headers)
        async with self.client.with_raw_response.chat_stream(**parameters) as answer:
            events = [event async for event in answer.data]
            headers = answer.headers
        end = events[-1].delta
        message, faults = _joined(events)
        return _reply(events[0].id, message, end.finish_reason, end.usage, tuple(events), headers, tuple(faults))


def _parameters(model: str, question: Question) -> JSON:
    given: JSON = {
        "max_tokens": question.max_tokens,
        "tools": [
            {
                "type": "function",
                "function": {"name": tool.name, "description": f"Tool {tool.name}", "parameters": tool.schema},
            }
            for tool in question.tools
        ],
        "tool_choice": {"none": "NONE", "required": "REQUIRED"}.get(question.choice or ""),
        "stop_sequences": list(question.stops),
        "response_format": question.schema and {"type": "json_object", "json_schema": question.schema},
        "thinking": {"type": "enabled", "token_budget": 1024} if question.thinking else None,
    }
    system = [{"role": "system", "content": question.system}] if question.system else []
    return {
        "model": model,
        "messages": [*system, *(message for turn in question.turns for message in _messages(turn))],
        "request_options": {"additional_headers": {"x-busbar-receipt": "1"}},
        **{name: value for name, value in given.items() if value},
        **question.native,
    }


def _messages(turn: Turn) -> Iterator[JSON]:
    match turn:
        case str():
            yield {"role": "user", "content": turn}
        case Reply():
            yield turn.turn or {"role": "assistant", "content": turn.text}
        case User():
            for result in turn.results:
                yield {"role": "tool", "tool_call_id": result.id, "content": result.text}
            parts = [_attached(attachment) for attachment in turn.attachments]
            parts += [{"type": "text", "text": turn.text}] if turn.text else []
            if parts:
                yield {"role": "user", "content": parts}


def _attached(attachment: Attachment) -> JSON:
    assert attachment.kind == "image", "documents stand beside the messages here"
    url = attachment.url or f"data:{attachment.media_type};base64,{attachment.data}"
    return {"type": "image_url", "image_url": {"url": url}}


def _joined(events: list[Any]) -> tuple[JSON, list[str]]:
    """The message of a stream, and what is out of order."""
    blocks: dict[int, JSON] = {}
    calls: dict[int, JSON] = {}
    plan = ""
    opened: list[tuple[str, int]] = []
    faults: list[str] = []
    for event in events:
        said = event.delta.message if event.type not in ("content-end", "tool-call-end", "message-end") else None
        match event.type:
            case "content-start":
                blocks[event.index] = _dump(said.content)
                opened.append(("content", event.index))
            case "content-delta":
                for name, piece in _dump(said.content).items():
                    blocks[event.index][name] = blocks[event.index].get(name, "") + piece
            case "tool-call-start":
                calls[event.index] = _dump(said.tool_calls)
                opened.append(("tool-call", event.index))
            case "tool-call-delta":
                calls[event.index]["function"]["arguments"] += said.tool_calls.function.arguments
            case "tool-plan-delta":
                plan += said.tool_plan
            case "content-end" | "tool-call-end":
                opened.remove((event.type.removesuffix("-end"), event.index))
    kinds = [event.type for event in events]
    if (kinds[0], kinds[-1], kinds.count("message-end")) != ("message-start", "message-end", 1):
        faults.append("does not go from message-start to one message-end")
    if opened and events[-1].delta.finish_reason != "ERROR":
        faults.append(f"not closed: {opened}")
    given = {"tool_calls": list(calls.values()), "tool_plan": plan, "content": list(blocks.values())}
    return {"role": "assistant", **{name: value for name, value in given.items() if value}}, faults


def _dump(model: Any) -> JSON:
    dumped: JSON = model.model_dump(exclude_none=True, by_alias=True)
    return dumped


def _reply(
    answer: str | None,
    message: JSON,
    reason: str,
    usage: Usage | None,
    raw: tuple[Any, ...],
    headers: Any,
    faults: tuple[str, ...] = (),
) -> Reply:
    content = message.get("content", [])
    calls = message.get("tool_calls", [])
    return Reply(
        text="".join(part["text"] for part in content if part["type"] == "text"),
        thinking=message.get("tool_plan", "")
        + "".join(part["thinking"] for part in content if part["type"] == "thinking"),
        calls=tuple(
            Call(call["function"]["name"], json.loads(call["function"]["arguments"]), call["id"]) for call in calls
        ),
        stop=STOPS[reason],
        usage=_counts(usage),
        id=answer or "",
        turn={name: value for name, value in message.items() if name != "citations"},
        raw=raw,
        faults=faults,
        headers=headers,
    )


def _counts(usage: Usage | None) -> Counts | None:
    """Here the input includes what the cache had. Numbers are floats in the SDK."""
    if usage is None or usage.tokens is None:
        return None
    read = int(usage.cached_tokens or 0)
    return Counts(
        input=int(usage.tokens.input_tokens or 0) - read,
        output=int(usage.tokens.output_tokens or 0),
        cache_read=read,
        reasoning=int(getattr(usage.tokens, "reasoning_tokens", None) or 0),
    )
