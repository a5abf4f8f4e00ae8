"""Tools of another dialect: rules that several dialects share."""

from __future__ import annotations

from typing import Any

from busbar.protocols.ids import fit_name
from busbar.protocols.receipt import Receipt

_NOT_AT_OPENAIS_TOP = ("oneOf", "anyOf", "allOf", "enum", "not")
"""OpenAI refuses these at the top level of a function's parameters."""
_NAMED_SCHEMAS = ("properties", "$defs", "definitions")
_LISTED_SCHEMAS = ("anyOf", "oneOf", "allOf")


def fit_tool_name(name: str, chars_max: int, path: str, receipt: Receipt) -> str:
    """The name of a tool that another dialect's caller defined, in letters, digits, `_` and `-`."""
    fitting = fit_name(name, chars_max)
    if fitting != name:
        receipt.changed(path, f"names here are letters, digits, _ and -, at most {chars_max}")
    return fitting


def fit_openai_parameters(schema: dict[str, Any] | None, path: str, receipt: Receipt) -> dict[str, Any]:
    """The schema of the parameters of the tool at `path`, as both of OpenAI's dialects take it: an object."""
    schema = {"type": "object", "properties": {}} if schema is None else dict(schema)
    for key in _NOT_AT_OPENAIS_TOP:
        if schema.pop(key, None) is not None:
            receipt.dropped(f"{path}.parameters.{key}", "not allowed at the top of a schema")
    schema["type"] = "object"
    schema.setdefault("properties", {})
    return schema


def fit_openai_strict(strict: bool | None, schema: dict[str, Any], path: str, receipt: Receipt) -> bool | None:
    """Whether the parameters of the tool at `path`, which is `schema`, are enforced. OpenAI refuses to enforce one
    that leaves an object open or a property optional; other providers do not."""
    if strict and not _is_closed(schema):
        receipt.changed(f"{path}.strict", "only a schema whose objects are closed, and require all, is enforced here")
        return False
    return strict


def _is_closed(schema: Any) -> bool:
    """Each object in `schema` forbids further properties, and requires all that it has."""
    if not isinstance(schema, dict):
        return True
    properties = schema.get("properties")
    if isinstance(properties, dict) or schema.get("type") == "object":
        required = schema.get("required")
        known = set(required) if isinstance(required, list) else set()
        if schema.get("additionalProperties") is not False or not known.issuperset(properties or ()):
            return False
    named = [schema.get(key) for key in _NAMED_SCHEMAS]
    inner = [each for schemas in named if isinstance(schemas, dict) for each in schemas.values()]
    listed = [schema.get(key) for key in _LISTED_SCHEMAS]
    inner += [each for schemas in listed if isinstance(schemas, list) for each in schemas]
    return all(map(_is_closed, [*inner, schema.get("items")]))
