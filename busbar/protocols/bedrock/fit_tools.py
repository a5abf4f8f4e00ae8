"""Another dialect's tools and tool choice, fitted to what this one accepts.

There is no choice `none` here: then no tools are sent. But a conversation that used tools must define some ("The
toolConfig field must be defined when using toolUse and toolResult content blocks"), so there they stay.
"""

from __future__ import annotations

from typing import Any

from busbar.protocols.bedrock.fit_parts import PartFitter
from busbar.protocols.bedrock.models import Family
from busbar.protocols.bedrock.words import DIALECT, TOOL_NAME_CHARS_MAX
from busbar.protocols.fitting.tools import fit_tool_name
from busbar.protocols.ir import FunctionTool, Request, Tool, ToolChoice, ToolResult, ToolUse
from busbar.protocols.leftovers import report_leftovers
from busbar.protocols.receipt import Receipt

_TOP_LEVEL_REFUSED = ("oneOf", "allOf", "anyOf")


def fit_tools(request: Request, family: Family, receipt: Receipt) -> list[Tool]:
    """The caller's own tools; those that the conversation used, if it must define some and names none."""
    used = _used_names(request)
    if request.tool_choice is not None and request.tool_choice.mode == "none" and request.tools and not used:
        receipt.changed("tool_choice", "no tools are sent instead")
        receipt.dropped("tools", "none of them may be called")
        return []
    fitted: list[Tool] = []
    for index, tool in enumerate(request.tools):
        path = f"tools[{index}]"
        if isinstance(tool, FunctionTool):
            fitted.append(_fit_tool(tool, family, receipt, path))
        elif tool.dialect == DIALECT:
            fitted.append(tool)
        else:
            receipt.dropped(path, f"only {tool.dialect} has {tool.kind}")
    if fitted or not used:
        return fitted
    receipt.added("tools", "a conversation that used tools must define them")
    names = dict.fromkeys(fit_tool_name(name, TOOL_NAME_CHARS_MAX, "tools", receipt) for name in used)
    return [FunctionTool(name=name, parameters=tool_schema(None)) for name in names]


def fit_tool_choice(request: Request, tools: list[Tool], receipt: Receipt, *, thinks: bool) -> ToolChoice | None:
    """The choice among `tools`. With thinking the model cannot be forced."""
    asked = request.tool_choice
    if asked is None:
        return None
    report_leftovers(asked, DIALECT, "tool_choice", receipt)
    if asked.mode == "none":
        if tools and request.tools:
            receipt.dropped("tool_choice", "a conversation that used tools must define them, and cannot forbid them")
        return None
    if not tools:
        if asked.mode != "auto":
            receipt.dropped("tool_choice", "there are no tools")
        return None
    if thinks and asked.mode in ("required", "one"):
        receipt.changed("tool_choice", "with thinking the model decides")
        return ToolChoice(mode="auto")
    name = None if asked.name is None else fit_tool_name(asked.name, TOOL_NAME_CHARS_MAX, "tool_choice.name", receipt)
    return ToolChoice(mode=asked.mode, name=name)


def tool_schema(schema: dict[str, Any] | None) -> dict[str, Any]:
    """A tool's `inputSchema`: an object without alternatives at the top. Equal to `schema` when it fits already."""
    if not schema:
        return {"type": "object", "properties": {}}
    if schema.get("type") == "object" and not any(key in schema for key in _TOP_LEVEL_REFUSED):
        return schema
    fitted = {key: value for key, value in schema.items() if key not in _TOP_LEVEL_REFUSED}
    fitted["type"] = "object"
    return fitted


def _fit_tool(tool: FunctionTool, family: Family, receipt: Receipt, path: str) -> FunctionTool:
    report_leftovers(tool, DIALECT, path, receipt)
    schema = tool_schema(tool.parameters)
    if tool.parameters and schema != tool.parameters:
        receipt.changed(f"{path}.parameters", "the top level is an object without alternatives")
    if tool.strict:
        receipt.dropped(f"{path}.strict", "not every model enforces a tool's schema")
    # Nova caches turns and system, but refuses a cache point among the tools.
    cache = PartFitter(receipt, "", "other" if family == "nova" else family).fit_cache(tool.cache, path)
    name = fit_tool_name(tool.name, TOOL_NAME_CHARS_MAX, f"{path}.name", receipt)
    return FunctionTool(name=name, description=tool.description or None, parameters=schema, cache=cache)


def _used_names(request: Request) -> list[str]:
    """The tools that the conversation called; where it holds results alone, a name that stands for all."""
    parts = [part for message in request.messages for part in message.parts]
    names = [part.name for part in parts if isinstance(part, ToolUse)]
    return names or ["tool" for part in parts if isinstance(part, ToolResult)]
