"""Tools and the choice among them.

Functions are flat here, and may stand in a `namespace`: in the IR such a function is one of many, under a name that
holds both. Tools that the provider runs itself are opaque.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from msgspec import Struct

from busbar.protocols.fields import as_object, take_bool, take_object, take_text
from busbar.protocols.fitting.tools import fit_openai_parameters, fit_openai_strict
from busbar.protocols.ir import FunctionTool, Opaque, Tool, ToolChoice
from busbar.protocols.leftovers import report_leftovers
from busbar.protocols.native import Native, own_fields, own_form
from busbar.protocols.receipt import Receipt
from busbar.protocols.responses.content_write import report_cache
from busbar.protocols.responses.words import DIALECT, flat_name, split_name, tool_name

NAMESPACE = "namespace"
_FACTS = ("description", "parameters", "strict")


class ToolForm(Struct, frozen=True, kw_only=True):
    """Where a function stood: the tool at `at`, or the one at `inner` in the namespace at `at`."""

    at: int
    inner: int | None = None


def read_tools(values: list[Any]) -> list[Tool]:
    """Raises `InvalidRequest`."""
    return [tool for at, value in enumerate(values) for tool in _read_tool(as_object(value, f"tools[{at}]"), at)]


def _read_tool(left: dict[str, Any], at: int) -> Iterator[Tool]:
    match left:
        case {"type": "function", "name": str()}:
            yield _read_function(dict(left), f"tools[{at}]", ToolForm(at=at))
        case {"type": "namespace", "name": str(space), "tools": [_, *_] as inner} if all(map(_is_function, inner)):
            envelope = {key: value for key, value in left.items() if key not in ("type", "name", "tools")}
            for nth, function in enumerate(inner):
                form = ToolForm(at=at, inner=nth)
                tool = _read_function(dict(function), f"tools[{at}].tools[{nth}]", form)
                tool.name = flat_name(space, tool.name)
                if nth == 0 and envelope:
                    tool.native = Native(DIALECT, {**own_fields(tool, DIALECT), NAMESPACE: envelope}, form)
                yield tool
        case _:
            yield Opaque(dialect=DIALECT, kind="tools", value=left)


def _is_function(value: Any) -> bool:
    return isinstance(value, dict) and value.get("type") == "function" and isinstance(value.get("name"), str)


def _read_function(left: dict[str, Any], path: str, form: ToolForm) -> FunctionTool:
    del left["type"]
    name = left.pop("name")
    return FunctionTool(
        name=name,
        description=take_text(left, "description", path),
        parameters=take_object(left, "parameters", path),
        strict=take_bool(left, "strict", path),
        native=Native(DIALECT, left, form),
    )


def write_own_tools(tools: list[Tool]) -> list[dict[str, Any]]:
    """The tools as they came, functions back in their namespaces."""
    written: list[dict[str, Any]] = []
    opened: int | None = None
    for tool in tools:
        if isinstance(tool, Opaque):
            written.append(tool.value)
            continue
        form: ToolForm = own_form(tool, DIALECT)
        namespace, function = _own_function(tool, form)
        if form.inner is None:
            written.append(function)
            continue
        if opened != form.at:
            opened = form.at
            envelope = own_fields(tool, DIALECT).get(NAMESPACE, {})
            written.append({**envelope, "type": NAMESPACE, "name": namespace, "tools": []})
        written[-1]["tools"].append(function)
    return written


def _own_function(tool: FunctionTool, form: ToolForm) -> tuple[str | None, dict[str, Any]]:
    namespace, name = (None, tool.name) if form.inner is None else split_name(tool.name)
    left = {key: value for key, value in own_fields(tool, DIALECT).items() if key != NAMESPACE or form.inner is None}
    facts = {key: value for key in _FACTS if (value := getattr(tool, key)) is not None}
    return namespace, {**left, "type": "function", "name": name, **facts}


def write_tool(tool: Tool, path: str, receipt: Receipt) -> dict[str, Any] | None:
    """Another dialect's tool; None (reported) for one that only its provider runs.

    `strict` is always said: a function without it is taken for a strict one here, and schemas that are not written
    for that are refused.
    """
    if isinstance(tool, Opaque):
        receipt.dropped(path, f"only {tool.dialect} has this tool")
        return None
    report_cache(tool.cache, path, receipt)
    report_leftovers(tool, DIALECT, path, receipt)
    document: dict[str, Any] = {"type": "function", "name": tool_name(tool.name, f"{path}.name", receipt)}
    if tool.description is not None:
        document["description"] = tool.description
    document["parameters"] = fit_openai_parameters(tool.parameters, path, receipt)
    document["strict"] = bool(fit_openai_strict(tool.strict, document["parameters"], path, receipt))
    return document


def read_tool_choice(value: Any) -> ToolChoice | None:
    """A word, or the one function to be called; None for what the IR has no word for (allowed or hosted tools)."""
    match value:
        case "auto" | "none" | "required":
            return ToolChoice(mode=value, native=Native(DIALECT))
        case {"type": "function", "name": str(name)}:
            left = {key: inner for key, inner in value.items() if key not in ("type", "name")}
            return ToolChoice(mode="one", name=name, native=Native(DIALECT, left))
        case _:
            return None


def write_tool_choice(choice: ToolChoice, receipt: Receipt) -> Any:
    report_leftovers(choice, DIALECT, "tool_choice", receipt)
    if choice.mode != "one":
        return choice.mode
    if choice.native is not None and choice.native.dialect == DIALECT:
        return {**choice.native.fields, "type": "function", "name": choice.name}
    return {"type": "function", "name": tool_name(choice.name or "", "tool_choice.name", receipt)}
