"""The official `openai` SDK, asked and understood in nobody's dialect."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from openai import AsyncOpenAI, DefaultAsyncHttpxClient
from openai.lib.streaming.chat import ChatCompletionStreamState
from openai.types import CompletionUsage
from openai.types.chat import ChatCompletion

from .speakers import JSON, NO_ROOTS, Attachment, Call, Counts, Question, Reply, Turn, User

STOPS = {"stop": "end", "tool_calls": "tools", "length": "length", "content_filter": "refusal"}


class OpenaiSpeaker:
    def __init__(self, url: str, key: str, retries: int) -> None:
        http = DefaultAsyncHttpxClient(verify=NO_ROOTS)
        self.client: Any = AsyncOpenAI(base_url=f"{url}/v1", api_key=key, max_retries=retries, http_client=http)

    async def aclose(self) -> None:
        await self.client.close()

    async def ask(self, model: str, question: Question, *, streamed: bool = False) -> Reply:
        parameters = _parameters(model, question)
        if not streamed:
            response = await self.client.chat.completions.with_raw_response.create(**parameters)
            completion = response.parse()
            return _reply(completion, (completion,), response.headers)
        if question.usage:
            parameters["stream_options"] = {"include_usage": True}
        state: ChatCompletionStreamState[Any] = ChatCompletionStreamState()
        chunks = []
        stream = await self.client.chat.completions.create(**parameters, stream=True)
        async for chunk in stream:
            chunks.append(chunk)
            state.handle_chunk(chunk)
        return _reply(state.current_completion_snapshot, tuple(chunks), stream.response.headers)


def _parameters(model: str, question: Question) -> JSON:
    system = [{"role": "system", "content": question.system}] if question.system else []
    given: JSON = {
        "max_completion_tokens": question.max_tokens,
        "tools": [_tool(tool.name, tool.schema) for tool in question.tools],
        "tool_choice": _choice(question.choice),
        "parallel_tool_calls": None if question.parallel else False,
        "stop": list(question.stops),
        "response_format": _output(question.schema),
        "reasoning_effort": "minimal" if question.thinking else None,
    }
    return {
        "model": model,
        "messages": [*system, *(message for turn in question.turns for message in _messages(turn))],
        "extra_headers": {"x-busbar-receipt": "1"},
        **{name: value for name, value in given.items() if value not in (None, [])},
        **question.native,
    }


def _tool(name: str, schema: JSON) -> JSON:
    return {"type": "function", "function": {"name": name, "description": f"Tool {name}", "parameters": schema}}


def _choice(choice: str | None) -> Any:
    if choice is None or choice in ("auto", "none", "required"):
        return choice
    return {"type": "function", "function": {"name": choice}}


def _output(schema: JSON | None) -> JSON | None:
    return schema and {"type": "json_schema", "json_schema": {"name": "answer", "strict": True, "schema": schema}}


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
    url = attachment.url or f"data:{attachment.media_type};base64,{attachment.data}"
    if attachment.kind == "image":
        return {"type": "image_url", "image_url": {"url": url}}
    return {"type": "file", "file": {"filename": "paper.pdf", "file_data": url}}


def _reply(completion: ChatCompletion, raw: tuple[Any, ...], headers: Any) -> Reply:
    choice = completion.choices[0]
    message = choice.message
    calls = [call for call in message.tool_calls or () if call.type == "function"]
    turn = {"role": "assistant", **message.to_dict(mode="json")}
    return Reply(
        text=message.content or "",
        thinking=getattr(message, "reasoning_content", None) or "",
        calls=tuple(Call(call.function.name, json.loads(call.function.arguments), call.id) for call in calls),
        stop=STOPS[choice.finish_reason],
        refusal=message.refusal or "",
        usage=None if completion.usage is None else _counts(completion.usage),
        id=completion.id,
        model=completion.model,
        turn={key: value for key, value in turn.items() if key not in ("parsed", "annotations")},
        others=tuple(other.message.content or "" for other in completion.choices[1:]),
        raw=raw,
        headers=headers,
    )


def _counts(usage: CompletionUsage) -> Counts:
    """Here the prompt includes what the cache had."""
    prompt, completion = usage.prompt_tokens_details, usage.completion_tokens_details
    read = (prompt and prompt.cached_tokens) or 0
    written = (prompt and prompt.cache_write_tokens) or 0
    assert usage.total_tokens == usage.prompt_tokens + usage.completion_tokens
    return Counts(
        input=usage.prompt_tokens - read - written,
        output=usage.completion_tokens,
        cache_read=read,
        cache_write=written,
        reasoning=(completion and completion.reasoning_tokens) or 0,
    )
