"""Which headers go on, in either direction."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

HOP_BY_HOP = frozenset(
    {
        *("connection", "keep-alive", "proxy-authenticate", "proxy-authorization", "proxy-connection"),
        *("te", "trailer", "transfer-encoding", "upgrade"),
    }
)
"""RFC 9110 §7.6.1: these speak about one connection only, as does every name that `Connection` lists."""

_OF_THE_BYTES = frozenset({"content-length", "content-encoding", "date", "server"})
"""Made anew for what we send: the body may have been decompressed on the way."""

_OF_THE_ACCOUNT = frozenset({"set-cookie", "set-cookie2", "www-authenticate", "alt-svc", "strict-transport-security"})
"""Between the provider and us."""


def forwarded(headers: Mapping[str, str], allowed: Iterable[str]) -> dict[str, str]:
    """The caller's headers that a provider may see: only those that are `allowed` by name."""
    return {name: value for name in allowed if (value := headers.get(name)) is not None}


_NOT_RELAYED = HOP_BY_HOP | _OF_THE_BYTES | _OF_THE_ACCOUNT


def relayed(headers: Mapping[str, str]) -> dict[str, str]:
    """A provider's headers (lower-case) that its caller of the same dialect gets."""
    own = {name: value for name, value in headers.items() if name not in _NOT_RELAYED}
    for name in headers.get("connection", "").split(","):
        own.pop(name.strip().lower(), None)
    return own


def media_type(content_type: str) -> str:
    """Without parameters: `text/event-stream; charset=utf-8` → `text/event-stream`."""
    return content_type.partition(";")[0].strip().lower()


DROPPED_HEADER_CHARS_MAX = 4096


def header_list(paths: tuple[str, ...]) -> str:
    """Field paths as one header value: printable ASCII, bounded; what does not fit is counted."""
    listed: list[str] = []
    room = DROPPED_HEADER_CHARS_MAX
    for done, path in enumerate(paths):
        safe = path.encode("ascii", "replace").decode().replace(",", "?")
        safe = "".join(char if char.isprintable() else "?" for char in safe)
        if len(safe) + 2 > room:
            listed.append(f"(+{len(paths) - done})")
            break
        room -= len(safe) + 2
        listed.append(safe)
    return ", ".join(listed)
