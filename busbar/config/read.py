"""Nodes → structs, by the structs' own types. Every mistake is reported; none stops the reading of the rest."""

from __future__ import annotations

import enum
import functools
import re
from collections.abc import Mapping as Table
from typing import TypeVar, cast

from msgspec import Struct, inspect
from msgspec.structs import replace

from busbar.config.problems import KeyPath, Report, did_you_mean, shown
from busbar.config.schema import SHORTHANDS
from busbar.config.secret import Secret
from busbar.config.source import Mapping, Node, Scalar, Sequence, word_value
from busbar.config.support import not_supported_yet, pattern

S = TypeVar("S", bound=Struct)

CREDENTIAL = re.compile(r"[!-~]+\Z")
"""Visible ASCII, no spaces: what can stand in a header without changing its meaning."""


class _Invalid(enum.Enum):
    INVALID = enum.auto()


_INVALID = _Invalid.INVALID
_type_info = functools.cache(inspect.type_info)


class Reader:
    """Reads a tree of expanded nodes into structs, collecting problems in `report`.

    An invalid optional value is replaced by its default so that the checks after it can go on; an invalid required
    one takes its struct with it. Values are never quoted in messages, because a credential may stand anywhere by
    mistake; keys are.
    """

    def __init__(self, report: Report, renamed: Table[str, str], shorthands: Table[str, str] = SHORTHANDS) -> None:
        self._report = report
        self._renamed = renamed
        self._shorthands = shorthands

    def read(self, node: Mapping, kind: type[S]) -> S | None:
        """`node` as a `kind`, or None when a required part of it is missing or wrong."""
        value = self._value(node, _type_info(kind))
        return None if value is _INVALID else cast(S, value)

    def _value(self, node: Node, info: inspect.Type, expected: str | None = None) -> object:
        if isinstance(node, Scalar) and node.broken:
            return _INVALID
        value = self._by_type(node, info, expected)
        if value is not _INVALID and (complaint := not_supported_yet(node.path, value)):
            self._complain(node, complaint)
        return value

    def _by_type(self, node: Node, info: inspect.Type, expected: str | None) -> object:
        match info:
            case inspect.Metadata(type=inner, extra=extra):
                return self._by_type(node, inner, (extra or {}).get("expected"))
            case inspect.UnionType(types=types):
                return self._union(node, types)
            case inspect.StructType():
                return self._struct(node, info)
            case inspect.DictType(key_type=key_type, value_type=value_type):
                return self._table(node, key_type, value_type)
            case inspect.VarTupleType():
                return self._tuple(node, info)
            case inspect.CustomType(cls=cls) if cls is Secret:
                return self._secret(node)
            case inspect.EnumType(cls=cls):
                word = self._choice(node, [str(member.value) for member in cls])
                return _INVALID if word is _INVALID else cls(word)
            case inspect.LiteralType(values=values):
                return self._choice(node, [str(value) for value in values])
            case _:
                return self._scalar(node, info, expected)

    # Sections and lists

    def _struct(self, node: Node, info: inspect.StructType) -> object:
        mapping = self._mapping(node)
        if mapping is None:
            return _INVALID
        fields = {field.name: field for field in info.fields if field.name != "name"}
        values: dict[str, object] = {}
        if len(fields) != len(info.fields):
            values["name"] = str(node.path[-1])
        for key, child in mapping.items.items():
            if (field := fields.get(key)) is None:
                self._unknown_key(child, key, list(fields))
            elif (value := self._value(child, field.type)) is not _INVALID:
                values[key] = value
        missing = [name for name, field in fields.items() if field.required and name not in values]
        for name in missing:
            if name not in mapping.items:
                self._report.add(node.file, node.line, (*node.path, name), "this key is required")
        return _INVALID if missing else info.cls(**values)

    def _unknown_key(self, node: Node, key: str, known: list[str]) -> None:
        replacement = self._renamed.get(pattern(node.path))
        if replacement is not None:
            self._complain(node, f"this key is gone, write {shown(replacement)}")
        else:
            self._complain(node, f"unknown key{did_you_mean(key, known)}")

    def _table(self, node: Node, key_type: inspect.Type, value_type: inspect.Type) -> object:
        mapping = self._mapping(node)
        if mapping is None:
            return _INVALID
        table: dict[object, object] = {}
        for text, child in mapping.items.items():
            key = self._key(child, text, key_type)
            value = self._value(child, value_type)
            if key is not _INVALID and value is not _INVALID:
                table[key] = value
        return table

    def _key(self, node: Node, text: str, info: inspect.Type) -> object:
        expected = None
        if isinstance(info, inspect.Metadata):
            expected, info = (info.extra or {}).get("expected"), info.type
        if isinstance(info, inspect.IntType):
            number = word_value(text)
            return number if _in_range(number, info) else self._complain(node, f"the key is {_wanted(info)}")
        if isinstance(info, inspect.StrType) and not _fits(text, info):
            return self._complain(node, f"the key is {expected or _wanted(info)}")
        return text if text else self._complain(node, "the key is empty")

    def _tuple(self, node: Node, info: inspect.VarTupleType) -> object:
        if isinstance(node, Scalar) and node.value is None:
            elements: tuple[Node, ...] = ()
        elif isinstance(node, Sequence):
            elements = node.items
        else:
            return self._complain(node, f"expected a list, got {_kind(node)}")
        values = [self._value(element, info.item_type) for element in elements]
        if len(elements) < (info.min_length or 0):
            return self._complain(node, f"expected at least {info.min_length} in the list")
        if info.max_length is not None and len(elements) > info.max_length:
            return self._complain(node, f"expected at most {info.max_length} in the list")
        return tuple(value for value in values if value is not _INVALID)

    def _mapping(self, node: Node) -> Mapping | None:
        if isinstance(node, Mapping):
            return node
        if isinstance(node, Scalar) and node.value is None:
            return Mapping(file=node.file, line=node.line, path=node.path, items={})
        if isinstance(node, Scalar) and (key := self._shorthands.get(pattern(node.path))) is not None:
            word = replace(node, path=(*node.path, key))
            return Mapping(file=node.file, line=node.line, path=node.path, items={key: word})
        self._complain(node, f"expected keys and values, got {_kind(node)}")
        return None

    # Single values

    def _union(self, node: Node, types: tuple[inspect.Type, ...]) -> object:
        others = [info for info in types if not isinstance(info, inspect.NoneType)]
        if len(others) < len(types) and isinstance(node, Scalar) and node.value is None:
            return None
        if len(others) == 1:
            return self._by_type(node, others[0], None)
        return node.value if isinstance(node, Scalar) else self._complain(node, "expected a single value")

    def _choice(self, node: Node, words: list[str]) -> object:
        if isinstance(node, Scalar) and node.text in words:
            return node.text
        hint = did_you_mean(node.text, words) if isinstance(node, Scalar) and not node.variables else ""
        return self._complain(node, f"expected one of {', '.join(words)}{hint}")

    def _secret(self, node: Node) -> object:
        if not isinstance(node, Scalar):
            return self._complain(node, f"expected text, got {_kind(node)}")
        if not node.variables:
            return self._complain(node, "secrets are never in config files; write ${VAR} and set the variable")
        header = tuple(node.path[:2]) == ("observability", "otlp_headers")
        if not CREDENTIAL.match(node.text.replace(" ", "") if header else node.text):  # `Bearer …`
            return self._complain(node, malformed_credential(node.text))
        return Secret(node.text)

    def _scalar(self, node: Node, info: inspect.Type, expected: str | None) -> object:
        value = None
        if isinstance(node, Scalar):
            wants_text = isinstance(info, inspect.StrType)
            value = word_value(node.text) if node.variables and not wants_text else node.value
        match info:
            case inspect.StrType() if isinstance(value, str) and _fits(value, info):
                return value
            case inspect.BoolType() if isinstance(value, bool):
                return value
            case inspect.IntType() | inspect.FloatType() if _in_range(value, info):
                return value
            case _:
                return self._complain(node, f"expected {expected or _wanted(info)}{_instead(node, info)}")

    def _complain(self, node: Node, message: str) -> _Invalid:
        self._report.add(node.file, node.line, node.path, message)
        return _INVALID


