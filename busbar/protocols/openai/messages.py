"""Reading a request's messages: one gives one IR message; tool results stand alone, as this dialect has it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from busbar.protocols.fields import as_object, take_text
from busbar.protocols.ids import mint_id
from busbar.protocols.ir import Message, Part, Role, Text, ToolResult, ToolUse
from busbar.protocols.native import Native
from busbar.protocols.openai.answer import MessageForm, read_answer, read_content
from busbar.protocols.openai.words import DIALECT, TOOL_CALL_ID
from busbar.protocols.protocol import InvalidRequest


class MessageReader:
    """Reads messages in order, so that the results of old-style functions, which have no ids, find their calls."""

    def __init__(self) -> None:
        self._legacy_calls = 0
        self._legacy_id = ""

    def read_all(self, values: list[Any]) -> list[Message]:
        """Raises `InvalidRequest`."""
        return [_plain(value) or self._read(value, f"messages[{at}]") for at, value in enumerate(values)]

    def _read(self, value: Any, path: str) -> Message:
        left = as_object(value, path)
        role = take_text(left, "role", path)
        reader = _READERS.get(role or "")
        if reader is None:
            raise InvalidRequest(f"{path}.role", "expected system, developer, user, assistant or tool")
        content = left.get("content")
        if content is not None and not isinstance(content, str | list):
            raise InvalidRequest(f"{path}.content", "expected a string or an array of parts")
        return reader(self, left, path)

    def _read_plain(self, role: Role, left: dict[str, Any], path: str) -> Message:
        parts: list[Part] = []
        name = take_text(left, "name", path)
        form = MessageForm(content=read_content(left, parts, path))
        return Message(role=role, parts=parts, name=name, native=Native(DIALECT, left, form))

    def _read_assistant(self, left: dict[str, Any], path: str) -> Message:
        calls = left.get("tool_calls")
        if calls is not None and not isinstance(calls, list):
            raise InvalidRequest(f"{path}.tool_calls", "expected an array")
        name = take_text(left, "name", path)
        parts, form = read_answer(left, path)
        for part in parts:
            if isinstance(part, ToolUse) and not part.id:
                self._legacy_id = part.id = mint_id(TOOL_CALL_ID, part.name, self._legacy_calls)
                self._legacy_calls += 1
        return Message(role="assistant", parts=parts, name=name, native=Native(DIALECT, left, form))

    def _read_result(self, left: dict[str, Any], path: str) -> Message:
        call_id = take_text(left, "tool_call_id", path)
        if call_id is None:
            raise InvalidRequest(f"{path}.tool_call_id", "expected a string")
        return self._result(call_id, None, left, path)

    def _read_function(self, left: dict[str, Any], path: str) -> Message:
        """The result of an old-style function: it answers the call before it."""
        return self._result(self._legacy_id, "function", left, path)

    def _result(self, call_id: str, role: str | None, left: dict[str, Any], path: str) -> Message:
        content: list[Part] = []
        name = take_text(left, "name", path)
        form = MessageForm(content=read_content(left, content, path), role=role)
        result = ToolResult(tool_use_id=call_id, content=content)
        return Message(role="tool", parts=[result], name=name, native=Native(DIALECT, left, form))


def _plain(value: Any) -> Message | None:
    """A message that has one text and nothing else, as most are. It is read as `_read` would."""
    if type(value) is not dict or len(value) != 2:
        return None
    role, content = value.get("role"), value.get("content")
    if type(content) is not str or not content or type(role) is not str or role not in _SPEAKERS:
        return None
    return Message(role=role, parts=[Text(text=content)], native=_PLAIN)  # type: ignore[arg-type]


_SPEAKERS = frozenset({"system", "developer", "user", "assistant"})
_PLAIN = Native(DIALECT, {}, MessageForm(content="text"))


_READERS: Mapping[str, Callable[[MessageReader, dict[str, Any], str], Message]] = {
    "system": lambda reader, left, path: reader._read_plain("system", left, path),
    "developer": lambda reader, left, path: reader._read_plain("developer", left, path),
    "user": lambda reader, left, path: reader._read_plain("user", left, path),
    "assistant": MessageReader._read_assistant,
    "tool": MessageReader._read_result,
    "function": MessageReader._read_function,
}
