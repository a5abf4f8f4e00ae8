"""Ids in the caller's dialect: each kind of id has a prefix by which people and SDKs know it.

An id that crosses a hop keeps its body and changes its prefix, so that the way back gives the first id again
(`toolu_01A` ↔ `call_01A`): on the next turn a provider sees the ids that it made. Calls' ids of unknown make are
kept where the target allows their characters and length, and are replaced by a hash of themselves where it does
not: the same id always maps to the same id, within one request and across turns.
"""

from __future__ import annotations

import hashlib
import re
from functools import lru_cache

from msgspec import Struct


class IdStyle(Struct, frozen=True):
    """How a dialect writes one kind of id."""

    prefix: str
    length_max: int = 64


TOOL_CALL_PREFIXES = ("toolu_", "call_", "tooluse_")
ANSWER_PREFIXES = ("msg_", "chatcmpl-", "resp_")

REMEMBERED = 4096
REMEMBERED_CHARS_MAX = 128
"""How many ids are remembered as they were translated, and how long one may be for it: 1 MiB at most."""

_ALLOWED = re.compile(r"[A-Za-z0-9_-]+\Z")
_NOT_ALLOWED = re.compile(r"[^A-Za-z0-9_-]")
_DIGEST_CHARS = 24
_NAME_DIGEST_CHARS = 8


def translate_id(foreign: str, style: IdStyle, known_prefixes: tuple[str, ...]) -> str:
    """`foreign` in `style`. An empty id stays empty: who needs one mints it (`mint_id`)."""
    if not foreign:
        return ""
    translate = _translated if len(foreign) <= REMEMBERED_CHARS_MAX else _translated.__wrapped__
    return translate(foreign, style, known_prefixes)


@lru_cache(REMEMBERED)
def _translated(foreign: str, style: IdStyle, known_prefixes: tuple[str, ...]) -> str:
    """A conversation sends the same ids with every turn."""
    prefix = next((known for known in (style.prefix, *known_prefixes) if foreign.startswith(known)), "")
    candidate = style.prefix + foreign[len(prefix) :] if prefix else foreign
    return candidate if _fits(candidate, style) else style.prefix + _digest(foreign)


def answer_id(foreign: str, style: IdStyle, nonce: str) -> str:
    """The id of an answer, always in `style`: nobody sends it back, so nothing has to lead to the first one again."""
    if not foreign:
        return mint_id(style, nonce)
    candidate = style.prefix + foreign
    for known in (style.prefix, *ANSWER_PREFIXES):
        if foreign.startswith(known):
            candidate = style.prefix + foreign[len(known) :]
            break
    return candidate if _fits(candidate, style) else style.prefix + _digest(foreign)


def mint_id(style: IdStyle, nonce: str, ordinal: int = 0) -> str:
    """A new id from a unique `nonce`; `ordinal` tells several ids of one document apart."""
    return style.prefix + _digest(f"{nonce}:{ordinal}")


def fit_name(name: str, chars_max: int) -> str:
    """A tool's name in letters, digits, `_` and `-`; the same name always gives the same one."""
    fitting = _NOT_ALLOWED.sub("_", name)
    if len(fitting) <= chars_max:
        return fitting
    return f"{fitting[: chars_max - _NAME_DIGEST_CHARS - 1]}_{_digest(name)[:_NAME_DIGEST_CHARS]}"


def _fits(candidate: str, style: IdStyle) -> bool:
    return len(candidate) <= style.length_max and _ALLOWED.match(candidate) is not None


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:_DIGEST_CHARS]
