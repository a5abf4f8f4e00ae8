"""Tools of another dialect: rules that several dialects share."""

from __future__ import annotations

from typing import Any

from busbar.protocols.ids import fit_name
from busbar.protocols.receipt import Receipt

_NOT_AT_OPENAIS_TOP = ("oneOf", "anyOf", "allOf", "enum", "not")
"""OpenAI refuses these at the top level of a function's parameters."""


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
