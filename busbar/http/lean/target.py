"""Where a URL leads, and a request as the bytes that go there."""

from __future__ import annotations

import re
from typing import NamedTuple
from urllib.parse import urlsplit

from busbar.http.ports import UpstreamRequest

TARGETS_MAX = 1024
"""URLs whose reading is remembered; a configuration has one or two for each model."""

METHODS = frozenset({"GET", "POST", "PUT", "PATCH", "DELETE"})
"""Those whose answers are framed by their own headers alone: not HEAD, not CONNECT."""

_PORTS = {"http": 80, "https": 443}
_HOST = re.compile(r"[a-z0-9._-]+|[0-9a-f:.]+")
_PATH = re.compile(r"/[!-~]*")


class Unusual(ValueError):
    """This request is one that the lean lane does not carry."""


class Origin(NamedTuple):
    """What a connection leads to."""

    tls: bool
    host: str
    port: int


class Target(NamedTuple):
    origin: Origin
    path: str
    """With the query; as it stood in the URL."""
    authority: str
    """What the header Host says."""


class Targets:
    """Reads URLs, each once."""

    def __init__(self) -> None:
        self._known: dict[str, Target] = {}

    def of(self, url: str) -> Target:
        """Raises `Unusual`."""
        target = self._known.get(url)
        if target is None:
            if len(self._known) >= TARGETS_MAX:
                self._known.clear()
            target = self._known[url] = read_target(url)
        return target


def read_target(url: str) -> Target:
    """Raises `Unusual`: another scheme, a login, a host that is not ASCII, a path that is not encoded."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise Unusual(str(error)) from None
    host = parts.hostname or ""
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    if (
        parts.scheme not in _PORTS
        or "@" in parts.netloc
        or not _HOST.fullmatch(host)
        or not _PATH.fullmatch(path)
        or port == 0
    ):
        raise Unusual("not a plain http or https URL")
    default = _PORTS[parts.scheme]
    shown = f"[{host}]" if ":" in host else host
    authority = shown if port in (None, default) else f"{shown}:{port}"
    return Target(Origin(parts.scheme == "https", host, port or default), path, authority)


def opening(request: UpstreamRequest, target: Target) -> bytes:
    """The head but for its length and its end. Raises ValueError when a header has a line break or a NUL in it."""
    lines = [f"{request.method} {target.path} HTTP/1.1"]
    host = False
    for name, value in request.headers.items():
        lines.append(f"{name}: {value}")
        host = host or name.lower() == "host"
    if not host:
        lines.append(f"host: {target.authority}")
    head = "\r\n".join([*lines, ""])
    if head.count("\r") != len(lines) or head.count("\n") != len(lines) or "\0" in head:
        raise ValueError("a header has a line break or a NUL in it")
    return head.encode("utf-8")


def whole_head(opened: bytes, request: UpstreamRequest) -> bytes:
    """The head that `opened` begins."""
    if request.body or request.method != "GET":
        return b"%bcontent-length: %d\r\n\r\n" % (opened, len(request.body))
    return opened + b"\r\n"
