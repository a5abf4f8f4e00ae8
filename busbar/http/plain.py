"""Plain requests: what nearly every SDK sends. A POST of HTTP/1.1 whose head is in one piece, says nothing unusual,
and measures its body.

These are read here, and answered past aiohttp's server; whatever is not plain, be it odd or broken, is aiohttp's to
read and to refuse. So nothing is tolerated here: in doubt a head is not plain.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import cast

from multidict import CIMultiDict, CIMultiDictProxy
from yarl import URL

from busbar.http.ports import Memo
from busbar.http.routes import Target

HEADERS_MAX = 100
"""Fields of one request."""

HEADER_FIELD_BYTES_MAX = 32 * 1024
"""Of one of them, and of the request's line; agents send long ones."""

END = b"\r\n\r\n"

_HEAD = re.compile(rb"POST (/(?!/)[!\"$-~]*) HTTP/1\.1((?:\r\n[!#$%&'*+.^_`|~0-9A-Za-z-]+:[\t -~]*)+)\r\n\r\n")
"""No fragment in the path (`#`), no bytes beyond ASCII, no folded line."""

_BEGINNING = re.compile(rb"POST /(?!/)[!\"$-~]* HTTP/1\.1\r\n")

_LENGTH = re.compile(rb"\r\ncontent-length:[ ]?([0-9]{1,10})\r\n", re.IGNORECASE)

_UNUSUAL = frozenset(
    {
        *("content-encoding", "expect", "te", "trailer", "transfer-encoding", "upgrade", "http2-settings"),
        *("origin", "sec-fetch-site", "sec-websocket-key", "proxy-connection", "keep-alive"),
    }
)
"""About the connection, the body's form, or a browser: not read here."""


class Head:
    """A plain request's head. The next one on the same connection has mostly the same, but for its length: then
    nothing is read again, and what was worked out of it (`memo`) still holds."""

    __slots__ = (
        *("_after", "_before", "_fields", "_length", "_query"),
        *("headers", "last", "memo", "path", "raw_query", "shift", "target"),
    )

    def __init__(self, path: str, fields: CIMultiDict[str], before: bytes, after: bytes) -> None:
        self.path, _, self.raw_query = path.partition("?")
        self.headers: Mapping[str, str] = CIMultiDictProxy(fields)
        self.last = fields.get("connection", "").lower() == "close"
        """Whether the caller asks for the connection's end after the answer."""
        self.memo: Memo = {}
        """What who serves its requests has worked out of it, under keys of their own."""
        self.shift: object = None
        """Whose `memo` and `target` these are: with another one both are worked out anew."""
        self.target: Target | None = None
        self._before = before
        """Up to the body's length."""
        self._after = after
        """From there on."""
        self._fields = fields
        self._length = fields["content-length"].encode()
        self._query: Mapping[str, str] | None = None

    def __repr__(self) -> str:
        """Without its headers: a credential is among them, and may be in the query, too."""
        return f"Head({self.path})"

    @property
    def query(self) -> Mapping[str, str]:
        if self._query is None:
            self._query = URL(f"/?{self.raw_query}", encoded=True).query if self.raw_query else {}
        return self._query

    def measure(self, data: bytes) -> tuple[int, int]:
        """(its own size, the body's) if `data` begins with this head; else (0, 0). From then on it is that of the
        request."""
        if not data.startswith(self._before):
            return 0, 0
        begin = len(self._before)
        end = data.find(b"\r", begin, begin + 11)
        length = data[begin:end]
        if end < 0 or not length.isdigit() or not data.startswith(self._after, end):
            return 0, 0
        if length != self._length:
            self._length = length
            self._fields["content-length"] = length.decode()
        return end + len(self._after), int(length)


def read_head(data: bytes, size_max: int) -> Head | None:
    """The head that `data` begins with. None: it is not plain, not whole, or its fields are larger than `size_max`
    bytes together."""
    match = _HEAD.match(data)
    if match is None:
        return None
    head = data[: match.end()]
    lengths = _LENGTH.findall(head)
    fields = match[2].decode("ascii").split("\r\n")[1:]
    if len(lengths) != 1 or len(fields) > HEADERS_MAX or len(match[2]) > size_max:
        return None
    if len(match[1]) > HEADER_FIELD_BYTES_MAX - len(b"POST  HTTP/1.1"):
        return None
    headers: CIMultiDict[str] = CIMultiDict()
    for field in fields:
        name, _, value = field.partition(":")
        if name in headers or name.lower() in _UNUSUAL or len(field) > HEADER_FIELD_BYTES_MAX:
            return None
        headers[name] = value.strip(" \t")
    if "host" not in headers or headers.get("connection", "keep-alive").lower() not in ("keep-alive", "close"):
        return None
    length = cast("re.Match[bytes]", _LENGTH.search(head)).span(1)
    return Head(match[1].decode("ascii"), headers, head[: length[0]], head[length[1] :])


def may_become_plain(data: bytes) -> bool:
    """Whether more bytes may make of it a plain head: it is not whole, and so far there is nothing unusual."""
    return END not in data and _BEGINNING.match(data) is not None
