"""What providers stream: the same things said, event by event, as the bytes of each dialect.

Each stream is as its provider writes it, with what nobody needs: Gemini's line ends and its usage in every chunk,
Bedrock's padding, OpenAI's empty fields.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from bench.answers import (
    CREATED,
    MODEL,
    PROMPT_TOKENS,
    Call,
    Said,
    bedrock_usage,
    cohere_usage,
    dump,
    gemini_call,
    gemini_chunk,
    openai_call,
    openai_usage,
    responses_call,
    responses_document,
    responses_message,
    responses_usage,
)
from bench.scenarios import Dialect
from busbar.protocols.framing.eventstream import encode_message

_PIECE_CHARS = 12
"""Of a call's arguments in one event."""
_PADDING = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"


def events(dialect: Dialect, said: Said) -> list[bytes]:
    """The wire events of a stream, each whole, from the first to the terminal one."""
    return list(_STREAMS[dialect](said))


def _pieces(call: Call) -> Iterable[str]:
    text = call.arguments
    return [text[at : at + _PIECE_CHARS] for at in range(0, len(text), _PIECE_CHARS)]


def _named(kind: str, **fields: object) -> bytes:
    """An event whose name is its type as well."""
    return f"event: {kind}\ndata: ".encode() + dump({"type": kind, **fields}) + b"\n\n"


