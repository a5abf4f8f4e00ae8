"""The smallest value that a JSON schema accepts, always the same one: what the script answers for structured output.

Covers what the providers' structured outputs cover: types, enum, const, local `$ref`, anyOf / oneOf / allOf,
required properties, item and length minima, numeric bounds, the common string formats. Patterns are not solved.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

FORMATS = {
    "date": "2026-01-01",
    "date-time": "2026-01-01T00:00:00Z",
    "time": "00:00:00Z",
    "duration": "P1D",
    "email": "someone@example.com",
    "hostname": "example.com",
    "ipv4": "192.0.2.1",
    "ipv6": "2001:db8::1",
    "uri": "https://example.com/",
    "uuid": "00000000-0000-4000-8000-000000000000",
}
COUNT_MAX = 10_000
"""The most items or characters a schema may demand: the smallest instance has to hold them."""
DEPTH_MAX = 32
"""Nested deeper than this a value is null, and so is what requires itself: neither has a small instance."""

Trail = tuple[str, ...]
"""The way down from the root: the pointer where a `$ref` was followed, else an empty string."""


def minimal_instance(schema: Mapping[str, Any]) -> Any:
    """A value that `schema` accepts. Objects hold their required properties only."""
    return _instance(schema, schema, ())


def sound(schema: Any) -> bool:
    """Whether `schema` is a JSON schema, as far as this module reads one."""
    if isinstance(schema, bool):
        return True
    if not isinstance(schema, Mapping):
        return False
    return all(_KEYWORDS[word](value) for word, value in schema.items() if word in _KEYWORDS)


def objects_in(schema: Any) -> Iterator[dict[str, Any]]:
    """Every object schema within `schema`, itself included."""
    if isinstance(schema, dict) and schema.get("type") == "object":
        yield schema
    for part in schema.values() if isinstance(schema, dict) else schema if isinstance(schema, list) else ():
        yield from objects_in(part)


def _instance(schema: Any, root: Mapping[str, Any], trail: Trail) -> Any:
    if not isinstance(schema, Mapping) or len(trail) > DEPTH_MAX:
        return None
    if "$ref" in schema:
        pointer = schema["$ref"]
        return None if pointer in trail else _instance(_resolve(pointer, root), root, (*trail, pointer))
    if "const" in schema:
        return schema["const"]
    if "enum" in schema:
        return schema["enum"][0]
    for choice in ("anyOf", "oneOf"):
        if schema.get(choice):
            return _instance(schema[choice][0], root, (*trail, ""))
    if schema.get("allOf"):
        return _instance(_merged(schema, root), root, (*trail, ""))
    return _BY_TYPE[type_of(schema)](schema, root, trail)


def type_of(schema: Any) -> str:
    """The JSON type of what `schema` accepts; of several the first that is not null; a string where none is said."""
    if not isinstance(schema, Mapping):
        return "string"
    declared = schema.get("type")
    if isinstance(declared, list):
        declared = next((name for name in declared if name != "null"), "null")
    if declared in _BY_TYPE:
        return str(declared)
    return "object" if "properties" in schema else "array" if "items" in schema else "string"


def _resolve(pointer: str, root: Mapping[str, Any]) -> Any:
    node: Any = root
    for step in pointer.removeprefix("#").strip("/").split("/"):
        if step and isinstance(node, Mapping):
            node = node.get(step.replace("~1", "/").replace("~0", "~"))
    return node


def _merged(schema: Mapping[str, Any], root: Mapping[str, Any]) -> dict[str, Any]:
    merged: dict[str, Any] = {key: value for key, value in schema.items() if key != "allOf"}
    for part in schema["allOf"]:
        part = _resolve(part["$ref"], root) if isinstance(part, Mapping) and "$ref" in part else part
        if not isinstance(part, Mapping):
            continue
        properties = {**merged.get("properties", {}), **part.get("properties", {})}
        required = [*merged.get("required", []), *part.get("required", [])]
        merged |= part
        merged |= {"properties": properties, "required": required} if properties else {}
    return merged


def _object(schema: Mapping[str, Any], root: Mapping[str, Any], trail: Trail) -> dict[str, Any]:
    properties = schema.get("properties") or {}
    return {name: _instance(properties.get(name, {}), root, (*trail, "")) for name in schema.get("required") or ()}


def _array(schema: Mapping[str, Any], root: Mapping[str, Any], trail: Trail) -> list[Any]:
    return [_instance(schema.get("items", {}), root, (*trail, ""))] * int(schema.get("minItems", 0))


def _string(schema: Mapping[str, Any], root: Mapping[str, Any], trail: Trail) -> str:
    text = FORMATS.get(schema.get("format", ""), "text")
    return text[: schema.get("maxLength")].ljust(schema.get("minLength", 0), "x")


def _number(schema: Mapping[str, Any], root: Mapping[str, Any], trail: Trail) -> int | float:
    low = schema.get("minimum", schema.get("exclusiveMinimum"))
    high = schema.get("maximum", schema.get("exclusiveMaximum"))
    step = schema.get("multipleOf", 1)
    value = low if low is not None else 0
    value = -(-value // step) * step
    if value == schema.get("exclusiveMinimum"):
        value += step
    return int(value) if high is None or value <= high else high


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _is_small_count(value: Any) -> bool:
    return _is_count(value) and value <= COUNT_MAX


def _are_strings(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(each, str) for each in value)


def _are_schemas(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(sound(each) for each in value)


def _are_named_schemas(value: Any) -> bool:
    return isinstance(value, Mapping) and all(sound(each) for each in value.values())


_KEYWORDS: dict[str, Callable[[Any], bool]] = {
    "$ref": lambda value: isinstance(value, str),
    "type": lambda value: isinstance(value, str) or (_are_strings(value) and bool(value)),
    "enum": lambda value: isinstance(value, list) and bool(value),
    "format": lambda value: isinstance(value, str),
    "items": sound,
    "required": _are_strings,
    **dict.fromkeys(("anyOf", "oneOf", "allOf"), _are_schemas),
    **dict.fromkeys(("properties", "$defs", "definitions"), _are_named_schemas),
    **dict.fromkeys(("minItems", "minLength"), _is_small_count),
    **dict.fromkeys(("maxItems", "maxLength"), _is_count),
    **dict.fromkeys(("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"), _is_number),
    "multipleOf": lambda value: _is_number(value) and value > 0,
}
"""keyword → whether its value is one the keyword may have."""

_BY_TYPE: dict[str, Callable[[Mapping[str, Any], Mapping[str, Any], Trail], Any]] = {
    "object": _object,
    "array": _array,
    "string": _string,
    "integer": _number,
    "number": _number,
    "boolean": lambda *_: False,
    "null": lambda *_: None,
}
