"""The official `anthropic` SDK, asked and understood in nobody's dialect."""

from __future__ import annotations

from typing import Any

from anthropic import AsyncAnthropic, DefaultAsyncHttpxClient
from anthropic.types import Message, Usage

from .speakers import JSON, NO_ROOTS, Attachment, Call, Counts, Question, Reply, Result, Turn, User

STOPS = {
    "end_turn": "end",
    "tool_use": "tools",
    "max_tokens": "length",
    "stop_sequence": "stop_sequence",
    "refusal": "refusal",
}
AS_SENT = frozenset({"message_start", "content_block_start", "content_block_delta", "message_delta"})
"""Events that the SDK's stream helper hands on as they came; to the others it adds."""


class AnthropicSpeaker:
    def __init__(self, url: str, key: str, retries: int) -> None:
        http = DefaultAsyncHttpxClient(verify=NO_ROOTS)
        self.client: Any = AsyncAnthropic(base_url=url, api_key=key, max_retries=retries, http_client=http)

    async def aclose(self) -> None:
        await self.client.close()

    async def ask(self, model: str, question: Question, *, streamed: bool = False) -> Reply:
        parameters = _parameters(model, question)
        if not streamed:
            response = await self.client.messages.with_raw_response.create(**parameters)
            message = await response.parse()
            return _reply(message, (message,), response.headers)
        async with self.client.messages.stream(**parameters) as stream:
            events = [event async for event in stream]
            message = await stream.get_final_message()
        raw = tuple(event for event in events if event.type in AS_SENT)
        return _reply(message, raw, stream.response.headers)


def _parameters(model: str, question: Question) -> JSON:
    """`max_tokens` is not optional here, in the SDK neither."""
    given: JSON = {
        "system": question.system,
        "tools": [
            {"name": tool.name, "description": f"Tool {tool.name}", "input_schema": tool.schema}
            for tool in question.tools
        ],
        "tool_choice": _choice(question),
        "stop_sequences": list(question.stops),
        "output_config": question.schema and {"format": {"type": "json_schema", "schema": question.schema}},
        "thinking": {"type": "enabled", "budget_tokens": 1024} if question.thinking else None,
    }
    return {
        "model": model,
        "messages": [_message(turn) for turn in question.turns],
        "max_tokens": question.max_tokens,
        "extra_headers": {"x-busbar-receipt": "1"},
        **{name: value for name, value in given.items() if value},
        **question.native,
    }


def _choice(question: Question) -> JSON | None:
    if question.choice is None and question.parallel:
        return None
    word = question.choice or "auto"
    kind = {"auto": "auto", "none": "none", "required": "any"}.get(word, "tool")
    named = {"name": word} if kind == "tool" else {}
    serial = {} if question.parallel else {"disable_parallel_tool_use": True}
    return {"type": kind, **named, **serial}


def _message(turn: Turn) -> JSON:
    match turn:
        case str():
            return {"role": "user", "content": turn}
        case Reply():
            message: JSON = turn.turn or {"role": "assistant", "content": turn.text}
            return message
        case User():
            content = [_result(result) for result in turn.results]
            content += [_attached(attachment) for attachment in turn.attachments]
            content += [{"type": "text", "text": turn.text}] if turn.text else []
            return {"role": "user", "content": content}


def _result(result: Result) -> JSON:
    flag = {"is_error": True} if result.failed else {}
    return {"type": "tool_result", "tool_use_id": result.id, "content": result.text, **flag}


def _attached(attachment: Attachment) -> JSON:
    if attachment.url:
        return {"type": attachment.kind, "source": {"type": "url", "url": attachment.url}}
    source = {"type": "base64", "media_type": attachment.media_type, "data": attachment.data}
    return {"type": attachment.kind, "source": source}


def _reply(message: Message, raw: tuple[Any, ...], headers: Any) -> Reply:
    thoughts = [block for block in message.content if block.type == "thinking"]
    texts = [block.text for block in message.content if block.type == "text"]
    calls = [block for block in message.content if block.type == "tool_use"]
    stop = STOPS[message.stop_reason or ""]
    return Reply(
        text="".join(texts),
        thinking="".join(block.thinking for block in thoughts),
        signature="".join(block.signature for block in thoughts),
        calls=tuple(Call(block.name, block.input, block.id) for block in calls),
        stop=stop,
        stop_sequence=message.stop_sequence,
        refusal="".join(texts) if stop == "refusal" else "",
        usage=_counts(message.usage),
        id=message.id,
        model=message.model,
        turn={
            "role": "assistant",
            "content": [_said(block) for block in message.content],
        },
        raw=raw,
        headers=headers,
    )


def _said(block: Any) -> JSON:
    """A block as a request takes it back: what the stream helper parsed out of it is not part of it."""
    said: JSON = block.to_dict()
    return {key: value for key, value in said.items() if key != "parsed_output"}


def _counts(usage: Usage) -> Counts:
    """Here the input leaves out what the cache had."""
    details = usage.output_tokens_details
    return Counts(
        input=usage.input_tokens,
        output=usage.output_tokens,
        cache_read=usage.cache_read_input_tokens or 0,
        cache_write=usage.cache_creation_input_tokens or 0,
        reasoning=details.thinking_tokens if details else 0,
    )
