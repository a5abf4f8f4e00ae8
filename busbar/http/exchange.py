"""The caller's side over aiohttp's server: `Exchange` for one request."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Mapping

from aiohttp import web

from busbar.http.ports import BodyTooLarge, BodyTooSlow, CallerGone

_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


class AiohttpExchange:
    """Lives as long as its request. The task that serves it is cancelled when the caller's connection is lost."""

    def __init__(self, request: web.BaseRequest, *, body_max_bytes: int, body_timeout_secs: float) -> None:
        self._request = request
        self._body_max_bytes = body_max_bytes
        self._body_timeout_secs = body_timeout_secs
        self._response: web.StreamResponse | None = None
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

    async def send(self, status: int, headers: Mapping[str, str], body: bytes) -> None:
        self._response = response = web.Response(status=status, headers=headers, body=body)
        if not self._request.content.at_eof():
            # A body that was refused half read is not waited for.
            response.force_close()
        try:
            await response.prepare(self._request)
            await response.write_eof()
        except ConnectionError:
            raise CallerGone from None

    async def start(self, status: int, headers: Mapping[str, str]) -> None:
        self._response = response = web.StreamResponse(status=status, headers=headers)
        try:
            await response.prepare(self._request)
        except ConnectionError:
            raise CallerGone from None

    def write(self, data: bytes) -> Awaitable[None] | None:
        return self._write(data)

    async def _write(self, data: bytes) -> None:
        try:
            await self.response.write(data)
        except ConnectionError:
            raise CallerGone from None

    async def end(self, *, close: bool = False) -> None:
        if close:
            self.response.force_close()
        try:
            await self.response.write_eof()
        except ConnectionError:
            raise CallerGone from None
        if close and self._request.transport is not None:
            self._request.transport.close()
