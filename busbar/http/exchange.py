"""The caller's side over aiohttp's server: `Exchange` for one request.

aiohttp owns the connection and reads the request. The answer is serialised here, once, and written straight to the
transport: a chunk of a stream costs neither a task switch nor a copy of its headers.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Mapping

from aiohttp import HttpVersion11, web

from busbar.http.connection import Connection
from busbar.http.ports import BodyTooLarge, BodyTooSlow, CallerGone
from busbar.http.wire import LAST_CHUNK, answer_head, chunk

_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"

JOINED_BYTES_MAX = 64 << 10
"""A head and a body up to this size are written as one piece."""


class WrittenResponse(web.StreamResponse):
    """What aiohttp is handed for an answer that is out already: it has nothing left to do but to see to the
    connection."""

    def __init__(self, *, keep_alive: bool) -> None:
        # Nothing of the base class is used but its type.
        self._kept = keep_alive

    @property
    def keep_alive(self) -> bool:
        return self._kept

    async def prepare(self, request: web.BaseRequest) -> None:
        """It was."""

    async def write_eof(self, data: bytes = b"") -> None:
        """It was."""


class AiohttpExchange:
    """Lives as long as its request. The task that serves it is cancelled when the caller's connection is lost."""

    __slots__ = (
        "_body_max_bytes",
        "_body_timeout_secs",
        "_chunked",
        "_request",
        "_response",
        "method",
        "path",
        "raw_query",
    )

    def __init__(self, request: web.BaseRequest, *, body_max_bytes: int, body_timeout_secs: float) -> None:
        self._request = request
        self._body_max_bytes = body_max_bytes
        self._body_timeout_secs = body_timeout_secs
        self._response: WrittenResponse | None = None
        self._chunked = False
        self.method = request.method
        self.path, _, self.raw_query = request.raw_path.partition("?")

    @property
    def query(self) -> Mapping[str, str]:
        return self._request.query

    @property
    def headers(self) -> Mapping[str, str]:
        return self._request.headers

    @property
    def response(self) -> web.StreamResponse:
        """What aiohttp wants to have back from a handler. An answer must have been given."""
        assert self._response is not None, "every exchange is answered"
        return self._response

    @property
    def answered(self) -> bool:
        """Whether an answer has begun."""
        return self._response is not None

    async def body(self) -> bytes:
        declared = self._request.content_length
        if declared is not None and declared > self._body_max_bytes:
            raise BodyTooLarge
        content = self._request.content
        if content.is_eof() and content.exception() is None:  # most bodies come with their heads
            whole = content.read_nowait()
            while not content.at_eof():
                whole += content.read_nowait()
            if len(whole) > self._body_max_bytes:
                raise BodyTooLarge
            return whole
        if self._request.headers.get("expect", "").lower() == "100-continue" and self._request.transport:
            self._request.transport.write(_CONTINUE)
        try:
            async with asyncio.timeout(self._body_timeout_secs):
                return await self._read()
        except TimeoutError:
            raise BodyTooSlow from None
        except ConnectionError:
            raise CallerGone from None

    async def _read(self) -> bytes:
        content = self._request.content
        pieces: list[bytes] = []
        size = 0
        while data := await content.readany():
            size += len(data)
            if size > self._body_max_bytes:
                raise BodyTooLarge
            pieces.append(data)
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    # --- the answer

    async def send(self, status: int, headers: Mapping[str, str], body: bytes) -> None:
        request = self._request
        # A body that was refused half read is not waited for.
        keep_alive = request.keep_alive and request.content.at_eof()
        framing = f"content-length: {len(body)}\r\n{self._connection_header(keep_alive=keep_alive)}"
        head = answer_head(status, headers, framing, http_1_0=request.version < HttpVersion11)
        self._response = WrittenResponse(keep_alive=keep_alive)
        if len(body) <= JOINED_BYTES_MAX:
            waiting = self._write(head + body)
        else:
            self._write(head)
            waiting = self._write(body)
        if waiting is not None:
            await waiting

    async def start(self, status: int, headers: Mapping[str, str]) -> None:
        request = self._request
        self._chunked = request.version >= HttpVersion11
        keep_alive = self._chunked and request.keep_alive and request.content.at_eof()
        framing = self._connection_header(keep_alive=keep_alive)
        if self._chunked:
            framing += "transfer-encoding: chunked\r\n"
        head = answer_head(status, headers, framing, http_1_0=not self._chunked)
        self._response = WrittenResponse(keep_alive=keep_alive)
        waiting = self._write(head)
        if waiting is not None:
            await waiting

    def write(self, data: bytes) -> Awaitable[None] | None:
        if not data:
            return None
        return self._write(chunk(data) if self._chunked else data)

    async def end(self, *, close: bool = False) -> None:
        if close:
            self._response = WrittenResponse(keep_alive=False)
        waiting = self._write(LAST_CHUNK) if self._chunked else None
        if waiting is not None:
            await waiting
        if close and self._request.transport is not None:
            self._request.transport.close()

    def _write(self, data: bytes) -> Awaitable[None] | None:
        """An awaitable means: wait, the caller is slow. Raises `CallerGone`."""
        transport = self._request.transport
        if transport is None or transport.is_closing():
            raise CallerGone
        transport.write(data)
        connection = self._request.protocol
        assert isinstance(connection, Connection), "made by the front"
        return connection.drained() if connection.writing_paused else None

    def _connection_header(self, *, keep_alive: bool) -> str:
        """What HTTP takes for granted is not said."""
        if self._request.version >= HttpVersion11:
            return "" if keep_alive else "connection: close\r\n"
        return "connection: keep-alive\r\n" if keep_alive else ""
