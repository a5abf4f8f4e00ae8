"""JSON Schemas, fitted to the subset that structured output takes ("Structured outputs → Schema constraints").

The top is an object; every object names a required property; there are no compositions, bounds of numbers, texts
and arrays, and few formats. `anyOf` with null, as optional fields are written, is the field without null; any other
choice between schemas has no equal here, and such a schema as a whole cannot be sent.
"""

from __future__ import annotations

from typing import Any

_PLAIN = frozenset(
    {"$schema", "type", "enum", "const", "title", "description", "default", "$ref", "additionalProperties"}
)
"""Keywords whose value crosses as it is. `additionalProperties` and `$schema` are accepted in recorded requests."""
_NAMED_SCHEMAS = frozenset({"properties", "$defs", "definitions"})
_FORMATS = frozenset({"date-time", "uuid", "date", "time"})
_COMPOSITIONS = ("anyOf", "oneOf", "allOf")
_NULL = {"type": "null"}
_NO_REGEXP = ("^", "$", "(?=", "(?!")


class NoEqual(Exception):
    """A schema that says what the subset cannot."""


def output_schema(schema: dict[str, Any]) -> dict[str, Any] | None:
    """`schema` in the subset, equal to it where it already is; None where the subset cannot say it."""
    try:
        fitted = _fit(schema)
    except NoEqual:
        return None
    return fitted if fitted.get("type") == "object" and fitted.get("properties") else None


def tool_schema(schema: dict[str, Any] | None) -> dict[str, Any]:
    """A tool's `parameters`: an object, whatever else they are ("schema must be an object")."""
    if not schema:
        return {"type": "object", "properties": {}}
    if schema.get("type") == "object":
        return schema
    return {**schema, "type": "object"}


def may_be_strict(schema: dict[str, Any]) -> bool:
    """Fact: with `strict_tools`, a tool that has parameters must require at least one."""
    if not schema.get("properties"):
        return True
    return bool(schema.get("required")) and output_schema(schema) is not None


def _fit(schema: dict[str, Any]) -> dict[str, Any]:
    schema = _without_composition(schema)
    fitted: dict[str, Any] = {}
    for key, value in schema.items():
        if key in _PLAIN:
            fitted[key] = value
        elif key == "items" and isinstance(value, dict):
            fitted[key] = _fit(value)
        elif key in _NAMED_SCHEMAS and isinstance(value, dict):
            fitted[key] = {name: _fit(inner) if isinstance(inner, dict) else inner for name, inner in value.items()}
        elif _is_known_bound(key, value):
            fitted[key] = value
    _fit_type(fitted)
    properties = fitted.get("properties")
    if properties:
        stated = schema.get("required")
        required = [name for name in stated if name in properties] if isinstance(stated, list) else []
        fitted["required"] = required or [next(iter(properties))]
    return fitted


def _is_known_bound(key: str, value: Any) -> bool:
    if key == "format":
        return value in _FORMATS
    return key == "pattern" and isinstance(value, str) and not any(mark in value for mark in _NO_REGEXP)


def _fit_type(fitted: dict[str, Any]) -> None:
    """One type: a list of types stands for its only one that is not null."""
    kind = fitted.get("type")
    if not isinstance(kind, list):
        return
    kinds = [each for each in kind if each != "null"]
    if len(kinds) != 1:
        raise NoEqual
    fitted["type"] = kinds[0]


def _without_composition(schema: dict[str, Any]) -> dict[str, Any]:
    if "not" in schema:
        raise NoEqual
    for key in _COMPOSITIONS:
        if key not in schema:
            continue
        choices = schema[key]
        if not isinstance(choices, list):
            raise NoEqual
        left = [choice for choice in choices if choice != _NULL]
        if len(left) != 1 or not isinstance(left[0], dict):
            raise NoEqual
        rest = {name: value for name, value in schema.items() if name != key}
        return _without_composition({**left[0], **rest})
    return schema
