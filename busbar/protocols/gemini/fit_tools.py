"""Another dialect's tools and tool choice, as this one accepts them."""

from __future__ import annotations

import re
from typing import Any

from busbar.protocols.gemini.schema_write import write_schema
from busbar.protocols.gemini.words import DIALECT
from busbar.protocols.ids import fit_name
from busbar.protocols.ir import FunctionTool, Opaque, Request, Tool, ToolChoice
from busbar.protocols.leftovers import report_leftovers
from busbar.protocols.receipt import Receipt

NAME_CHARS_MAX = 64
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.:-]{0,63}\Z")
_MODES = {"auto": "AUTO", "none": "NONE", "required": "ANY", "one": "ANY"}


def fit_tools(request: Request, receipt: Receipt) -> dict[str, Any]:
    """`tools` and `toolConfig`."""
    functions: list[dict[str, Any]] = []
    hosted: list[dict[str, Any]] = []
    for at, tool in enumerate(request.tools):
        _fit_tool(tool, f"tools[{at}]", functions, hosted, receipt)
    if request.parallel_tool_calls is False:
        receipt.dropped("parallel_tool_calls", "the model decides how many tools it calls at once")
    tools = ([{"functionDeclarations": functions}] if functions else []) + hosted
    choice = request.tool_choice
    if choice is None:
        return {"tools": tools} if tools else {}
    report_leftovers(choice, DIALECT, "tool_choice", receipt)
    if not functions:
        if choice.mode not in ("auto", "none"):
            receipt.dropped("tool_choice", "there are no tools to choose from")
        return {"tools": tools} if tools else {}
    return {"tools": tools, "toolConfig": {"functionCallingConfig": _choice(choice, receipt)}}


def fit_tool_name(name: str, path: str, receipt: Receipt) -> str:
    """A function's name here: letters, digits and `_.:-`, at most 64, of which the first is a letter or `_`."""
    if _NAME.match(name):
        return name
    fitting = fit_name(name, NAME_CHARS_MAX - 1)
    fitting = fitting if fitting[:1].isalpha() or fitting[:1] == "_" else f"_{fitting}"
    receipt.changed(path, f"names here are letters, digits and _.:-, at most {NAME_CHARS_MAX}")
    return fitting


def _fit_tool(
    tool: Tool, path: str, functions: list[dict[str, Any]], hosted: list[dict[str, Any]], receipt: Receipt
) -> None:
    if isinstance(tool, Opaque):
        if tool.dialect == DIALECT:
            hosted.append(tool.value)
        else:
            receipt.dropped(path, f"only {tool.dialect} has this tool")
        return
    functions.append(_fit_function(tool, path, receipt))


def _fit_function(tool: FunctionTool, path: str, receipt: Receipt) -> dict[str, Any]:
    if tool.cache is not None:
        receipt.dropped(f"{path}.cache_control", "this dialect caches by itself")
    if tool.strict:
        receipt.dropped(f"{path}.strict", "this dialect does not enforce a tool's schema on request")
    report_leftovers(tool, DIALECT, path, receipt)
    function: dict[str, Any] = {"name": fit_tool_name(tool.name, f"{path}.name", receipt)}
    if tool.description:
        function["description"] = tool.description
    if tool.parameters:
        schema = write_schema(tool.parameters, f"{path}.parameters", receipt)
        if schema.get("properties"):
            function["parameters"] = {**schema, "type": "OBJECT"}
        elif "anyOf" in schema:
            receipt.dropped(f"{path}.parameters", "a function's arguments are one object here")
    return function


def _choice(choice: ToolChoice, receipt: Receipt) -> dict[str, Any]:
    config: dict[str, Any] = {"mode": _MODES[choice.mode]}
    if choice.mode == "one" and choice.name:
        config["allowedFunctionNames"] = [fit_tool_name(choice.name, "tool_choice.name", receipt)]
    return config
