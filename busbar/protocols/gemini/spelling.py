"""Both spellings of a field: protobuf's JSON takes `inlineData` and `inline_data`, an object where a list of one is
meant, and SDKs mix them within one document. A reader understands all of them and remembers which one it met.

A `Level` is one JSON object that is being taken apart; its `marks` are what its writer needs to spell it again:

    inlineData          was written inline_data
    parts[]             was one element without its list
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any, TypeAlias

from busbar.protocols import fields
from busbar.protocols.fields import as_object
from busbar.protocols.native import Rest
from busbar.protocols.protocol import InvalidRequest

Marks: TypeAlias = frozenset[str]

PLAIN: Marks = frozenset()
"""Everything in camel case, lists as lists."""

_UPPER = re.compile(r"[A-Z]")


@lru_cache(maxsize=256)
def snake(name: str) -> str:
    """`inlineData` → `inline_data`. Called with the dialect's own field names only."""
    return _UPPER.sub(lambda found: "_" + found[0].lower(), name)


class Level:
    """A JSON object at `path`: `left` is a copy of which fields are taken by their camel-case names."""

    __slots__ = ("_marks", "left", "path")

    def __init__(self, value: Any, path: str) -> None:
        """Raises `InvalidRequest` when `value` is no object."""
        self.left: dict[str, Any] = as_object(value, path)
        self.path = path
        self._marks: set[str] = set()

    @property
    def marks(self) -> Marks:
        return frozenset(self._marks) if self._marks else PLAIN

    def mark(self, word: str) -> None:
        self._marks.add(word)

    def get(self, name: str) -> Any:
        return self.left.get(self._key(name))

    def drop(self, name: str) -> Any:
        """Takes whatever `name` is."""
        return self.left.pop(self._spelled(name), None)

    def put_back(self, name: str, rest: dict[str, Any]) -> None:
        """What an inner object did not have taken from it stays a leftover at its place."""
        if rest:
            self.left[snake(name) if name in self._marks else name] = Rest(rest)

    def text(self, name: str) -> str | None:
        return fields.take_text(self.left, self._spelled(name), self.path)

    def flag(self, name: str) -> bool | None:
        return fields.take_bool(self.left, self._spelled(name), self.path)

    def integer(self, name: str) -> int | None:
        return fields.take_int(self.left, self._spelled(name), self.path)

    def number(self, name: str) -> float | None:
        return fields.take_number(self.left, self._spelled(name), self.path)

    def object(self, name: str) -> dict[str, Any] | None:
        return fields.take_object(self.left, self._spelled(name), self.path)

    def items(self, name: str) -> list[Any] | None:
        """A repeated field; one element may stand there without its list."""
        key = self._spelled(name)
        value = self.left.get(key)
        if value is None:
            return None
        if isinstance(value, dict):
            self.mark(f"{name}[]")
            value = [value]
        elif not isinstance(value, list):
            raise InvalidRequest(f"{self.path}.{key}" if self.path else key, "expected an array")
        del self.left[key]
        return value

    def _key(self, name: str) -> str:
        if name in self.left:
            return name
        other = snake(name)
        return other if other in self.left else name

    def _spelled(self, name: str) -> str:
        key = self._key(name)
        if key != name and self.left[key] is not None:
            self._marks.add(name)
        return key


def put(document: dict[str, Any], name: str, value: Any, marks: Marks) -> None:
    """Sets a field as it was spelled; nothing for None."""
    if value is None:
        return
    if f"{name}[]" in marks and isinstance(value, list) and len(value) == 1:
        value = value[0]
    document[snake(name) if name in marks else name] = value