def malformed_credential(text: str) -> str:
    """Says what is wrong with a credential without a character of it."""
    return (
        "the credential is empty" if not text else "the credential contains spaces, control or non-ASCII characters"
    )


def place(root: Mapping, path: KeyPath) -> tuple[str, int]:
    """File and line of the deepest node on the way along `path`."""
    node: Node = root
    for step in path:
        if isinstance(node, Mapping) and step in node.items:
            node = node.items[str(step)]
        elif isinstance(node, Sequence) and isinstance(step, int) and step < len(node.items):
            node = node.items[step]
        else:
            break
    return node.file, node.line


def _fits(value: str, info: inspect.StrType) -> bool:
    return len(value) >= (info.min_length or 0) and (info.pattern is None or bool(re.match(info.pattern, value)))


def _in_range(value: object, info: inspect.IntType | inspect.FloatType) -> bool:
    number = int if isinstance(info, inspect.IntType) else (int, float)
    return (
        isinstance(value, number)
        and not isinstance(value, bool)
        and (info.ge is None or value >= info.ge)
        and (info.gt is None or value > info.gt)
        and (info.le is None or value <= info.le)
    )


def _wanted(info: inspect.Type) -> str:
    match info:
        case inspect.BoolType():
            return "true or false"
        case inspect.IntType() | inspect.FloatType():
            noun = "a whole number" if isinstance(info, inspect.IntType) else "a number"
            low = f" from {info.ge}" if info.ge is not None else f" above {info.gt}" if info.gt is not None else ""
            return f"{noun}{low} to {info.le}" if info.le is not None else f"{noun}{low}"
        case inspect.StrType(min_length=minimum) if minimum:
            return "text that is not empty"
        case _:
            return "text"


def _kind(node: Node) -> str:
    if isinstance(node, Mapping):
        return "keys and values"
    if isinstance(node, Sequence):
        return "a list"
    match node.value if isinstance(node, Scalar) else None:
        case None:
            return "nothing"
        case bool():
            return "true or false"
        case int() | float():
            return "a number"
        case _:
            return "text"


def _instead(node: Node, info: inspect.Type) -> str:
    got = _kind(node)
    expects_number = isinstance(info, inspect.IntType | inspect.FloatType)
    expects_text = isinstance(info, inspect.StrType)
    if (got == "a number" and expects_number) or (
        got == "text" and (expects_text or (isinstance(node, Scalar) and node.variables))
    ):
        return ""
    if expects_text and got in ("a number", "true or false"):
        return f", got {got}; put it in quotes"
    return f", got {got}"
