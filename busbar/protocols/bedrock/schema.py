"""JSON Schemas for structured output, in the subset that the API accepts.

Facts: the user guide's "Structured outputs": objects say `additionalProperties: false`; bounds on numbers, texts and
arrays are not supported.
"""

from __future__ import annotations

from typing import Any

_UNSUPPORTED = frozenset(
    {
        *("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"),
        *("minLength", "maxLength", "pattern", "maxItems", "uniqueItems", "contains", "minContains", "maxContains"),
        *("minProperties", "maxProperties", "patternProperties", "propertyNames", "unevaluatedProperties"),
        *("if", "then", "else", "not", "$schema", "$id", "examples", "additionalProperties"),
    }
)
_NAMED_SCHEMAS = frozenset({"properties", "$defs", "definitions"})
_MANY_SCHEMAS = frozenset({"anyOf", "allOf", "oneOf"})
_AS_IT_IS = frozenset({"const", "default", "enum", "required"})


def output_schema(schema: dict[str, Any]) -> dict[str, Any]:
    """`schema` in the subset that structured output accepts; equal to `schema` when it already is."""
    fitted: dict[str, Any] = {}
    for key, value in schema.items():
        if key in _UNSUPPORTED or (key == "minItems" and value not in (0, 1)):
            continue
        if key in _AS_IT_IS:
            fitted[key] = value
        elif key in _NAMED_SCHEMAS and isinstance(value, dict):
            fitted[key] = {name: _fitted(entry) for name, entry in value.items()}
        elif key in _MANY_SCHEMAS and isinstance(value, list):
            fitted["anyOf" if key == "oneOf" and "anyOf" not in schema else key] = [_fitted(entry) for entry in value]
        else:
            fitted[key] = _fitted(value)
    if _is_object(fitted):
        fitted["additionalProperties"] = False
    return fitted


def _fitted(value: Any) -> Any:
    return output_schema(value) if isinstance(value, dict) else value


def _is_object(schema: dict[str, Any]) -> bool:
    kind = schema.get("type")
    return kind == "object" or (isinstance(kind, list) and "object" in kind) or "properties" in schema
