"""The official `openai` SDK over the Responses API, asked and understood in nobody's dialect.

Nothing is stored: each question carries the whole conversation, reasoning as `encrypted_content` with it.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import Any

from openai import AsyncOpenAI, DefaultAsyncHttpxClient
from openai.types.responses import Response, ResponseUsage

from .speakers import JSON, NO_ROOTS, Attachment, Call, Counts, Question, Reply, Turn, User

TERMINAL = frozenset({"response.completed", "response.incomplete", "response.failed"})
STOPS = {"max_output_tokens": "length", "content_filter": "refusal"}


class ResponsesSpeaker:
    def __init__(self, url: str, key: str, retries: int) -> None:
        http = DefaultAsyncHttpxClient(verify=NO_ROOTS)
        self.client: Any = AsyncOpenAI(base_url=f"{url}/v1", api_key=key, max_retries=retries, http_client=http)

    async def aclose(self) -> None:
        await self.client.close()

    async def ask(self, model: str, question: Question, *, streamed: bool = False) -> Reply:
        """`question.stops` has no place here."""
        parameters = _parameters(model, question)
        if not streamed:
            answer = await self.client.responses.with_raw_response.create(**parameters)
            response = answer.parse()
            return _reply(response, (response,), answer.headers, ())
        stream = await self.client.responses.create(**parameters, stream=True)
        events = [event async for event in stream]
        ends = [event.response for event in events if event.type in TERMINAL]
        faults = [] if len(ends) == 1 and events[-1].type in TERMINAL else ["not one terminal event, and that last"]
        if not ends:
            return Reply(stop="error", raw=tuple(events), headers=stream.response.headers, faults=tuple(faults))
        return _reply(ends[0], tuple(events), stream.response.headers, (*faults, *_stream_faults(events, ends[0])))


def _parameters(model: str, question: Question) -> JSON:
    given: JSON = {
        "instructions": question.system,
        "max_output_tokens": question.max_tokens,
        "tools": [
            {
                "type": "function",
                "name": tool.name,
                "description": f"Tool {tool.name}",
                "parameters": tool.schema,
                "strict": False,
            }
            for tool in question.tools
        ],
        "tool_choice": _choice(question.choice),
        "parallel_tool_calls": None if question.parallel else False,
        "text": question.schema
        and {"format": {"type": "json_schema", "name": "answer", "strict": True, "schema": question.schema}},
        "reasoning": {"effort": "minimal", "summary": "auto"} if question.thinking else None,
        "include": ["reasoning.encrypted_content"] if question.thinking else [],
    }
    return {
        "model": model,
        "input": [item for turn in question.turns for item in _items(turn)],
        "store": False,
        "extra_headers": {"x-busbar-receipt": "1"},
        **{name: value for name, value in given.items() if value},
        **question.native,
    }


def _choice(choice: str | None) -> Any:
    if choice is None or choice in ("auto", "none", "required"):
        return choice
    return {"type": "function", "name": choice}


def _items(turn: Turn) -> Iterator[JSON]:
    match turn:
        case str():
            yield {"role": "user", "content": turn}
        case Reply(turn=None):
            yield {"role": "assistant", "content": turn.text}
        case Reply():
            yield from turn.turn
        case User():
            for result in turn.results:
                yield {"type": "function_call_output", "call_id": result.id, "output": result.text}
            parts = [_attached(attachment) for attachment in turn.attachments]
            parts += [{"type": "input_text", "text": turn.text}] if turn.text else []
            if parts:
                yield {"role": "user", "content": parts}


def _attached(attachment: Attachment) -> JSON:
    url = attachment.url or f"data:{attachment.media_type};base64,{attachment.data}"
    if attachment.kind == "image":
        return {"type": "input_image", "image_url": url, "detail": "auto"}
    return {"type": "input_file", "filename": "paper.pdf", "file_data": url}


def _reply(response: Response, raw: tuple[Any, ...], headers: Any, faults: Sequence[str]) -> Reply:
    messages = [part for item in response.output if item.type == "message" for part in item.content]
    thoughts = [item for item in response.output if item.type == "reasoning"]
    calls = [item for item in response.output if item.type == "function_call"]
    refusal = "".join(part.refusal for part in messages if part.type == "refusal")
    return Reply(
        text="".join(part.text for part in messages if part.type == "output_text"),
        thinking="".join(summary.text for item in thoughts for summary in item.summary),
        signature="".join(item.encrypted_content or "" for item in thoughts),
        calls=tuple(Call(call.name, json.loads(call.arguments), call.call_id) for call in calls),
        stop=_stop(response, bool(calls), bool(refusal)),
        refusal=refusal,
        usage=None if response.usage is None else _counts(response.usage),
        id=response.id,
        model=response.model,
        turn=[item.to_dict(mode="json") for item in response.output],
        raw=raw,
        faults=tuple(faults),
        headers=headers,
    )


def _stop(response: Response, called: bool, refused: bool) -> str:
    if response.status == "failed":
        return "error"
    if response.incomplete_details is not None:
        return STOPS[response.incomplete_details.reason or ""]
    return "tools" if called else "refusal" if refused else "end"


def _counts(usage: ResponseUsage) -> Counts:
    """Here the input includes what the cache had."""
    read = usage.input_tokens_details.cached_tokens or 0
    written = usage.input_tokens_details.cache_write_tokens or 0
    assert usage.total_tokens == usage.input_tokens + usage.output_tokens
    return Counts(
        input=usage.input_tokens - read - written,
        output=usage.output_tokens,
        cache_read=read,
        cache_write=written,
        reasoning=usage.output_tokens_details.reasoning_tokens or 0,
    )


def _stream_faults(events: Sequence[Any], response: Response) -> Iterator[str]:
    """Where the events of a stream contradict the response that ends it, or each other."""
    if [event.sequence_number for event in events] != list(range(len(events))):
        yield "the sequence numbers do not count"
    if response.status == "failed":
        return
    said: dict[tuple[str, int], str] = defaultdict(str)
    for event in events:
        if event.type.endswith(".delta"):
            said[event.type, event.output_index] += event.delta
    added = [event.output_index for event in events if event.type == "response.output_item.added"]
    done = [event.output_index for event in events if event.type == "response.output_item.done"]
    if sorted(added) != sorted(done) or sorted(added) != list(range(len(response.output))):
        yield f"items are added {added} and done {done}, and {len(response.output)} are in the response"
    for index, item in enumerate(response.output):
        if item.type == "function_call" and said["response.function_call_arguments.delta", index] != item.arguments:
            yield f"the arguments of item {index} are not what was streamed"
        if item.type == "message":
            text = "".join(part.text for part in item.content if part.type == "output_text")
            if said["response.output_text.delta", index] != text:
                yield f"the text of item {index} is not what was streamed"
