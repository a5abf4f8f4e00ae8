"""Tools and the choice among them, both ways. `toolConfig` holds both; a `systemTool` is the provider's own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from busbar.protocols.bedrock.blocks_read import put_cache
from busbar.protocols.bedrock.blocks_write import write_cache
from busbar.protocols.bedrock.words import DIALECT
from busbar.protocols.fields import as_object, take_bool, take_object, take_text
from busbar.protocols.ir import FunctionTool, Opaque, Tool, ToolChoice
from busbar.protocols.native import native, own_fields
from busbar.protocols.protocol import InvalidRequest

_MODES: dict[str, Literal["auto", "required", "one"]] = {"auto": "auto", "any": "required", "tool": "one"}
_KINDS = {mode: kind for kind, mode in _MODES.items()}


def read_tools(found: Sequence[Any], path: str) -> list[Tool]:
    """Raises `InvalidRequest`."""
    tools: list[Tool] = []
    for index, value in enumerate(found):
        if not put_cache(tools, value, f"{path}[{index}]"):
            tools.append(_read_tool(value, f"{path}[{index}]"))
    return tools


def write_tools(tools: Sequence[Tool]) -> list[Any]:
    written = []
    for tool in tools:
        written.append(tool.value if isinstance(tool, Opaque) else {"toolSpec": _write_tool(tool)})
        if isinstance(tool, FunctionTool) and tool.cache is not None:
            written.append(write_cache(tool.cache))
    return written


def read_tool_choice(value: dict[str, Any]) -> ToolChoice | None:
    """None for a choice of a kind that is not known. Raises `InvalidRequest`."""
    if len(value) != 1:
        return None
    ((kind, inner),) = value.items()
    if kind not in _MODES:
        return None
    left = as_object(inner, f"toolConfig.toolChoice.{kind}")
    name = None
    if kind == "tool":
        name = take_text(left, "name", "toolConfig.toolChoice.tool")
        if name is None:
            raise InvalidRequest("toolConfig.toolChoice.tool.name", "field required")
    return ToolChoice(mode=_MODES[kind], name=name, native=native(DIALECT, left))


def write_tool_choice(choice: ToolChoice) -> dict[str, Any]:
    """A choice that this dialect has: not `none`."""
    name = {} if choice.name is None else {"name": choice.name}
    return {_KINDS[choice.mode]: {**name, **own_fields(choice, DIALECT)}}  # type: ignore[index]


def _read_tool(value: Any, path: str) -> Tool:
    block = as_object(value, path)
    spec = block.get("toolSpec")
    if spec is None or len(block) != 1:
        return Opaque(dialect=DIALECT, kind="+".join(block), value=value)
    left = as_object(spec, f"{path}.toolSpec")
    name = take_text(left, "name", f"{path}.toolSpec")
    if name is None:
        raise InvalidRequest(f"{path}.toolSpec.name", "field required")
    parameters = None
    schema = take_object(left, "inputSchema", f"{path}.toolSpec")
    if schema is not None:
        parameters = take_object(schema, "json", f"{path}.toolSpec.inputSchema")
        if schema or parameters is None:
            left["inputSchema"] = schema
    return FunctionTool(
        name=name,
        description=take_text(left, "description", f"{path}.toolSpec"),
        parameters=parameters,
        strict=take_bool(left, "strict", f"{path}.toolSpec"),
        native=native(DIALECT, left),
    )


def _write_tool(tool: FunctionTool) -> dict[str, Any]:
    written: dict[str, Any] = {"name": tool.name}
    if tool.description is not None:
        written["description"] = tool.description
    if tool.parameters is not None:
        written["inputSchema"] = {"json": tool.parameters}
    if tool.strict is not None:
        written["strict"] = tool.strict
    left = dict(own_fields(tool, DIALECT))
    if "inputSchema" in written and isinstance(left.get("inputSchema"), dict):
        written["inputSchema"].update(left.pop("inputSchema"))
    written.update(left)
    return written
