"""An answer's head as bytes, serialised once (RFC 9112)."""

from __future__ import annotations

import time
from collections.abc import Mapping
from email.utils import formatdate
from http import HTTPStatus

_PHRASES = {status.value: status.phrase for status in HTTPStatus}


class UnsafeHeader(ValueError):
    """A header's name or value would end the line that it is in."""


def answer_head(status: int, headers: Mapping[str, str], framing: str, *, http_1_0: bool = False) -> bytes:
    """The status line, the headers, `date`, and `framing`: header lines of the connection's own, each with its end.

    Raises `UnsafeHeader`.
    """
    lines = "".join([f"{name}: {value}\r\n" for name, value in headers.items()])
    if lines.count("\n") != len(headers) or lines.count("\r") != len(headers) or "\0" in lines:
        raise UnsafeHeader("a header's value has a line break")
    version = "HTTP/1.0" if http_1_0 else "HTTP/1.1"
    return f"{version} {status} {_PHRASES.get(status, '')}\r\n{lines}date: {_date()}\r\n{framing}\r\n".encode(
        "utf-8", "surrogateescape"
    )


LAST_CHUNK = b"0\r\n\r\n"


class _Date:
    """The time of day as headers have it, made once a second."""

    second = 0
    text = ""


def _date() -> str:
    second = int(time.time())
    if second != _Date.second:
        _Date.second, _Date.text = second, formatdate(second, usegmt=True)
    return _Date.text
