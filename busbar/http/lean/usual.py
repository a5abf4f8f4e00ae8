"""Heads of answers as providers usually write them, read here: llhttp calls back for each field, which takes longer
than all else of an answer.

Usual is a head that came whole in one read and is plain ASCII, whose status has a body, and whose framing is said
once. Whatever is not usual, be it odd or broken, is llhttp's to read and to judge: in doubt a head is not usual.
"""

from __future__ import annotations

import re

from msgspec import Struct

HEAD_BYTES_MAX = 64 << 10
"""Of an answer's head, together with the 1xx heads before it; and of what comes between two pieces of its body or
after the last: chunk extensions, trailers."""

HEADERS_MAX = 128
"""As aiohttp has it."""

CHUNKED = -1
"""In place of a length."""

NAMES_MAX = 1024
"""Names of fields that are remembered; a provider has some twenty."""

_STATUSES = {f"HTTP/1.1 {status} ": status for status in range(200, 600) if status not in (204, 304)}
_STATUS_CHARS = len("HTTP/1.1 200 ")
_PLAIN = bytes(range(0x20, 0x7F))
_LINE_ENDS = b"\r\n" * HEADERS_MAX
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_SAID_ONCE = tuple(b"\r\n%b:" % name for name in (b"content-length", b"transfer-encoding", b"connection"))
_LENGTH_DIGITS_MAX = 15

_names: dict[str, str] = {}
"""In lower case; by how they were written."""


class UsualHead(Struct):
    """`length`: the body's, in bytes, or `CHUNKED`. `fields`: how many there are. `end`: where the body begins."""

    status: int
    headers: dict[str, str]
    length: int
    fields: int
    end: int


def read_usual(data: bytes) -> UsualHead | None:
    """The head that `data` begins with. None: it is not usual, or not whole."""
    end = data.find(b"\r\n\r\n")
    if not 0 < end <= HEAD_BYTES_MAX:
        return None
    head = data[:end]
    first, *lines = head.decode("latin-1").split("\r\n")
    status = _STATUSES.get(first[:_STATUS_CHARS])
    if status is None or head.translate(None, _PLAIN) != _LINE_ENDS[: 2 * len(lines)]:
        return None
    headers: dict[str, str] = {}
    for line in lines:
        name, colon, value = line.partition(":")
        lower = _names.get(name) or _lower(name)
        if lower is None or not colon:
            return None
        headers[lower] = value.strip(" ")
    if len(headers) != len(lines) and _is_ambiguous(head):
        return None
    length = _length(headers)
    return None if length is None else UsualHead(status, headers, length, len(lines), end + 4)


def _length(headers: dict[str, str]) -> int | None:
    """None: the framing is not usual, or the connection does not stay."""
    connection = headers.get("connection")
    if connection is not None and connection.lower() != "keep-alive":
        return None
    if "upgrade" in headers or "proxy-connection" in headers:
        return None
    length, coding = headers.get("content-length"), headers.get("transfer-encoding")
    if length is None:
        return CHUNKED if coding == "chunked" else None
    if coding is not None or not length.isdigit() or len(length) > _LENGTH_DIGITS_MAX:
        return None
    return int(length)


def _lower(name: str) -> str | None:
    """None: it is no name."""
    if _TOKEN.fullmatch(name) is None:
        return None
    if len(_names) >= NAMES_MAX:
        _names.clear()
    lower = _names[name] = name.lower()
    return lower


def _is_ambiguous(head: bytes) -> bool:
    """Whether a field that says how to read the answer is there twice."""
    lower = head.lower()
    return any(lower.count(name) > 1 for name in _SAID_ONCE)
