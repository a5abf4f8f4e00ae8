"""Values → YAML as a person would write it: sections in blocks, what is small on one line, comments where they help.

What is written is read back by Busbar's own reader as the same values; a property test holds the two together.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import TypeAlias

from msgspec import Struct

from busbar.config.source import word_value

LINE_CHARS_MAX = 110
"""What would be longer is written in a block."""

BLOCK_LEVELS = 1
"""So many levels are blocks however small they are."""

_PLAIN = re.compile(r"(?!\d{4}-\d\d?-\d\d?\Z)[A-Za-z0-9_/.][A-Za-z0-9_/.@+-]*\Z")
"""Words that need no quotes, neither alone nor between braces. Other readers take `2024-10-21` for a date."""

_CONTROL = re.compile("[\x7f-\x9f\u2028\u2029\ufeff\ud800-\udfff\ufffe\uffff]")


class Variable(Struct, frozen=True):
    """A reference to an environment variable, perhaps with text around it. `sample` is what it may stand for while
    nobody has set it."""

    name: str
    sample: str = "value"

    def __str__(self) -> str:
        return f"${{{self.name}}}"


class Joined(Struct, frozen=True):
    """Variables and text, one after another, as one value."""

    parts: tuple[Variable | str, ...]


Value: TypeAlias = "bool | int | float | str | Variable | Joined | Mapping[str, Value] | Sequence[Value] | None"
Path: TypeAlias = tuple[str, ...]


def write(document: Mapping[str, Value], comments: Mapping[Path, str] | None = None) -> str:
    """The document. `comments` stand above the key whose path they have; sections are set apart by an empty line."""
    return "\n".join(_block(document, (), comments or {})) + "\n"


def scalar(value: bool | int | float | str | Variable | Joined | None) -> str:
    """One value, quoted where it has to be."""
    match value:
        case None:
            return "null"
        case bool():
            return "true" if value else "false"
        case float() if value.is_integer() and abs(value) < 1e15:
            return str(int(value))
        case int():
            return str(value)
        case float():
            return _decimal(value)
        case Variable():
            return f'"{value}"'
        case Joined(parts=parts):
            return _quoted("".join(str(it) if isinstance(it, Variable) else _escaped(it) for it in parts))
        case _:
            return _text(_escaped(value))


def _decimal(value: float) -> str:
    """Without an exponent that the reader would take for text."""
    return f"{value:.15f}".rstrip("0") if abs(value) < 1e15 else repr(value)


def _escaped(text: str) -> str:
    """`${` begins a variable; two dollars do not."""
    return text.replace("${", "$${")


def _text(text: str) -> str:
    return text if _PLAIN.match(text) and isinstance(word_value(text), str) else _quoted(text)


def _quoted(text: str) -> str:
    """YAML's double quotes know JSON's escapes, and `\\x` and `\\u` beside them."""
    return _CONTROL.sub(lambda found: f"\\u{ord(found[0]):04x}", json.dumps(text, ensure_ascii=False))


def _block(table: Mapping[str, Value], path: Path, comments: Mapping[Path, str]) -> list[str]:
    lines: list[str] = []
    indent = "  " * len(path)
    for key, value in table.items():
        below = (*path, key)
        if not path and lines:
            lines.append("")
        if (comment := comments.get(below)) is not None:
            lines += [f"{indent}# {line}".rstrip() for line in comment.splitlines()]
        lines += _entry(f"{indent}{_text(key)}:", value, below, comments)
    return lines


def _entry(head: str, value: Value, path: Path, comments: Mapping[Path, str]) -> list[str]:
    commented = any(len(other) > len(path) and other[: len(path)] == path for other in comments)
    line = f"{head} {_flow(value)}"
    is_block = isinstance(value, Mapping | list | tuple) and value and len(path) <= BLOCK_LEVELS
    if not commented and not is_block and len(line) <= LINE_CHARS_MAX:
        return [line]
    match value:
        case Mapping() if value:
            return [head, *_block(value, path, comments)]
        case list() | tuple() if value:
            return [head, *(f"{'  ' * len(path)}- {_flow(item)}" for item in value)]
        case _:
            return [line]


def _flow(value: Value) -> str:
    match value:
        case Mapping():
            return "{" + ", ".join(f"{_text(key)}: {_flow(item)}" for key, item in value.items()) + "}"
        case list() | tuple():
            return "[" + ", ".join(map(_flow, value)) + "]"
        case None | bool() | int() | float() | str() | Variable() | Joined():
            return scalar(value)
        case _:
            raise TypeError(f"no YAML is written for {type(value).__name__}")
