"""The two ports that the relay is written against. It knows no HTTP library.

`Exchange` is the caller's side: a request in; a whole answer, or a streamed one, out. When the caller goes away the
task that serves the exchange is cancelled. `Upstream` is the provider's side.
"""

from __future__ import annotations

import typing
from collections.abc import Awaitable, Callable, Mapping

from msgspec import Struct

from busbar.protocols.failures import FailureClass

Sink: typing.TypeAlias = Callable[[bytes], Awaitable[None] | None]
"""Takes each chunk of an answer, in order. When it gives an awaitable, that is awaited before more is read: this is
how a slow caller slows the provider down. What it raises ends the stream and reaches whoever asked for it."""


Memo: typing.TypeAlias = dict[object, typing.Any]
"""What was worked out of a request's head, under keys of those who did."""

MEMO_MAX = 16
"""A thing or two for each member that the requests of one caller go to."""


def remember(memo: Memo, key: object, value: object) -> None:
    """Makes room for it, where there is none."""
    if len(memo) >= MEMO_MAX:
        memo.clear()
    memo[key] = value


class BodyTooLarge(Exception):
    """The caller's body is over the bound."""


class BodyTooSlow(Exception):
    """The caller did not send its body in time."""


class CallerGone(Exception):
    """The caller's connection is no more."""


class Exchange(typing.Protocol):
    """One request of one caller."""

    @property
    def method(self) -> str: ...

    @property
    def path(self) -> str:
        """As it came, percent-encoding and all, without the query."""
        ...

    @property
    def query(self) -> Mapping[str, str]: ...

    @property
    def raw_query(self) -> str:
        """As it came, without the question mark."""
        ...

    @property
    def headers(self) -> Mapping[str, str]:
        """Names are matched without regard to case."""
        ...

    @property
    def memo(self) -> Memo | None:
        """Where something may be kept for the connection's next request, if that has the same head; None: nowhere."""
        ...

    async def body(self) -> bytes:
        """Raises `BodyTooLarge`, `BodyTooSlow`."""
        ...

    async def send(self, status: int, headers: Mapping[str, str], body: bytes) -> None:
        """The whole answer at once."""
        ...

    async def start(self, status: int, headers: Mapping[str, str]) -> None:
        """Begins a streamed answer."""
        ...

    def write(self, data: bytes) -> Awaitable[None] | None:
        """Goes on with it. An awaitable means: wait, the caller is slow. Raises `CallerGone`."""
        ...

    async def end(self, *, close: bool = False) -> None:
        """Ends a streamed answer; with `close` the connection ends with it."""
        ...


class UpstreamRequest(Struct, frozen=True):
    """What is sent to a provider."""

    url: str
    headers: Mapping[str, str]
    body: bytes
    method: str = "POST"
    model: str = ""
    """As configured: for whom it is."""
    on_connected: Callable[[], None] | None = None
    """Called when there is a connection, and the request is about to be written to it."""
    kept: dict[str, typing.Any] | None = None
    """Where an upstream may keep what it makes of url, method and headers. Whoever gives it promises that these are
    the same in every request with the same dict."""

    def __repr__(self) -> str:
        """Without its headers and its body: a credential is among the ones, and the other is the caller's."""
        return f"UpstreamRequest({self.method} {self.url})"


class UpstreamBroken(Exception):
    """No answer, or half of one. `kind` is NETWORK or TIMEOUT."""

    def __init__(self, kind: FailureClass, reason: str) -> None:
        super().__init__(reason)
        self.kind = kind


class AnswerTooLarge(Exception):
    """The provider's answer is over the bound."""


class UpstreamAnswer(typing.Protocol):
    """A provider's answer, its body not read yet."""

    @property
    def status(self) -> int: ...

    @property
    def headers(self) -> Mapping[str, str]:
        """Lower-case names."""
        ...

    async def stream(self, sink: Sink) -> None:
        """Feeds `sink` until the body has ended as its framing says. Raises `UpstreamBroken`, and what `sink`
        raises."""
        ...

    def close(self) -> None:
        """Done with it. An answer that was not read to its end closes its connection: the provider stops working."""
        ...


class Upstream(typing.Protocol):
    """The way to all providers."""

    async def send(self, request: UpstreamRequest) -> UpstreamAnswer:
        """Until the answer's headers are there. Raises `UpstreamBroken`. Cancelling it closes the connection."""
        ...

    async def close(self) -> None: ...
