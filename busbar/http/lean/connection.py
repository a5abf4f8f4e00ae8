"""One connection to a provider: one request at a time.

idle    nothing is asked; whatever arrives now closes the connection
asked   the request is out, the answer's head is awaited (1xx heads are skipped)
body    the head is there, chunks go to the answer
over    the answer is whole; the connection goes back to the pool, or is closed when it cannot serve another

A usual head (`usual.py`) is read without llhttp, and so is the body after it whose length it says. llhttp reads all
else: chunks, and answers that are not usual from their first byte to their last.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Mapping
from typing import Protocol, cast

from busbar.http.bodies import WholeAnswer
from busbar.http.lean.answer import LeanAnswer
from busbar.http.lean.content import Decoder, NotDecodable, decoder_for
from busbar.http.lean.parser import AnswerParser
from busbar.http.lean.target import Origin
from busbar.http.lean.usual import CHUNKED, UsualHead, read_usual
from busbar.http.outbox import Outbox
from busbar.http.ports import UpstreamBroken
from busbar.protocols.failures import FailureClass

JOINED_BYTES_MAX = 64 << 10
"""A head and a body smaller than this are written as one piece."""

Answer = LeanAnswer | WholeAnswer


class Keeper(Protocol):
    """Whoever keeps the connections."""

    @property
    def outbox(self) -> Outbox:
        """Requests go out through it."""
        ...

    def released(self, connection: Connection) -> None:
        """Its answer is whole, and it may serve another request."""
        ...

    def lost(self, connection: Connection) -> None:
        """It is closed. Told once."""
        ...


class Connection(asyncio.Protocol):
    """`requests`: how many it was asked to carry. `answered`: bytes came since the last one."""

    __slots__ = (
        *(
            "_answer",
            "_asked",
            "_head",
            "_heard",
            "_heard_at",
            "_keeper",
            "_left",
            "_out",
            "_outbox",
            "_parser",
            "_paused",
            "_transport",
            "_unsent",
        ),
        *("answered", "idle_since", "open", "origin", "requests"),
    )

    def __init__(self, origin: Origin, keeper: Keeper) -> None:
        self.origin = origin
        self.open = False
        self.requests = 0
        self.answered = False
        self.idle_since = 0.0
        self._keeper = keeper
        self._outbox = keeper.outbox
        self._out = b""
        """A request, or its body, until the end of the loop's turn."""
        self._unsent = False
        """Not even the request's head is out."""
        self._transport: asyncio.Transport | None = None
        self._parser: AnswerParser | None = None
        """Made when it is first needed."""
        self._asked = False
        self._head: asyncio.Future[Answer] | None = None
        self._answer: LeanAnswer | None = None
        self._left = 0
        """Bytes of a body whose length is known; 0: what comes is the parser's."""
        self._paused = False
        self._heard = False
        self._heard_at = 0.0

    # --- asked from above

    @property
    def tls(self) -> ssl.SSLObject | None:
        assert self._transport is not None, "connected"
        return cast("ssl.SSLObject | None", self._transport.get_extra_info("ssl_object"))

    def ask(self, head: bytes, body: bytes) -> asyncio.Future[Answer]:
        """Sends a request, at the end of the loop's turn. The future gives the answer once its head is there, or
        `UpstreamBroken`. Whoever gives it up must `abort` the connection."""
        outbox = self._outbox
        assert self.open, "kept"
        assert not self._asked, "one request at a time"
        assert not self._out, "and the one before is out"
        self._asked = self._heard = True
        self.answered = False
        self.requests += 1
        self._unsent = True
        self._head = asked = outbox.loop.create_future()
        outbox.add(self)
        if len(body) < JOINED_BYTES_MAX:
            self._out = head + body
        else:
            self._out = head
            self.flush()
            self._out = body
        return asked

    def flush(self) -> None:
        out, self._out = self._out, b""
        if out and self.open and self._transport is not None:
            self._unsent = False
            self._transport.write(out)

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
        self._out = b""
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
        if self._unsent:
            self.break_off(UpstreamBroken(FailureClass.NETWORK, "bytes came before the request was out"))
            return
        self._heard = True
        if self._left:
            self._take(data)
            return
        if not self.answered:
            self.answered = True
            head = read_usual(data)
            if head is not None and head.length != CHUNKED:
                self._begin_measured(head, data)
                return
            self._begin_parsed(head)
            data = data if head is None else data[head.end :]
        answer, parser = self._answer, self._parser
        assert parser is not None, "it has begun"
        body = parser.feed(data)
        if answer is not None:
            if body:
                answer.feed(body)
        elif parser.status is not None:
            self._begin(parser.status, parser.headers, body, whole=parser.complete, keep=parser.keep)
        if parser.complete or parser.failure is not None:
            self._end_parsed(parser)

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

    # --- an answer

    def _begin_measured(self, head: UsualHead, data: bytes) -> None:
        end = head.end + head.length
        body = data[head.end : end]
        self._left = head.length - len(body)
        self._begin(head.status, head.headers, body, whole=not self._left, keep=_is_blank(data[end:]))

    def _begin_parsed(self, head: UsualHead | None) -> None:
        if self._parser is None:
            self._parser = AnswerParser()
        if head is None:
            self._parser.begin()
        else:
            self._parser.begin_chunked(head)

    def _begin(self, status: int, headers: Mapping[str, str], body: bytes, *, whole: bool, keep: bool) -> None:
        """The head is there, and so much of the body, or the whole of it."""
        asked = self._head
        assert asked is not None, "asked"
        if asked.done():
            self.abort()  # whoever asked gave it up just now, and is about to do so
            return
        if whole and "content-encoding" not in headers:
            asked.set_result(WholeAnswer(status, headers, body))
            self._over(keep=keep)
            return
        try:
            self._answer = answer = LeanAnswer(status, headers, self, _decoder(headers))
        except UpstreamBroken as error:
            self.break_off(error)
            return
        asked.set_result(answer)
        if body:
            answer.feed(body)
        if whole:
            self._over(keep=keep)

    def _take(self, data: bytes) -> None:
        """Of a body whose length is known."""
        answer, left = self._answer, self._left
        assert answer is not None, "it has begun"
        body = data[:left]
        self._left = left - len(body)
        answer.feed(body)
        if not self._left and self._asked:  # else the sink gave it up
            self._over(keep=_is_blank(data[left:]))

    def _end_parsed(self, parser: AnswerParser) -> None:
        if not self._asked:
            return  # it is over, or the sink gave it up
        if parser.complete:
            self._over(keep=parser.keep)
        else:
            assert parser.failure is not None, "it cannot be read on"
            self.break_off(parser.failure)

    # --- the end of an answer, and of the connection

    def _over(self, *, keep: bool) -> None:
        """`keep`: the answer lets it serve another request."""
        answer, transport = self._answer, self._transport
        assert transport is not None, "data came over it"
        self._asked = False
        self._answer = self._head = None
        if answer is not None:
            answer.end()
        # A provider that answers before it has read the whole request is not to be trusted with another.
        if (
            keep
            and not self._out
            and self.open
            and not transport.is_closing()
            and not transport.get_write_buffer_size()
        ):
            if self._paused:
                self.resume()
            self._keeper.released(self)
        else:
            self.abort()


def _decoder(headers: Mapping[str, str]) -> Decoder | None:
    encoding = headers.get("content-encoding")
    try:
        return None if encoding is None else decoder_for(encoding)
    except NotDecodable as error:
        raise UpstreamBroken(FailureClass.NETWORK, f"NotDecodable: {error}") from None


def _is_blank(surplus: bytes) -> bool:
    """Whether nothing came after an answer, but for line ends (RFC 9112 §2.2)."""
    return not surplus or not surplus.strip(b"\r\n")


def _ends_with_the_connection(headers: Mapping[str, str]) -> bool:
    """RFC 9112 §6.3: neither chunked nor measured."""
    coding = headers.get("transfer-encoding", "").rpartition(",")[2].strip().lower()
    return coding != "chunked" and "content-length" not in headers
