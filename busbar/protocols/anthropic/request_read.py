"""A caller's Messages request → IR. Facts: the API reference of `POST /v1/messages`.

The form of the request is a tuple of words: how things were spelled that the IR says only one way.

    system:text     `system` was a string                system:empty    it was an empty list
    tools:empty     `tools` was an empty list            stop:empty      `stop_sequences` was one
    format:old      the schema stood in `output_format`, its name before `output_config.format`
"""

from __future__ import annotations

from typing import Any

from busbar.protocols.anthropic.blocks_read import read_content
from busbar.protocols.anthropic.tools import read_tool, take_tool_choice
from busbar.protocols.anthropic.words import DIALECT, OWN_FORM
from busbar.protocols.fields import (
    as_object,
    take_bool,
    take_int,
    take_list,
    take_number,
    take_object,
    take_text,
)
from busbar.protocols.ir import Message, OutputFormat, Part, Reasoning, Request
from busbar.protocols.native import Native, Rest, native
from busbar.protocols.protocol import Document, InvalidRequest

_ROLES = ("user", "assistant", "system")


def read_request(document: Document) -> Request:
    """Raises `InvalidRequest`, naming the field."""
    left = dict(document)
    spelled = [OWN_FORM]
    system = _take_system(left, spelled)
    messages = _take_messages(left)
    tools = take_list(left, "tools")
    if tools == []:
        spelled.append("tools:empty")
    stop = _take_stop(left, spelled)
    tool_choice, parallel = take_tool_choice(left)
    reasoning = _take_thinking(left)
    output, effort = _take_output(left, spelled, effort_wanted=reasoning is None or reasoning.budget_tokens is None)
    if effort is not None:
        reasoning = Reasoning() if reasoning is None else reasoning
        reasoning.effort = effort
    return Request(
        model=take_text(left, "model") or "",
        messages=messages,
        system=system,
        tools=[read_tool(tool, f"tools[{index}]") for index, tool in enumerate(tools or ())],
        tool_choice=tool_choice,
        parallel_tool_calls=parallel,
        max_tokens=take_int(left, "max_tokens"),
        temperature=take_number(left, "temperature"),
        top_p=take_number(left, "top_p"),
        top_k=take_int(left, "top_k"),
        stop=stop,
        output=output,
        reasoning=reasoning,
        user=_take_user(left),
        stream=take_bool(left, "stream"),
        native=Native(DIALECT, left, tuple(spelled)),
    )


def _take_system(left: dict[str, Any], spelled: list[str]) -> list[Part]:
    if left.get("system") is None:
        return []
    parts, form = read_content(left.pop("system"), "system")
    if form == "text":
        spelled.append("system:text")
    elif not parts:
        spelled.append("system:empty")
    return parts


def _take_messages(left: dict[str, Any]) -> list[Message]:
    found = take_list(left, "messages")
    if found is None:
        raise InvalidRequest("messages", "field required")
    return [_read_message(value, f"messages[{index}]") for index, value in enumerate(found)]


def _read_message(value: Any, path: str) -> Message:
    left = as_object(value, path)
    role = take_text(left, "role", path)
    if role not in _ROLES:
        raise InvalidRequest(f"{path}.role", f"expected one of {', '.join(_ROLES)}")
    parts, form = read_content(left.pop("content", None), f"{path}.content")
    return Message(role=role, parts=parts, native=native(DIALECT, left, form))  # type: ignore[arg-type]


def _take_stop(left: dict[str, Any], spelled: list[str]) -> list[str]:
    found = take_list(left, "stop_sequences")
    if found is None:
        return []
    if not found:
        spelled.append("stop:empty")
    for index, entry in enumerate(found):
        if not isinstance(entry, str):
            raise InvalidRequest(f"stop_sequences[{index}]", "expected a string")
    return list(found)


def _take_thinking(left: dict[str, Any]) -> Reasoning | None:
    """`thinking`; a kind that is neither enabled, disabled nor adaptive asks for thinking, and is the form."""
    inner = take_object(left, "thinking")
    if inner is None:
        return None
    kind = take_text(inner, "type", "thinking")
    if kind is None:
        raise InvalidRequest("thinking.type", "field required")
    known = kind in ("enabled", "disabled", "adaptive")
    return Reasoning(
        enabled=kind != "disabled",
        budget_tokens=take_int(inner, "budget_tokens", "thinking") if kind == "enabled" else None,
        adaptive=kind == "adaptive",
        native=native(DIALECT, inner, None if known else kind),
    )


def _take_output(
    left: dict[str, Any], spelled: list[str], *, effort_wanted: bool
) -> tuple[OutputFormat | None, str | None]:
    """The output format, and the effort where the IR has room for it (it holds an effort or a budget, not both)."""
    output = None
    effort = None
    config = left.get("output_config")
    if config is not None:
        inner = as_object(config, "output_config")
        output = _take_format(inner, "format", "output_config")
        effort = take_text(inner, "effort", "output_config") if effort_wanted else None
        if inner or not config:
            left["output_config"] = Rest(inner)
        else:
            del left["output_config"]
    if output is None:
        output = _take_format(left, "output_format", "")
        if output is not None:
            spelled.append("format:old")
    return output, effort


def _take_format(left: dict[str, Any], key: str, path: str) -> OutputFormat | None:
    """A `json_schema` format; another kind stays a leftover."""
    value = left.get(key)
    if value is None:
        return None
    at = f"{path}.{key}" if path else key
    inner = as_object(value, at)
    if inner.get("type") != "json_schema":
        return None
    del inner["type"], left[key]
    schema = take_object(inner, "schema", at)
    if schema is None:
        raise InvalidRequest(f"{at}.schema", "field required")
    return OutputFormat(mode="schema", schema=schema, native=native(DIALECT, inner))


def _take_user(left: dict[str, Any]) -> str | None:
    metadata = left.get("metadata")
    if metadata is None:
        return None
    inner = as_object(metadata, "metadata")
    user = take_text(inner, "user_id", "metadata")
    if user is not None:
        if inner:
            left["metadata"] = Rest(inner)
        else:
            del left["metadata"]
    return user
