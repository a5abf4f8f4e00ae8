"""What was said, for the traces of an operator who wants to know it: an exchange that keeps the beginning of both
sides."""

from __future__ import annotations

from collections.abc import Awaitable, Mapping

from busbar.actors.telemetry import Piece
from busbar.http.ports import Exchange, Memo

CAPTURED_BYTES_MAX = 64 << 10
"""Of the request, and of the answer."""


class CapturedExchange:
    """Another exchange, unchanged. `asked` and `answered` are what went through it so far."""

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange
        self.asked = Piece()
        self._answered = bytearray()
        self._answered_whole = True

    @property
    def answered(self) -> Piece:
        """As it was sent to the caller, without its headers."""
        return Piece(bytes(self._answered), self._answered_whole)

    @property
    def method(self) -> str:
        return self._exchange.method

    @property
    def path(self) -> str:
        return self._exchange.path

    @property
    def query(self) -> Mapping[str, str]:
        return self._exchange.query

    @property
    def raw_query(self) -> str:
        return self._exchange.raw_query

    @property
    def headers(self) -> Mapping[str, str]:
        return self._exchange.headers

    @property
    def memo(self) -> Memo | None:
        return self._exchange.memo

    async def body(self) -> bytes:
        body = await self._exchange.body()
        self.asked = Piece(body[:CAPTURED_BYTES_MAX], len(body) <= CAPTURED_BYTES_MAX)
        return body

    async def send(self, status: int, headers: Mapping[str, str], body: bytes) -> None:
        self._keep(body)
        await self._exchange.send(status, headers, body)

    async def start(self, status: int, headers: Mapping[str, str]) -> None:
        await self._exchange.start(status, headers)

    def write(self, data: bytes) -> Awaitable[None] | None:
        self._keep(data)
        return self._exchange.write(data)

    async def end(self, *, close: bool = False) -> None:
        await self._exchange.end(close=close)

    def _keep(self, data: bytes) -> None:
        room = CAPTURED_BYTES_MAX - len(self._answered)
        self._answered += data[:room]
        if len(data) > room:
            self._answered_whole = False
