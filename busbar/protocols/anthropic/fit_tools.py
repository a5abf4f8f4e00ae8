"""Another dialect's tools and tool choice, fitted to what this one accepts."""

from __future__ import annotations

from busbar.protocols.anthropic.fit_parts import PartFitter
from busbar.protocols.anthropic.schema import tool_schema
from busbar.protocols.anthropic.words import DIALECT, TOOL_NAME_CHARS_MAX
from busbar.protocols.fitting.tools import fit_tool_name
from busbar.protocols.ir import FunctionTool, Opaque, Request, Tool, ToolChoice, ToolUse
from busbar.protocols.leftovers import report_leftovers
from busbar.protocols.receipt import Receipt


def fit_tools(request: Request, receipt: Receipt) -> list[Tool]:
    """The caller's own tools. A conversation that used tools must define some: those it used, if it names none."""
    fitted: list[Tool] = []
    for index, tool in enumerate(request.tools):
        path = f"tools[{index}]"
        if isinstance(tool, FunctionTool):
            fitted.append(_fit_tool(tool, receipt, path))
        elif tool.dialect == DIALECT:
            fitted.append(tool)
        else:
            receipt.dropped(path, f"only {tool.dialect} has {tool.kind}")
    return fitted or _used_tools(request, receipt)


def fit_tool_choice(request: Request, tools: list[Tool], receipt: Receipt, *, thinks: bool) -> ToolChoice | None:
    """The choice among `tools`. With thinking the model cannot be forced; serial calls are said on a choice."""
    asked = request.tool_choice
    if asked is not None:
        report_leftovers(asked, DIALECT, "tool_choice", receipt)
    if not tools:
        if asked is not None and asked.mode not in ("auto", "none"):
            receipt.dropped("tool_choice", "there are no tools")
        return None
    if not request.tools or all(isinstance(tool, Opaque) and tool.dialect != DIALECT for tool in request.tools):
        return ToolChoice(mode="none")
    if asked is None:
        return ToolChoice(mode="auto") if request.parallel_tool_calls is False else None
    if thinks and asked.mode in ("required", "one"):
        receipt.changed("tool_choice", "with thinking the model decides")
        return ToolChoice(mode="auto")
    name = None if asked.name is None else fit_tool_name(asked.name, TOOL_NAME_CHARS_MAX, "tool_choice.name", receipt)
    return ToolChoice(mode=asked.mode, name=name)


def _fit_tool(tool: FunctionTool, receipt: Receipt, path: str) -> FunctionTool:
    report_leftovers(tool, DIALECT, path, receipt)
    schema = tool_schema(tool.parameters)
    if tool.parameters and schema != tool.parameters:
        receipt.changed(f"{path}.parameters", "the top level is an object without alternatives")
    if tool.strict:
        receipt.dropped(f"{path}.strict", "not every model enforces a tool's schema")
    cache = PartFitter(receipt, "").fit_cache(tool.cache, path)
    name = fit_tool_name(tool.name, TOOL_NAME_CHARS_MAX, f"{path}.name", receipt)
    return FunctionTool(name=name, description=tool.description, parameters=schema, cache=cache)


def _used_tools(request: Request, receipt: Receipt) -> list[Tool]:
    calls = [part for message in request.messages for part in message.parts if isinstance(part, ToolUse)]
    if not calls:
        return []
    names = dict.fromkeys(call.name for call in calls)
    receipt.added("tools", "a conversation that used tools must define them")
    fitting = dict.fromkeys(fit_tool_name(name, TOOL_NAME_CHARS_MAX, "tools", receipt) for name in names)
    return [FunctionTool(name=name, parameters=tool_schema(None)) for name in fitting]
