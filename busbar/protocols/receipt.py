"""The fidelity receipt: every field that did not cross as it was, and why."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Literal, Protocol

from msgspec import Struct

RECEIPT_ENTRIES_MAX = 256
"""A receipt holds at most this many different entries; further ones are only counted."""

Change = Literal["dropped", "changed", "clamped", "added"]


class Entry(Struct, frozen=True):
    """One thing that happened to one field on its way."""

    change: Change
    path: str
    """Where, in the words of the source dialect: `messages[2].content[0].cache_control`."""
    why: str = ""


class Spell(Protocol):
    """Says where the source's document has what a receipt names as the IR does: the place `path`, or `left`, a
    leftover on the node at `path`, in the source's own words (it may stand one level further down than the node)."""

    def __call__(self, path: str, left: str = "") -> str: ...


_PATH = re.compile(r"[\w$:/@-]{1,64}(\[\d+\])*(\.[\w$:/@-]{1,64}(\[\d+\])*)*\Z", re.ASCII)
_SEGMENT = re.compile(r"[\w$:/@-]{1,64}(\[\d+\])*\Z", re.ASCII)
PATH_CHARS_MAX = 200

REMEMBERED = 1024
REMEMBERED_CHARS_MAX = 128
"""How many entries are remembered, and how long their texts may be for it: most answers of a provider lose the same
fields."""


def nameable(path: str) -> str:
    """`path` as it may stand in logs and counters. Callers may invent names of fields, and these may hold anything:
    what looks like no name is `(other)`."""
    if len(path) <= PATH_CHARS_MAX and _PATH.match(path):
        return path
    segments = ("(other)" if _SEGMENT.match(segment) is None else segment for segment in path[:4096].split("."))
    return ".".join(segments)[:PATH_CHARS_MAX]


def joined(path: str, left: str = "") -> str:
    """`left` directly at the node at `path`; the document itself is at the empty path."""
    return f"{path}.{left}" if path and left else path or left


class Receipt:
    """Collects what a hop changed. One per translated document or stream; equal entries are kept once.

    Writers know no dialect but their own, so they name what they could not carry as the IR does
    (`messages[2].content[0]`, `output.schema`); `spell`, the source dialect's, says it in the words of the document
    (`response_format.json_schema.schema`). `root` stands before every path: it tells what is said of an answer
    from what is said of its request.
    """

    __slots__ = ("_entries", "_root", "overflow", "spell")

    def __init__(self, root: str = "", spell: Spell = joined) -> None:
        self._entries: dict[Entry, None] = {}
        self._root = root
        self.spell = spell
        self.overflow = 0

    def dropped(self, path: str, why: str = "", *, left: str = "") -> None:
        """The target has no place for it. `left` is a leftover on the node at `path`: the source's own word."""
        self._add("dropped", self.spell(path, left), why)

    def changed(self, path: str, why: str = "") -> None:
        """It crossed, but says slightly less or something else than it did."""
        self._add("changed", self.spell(path), why)

    def clamped(self, path: str, why: str = "") -> None:
        """A number was brought into the target's range."""
        self._add("clamped", self.spell(path), why)

    def added(self, path: str, why: str = "") -> None:
        """The target requires it and the source did not say it: it has no place there, and keeps the IR's name."""
        self._add("added", path, why)

    @property
    def entries(self) -> tuple[Entry, ...]:
        return tuple(self._entries)

    @property
    def dropped_paths(self) -> tuple[str, ...]:
        """What the log, the counter and the `x-busbar-dropped` header name."""
        return tuple([entry.path for entry in self._entries if entry.change == "dropped"])

    def __len__(self) -> int:
        return len(self._entries)

    def __repr__(self) -> str:
        return f"Receipt({list(self._entries)!r})"

    def _add(self, change: Change, path: str, why: str) -> None:
        path = self._root + path
        brief = len(path) <= REMEMBERED_CHARS_MAX and len(why) <= REMEMBERED_CHARS_MAX
        entry = (_entry if brief else _entry.__wrapped__)(change, path, why)
        if entry in self._entries:
            return
        if len(self._entries) >= RECEIPT_ENTRIES_MAX:
            self.overflow += 1
            return
        self._entries[entry] = None


@lru_cache(REMEMBERED)
def _entry(change: Change, path: str, why: str) -> Entry:
    return Entry(change, nameable(path), why)
