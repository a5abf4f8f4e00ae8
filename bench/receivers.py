"""Everybody that telemetry goes to, and who comes for it: a process of its own, away from the gateway's core.

    python -m bench.receivers     prints its ports (see `Ports`), serves until its standard input ends

A line `watch PORT TOKEN` there makes it read what a gateway shows: `/metrics` once a second, and `/stats/stream` all
the time. `leave` ends that.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import socket
import sys
from typing import cast

import msgspec
import uvloop
from msgspec import Struct

SLOW_SECS = 1.0
SCRAPE_SECS = 1.0

ACCEPTED = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"
_LENGTH = re.compile(rb"\r\ncontent-length:\s*(\d{1,9})", re.IGNORECASE)
_END_OF_HEAD = b"\r\n\r\n"


class Ports(Struct, frozen=True):
    """Where there is what."""

    taking: int
    """Answers at once that it has it."""
    slow: int
    """The same, after `SLOW_SECS`, one POST after another on each connection."""
    hanging: int
    """Accepts connections, reads, and never answers."""
    closed: int
    """Refuses connections. Kept for as long as the process is there, so that nobody else gets it."""


class Receiver(asyncio.Protocol):
    """Reads POSTs, one after another, and looks at nothing in them."""

    def __init__(self, answers_after_secs: float | None) -> None:
        """None: it never does."""
        self._after_secs = answers_after_secs
        self._head = b""
        self._left_bytes = 0
        """Of a body that is being read."""
        self._due: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's does not inherit

    def data_received(self, data: bytes) -> None:
        if self._left_bytes == 0:
            self._head += data
            head, found, body = self._head.partition(_END_OF_HEAD)
            if not found:
                return
            length = _LENGTH.search(head)
            self._head, data = b"", body
            self._left_bytes = int(length[1]) if length else 0
        self._left_bytes -= len(data)
        if self._left_bytes <= 0:
            self._left_bytes = 0
            self._answer()

    def connection_lost(self, error: Exception | None) -> None:
        if self._due is not None:
            self._due.cancel()

    def _answer(self) -> None:
        if self._after_secs == 0:
            self._transport.write(ACCEPTED)
        elif self._after_secs is not None:
            self._due = asyncio.get_running_loop().call_later(self._after_secs, self._transport.write, ACCEPTED)


async def serve() -> None:
    with socket.socket() as refusing:
        refusing.bind(("127.0.0.1", 0))  # and no listen
        ports = Ports(
            taking=await _listen(0),
            slow=await _listen(SLOW_SECS),
            hanging=await _listen(None),
            closed=refusing.getsockname()[1],
        )
        print(msgspec.json.encode(ports).decode(), flush=True)
        lines = asyncio.StreamReader()
        loop = asyncio.get_running_loop()
        await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
        watching: list[asyncio.Task[None]] = []
        while line := (await lines.readline()).decode():
            for task in watching:
                task.cancel()
            await asyncio.gather(*watching, return_exceptions=True)
            watching.clear()
            if line.startswith("watch "):
                _, port, token = line.split()
                watching += [
                    asyncio.create_task(_scrape(int(port), token)),
                    asyncio.create_task(_read(int(port), token, "/stats/stream")),
                ]


async def _listen(answers_after_secs: float | None) -> int:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Receiver(answers_after_secs), "127.0.0.1", 0, backlog=1024)
    port: int = server.sockets[0].getsockname()[1]
    return port


async def _scrape(port: int, token: str) -> None:
    while True:
        await _read(port, token, "/metrics")
        await asyncio.sleep(SCRAPE_SECS)


async def _read(port: int, token: str, path: str) -> None:
    """Until there is no more. A gateway that is gone is the bench's affair."""
    with contextlib.suppress(OSError):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        try:
            head = f"GET {path} HTTP/1.1\r\nhost: 127.0.0.1:{port}\r\nauthorization: Bearer {token}\r\n"
            writer.write(f"{head}connection: close\r\n\r\n".encode())
            while await reader.read(1 << 16):
                pass
        finally:
            writer.close()


if __name__ == "__main__":
    uvloop.run(serve())