def _openai(said: Said) -> Iterator[bytes]:
    def chunk(choices: list[Any], usage: object = None) -> bytes:
        document = {
            "id": "chatcmpl-bench0000000000000000",
            "object": "chat.completion.chunk",
            "created": CREATED,
            "model": MODEL,
            "service_tier": "default",
            "system_fingerprint": "fp_bench",
            "choices": choices,
            "usage": usage,
        }
        return b"data: " + dump(document) + b"\n\n"

    def choice(delta: object, finish: str | None = None) -> list[Any]:
        return [{"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}]

    yield chunk(choice({"role": "assistant", "content": "", "refusal": None}))
    for text in said.texts:
        yield chunk(choice({"content": text}))
    for number, call in enumerate(said.calls):
        begun = openai_call(Call(call.id, call.name, ""))
        yield chunk(choice({"tool_calls": [{"index": number, **begun}]}))
        for piece in _pieces(call):
            yield chunk(choice({"tool_calls": [{"index": number, "function": {"arguments": piece}}]}))
    yield chunk(choice({}, "tool_calls" if said.calls else "stop"))
    yield chunk([], openai_usage(said))
    yield b"data: [DONE]\n\n"


def _anthropic(said: Said) -> Iterator[bytes]:
    message: dict[str, Any] = {
        "id": "msg_bench0000000000000000",
        "type": "message",
        "role": "assistant",
        "model": MODEL,
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
        "usage": {"input_tokens": PROMPT_TOKENS, "output_tokens": 1},
    }
    yield _named("message_start", message=message)
    yield _named("content_block_start", index=0, content_block={"type": "text", "text": ""})
    for text in said.texts:
        yield _named("content_block_delta", index=0, delta={"type": "text_delta", "text": text})
    yield _named("content_block_stop", index=0)
    for index, call in enumerate(said.calls, 1):
        block = {"type": "tool_use", "id": call.id, "name": call.name, "input": {}}
        yield _named("content_block_start", index=index, content_block=block)
        for piece in _pieces(call):
            delta = {"type": "input_json_delta", "partial_json": piece}
            yield _named("content_block_delta", index=index, delta=delta)
        yield _named("content_block_stop", index=index)
    delta = {"stop_reason": "tool_use" if said.calls else "end_turn", "stop_sequence": None}  # type: ignore[dict-item]
    yield _named("message_delta", delta=delta, usage={"output_tokens": said.tokens})
    yield _named("message_stop")


def _responses(said: Said) -> Iterator[bytes]:
    fields: Iterable[tuple[str, dict[str, Any]]] = (
        ("response.created", {"response": responses_document("in_progress", [], None)}),
        ("response.in_progress", {"response": responses_document("in_progress", [], None)}),
        *_responses_text(said),
        *(event for at, call in enumerate(said.calls, 1) for event in _responses_function(at, call)),
    )
    number = -1
    for number, (kind, more) in enumerate(fields):
        yield _named(kind, sequence_number=number, **more)
    output = [responses_message(said.text), *map(responses_call, said.calls)]
    whole = responses_document("completed", output, responses_usage(said))
    yield _named("response.completed", sequence_number=number + 1, response=whole)


def _responses_text(said: Said) -> Iterator[tuple[str, dict[str, Any]]]:
    item = responses_message(said.text)
    begun = {**item, "status": "in_progress", "content": []}
    place = {"item_id": item["id"], "output_index": 0, "content_index": 0}
    part = {"type": "output_text", "text": "", "annotations": [], "logprobs": []}
    yield "response.output_item.added", {"output_index": 0, "item": begun}
    yield "response.content_part.added", {**place, "part": part}
    for text in said.texts:
        padding = _PADDING[: len(text) % 16]
        yield "response.output_text.delta", {**place, "delta": text, "logprobs": [], "obfuscation": padding}
    yield "response.output_text.done", {**place, "text": said.text, "logprobs": []}
    yield "response.content_part.done", {**place, "part": {**part, "text": said.text}}
    yield "response.output_item.done", {"output_index": 0, "item": item}


def _responses_function(at: int, call: Call) -> Iterator[tuple[str, dict[str, Any]]]:
    item = responses_call(call)
    place = {"item_id": item["id"], "output_index": at}
    begun = {**item, "status": "in_progress", "arguments": ""}
    yield "response.output_item.added", {"output_index": at, "item": begun}
    for piece in _pieces(call):
        yield "response.function_call_arguments.delta", {**place, "delta": piece}
    yield "response.function_call_arguments.done", {**place, "arguments": call.arguments}
    yield "response.output_item.done", {"output_index": at, "item": item}


def _gemini(said: Said) -> Iterator[bytes]:
    """There is no terminal event: the last chunk says why it stopped, and the connection ends."""
    chunks = [gemini_chunk([{"text": text}], at) for at, text in enumerate(said.texts, 1)]
    chunks += [gemini_chunk([gemini_call(call)], said.tokens) for call in said.calls]
    chunks.append(gemini_chunk([{"text": ""}], said.tokens, "STOP"))
    for chunk in chunks:
        yield b"data: " + dump(chunk) + b"\r\n\r\n"


def _bedrock(said: Said) -> Iterator[bytes]:
    def event(kind: str, **fields: object) -> bytes:
        headers = {":event-type": kind, ":content-type": "application/json", ":message-type": "event"}
        payload = dump({**fields, "p": _PADDING[: len(repr(fields)) % 32]})
        return encode_message(headers, payload)

    yield event("messageStart", role="assistant")
    for text in said.texts:
        yield event("contentBlockDelta", contentBlockIndex=0, delta={"text": text})
    yield event("contentBlockStop", contentBlockIndex=0)
    for index, call in enumerate(said.calls, 1):
        start = {"toolUse": {"toolUseId": call.id, "name": call.name}}
        yield event("contentBlockStart", contentBlockIndex=index, start=start)
        for piece in _pieces(call):
            yield event("contentBlockDelta", contentBlockIndex=index, delta={"toolUse": {"input": piece}})
        yield event("contentBlockStop", contentBlockIndex=index)
    yield event("messageStop", stopReason="tool_use" if said.calls else "end_turn")
    yield event("metadata", metrics={"latencyMs": 551}, usage=bedrock_usage(said))


def _cohere(said: Said) -> Iterator[bytes]:
    def message(**fields: object) -> dict[str, Any]:
        return {"message": fields}

    empty: dict[str, Any] = {"role": "assistant", "content": [], "tool_plan": "", "tool_calls": [], "citations": []}
    yield _named("message-start", id="bench-0000", delta=message(**empty))
    yield _named("content-start", index=0, delta=message(content={"type": "text", "text": ""}))
    for text in said.texts:
        yield _named("content-delta", index=0, delta=message(content={"text": text}))
    yield _named("content-end", index=0)
    for index, call in enumerate(said.calls):
        begun = openai_call(Call(call.id, call.name, ""))
        yield _named("tool-call-start", index=index, delta=message(tool_calls=begun))
        for piece in _pieces(call):
            yield _named("tool-call-delta", index=index, delta=message(tool_calls={"function": {"arguments": piece}}))
        yield _named("tool-call-end", index=index)
    finish = "TOOL_CALL" if said.calls else "COMPLETE"
    yield _named("message-end", delta={"finish_reason": finish, "usage": cohere_usage(said)})


_STREAMS: Mapping[Dialect, Callable[[Said], Iterator[bytes]]] = {
    "openai": _openai,
    "anthropic": _anthropic,
    "responses": _responses,
    "gemini": _gemini,
    "bedrock": _bedrock,
    "cohere": _cohere,
}
