"""llhttp, as a connection uses it: any answer, within our bounds."""

from __future__ import annotations

import httptools

from busbar.http.lean.usual import HEAD_BYTES_MAX, HEADERS_MAX, UsualHead
from busbar.http.ports import UpstreamBroken
from busbar.protocols.failures import FailureClass

_CHUNKED_HEAD = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"


class AnswerParser:
    """Reads one answer after the other. What it has read so far its attributes say."""

    __slots__ = (
        *("_fields", "_framing_bytes", "_informational", "_llhttp", "_pieces"),
        *("complete", "failure", "headers", "keep", "on_body", "status"),
    )

    def __init__(self) -> None:
        self._pieces: list[bytes] = []
        self.on_body = self._pieces.append  # for llhttp, which calls it without a step in between
        self._llhttp = httptools.HttpResponseParser(self)
        # What aiohttp's client tolerates of providers, too.
        self._llhttp.set_dangerous_leniencies(
            lenient_headers=True, lenient_optional_cr_before_lf=True, lenient_spaces_after_chunk_size=True
        )

    def begin(self) -> None:
        """A new answer."""
        self.status: int | None = None
        """None: the head is not whole. Never that of a 1xx head before it."""
        self.headers: dict[str, str] = {}
        self.complete = False
        self.keep = False
        """Whether the connection may serve another request, once the answer is complete."""
        self.failure: BaseException | None = None
        """Why it cannot be read any further."""
        self._fields = self._framing_bytes = 0
        self._informational = False

    def begin_chunked(self, head: UsualHead) -> None:
        """A new answer whose head was read already. Its body, which is chunked, is fed."""
        self.begin()
        self.status, self.headers = head.status, head.headers
        self._llhttp.feed_data(_CHUNKED_HEAD)
        self._fields, self._framing_bytes = head.fields, head.end

    def feed(self, data: bytes) -> bytes:
        """What of `data` is the body's: one piece, however many chunks the provider made of it."""
        self._framing_bytes += len(data)
        try:
            self._llhttp.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            self._stop(error)
        pieces = self._pieces
        if not pieces:
            if self._framing_bytes > HEAD_BYTES_MAX and self.failure is None:
                self.failure = _too_large()
            return b""
        self._framing_bytes = 0
        body = pieces[0] if len(pieces) == 1 else b"".join(pieces)
        pieces.clear()
        return body

    def _stop(self, error: Exception) -> None:
        self.keep = False
        if isinstance(error, httptools.HttpParserUpgrade):
            self.complete = True  # a protocol that nobody asked for: nothing of it is read
        elif isinstance(error, httptools.HttpParserCallbackError):
            self.failure = error.__context__ or error  # one of our own bounds
        else:
            self.failure = UpstreamBroken(FailureClass.NETWORK, type(error).__name__)

    # --- told by llhttp; what these raise ends its reading

    def on_message_begin(self) -> None:
        if self.complete:
            raise _Surplus

    def on_header(self, name: bytes, value: bytes) -> None:
        self._fields += 1
        if self._fields > HEADERS_MAX or b"\0" in value:
            raise UpstreamBroken(FailureClass.NETWORK, "too many headers, or a NUL in one")
        if self.status is None:  # else it is a trailer's
            decoded = value.rstrip(b" \t").decode("utf-8", "surrogateescape")
            self.headers[name.decode("utf-8", "surrogateescape").lower()] = decoded

    def on_headers_complete(self) -> None:
        if self.status is not None:
            return
        status = self._llhttp.get_status_code()
        if 100 <= status < 200 and status != 101:
            self._informational = True
            self.headers = {}
        elif self._framing_bytes > HEAD_BYTES_MAX and _size(self.headers) > HEAD_BYTES_MAX:
            raise _too_large()
        else:
            self.status = status

    def on_message_complete(self) -> None:
        if self._informational:
            self._informational = False
        else:
            self.complete = True
            self.keep = self._llhttp.should_keep_alive()


class _Surplus(Exception):
    """Something comes after the answer."""


def _size(headers: dict[str, str]) -> int:
    return sum(len(name) + len(value) + 4 for name, value in headers.items())


def _too_large() -> UpstreamBroken:
    return UpstreamBroken(FailureClass.NETWORK, "the answer's head is too large")
