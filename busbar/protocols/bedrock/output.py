"""Structured output, both ways: `outputConfig.textFormat`, whose schema is JSON text inside of the JSON.

The form of an `OutputFormat` is how that text was laid out; a text that no known layout gives again is the form.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from busbar.protocols.bedrock.places import look_at, take_from
from busbar.protocols.bedrock.words import DIALECT
from busbar.protocols.fields import take_text
from busbar.protocols.ir import OutputFormat
from busbar.protocols.native import Native, own_fields, own_form

_PLACE = ("outputConfig", "textFormat")
_LAYOUTS: Mapping[str, dict[str, Any]] = {
    "compact": {"separators": (",", ":"), "ensure_ascii": False},
    "spaced": {"ensure_ascii": False},
    "compact ASCII": {"separators": (",", ":")},
    "spaced ASCII": {},
}


def take_output(left: dict[str, Any]) -> OutputFormat | None:
    """Takes a JSON schema; a format of another kind stays a leftover."""
    found = look_at(left, _PLACE)
    schema = look_at(found, ("structure", "jsonSchema")) if isinstance(found, dict) else None
    if not isinstance(schema, dict) or found.keys() != {"type", "structure"} or found["type"] != "json_schema":
        return None
    inner = dict(schema)
    text = inner.pop("schema", None)
    value = _decoded(text)
    if value is None:
        return None
    take_from(left, _PLACE)
    return OutputFormat(
        mode="schema",
        schema=value,
        name=take_text(inner, "name"),
        description=take_text(inner, "description"),
        native=Native(DIALECT, inner, _layout(value, text)),
    )


def write_output(output: OutputFormat) -> dict[str, Any]:
    """The `outputConfig`."""
    layout = own_form(output, DIALECT) or "compact"
    text = json.dumps(output.schema, **_LAYOUTS[layout]) if layout in _LAYOUTS else layout
    schema: dict[str, Any] = {"schema": text}
    if output.name is not None:
        schema["name"] = output.name
    if output.description is not None:
        schema["description"] = output.description
    schema.update(own_fields(output, DIALECT))
    return {"textFormat": {"type": "json_schema", "structure": {"jsonSchema": schema}}}


def _decoded(text: Any) -> dict[str, Any] | None:
    try:
        value = json.loads(text) if isinstance(text, str) else None
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def _layout(value: dict[str, Any], text: Any) -> Any:
    return next((name for name, how in _LAYOUTS.items() if json.dumps(value, **how) == text), text)
