"""JSON Schemas, fitted to what the API accepts.

Structured output takes a subset ("Structured outputs → JSON Schema limitations"): objects say
`additionalProperties: false`; bounds on numbers, texts and arrays are refused, as are formats that are not listed.
Tool schemas may use all of JSON Schema, but their top level must be an object without `oneOf`, `allOf` or `anyOf`.
"""

from __future__ import annotations

from typing import Any

_PLAIN = frozenset({"type", "enum", "const", "title", "description", "default", "required", "$ref"})
"""Keywords whose value crosses as it is."""
_ONE_SCHEMA = frozenset({"items"})
_MANY_SCHEMAS = frozenset({"anyOf", "allOf"})
_NAMED_SCHEMAS = frozenset({"properties", "$defs", "definitions"})
_FORMATS = frozenset(
    {"date-time", "time", "date", "duration", "email", "hostname", "uri", "ipv4", "ipv6", "uuid"},
)
_TOP_LEVEL_REFUSED = ("oneOf", "allOf", "anyOf")


def output_schema(schema: dict[str, Any]) -> dict[str, Any]:
    """`schema` in the subset that structured output accepts; equal to `schema` when it already is."""
    fitted: dict[str, Any] = {}
    for key, value in schema.items():
        if key in _PLAIN:
            fitted[key] = value
        elif key in _ONE_SCHEMA and isinstance(value, dict):
            fitted[key] = output_schema(value)
        elif key in _MANY_SCHEMAS and isinstance(value, list):
            fitted[key] = [_schema_or_as_is(entry) for entry in value]
        elif key == "oneOf" and isinstance(value, list) and "anyOf" not in schema:
            fitted["anyOf"] = [_schema_or_as_is(entry) for entry in value]
        elif key in _NAMED_SCHEMAS and isinstance(value, dict):
            fitted[key] = {name: _schema_or_as_is(entry) for name, entry in value.items()}
        elif (key == "format" and value in _FORMATS) or (key == "minItems" and value in (0, 1)):
            fitted[key] = value
    if _is_object(fitted):
        fitted["additionalProperties"] = False
    return fitted


def tool_schema(schema: dict[str, Any] | None) -> dict[str, Any]:
    """A tool's `input_schema`; an empty object's when there is none. Equal to `schema` when it fits already."""
    if not schema:
        return {"type": "object", "properties": {}}
    if schema.get("type") == "object" and not any(key in schema for key in _TOP_LEVEL_REFUSED):
        return schema
    fitted = {key: value for key, value in schema.items() if key not in _TOP_LEVEL_REFUSED}
    fitted["type"] = "object"
    return fitted


def _schema_or_as_is(value: Any) -> Any:
    return output_schema(value) if isinstance(value, dict) else value


def _is_object(schema: dict[str, Any]) -> bool:
    kind = schema.get("type")
    return kind == "object" or (isinstance(kind, list) and "object" in kind) or "properties" in schema
