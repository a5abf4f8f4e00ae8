"""The upstream: a server that speaks both dialects with bytes made in advance. Its own process:

python -m bench.upstream     prints its port, serves until its standard input ends
"""

from __future__ import annotations

import asyncio
import functools
import json
import re
import sys
from collections.abc import Iterable
from typing import cast

import uvloop

from bench.scenarios import PATHS, WORD, Dialect

UPSTREAM_KEY = "bench-upstream-key"
"""The key that a request has to carry when it arrives here. Callers of the gateway have another one."""

_TEXT = f"the {WORD} is where ships of many lines meet the roads of a town; "
_NOTES = "What a gateway does is said in one sentence: it takes a request and finds somebody to answer it. " * 6
_MODEL = re.compile(rb'"model"\s*:\s*"bench-(\d{1,4})x(\d{1,4})"')
_STREAM = re.compile(rb'"stream"\s*:\s*true')
_LENGTH = re.compile(rb"\r\ncontent-length:\s*(\d{1,9})", re.IGNORECASE)
_DIALECTS = {path.encode(): dialect for dialect, path in PATHS.items()}


def _dump(document: object) -> bytes:
    return json.dumps(document, separators=(",", ":")).encode()


def _whole(status: str, document: object) -> bytes:
    body = _dump(document)
    head = f"HTTP/1.1 {status}\r\ncontent-type: application/json\r\nx-request-id: req_bench\r\n"
    return f"{head}content-length: {len(body)}\r\n\r\n".encode() + body


REFUSED = _whole("401 Unauthorized", {"error": {"type": "authentication_error", "message": "not the upstream's key"}})
UNKNOWN = _whole("404 Not Found", {"error": {"type": "not_found_error", "message": "no such path or model"}})


def openai_json() -> object:
    message: dict[str, object] = {"role": "assistant", "content": _TEXT + _NOTES, "refusal": None, "annotations": []}
    return {
        "id": "chatcmpl-bench0000000000000000",
        "object": "chat.completion",
        "created": 1790000000,
        "model": "bench-2026-01-01",
        "choices": [{"index": 0, "message": message, "logprobs": None, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 412, "completion_tokens": 128, "total_tokens": 540},
        "service_tier": "default",
        "system_fingerprint": "fp_bench",
    }


def anthropic_json() -> object:
    return {
        "id": "msg_bench0000000000000000",
        "type": "message",
        "role": "assistant",
        "model": "bench-2026-01-01",
        "content": [{"type": "text", "text": _TEXT + _NOTES}],
        "stop_reason": "end_turn",
        "stop_sequence": None,
        "usage": {"input_tokens": 412, "output_tokens": 128},
    }


def openai_events(count: int) -> Iterable[bytes]:
    """The first one has content already; the last ones have the end."""

    def chunk(choices: list[object], usage: object = None) -> bytes:
        document = {
            "id": "chatcmpl-bench0000000000000000",
            "object": "chat.completion.chunk",
            "created": 1790000000,
            "model": "bench-2026-01-01",
            "system_fingerprint": "fp_bench",
            "choices": choices,
            "usage": usage,
        }
        return b"data: " + _dump(document) + b"\n\n"

    def choice(delta: object, finish: str | None = None) -> list[object]:
        return [{"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}]

    text = chunk(choice({"content": _TEXT}))
    yield chunk(choice({"role": "assistant", "content": ""})) + text
    yield from [text] * (count - 1)
    usage = {"prompt_tokens": 412, "completion_tokens": count, "total_tokens": 412 + count}
    yield chunk(choice({}, "stop")) + chunk([], usage) + b"data: [DONE]\n\n"


def anthropic_events(count: int) -> Iterable[bytes]:
    """The first one has content already; the last ones have the end."""

    def event(kind: str, **fields: object) -> bytes:
        return f"event: {kind}\ndata: ".encode() + _dump({"type": kind, **fields}) + b"\n\n"

    message: dict[str, object] = {
        "id": "msg_bench0000000000000000",
        "type": "message",
        "role": "assistant",
        "model": "bench-2026-01-01",
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
        "usage": {"input_tokens": 412, "output_tokens": 1},
    }
    text = event("content_block_delta", index=0, delta={"type": "text_delta", "text": _TEXT})
    start = event("message_start", message=message)
    yield start + event("content_block_start", index=0, content_block={"type": "text", "text": ""}) + text
    yield from [text] * (count - 1)
    delta = {"stop_reason": "end_turn", "stop_sequence": None}
    end = event("message_delta", delta=delta, usage={"output_tokens": count})
    yield event("content_block_stop", index=0) + end + event("message_stop")


@functools.lru_cache(maxsize=64)
def writes(dialect: Dialect, events: int) -> tuple[bytes, ...]:
    """The writes of an answer: one for JSON (`events` 0), one per event of a stream."""
    if events == 0:
        return (_whole("200 OK", openai_json() if dialect == "openai" else anthropic_json()),)
    frames = list(openai_events(events) if dialect == "openai" else anthropic_events(events))
    chunks = [f"{len(frame):x}\r\n".encode() + frame + b"\r\n" for frame in frames]
    head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream; charset=utf-8\r\nx-request-id: req_bench\r\n"
    chunks[0] = f"{head}cache-control: no-cache\r\ntransfer-encoding: chunked\r\n\r\n".encode() + chunks[0]
    chunks[-1] += b"0\r\n\r\n"
    return tuple(chunks)


class Caller(asyncio.Protocol):
    """One connection. A request has to say how long its body is."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._received = bytearray()
        self._next_write: asyncio.Handle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's does not inherit

    def connection_lost(self, error: Exception | None) -> None:
        if self._next_write is not None:
            self._next_write.cancel()

    def data_received(self, data: bytes) -> None:
        received = self._received
        received += data
        end_of_head = received.find(b"\r\n\r\n")
        if end_of_head < 0:
            return
        head = bytes(received[:end_of_head])
        length = _LENGTH.search(head)
        body_at = end_of_head + 4
        end = body_at + (int(length[1]) if length else 0)
        if len(received) >= end:
            body = bytes(received[body_at:end])
            del received[:end]
            self._answer(head, body)

    def _answer(self, head: bytes, body: bytes) -> None:
        dialect = _DIALECTS.get(head.split(b" ", 2)[1])
        model = _MODEL.search(body)
        if dialect is None or model is None or bool(int(model[1])) != bool(_STREAM.search(body)):
            self._transport.write(UNKNOWN)
        elif UPSTREAM_KEY.encode() not in head:
            self._transport.write(REFUSED)
        else:
            self._write(writes(dialect, int(model[1])), 0, self._loop.time(), int(model[2]) / 1000)

    def _write(self, answer: tuple[bytes, ...], number: int, started_at: float, pace_secs: float) -> None:
        """Writes one piece, in a turn of the loop of its own, so that it leaves in a packet of its own."""
        self._transport.write(answer[number])
        number += 1
        if number == len(answer):
            self._next_write = None
        elif pace_secs:
            due = started_at + number * pace_secs
            self._next_write = self._loop.call_at(due, self._write, answer, number, started_at, pace_secs)
        else:
            self._next_write = self._loop.call_soon(self._write, answer, number, started_at, pace_secs)


async def serve() -> None:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Caller(loop), "127.0.0.1", 0, backlog=1024)
    print(server.sockets[0].getsockname()[1], flush=True)
    stopped = asyncio.Event()
    loop.add_reader(sys.stdin.fileno(), stopped.set)
    await stopped.wait()


if __name__ == "__main__":
    uvloop.run(serve())
