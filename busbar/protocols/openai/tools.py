"""Tools, the choice among them, and structured output: everything that names a function or holds a schema."""

from __future__ import annotations

from typing import Any

from busbar.protocols.fields import as_object, take_bool, take_object, take_text
from busbar.protocols.fitting.tools import fit_openai_parameters, fit_openai_strict, fit_tool_name
from busbar.protocols.ir import FunctionTool, Opaque, OutputFormat, Tool, ToolChoice
from busbar.protocols.leftovers import report_leftovers
from busbar.protocols.native import Native, Rest, is_own, own_fields, own_form
from busbar.protocols.openai.content import read_cache
from busbar.protocols.openai.content_write import put_cache, report_cache
from busbar.protocols.openai.words import DIALECT
from busbar.protocols.receipt import Receipt

NAME_CHARS_MAX = 64
_MODES = {"auto": "auto", "none": "none", "required": "required", "any": "required"}

LEGACY = "functions"
"""The form of a tool that came in the old `functions`, and of a choice that came in `function_call`."""


def read_tool(value: Any, path: str) -> Tool:
    left = as_object(value, path)
    function = left.get("function")
    if left.get("type") != "function" or not isinstance(function, dict) or not isinstance(function.get("name"), str):
        return Opaque(dialect=DIALECT, kind="tools", value=value)
    del left["type"]
    cache = read_cache(left)
    tool = _read_function(take_object(left, "function", path) or {}, f"{path}.function")
    if tool.native is not None and tool.native.fields:
        left["function"] = Rest(tool.native.fields)
    tool.native = Native(DIALECT, left)
    tool.cache = cache
    return tool


def read_legacy_function(value: Any, path: str) -> Tool:
    """An element of the old `functions`: the function without its envelope."""
    left = as_object(value, path)
    if not isinstance(left.get("name"), str):
        return Opaque(dialect=DIALECT, kind=LEGACY, value=value)
    tool = _read_function(left, path)
    tool.native = Native(DIALECT, left, LEGACY)
    return tool


def _read_function(left: dict[str, Any], path: str) -> FunctionTool:
    return FunctionTool(
        name=take_text(left, "name", path) or "",
        description=take_text(left, "description", path),
        parameters=take_object(left, "parameters", path),
        strict=take_bool(left, "strict", path),
        native=Native(DIALECT, left),
    )


def write_own_tool(tool: Tool) -> dict[str, Any]:
    if isinstance(tool, Opaque):
        whole: dict[str, Any] = tool.value
        return whole
    left = own_fields(tool, DIALECT)
    legacy = own_form(tool, DIALECT) == LEGACY
    function = {**(left if legacy else left.get("function", {})), "name": tool.name}
    for key in ("description", "parameters", "strict"):
        if getattr(tool, key) is not None:
            function[key] = getattr(tool, key)
    if legacy:
        return function
    document = {**left, "type": "function", "function": function}
    put_cache(document, tool.cache, "", Receipt())
    return document


def write_tool(tool: Tool, path: str, receipt: Receipt) -> dict[str, Any] | None:
    """Another dialect's tool; None (reported) for one that only its provider runs."""
    if isinstance(tool, Opaque):
        receipt.dropped(path, f"only {tool.dialect} has this tool")
        return None
    report_cache(tool.cache, path, receipt)
    report_leftovers(tool, DIALECT, path, receipt)
    function: dict[str, Any] = {"name": tool_name(tool.name, f"{path}.name", receipt)}
    if tool.description is not None:
        function["description"] = tool.description
    function["parameters"] = fit_openai_parameters(tool.parameters, path, receipt)
    strict = fit_openai_strict(tool.strict, function["parameters"], path, receipt)
    if strict is not None:
        function["strict"] = strict
    return {"type": "function", "function": function}


def tool_name(name: str, path: str, receipt: Receipt) -> str:
    return fit_tool_name(name, NAME_CHARS_MAX, path, receipt)


def read_tool_choice(value: Any) -> ToolChoice | None:
    """A word, or the one function to be called; None for what the IR has no word for (allowed tools, custom)."""
    if isinstance(value, str) and value in _MODES:
        mode = _MODES[value]
        return ToolChoice(mode=mode, native=Native(DIALECT, form=value))  # type: ignore[arg-type]
    if not isinstance(value, dict):
        return None
    left = dict(value)
    kind = left.pop("type", None)
    function = left.get("function")
    if kind not in (None, "function") or not isinstance(function, dict) or not isinstance(function.get("name"), str):
        return None
    left["function"] = inner = Rest(function)
    return ToolChoice(mode="one", name=inner.pop("name"), native=Native(DIALECT, left, kind))


def write_tool_choice(choice: ToolChoice, receipt: Receipt) -> Any:
    form = own_form(choice, DIALECT)
    left = own_fields(choice, DIALECT)
    if choice.mode != "one":
        return form or choice.mode
    own = is_own(choice, DIALECT)
    name = choice.name or ""
    function = {**left.get("function", {}), "name": name if own else tool_name(name, "tool_choice.name", receipt)}
    document = {**left, "function": function}
    if form is not None or not own:
        document["type"] = "function"
    return document


def read_output(left: dict[str, Any], path: str) -> OutputFormat | None:
    """Takes `response_format`; one of an unknown type stays a leftover."""
    given = left.get("response_format")
    if not isinstance(given, dict):
        return None
    rest = dict(given)
    match rest.pop("type", None):
        case "text":
            output = OutputFormat(mode="text", native=Native(DIALECT, rest))
        case "json_object":
            output = OutputFormat(mode="json", native=Native(DIALECT, rest))
        case "json_schema" if isinstance(rest.get("json_schema"), dict):
            inner = Rest(rest["json_schema"])
            at = f"{path}response_format.json_schema"
            rest["json_schema"] = inner
            output = OutputFormat(
                mode="schema",
                schema=take_object(inner, "schema", at),
                name=take_text(inner, "name", at),
                description=take_text(inner, "description", at),
                strict=take_bool(inner, "strict", at),
                native=Native(DIALECT, rest),
            )
        case _:
            return None
    del left["response_format"]
    return output


def write_output(output: OutputFormat, receipt: Receipt) -> dict[str, Any]:
    left = own_fields(output, DIALECT)
    report_leftovers(output, DIALECT, "output", receipt)
    own = is_own(output, DIALECT)
    if output.mode == "text":
        return {**left, "type": "text"}
    if output.mode == "json":
        return {**left, "type": "json_object"}
    inner = dict(left.get("json_schema", {}))
    for key in ("name", "description", "schema", "strict"):
        if getattr(output, key) is not None:
            inner[key] = getattr(output, key)
    if not own:
        inner["name"] = tool_name(output.name or "response", "output.name", receipt)
    return {**left, "type": "json_schema", "json_schema": inner}
