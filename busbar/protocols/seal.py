"""State inside a tool call's id, where a dialect's ids have room for it.

The Continuity actor forgets at a restart and does not speak with other replicas. An id comes back by itself: where
the caller's dialect sets no narrow bound on it, the state of the turn rides along, compressed, behind a mark that no
provider's id has. On the way to any provider the id is opened first, so providers only ever see their own.
"""

from __future__ import annotations

import base64
import binascii
import re
import zlib

from busbar.protocols.ids import IdStyle

MARK = "_bbseal1_"
STATE_BYTES_MAX = 1 << 20
"""Of one opened state: what comes from a caller may claim to be larger than it is."""

_MARK_BYTES = MARK.encode()
_SEALED_BYTES = re.compile(_MARK_BYTES + rb"[A-Za-z0-9_-]*")
_LEAPS_MAX = 8
"""A leap to the next underscore costs as much as looking at some hundred bytes."""


def sealed(call: str, state: bytes, style: IdStyle) -> str:
    """`call` with `state` inside, or as it was when it would not fit into an id of `style`."""
    packed = zlib.compress(state)
    candidate = call + MARK + base64.urlsafe_b64encode(packed).decode().rstrip("=")
    return candidate if len(style.prefix) + len(candidate) <= style.length_max else call


def opened(call: str) -> tuple[str, bytes | None]:
    """The id as its provider made it, and the packed state if it holds one that can be read."""
    own, mark, text = call.partition(MARK)
    if not mark:
        return call, None
    try:
        packed = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
        opener = zlib.decompressobj()
        state = opener.decompress(packed, STATE_BYTES_MAX)
    except (binascii.Error, ValueError, zlib.error):
        return own, None
    return own, state if opener.eof else None


def without_seals(raw: bytes) -> bytes:
    """A body that is passed through, with every id as its provider made it."""
    return _SEALED_BYTES.sub(b"", raw) if _holds_mark(raw) else raw


def _holds_mark(raw: bytes) -> bool:
    """Prompts hardly have underscores, and the search for one byte is ten times as fast as that for several."""
    at = -1
    for _ in range(_LEAPS_MAX):
        at = raw.find(b"_", at + 1)
        if at < 0:
            return False
        if raw.startswith(_MARK_BYTES, at):
            return True
    return raw.find(_MARK_BYTES, at) >= 0
