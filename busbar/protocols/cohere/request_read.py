"""A caller's request (`POST /v2/chat`) → IR. Reference: Cohere's API reference, "Chat with the model", version 2."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from msgspec import Struct

from busbar.protocols.cohere.answer import MessageForm, read_answer, read_content
from busbar.protocols.cohere.tools import read_output, read_reasoning, read_strict, read_tool, read_tool_choice
from busbar.protocols.cohere.words import DIALECT
from busbar.protocols.fields import as_object, take_bool, take_int, take_list, take_number, take_text
from busbar.protocols.ir import FunctionTool, Message, Opaque, Part, Request, Role, ToolResult
from busbar.protocols.native import Native
from busbar.protocols.protocol import Document, InvalidRequest

NUMBERS = {
    "temperature": "temperature",
    "p": "top_p",
    "frequency_penalty": "frequency_penalty",
    "presence_penalty": "presence_penalty",
}
INTEGERS = {"k": "top_k", "max_tokens": "max_tokens", "seed": "seed"}
SWITCHES = {"logprobs": "logprobs", "stream": "stream"}
"""Fields by their names here, and in the IR."""


class RequestForm(Struct, frozen=True, kw_only=True):
    """How a request spelled what it carries. `strict`: what it said of all its tools at once."""

    strict: bool | None = None


def read_request(document: Document) -> Request:
    """Raises `InvalidRequest`. A missing `model` is read as empty."""
    left = dict(document)
    messages = take_list(left, "messages")
    if not messages:
        raise InvalidRequest("messages", "expected an array with at least one message")
    request = Request(
        model=take_text(left, "model") or "",
        messages=[_read_message(message, f"messages[{at}]") for at, message in enumerate(messages)],
        tool_choice=read_tool_choice(left),
        output=read_output(left),
        reasoning=read_reasoning(left),
    )
    for key, name in NUMBERS.items():
        setattr(request, name, take_number(left, key))
    for key, name in INTEGERS.items():
        setattr(request, name, take_int(left, key))
    for key, name in SWITCHES.items():
        setattr(request, name, take_bool(left, key))
    request.stop = _read_stop(left)
    request.native = Native(DIALECT, left, RequestForm(strict=_read_tools(left, request)))
    return request


def _read_tools(left: dict[str, Any], request: Request) -> bool | None:
    strict = read_strict(left)
    tools = take_list(left, "tools") if left.get("tools") else None
    request.tools = [read_tool(tool, f"tools[{at}]", strict) for at, tool in enumerate(tools or ())]
    if strict is not None and not any(isinstance(tool, FunctionTool) for tool in request.tools):
        left["strict_tools"] = strict
        return None
    return strict


def _read_stop(left: dict[str, Any]) -> list[str]:
    stops = take_list(left, "stop_sequences") if left.get("stop_sequences") else None
    if not all(isinstance(word, str) for word in stops or ()):
        raise InvalidRequest("stop_sequences", "expected an array of strings")
    return list(stops or ())


def _read_message(value: Any, path: str) -> Message:
    left = as_object(value, path)
    role = take_text(left, "role", path)
    reader = _READERS.get(role or "")
    if reader is None:
        raise InvalidRequest(f"{path}.role", "expected system, user, assistant or tool")
    content = left.get("content")
    if content is not None and not isinstance(content, str | list):
        raise InvalidRequest(f"{path}.content", "expected a string or an array of parts")
    return reader(left, path)


def _plain(role: Role) -> Callable[[dict[str, Any], str], Message]:
    def read(left: dict[str, Any], path: str) -> Message:
        if left.get("content") is None:
            raise InvalidRequest(f"{path}.content", "expected a string or an array of parts")
        parts: list[Part] = []
        form = MessageForm(content=read_content(left, parts, path))
        return Message(role=role, parts=parts, native=Native(DIALECT, left, form))

    return read


def _read_assistant(left: dict[str, Any], path: str) -> Message:
    calls = left.get("tool_calls")
    if calls is not None and not isinstance(calls, list):
        raise InvalidRequest(f"{path}.tool_calls", "expected an array")
    parts, spelled = read_answer(left, path)
    if any(isinstance(part, Opaque) and part.kind == "tool_calls" for part in parts):
        raise InvalidRequest(f"{path}.tool_calls", "a tool call must have an id and be of type function")
    return Message(role="assistant", parts=parts, native=Native(DIALECT, left, MessageForm(content=spelled)))


def _read_result(left: dict[str, Any], path: str) -> Message:
    call_id = take_text(left, "tool_call_id", path)
    if call_id is None:
        raise InvalidRequest(f"{path}.tool_call_id", "tool call id must be provided with tool message")
    content: list[Part] = []
    form = MessageForm(content=read_content(left, content, path))
    result = ToolResult(tool_use_id=call_id, content=content)
    return Message(role="tool", parts=[result], native=Native(DIALECT, left, form))


_READERS: Mapping[str, Callable[[dict[str, Any], str], Message]] = {
    "system": _plain("system"),
    "developer": _plain("developer"),
    "user": _plain("user"),
    "assistant": _read_assistant,
    "tool": _read_result,
}
