"""Tools, the choice among them, structured output, and how much to think: everything that a request says of these."""

from __future__ import annotations

from typing import Any, Literal

from msgspec import Struct

from busbar.protocols.cohere.words import DIALECT
from busbar.protocols.fields import as_object, take_bool, take_int, take_object, take_text
from busbar.protocols.ir import FunctionTool, Opaque, OutputFormat, Reasoning, Tool, ToolChoice
from busbar.protocols.native import Native, Rest, own_fields, own_form

_CHOICES: dict[str, Literal["required", "none", "auto"]] = {"REQUIRED": "required", "NONE": "none", "AUTO": "auto"}
_SCHEMA_KEYS = ("json_schema", "schema")


class OutputForm(Struct, frozen=True):
    """The format's type, and the key of its schema: both have changed with the versions of the API."""

    type: str
    schema_key: str = ""


def read_tool(value: Any, path: str, strict: bool | None) -> Tool:
    """Raises `InvalidRequest`. Strictness is said once for all tools; it is each tool's own in the IR."""
    left = as_object(value, path)
    function = left.get("function")
    if left.get("type") != "function" or not isinstance(function, dict) or not isinstance(function.get("name"), str):
        return Opaque(dialect=DIALECT, kind="tools", value=value)
    del left["type"]
    inner = Rest(function)
    tool = FunctionTool(
        name=inner.pop("name"),
        description=take_text(inner, "description", f"{path}.function"),
        parameters=take_object(inner, "parameters", f"{path}.function"),
        strict=strict,
        native=Native(DIALECT, left),
    )
    left["function"] = inner
    if not inner:
        del left["function"]
    return tool


def write_own_tool(tool: Tool) -> dict[str, Any]:
    if isinstance(tool, Opaque):
        whole: dict[str, Any] = tool.value
        return whole
    left = own_fields(tool, DIALECT)
    function = {**left.get("function", {}), "name": tool.name}
    for key in ("description", "parameters"):
        if getattr(tool, key) is not None:
            function[key] = getattr(tool, key)
    return {**left, "type": "function", "function": function}


def read_tool_choice(left: dict[str, Any]) -> ToolChoice | None:
    """Takes `tool_choice`. Facts: documented in upper case; lower case is accepted too."""
    word = left.get("tool_choice")
    mode = _CHOICES.get(word.upper()) if isinstance(word, str) else None
    if mode is None:
        return None
    del left["tool_choice"]
    return ToolChoice(mode=mode, native=Native(DIALECT, form=word))


def read_output(left: dict[str, Any]) -> OutputFormat | None:
    """Takes `response_format`; one of an unknown type stays a leftover."""
    given = left.get("response_format")
    if not isinstance(given, dict):
        return None
    kind = given.get("type")
    if kind not in ("text", "json_object", "json_schema"):
        return None
    del left["response_format"]
    rest = {key: value for key, value in given.items() if key != "type"}
    if kind == "text":
        return OutputFormat(mode="text", native=Native(DIALECT, rest, OutputForm(kind)))
    key = next((key for key in _SCHEMA_KEYS if isinstance(rest.get(key), dict)), "")
    schema = rest.pop(key) if key else None
    native = Native(DIALECT, rest, OutputForm(kind, key))
    return OutputFormat(mode="json" if schema is None else "schema", schema=schema, native=native)


def write_own_output(output: OutputFormat) -> dict[str, Any]:
    form = own_form(output, DIALECT)
    written = {**own_fields(output, DIALECT), "type": form.type}
    return {**written, form.schema_key: output.schema} if form.schema_key else written


def read_reasoning(left: dict[str, Any]) -> Reasoning | None:
    """Takes `thinking`. Raises `InvalidRequest`."""
    given = left.get("thinking")
    if not isinstance(given, dict) or given.get("type") not in ("enabled", "disabled"):
        return None
    del left["thinking"]
    rest = {key: value for key, value in given.items() if key != "type"}
    budget = take_int(rest, "token_budget", "thinking")
    return Reasoning(enabled=given["type"] == "enabled", budget_tokens=budget, native=Native(DIALECT, rest))


def write_reasoning(reasoning: Reasoning) -> dict[str, Any]:
    written: dict[str, Any] = {
        **own_fields(reasoning, DIALECT),
        "type": "disabled" if reasoning.enabled is False else "enabled",
    }
    if reasoning.budget_tokens is not None:
        written["token_budget"] = reasoning.budget_tokens
    return written


def read_strict(left: dict[str, Any]) -> bool | None:
    """Takes `strict_tools` where there are tools that carry it."""
    return take_bool(left, "strict_tools") if left.get("tools") else None
