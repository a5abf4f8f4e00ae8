"""This dialect's schemas (`parameters`, `responseSchema`) as JSON Schema, and back as they were spelled.

They are an OpenAPI subset with words of their own: `type: STRING`, `nullable: true`, `propertyOrdering`, counts as
texts, snake case. What the IR holds is plain JSON Schema; the form holds, per place, only what is spelled otherwise.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeAlias

from msgspec import Struct

from busbar.protocols.gemini.spelling import snake

Place: TypeAlias = tuple[str | int, ...]


class Spelled(Struct, frozen=True):
    """What one schema said in this dialect's words: `words` replace what JSON Schema says, `gone` it never said."""

    words: dict[str, Any] = {}
    gone: tuple[str, ...] = ()
    renamed: Mapping[str, str] = {}


SchemaForm: TypeAlias = dict[Place, Spelled]

_TYPES_BY_NUMBER: Mapping[Any, str] = {
    1: "string",
    2: "number",
    3: "integer",
    4: "boolean",
    5: "array",
    6: "object",
    7: "null",
}
_CAMEL = (
    "anyOf",
    "maxItems",
    "maxLength",
    "maxProperties",
    "minItems",
    "minLength",
    "minProperties",
    "propertyOrdering",
    "additionalProperties",
)
_RENAMED: Mapping[str, str] = {snake(name): name for name in _CAMEL}
_COUNTS = tuple(name for name in _CAMEL if name.startswith(("max", "min")))


def read_schema(schema: dict[str, Any]) -> tuple[dict[str, Any], SchemaForm]:
    """The JSON Schema, and what makes the original of it."""
    form: SchemaForm = {}
    return _read(schema, (), form), form


def _read(schema: dict[str, Any], place: Place, form: SchemaForm) -> dict[str, Any]:
    renamed = {_RENAMED[key]: key for key in schema if key in _RENAMED and _RENAMED[key] not in schema}
    plain = {_RENAMED.get(key, key) if _RENAMED.get(key, key) in renamed else key: schema[key] for key in schema}
    words: dict[str, Any] = {}
    gone: list[str] = []
    _read_type(plain, words, gone)
    if "propertyOrdering" in plain:
        words["propertyOrdering"] = plain.pop("propertyOrdering")
    for key in _COUNTS:
        count = plain.get(key)
        if isinstance(count, str) and count.isascii() and count.isdigit():
            words[key] = count
            plain[key] = int(count)
    if words or gone or renamed:
        form[place] = Spelled(words, tuple(gone), renamed)
    _read_inner(plain, place, form)
    return plain


def _read_type(plain: dict[str, Any], words: dict[str, Any], gone: list[str]) -> None:
    kind = plain.get("type")
    if isinstance(kind, str) and kind != kind.lower():
        words["type"] = kind
        plain["type"] = kind = kind.lower()
    elif type(kind) is int and kind in _TYPES_BY_NUMBER:
        words["type"] = kind
        plain["type"] = kind = _TYPES_BY_NUMBER[kind]
    if kind == "type_unspecified":
        del plain["type"]
    nullable = plain.get("nullable")
    if not isinstance(nullable, bool):
        return
    words["nullable"] = plain.pop("nullable")
    if nullable and isinstance(kind, str):
        words.setdefault("type", kind)
        plain["type"] = [kind, "null"]
        if isinstance(plain.get("enum"), list) and None not in plain["enum"]:
            words["enum"] = plain["enum"]
            plain["enum"] = [*plain["enum"], None]
    elif nullable and isinstance(plain.get("anyOf"), list):
        gone.append("anyOf+null")
        plain["anyOf"] = [*plain["anyOf"], {"type": "null"}]


def _read_inner(plain: dict[str, Any], place: Place, form: SchemaForm) -> None:
    for key in ("items", "additionalProperties"):
        if isinstance(plain.get(key), dict):
            plain[key] = _read(plain[key], (*place, key), form)
    if isinstance(plain.get("anyOf"), list):
        plain["anyOf"] = [
            _read(each, (*place, "anyOf", at), form) if isinstance(each, dict) else each
            for at, each in enumerate(plain["anyOf"])
        ]
    if isinstance(plain.get("properties"), dict):
        plain["properties"] = {
            name: _read(each, (*place, "properties", name), form) if isinstance(each, dict) else each
            for name, each in plain["properties"].items()
        }


def write_own_schema(schema: dict[str, Any], form: SchemaForm) -> dict[str, Any]:
    """The schema as it was spelled."""
    return _write(schema, (), form) if form else schema


def _write(schema: dict[str, Any], place: Place, form: SchemaForm) -> dict[str, Any]:
    written = dict(schema)
    for key in ("items", "additionalProperties"):
        if isinstance(written.get(key), dict):
            written[key] = _write(written[key], (*place, key), form)
    spelled = form.get(place)
    if isinstance(written.get("anyOf"), list):
        alternatives = written["anyOf"]
        if spelled is not None and "anyOf+null" in spelled.gone:
            alternatives = alternatives[:-1]
        written["anyOf"] = [
            _write(each, (*place, "anyOf", at), form) if isinstance(each, dict) else each
            for at, each in enumerate(alternatives)
        ]
    if isinstance(written.get("properties"), dict):
        written["properties"] = {
            name: _write(each, (*place, "properties", name), form) if isinstance(each, dict) else each
            for name, each in written["properties"].items()
        }
    if spelled is None:
        return written
    written |= spelled.words
    return {spelled.renamed.get(key, key): value for key, value in written.items()}
