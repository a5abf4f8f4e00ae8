"""The upstream: a server that speaks every dialect with bytes made in advance. Its own process:

python -m bench.upstream     prints its port, serves until its standard input ends
"""

from __future__ import annotations

import asyncio
import functools
import itertools
import re
import sys
from collections.abc import Mapping
from typing import cast

import uvloop

from bench.answers import Said, answer, dump
from bench.scenarios import WORD, Dialect
from bench.streams import events
from busbar.protocols.registry import PROTOCOLS

UPSTREAM_KEY = "bench-upstream-key"
"""The key that a request has to carry when it arrives here. Callers of the gateway have another one."""

_TEXT = f"the {WORD} is where ships of many lines meet the roads of a town; "
_NOTES = "What a gateway does is said in one sentence: it takes a request and finds somebody to answer it. " * 6
_MODEL = re.compile(rb"bench-(\d{1,4})x(\d{1,4})")
_MODEL_IN_BODY = re.compile(rb'"model"\s*:\s*"bench-(\d{1,4})x(\d{1,4})"')
_STREAM = re.compile(rb'"stream"\s*:\s*true')
_LENGTH = re.compile(rb"\r\ncontent-length:\s*(\d{1,9})", re.IGNORECASE)
_ROUTES: Mapping[Dialect, re.Pattern[bytes]] = {
    "openai": re.compile(rb"/v1/chat/completions"),
    "anthropic": re.compile(rb"/v1/messages"),
    "responses": re.compile(rb"/v1/responses"),
    "gemini": re.compile(rb"/v1beta/models/(?P<model>[^/:]+):(?:g|(?P<stream>streamG))enerateContent(?:\?alt=sse)?"),
    "bedrock": re.compile(rb"/model/(?P<model>[^/]+)/converse(?P<stream>-stream)?"),
    "cohere": re.compile(rb"/v2/chat"),
}


def _whole(status: str, document: object) -> bytes:
    body = dump(document)
    head = f"HTTP/1.1 {status}\r\ncontent-type: application/json\r\nx-request-id: req_bench\r\n"
    return f"{head}content-length: {len(body)}\r\n\r\n".encode() + body


REFUSED = _whole("401 Unauthorized", {"error": {"type": "authentication_error", "message": "not the upstream's key"}})
UNKNOWN = _whole("404 Not Found", {"error": {"type": "not_found_error", "message": "no such path or model"}})


@functools.lru_cache(maxsize=64)
def writes(dialect: Dialect, count: int) -> tuple[bytes, ...]:
    """The writes of an answer: one for JSON (`count` 0); for a stream one per event with content, and one for its
    end. What comes before the first content leaves with it."""
    if count == 0:
        return (_whole("200 OK", answer(dialect, Said((_TEXT + _NOTES,)))),)
    frames = events(dialect, Said((_TEXT,) * count))
    spoken = [at for at, frame in enumerate(frames) if WORD.encode() in frame]
    cuts = [0, *(at + 1 for at in spoken), len(frames)]
    pieces = [b"".join(frames[start:end]) for start, end in itertools.pairwise(cuts)]
    chunks = [f"{len(piece):x}\r\n".encode() + piece + b"\r\n" for piece in pieces]
    kind = PROTOCOLS[dialect].stream_content_type
    head = f"HTTP/1.1 200 OK\r\ncontent-type: {kind}\r\nx-request-id: req_bench\r\n"
    chunks[0] = f"{head}cache-control: no-cache\r\ntransfer-encoding: chunked\r\n\r\n".encode() + chunks[0]
    chunks[-1] += b"0\r\n\r\n"
    return tuple(chunks)


def asked(path: bytes, body: bytes) -> tuple[Dialect, int, int] | None:
    """(dialect, events, pace in milliseconds) that a request wants; None when it makes no sense. Some dialects name
    the model and whether to stream in the body, others in the path."""
    for dialect, route in _ROUTES.items():
        if (found := route.fullmatch(path)) is None:
            continue
        model = _MODEL.fullmatch(found["model"]) if "model" in route.groupindex else _MODEL_IN_BODY.search(body)
        stream = found["stream"] is not None if "stream" in route.groupindex else bool(_STREAM.search(body))
        if model is not None and bool(int(model[1])) == stream:
            return dialect, int(model[1]), int(model[2])
    return None


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
        wanted = asked(head.split(b" ", 2)[1], body)
        if wanted is None:
            self._transport.write(UNKNOWN)
        elif UPSTREAM_KEY.encode() not in head:
            self._transport.write(REFUSED)
        else:
            dialect, count, pace_ms = wanted
            self._write(writes(dialect, count), 0, self._loop.time(), pace_ms / 1000)

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
