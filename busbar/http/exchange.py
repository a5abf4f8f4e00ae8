"""The caller's side: `Exchange` for one request, of which there are two kinds.

A plain request (`plain.py`) is read by the connection itself, any other one by aiohttp's server. The answers to both
are serialised here, once, and written straight to the transport: a chunk of a stream costs neither a task switch nor
a copy of its headers.
"""

from __future__ import annotations

import abc
import asyncio
from collections.abc import Awaitable, Mapping

from aiohttp import HttpVersion11, web

from busbar.http.connection import Connection
from busbar.http.plain import Head
from busbar.http.ports import BodyTooLarge, BodyTooSlow, CallerGone
from busbar.http.wire import LAST_CHUNK, answer_head

_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


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


class _WrittenExchange(abc.ABC):
    """What is the same for both kinds: the answer. `_http_1_1`: else it is HTTP/1.0."""

    __slots__ = ("_chunked", "_connection", "_http_1_1", "answered", "kept")

    def __init__(self, connection: Connection, *, http_1_1: bool) -> None:
        self._connection = connection
        self._http_1_1 = http_1_1
        self._chunked = False
        self.answered = False
        """Whether an answer has begun."""
        self.kept = False
        """Whether the connection stays for another request, once there is an answer."""

    @abc.abstractmethod
    def _may_keep(self) -> bool:
        """Whether the caller wants the connection kept, and its request was read to the end."""

    async def send(self, status: int, headers: Mapping[str, str], body: bytes) -> None:
        kept = self._may_keep()
        framing = f"content-length: {len(body)}\r\n"
        if not (kept and self._http_1_1):
            framing += self._connection_header(kept=kept)
        head = answer_head(status, headers, framing, http_1_0=not self._http_1_1)
        self.answered, self.kept = True, kept
        waiting = self._connection.send(head, body)
        if waiting is not None:
            await waiting

    async def start(self, status: int, headers: Mapping[str, str]) -> None:
        chunked = self._http_1_1
        kept = chunked and self._may_keep()
        framing = self._connection_header(kept=kept)
        if chunked:
            framing += "transfer-encoding: chunked\r\n"
        head = answer_head(status, headers, framing, http_1_0=not chunked)
        self.answered, self.kept, self._chunked = True, kept, chunked
        waiting = self._connection.send(head)
        if waiting is not None:
            await waiting

    def write(self, data: bytes) -> Awaitable[None] | None:
        if not data:
            return None
        return self._connection.send(b"%x\r\n%b\r\n" % (len(data), data) if self._chunked else data)

    async def end(self, *, close: bool = False) -> None:
        if close:
            self.kept = False
        waiting = self._connection.send(LAST_CHUNK) if self._chunked else None
        if waiting is not None:
            await waiting
        if close and self._connection.transport is not None:
            self._connection.flush()
            self._connection.transport.close()

    def _connection_header(self, *, kept: bool) -> str:
        """What HTTP takes for granted is not said."""
        if self._http_1_1:
            return "" if kept else "connection: close\r\n"
        return "connection: keep-alive\r\n" if kept else ""


class AiohttpExchange(_WrittenExchange):
    """Lives as long as its request. The task that serves it is cancelled when the caller's connection is lost."""

    __slots__ = (
        "_body_max_bytes",
        "_body_timeout_secs",
        "_request",
        "method",
        "path",
        "raw_query",
    )

    def __init__(self, request: web.BaseRequest, *, body_max_bytes: int, body_timeout_secs: float) -> None:
        connection = request.protocol
        assert isinstance(connection, Connection), "made by the front"
        super().__init__(connection, http_1_1=request.version >= HttpVersion11)
        self._request = request
        self._body_max_bytes = body_max_bytes
        self._body_timeout_secs = body_timeout_secs
        self.method = request.method
        self.path, _, self.raw_query = request.raw_path.partition("?")

    @property
    def query(self) -> Mapping[str, str]:
        return self._request.query

    @property
    def headers(self) -> Mapping[str, str]:
        return self._request.headers

    @property
    def memo(self) -> None:
        """The next request is read anew."""
        return

    @property
    def response(self) -> web.StreamResponse:
        """What aiohttp wants to have back from a handler. An answer must have been given."""
        assert self.answered, "every exchange is answered"
        return WrittenResponse(keep_alive=self.kept)

    def _may_keep(self) -> bool:
        # A body that was refused half read is not waited for.
        return self._request.keep_alive and self._request.content.at_eof()

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


class PlainExchange(_WrittenExchange):
    """One plain request. Its connection brings what is missing of the body, and cancels the task that serves it when
    the caller goes away."""

    __slots__ = (
        "_pieces",
        "_timeout_secs",
        "_waiter",
        "head",
        "headers",
        "memo",
        "missing_bytes",
        "task",
    )

    method = "POST"

    def __init__(
        self, connection: Connection, head: Head, first: bytes, missing_bytes: int, body_timeout_secs: float
    ) -> None:
        """`first`: so much of the body is there."""
        super().__init__(connection, http_1_1=True)
        self.head = head
        self.headers = head.headers
        self.memo = head.memo
        self.task: asyncio.Task[None] | None = None
        self._pieces = [first]
        self.missing_bytes = missing_bytes
        """Of the body."""
        self._timeout_secs = body_timeout_secs
        self._waiter: asyncio.Future[None] | None = None

    @property
    def path(self) -> str:
        return self.head.path

    @property
    def query(self) -> Mapping[str, str]:
        return self.head.query

    @property
    def raw_query(self) -> str:
        return self.head.raw_query

    def take(self, data: bytes) -> bytes:
        """More of the body. Gives back what is beyond it."""
        missing = self.missing_bytes
        if len(data) > missing:
            data, rest = data[:missing], data[missing:]
        else:
            rest = b""
        self.missing_bytes = missing - len(data)
        if data and not self.answered:
            self._pieces.append(data)
        if not self.missing_bytes and self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)
        return rest

    async def body(self) -> bytes:
        if self.missing_bytes:
            self._waiter = asyncio.get_running_loop().create_future()
            try:
                async with asyncio.timeout(self._timeout_secs):
                    await self._waiter
            except TimeoutError:
                raise BodyTooSlow from None
        pieces, self._pieces = self._pieces, []  # nobody keeps a prompt longer than whoever asked for it
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def _may_keep(self) -> bool:
        return not (self.head.last or self.missing_bytes or self._connection.leaving)
