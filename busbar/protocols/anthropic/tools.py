"""Tools and the choice among them, both ways. Hosted tools (`web_search_20250305`, …) are opaque."""

from __future__ import annotations

from typing import Any, Literal

from busbar.protocols.anthropic.blocks_read import take_cache
from busbar.protocols.anthropic.blocks_write import add_cache
from busbar.protocols.anthropic.sources import need_text
from busbar.protocols.anthropic.words import DIALECT
from busbar.protocols.fields import as_object, take_bool, take_object, take_text
from busbar.protocols.ir import FunctionTool, Opaque, Tool, ToolChoice
from busbar.protocols.native import native, own_fields, own_form
from busbar.protocols.protocol import InvalidRequest

_MODES: dict[str, Literal["auto", "none", "required", "one"]] = {
    "auto": "auto",
    "any": "required",
    "tool": "one",
    "none": "none",
}
_KINDS = {mode: kind for kind, mode in _MODES.items()}


def read_tool(value: Any, path: str) -> Tool:
    """A tool of the caller's own has no `type`, or `custom`. Raises `InvalidRequest`."""
    left = as_object(value, path)
    kind = left.get("type")
    if kind is not None and not isinstance(kind, str):
        raise InvalidRequest(f"{path}.type", "expected a string")
    if kind is not None and kind != "custom":
        return Opaque(dialect=DIALECT, kind=kind, value=value)
    form = None
    if kind is not None:
        del left["type"]
        form = kind
    return FunctionTool(
        name=need_text(left, "name", path),
        description=take_text(left, "description", path),
        parameters=take_object(left, "input_schema", path),
        strict=take_bool(left, "strict", path),
        cache=take_cache(left, path),
        native=native(DIALECT, left, form),
    )


def write_tool(tool: Tool) -> Any:
    if isinstance(tool, Opaque):
        return tool.value
    written: dict[str, Any] = {"name": tool.name}
    if (kind := own_form(tool, DIALECT)) is not None:
        written["type"] = kind
    if tool.description is not None:
        written["description"] = tool.description
    if tool.parameters is not None:
        written["input_schema"] = tool.parameters
    if tool.strict is not None:
        written["strict"] = tool.strict
    add_cache(written, tool.cache)
    written.update(own_fields(tool, DIALECT))
    return written


def take_tool_choice(left: dict[str, Any]) -> tuple[ToolChoice | None, bool | None]:
    """Takes `tool_choice`: the choice, and whether parallel calls are allowed (None: not said)."""
    inner = take_object(left, "tool_choice")
    if inner is None:
        return None, None
    kind = take_text(inner, "type", "tool_choice")
    mode = _MODES.get(kind or "")
    if mode is None:
        raise InvalidRequest("tool_choice.type", f"expected one of {', '.join(_MODES)}")
    name = need_text(inner, "name", "tool_choice") if mode == "one" else None
    serial = take_bool(inner, "disable_parallel_tool_use", "tool_choice")
    choice = ToolChoice(mode=mode, name=name, native=native(DIALECT, inner))
    return choice, None if serial is None else not serial


def write_tool_choice(choice: ToolChoice, parallel: bool | None) -> dict[str, Any]:
    """The choice; `parallel` None says nothing about parallel calls."""
    written: dict[str, Any] = {"type": _KINDS[choice.mode]}
    if choice.mode == "one" and choice.name is not None:
        written["name"] = choice.name
    if parallel is not None:
        written["disable_parallel_tool_use"] = not parallel
    written.update(own_fields(choice, DIALECT))
    return written
