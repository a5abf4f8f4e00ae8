"""One connection to a provider: asyncio's protocol around llhttp. One request at a time.

idle    nothing is asked; whatever arrives now closes the connection
asked   the request is out, the answer's head is awaited (1xx heads are skipped)
body    the head is there, chunks go to the answer
over    the answer is whole; the connection goes back to the pool, or is closed when it cannot serve another
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Mapping
from typing import Protocol, cast

import httptools

from busbar.http.lean.answer import LeanAnswer
from busbar.http.lean.content import NotDecodable, decoder_for
from busbar.http.lean.target import Origin
from busbar.http.ports import UpstreamBroken
from busbar.protocols.failures import FailureClass

HEAD_BYTES_MAX = 64 << 10
"""Of an answer's head, together with the 1xx heads before it; and of what comes between two pieces of its body or
after the last: chunk extensions, trailers."""

HEADERS_MAX = 128
"""As aiohttp has it."""


class Keeper(Protocol):
    """Whoever keeps the connections."""

    def released(self, connection: Connection) -> None:
        """Its answer is whole, and it may serve another request."""
        ...

    def lost(self, connection: Connection) -> None:
        """It is closed. Told once."""
        ...


class Connection(asyncio.Protocol):
    """`requests`: how many it was asked to carry. `answered`: bytes came since the last one."""

    __slots__ = (
        "_answer",
        "_asked",
        "_complete",
        "_fields",
        "_framing_bytes",
        "_head",
        "_headers",
        "_heard",
        "_heard_at",
        "_informational",
        "_keep",
        "_keeper",
        "_parser",
        "_paused",
        "_pieces",
        "_surplus",
        "_transport",
        "answered",
        "idle_since",
        "open",
        "origin",
        "requests",
    )

    def __init__(self, origin: Origin, keeper: Keeper) -> None:
        self.origin = origin
        self.open = False
        self.requests = 0
        self.answered = False
        self.idle_since = 0.0
        self._keeper = keeper
        self._transport: asyncio.Transport | None = None
        self._parser = httptools.HttpResponseParser(self)
        # What aiohttp's client tolerates of providers, too.
        self._parser.set_dangerous_leniencies(
            lenient_headers=True, lenient_optional_cr_before_lf=True, lenient_spaces_after_chunk_size=True
        )
        self._asked = False
        self._head: asyncio.Future[LeanAnswer] | None = None
        self._answer: LeanAnswer | None = None
        self._headers: dict[str, str] = {}
        self._pieces: list[bytes] = []
        self._fields = 0
        self._framing_bytes = 0
        self._informational = False
        self._complete = False
        self._keep = False
        self._surplus = False
        self._paused = False
        self._heard = False
        self._heard_at = 0.0

    # --- asked from above

    @property
    def tls(self) -> ssl.SSLObject | None:
        assert self._transport is not None, "connected"
        return cast("ssl.SSLObject | None", self._transport.get_extra_info("ssl_object"))

    def ask(self, head: bytes, body: bytes, loop: asyncio.AbstractEventLoop) -> asyncio.Future[LeanAnswer]:
        """Sends a request. The future gives the answer once its head is there, or `UpstreamBroken`. Whoever gives it
        up must `abort` the connection."""
        assert self._transport is not None, "connected"
        assert self.open, "kept"
        assert not self._asked, "one request at a time"
        self._asked = True
        self._answer = None
        self._complete = self._informational = self.answered = self._surplus = False
        self._headers = {}
        self._fields = self._framing_bytes = 0
        self._heard = True
        self.requests += 1
        self._head = loop.create_future()
        if len(body) < HEAD_BYTES_MAX:
            self._transport.write(head + body)
        else:
            self._transport.write(head)
            self._transport.write(body)
        return self._head

    def pause(self) -> None:
        if self.open and not self._paused and self._transport is not None:
            self._paused = True
            self._transport.pause_reading()

    def resume(self) -> None:
        if self._paused:
            self._paused = False
            self._heard = True  # the time in which the caller took nothing is not the provider's silence
            if self.open and self._transport is not None:
                self._transport.resume_reading()

    def abort(self) -> None:
        """Closes it, whatever it does. Nobody is told but the keeper."""
        self._asked = False
        self._answer = self._head = None
        if self.open and self._transport is not None:
            self.open = False
            self._transport.abort()
            self._keeper.lost(self)

    def break_off(self, error: BaseException) -> None:
        """Closes it, and tells whoever waits for the answer."""
        head, answer = self._head, self._answer
        self.abort()
        if answer is not None:
            answer.fail(error)
        elif head is not None and not head.done():
            head.set_exception(error)

    def silent_for(self, now: float) -> float:
        """Seconds, counted from look to look: how long the provider has owed something without sending any."""
        if self._heard or self._paused or not self._asked:
            self._heard = False
            self._heard_at = now
        return now - self._heard_at

    # --- told by the transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self.open = True

    def data_received(self, data: bytes) -> None:
        if not self._asked:
            self.abort()  # nothing was asked
            return
        self._heard = self.answered = True
        self._framing_bytes += len(data)
        failure: BaseException | None = None
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserCallbackError as error:
            self._surplus = True
            failure = error.__context__ or error  # one of our own bounds
        except httptools.HttpParserUpgrade:
            self._surplus = self._complete = True  # a protocol that nobody asked for: nothing of it is read
        except httptools.HttpParserError as error:
            self._surplus = True
            failure = UpstreamBroken(FailureClass.NETWORK, type(error).__name__)
        if self._pieces and self._answer is not None:
            # One chunk for the sink, however many the provider made of it.
            body = self._pieces[0] if len(self._pieces) == 1 else b"".join(self._pieces)
            self._pieces.clear()
            self._answer.feed(body)
        if not self._asked:
            return  # the sink gave it up
        if self._complete:
            self._over()
        elif failure is not None:
            self.break_off(failure)
        elif self._framing_bytes > HEAD_BYTES_MAX:
            self.break_off(_too_large())

    def eof_received(self) -> None:
        """A provider that closes its half has said all, whether it reads the rest of the request or not."""
        self.connection_lost(None)

    def connection_lost(self, error: Exception | None) -> None:
        answer = self._answer
        if answer is not None and error is None and _ends_with_the_connection(answer.headers):
            self.abort()
            answer.end()
        elif self._asked:
            self.break_off(UpstreamBroken(FailureClass.NETWORK, type(error or EOFError()).__name__))
        else:
            self.abort()

    # --- told by the parser; what these raise ends in `break_off`

    def on_message_begin(self) -> None:
        if self._complete:
            self._surplus = True

    def on_header(self, name: bytes, value: bytes) -> None:
        self._fields += 1
        if self._fields > HEADERS_MAX or b"\0" in value:
            raise UpstreamBroken(FailureClass.NETWORK, "too many headers, or a NUL in one")
        if self._answer is None and not self._complete:  # else it is a trailer's
            decoded = value.rstrip(b" \t").decode("utf-8", "surrogateescape")
            self._headers[name.decode("utf-8", "surrogateescape").lower()] = decoded

    def on_headers_complete(self) -> None:
        if self._complete:
            return
        status = self._parser.get_status_code()
        if 100 <= status < 200 and status != 101:
            self._informational = True
            self._headers = {}
            return
        encoding = self._headers.get("content-encoding")
        try:
            decoder = decoder_for(encoding) if encoding is not None else None
        except NotDecodable as error:
            raise UpstreamBroken(FailureClass.NETWORK, f"NotDecodable: {error}") from None
        if self._framing_bytes > HEAD_BYTES_MAX and _size(self._headers) > HEAD_BYTES_MAX:
            raise _too_large()
        answer = self._answer = LeanAnswer(status, self._headers, self, decoder)
        assert self._head is not None, "asked"
        if self._head.done():
            self._surplus = True  # whoever asked gave it up just now, and is about to abort this connection
        else:
            self._head.set_result(answer)

    def on_body(self, data: bytes) -> None:
        self._framing_bytes = 0
        if self._answer is not None and not self._complete:
            self._pieces.append(data)

    def on_message_complete(self) -> None:
        if self._informational:
            self._informational = False
        elif not self._complete:
            self._complete = True
            self._keep = self._parser.should_keep_alive()

    # --- the end of an answer, and of the connection

    def _over(self) -> None:
        answer, self._answer = self._answer, None
        transport = self._transport
        assert answer is not None, "a complete answer has a head"
        assert transport is not None, "data came over it"
        self._asked = False
        self._head = None
        # A provider that answers before it has read the whole request is not to be trusted with another.
        keep = self._keep and not self._surplus and self.open and not transport.is_closing()
        if keep and transport.get_write_buffer_size() == 0:
            self.resume()
            answer.end()
            self._keeper.released(self)
        else:
            answer.end()
            self.abort()


def _ends_with_the_connection(headers: Mapping[str, str]) -> bool:
    """RFC 9112 §6.3: neither chunked nor measured."""
    coding = headers.get("transfer-encoding", "").rpartition(",")[2].strip().lower()
    return coding != "chunked" and "content-length" not in headers


def _size(headers: Mapping[str, str]) -> int:
    return sum(len(name) + len(value) + 4 for name, value in headers.items())


def _too_large() -> UpstreamBroken:
    return UpstreamBroken(FailureClass.NETWORK, "the answer's head is too large")
