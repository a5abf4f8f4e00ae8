"""A small vocabulary for saying what a JSON body must look like: the validators are tables written in it.

A check takes a value and its path and raises `Violation`, which names what is wrong in words no dialect owns;
each validator has one table that puts them into its provider's words.
"""

import base64
import binascii
import re
from collections.abc import Callable, Mapping
from typing import Any

from .schema import sound


class Tag(str):
    """A path step that names the variant of a tagged union, as Anthropic's error texts do and OpenAI's do not."""

    __slots__ = ()


Path = tuple[str | int, ...]
Check = Callable[[Any, Path], None]


class Violation(Exception):
    """`kind` is missing, extra, type, choice, tag, pattern, long, below, above, few, many, base64 or schema.

    `by` is the key that holds the tag, where the tag is what is wrong.
    """

    def __init__(self, path: Path, kind: str, expected: Any = None, got: Any = None, by: str = "") -> None:
        super().__init__(f"{'.'.join(map(str, path))}: {kind}")
        self.path, self.kind, self.expected, self.got, self.by = path, kind, expected, got, by


def type_name(value: Any) -> str:
    """The JSON type of a value; integers are told apart from other numbers."""
    match value:
        case None:
            return "null"
        case bool():
            return "boolean"
        case int():
            return "integer"
        case float():
            return "number"
        case str():
            return "string"
        case list():
            return "array"
        case _:
            return "object"


def anything(value: Any, path: Path) -> None:
    """Accepts every value: the part of a provider's API that is not imitated here."""


def _typed(value: Any, path: Path, *names: str) -> None:
    if type_name(value) not in names:
        raise Violation(path, "type", names, type_name(value))


def flag(value: Any, path: Path) -> None:
    _typed(value, path, "boolean")


def mapping(value: Any, path: Path) -> None:
    _typed(value, path, "object")


def json_schema(value: Any, path: Path) -> None:
    """An object that is a JSON schema."""
    _typed(value, path, "object")
    if not sound(value):
        raise Violation(path, "schema")


def text(pattern: str | None = None, longest: int | None = None) -> Check:
    """A string that matches the whole `pattern` and has at most `longest` characters."""

    def check(value: Any, path: Path) -> None:
        _typed(value, path, "string")
        if longest is not None and len(value) > longest:
            raise Violation(path, "long", longest, len(value))
        if pattern is not None and not re.fullmatch(pattern, value):
            raise Violation(path, "pattern", pattern, value)

    return check


def base64_text(value: Any, path: Path) -> None:
    """A string of valid, non-empty base64."""
    _typed(value, path, "string")
    try:
        decoded = base64.b64decode(value, validate=True)
    except (binascii.Error, ValueError):
        decoded = b""
    if not decoded:
        raise Violation(path, "base64")


def _bounded(kinds: tuple[str, ...], low: float | None, high: float | None) -> Check:
    def check(value: Any, path: Path) -> None:
        _typed(value, path, *kinds)
        if low is not None and value < low:
            raise Violation(path, "below", low, value)
        if high is not None and value > high:
            raise Violation(path, "above", high, value)

    return check


def number(low: float | None = None, high: float | None = None) -> Check:
    return _bounded(("number", "integer"), low, high)


def integer(low: int | None = None, high: int | None = None) -> Check:
    return _bounded(("integer",), low, high)


def word(*choices: str) -> Check:
    """One of the words given."""

    def check(value: Any, path: Path) -> None:
        if value not in choices:
            raise Violation(path, "choice", choices, value)

    return check


def array(item: Check, least: int = 0, most: int | None = None) -> Check:
    def check(value: Any, path: Path) -> None:
        _typed(value, path, "array")
        if len(value) < least:
            raise Violation(path, "few", least, len(value))
        if most is not None and len(value) > most:
            raise Violation(path, "many", most, len(value))
        for index, element in enumerate(value):
            item(element, (*path, index))

    return check


def record(
    required: Mapping[str, Check] | None = None, optional: Mapping[str, Check] | None = None, *, closed: bool = True
) -> Check:
    """An object with these keys and, when `closed`, no others."""
    needed = required or {}
    known = {**needed, **(optional or {})}

    def check(value: Any, path: Path) -> None:
        _typed(value, path, "object")
        for key in needed:
            if key not in value:
                raise Violation((*path, key), "missing")
        for key, element in value.items():
            if key in known:
                known[key](element, (*path, key))
            elif closed:
                raise Violation((*path, key), "extra", None, element)

    return check


def nullable(inner: Check) -> Check:
    return lambda value, path: None if value is None else inner(value, path)


def by_type(**checks: Check) -> Check:
    """The check for the value's JSON type: `by_type(string=…, array=…)`."""

    def check(value: Any, path: Path) -> None:
        _typed(value, path, *checks)
        checks[type_name(value)](value, path)

    return check


def tagged(variants: Mapping[str, Check], by: str = "type", default: str | None = None) -> Check:
    """An object whose `by` key says which of the variants checks the rest of it.

    A variant's name that ends in `*` matches any ending, and its members are let through.
    """
    open_ended = tuple(name[:-1] for name in variants if name.endswith("*"))

    def check(value: Any, path: Path) -> None:
        _typed(value, path, "object")
        tag = value.get(by) or default
        if tag is None:
            raise Violation((*path, by), "missing")
        if isinstance(tag, str) and tag not in variants and open_ended and tag.startswith(open_ended):
            return
        if not isinstance(tag, str) or tag not in variants:
            raise Violation(path, "tag", tuple(variants), tag, by)
        variants[tag]({key: member for key, member in value.items() if key != by}, (*path, Tag(tag)))

    return check
