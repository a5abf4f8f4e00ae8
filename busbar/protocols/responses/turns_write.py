"""Another dialect's turns as items of this one.

The texts of an assistant's turn that follow one another are one message; thoughts and tool calls are items of their
own, in the order in which the model made them. Tool results stand before what else their turn says. Instructions of
the conversation's head go into `instructions`.
"""

from __future__ import annotations

from typing import Any

from busbar.protocols.fitting.as_text import ERROR_PREFIX, instruction_texts
from busbar.protocols.ids import TOOL_CALL_PREFIXES, mint_id, translate_id
from busbar.protocols.ir import Message, Opaque, Part, RedactedThinking, Refusal, Text, Thinking, ToolResult, ToolUse
from busbar.protocols.leftovers import report_leftovers
from busbar.protocols.receipt import Receipt
from busbar.protocols.responses.content_read import CONTENT
from busbar.protocols.responses.content_write import report_cache, report_text, write_part
from busbar.protocols.responses.items_write import write_call, write_thought
from busbar.protocols.responses.words import DIALECT, TOOL_CALL_ID


def write_instructions(parts: list[Part], path: str, receipt: Receipt) -> str:
    """Instructions are one text here."""
    return "\n\n".join(text for text in instruction_texts(parts, path, report_text, receipt) if text)


class TurnWriter:
    """Writes the turns of one request. `nonce` is what ids are minted from where the source had none: the first call
    without an id and the first result without one get the same id, and so on."""

    def __init__(self, nonce: str, receipt: Receipt) -> None:
        self._nonce = nonce
        self._receipt = receipt
        self._nameless_calls = 0
        self._nameless_results = 0

    def write(self, message: Message, path: str) -> list[dict[str, Any]]:
        report_leftovers(message, DIALECT, path, self._receipt)
        if message.name is not None:
            self._receipt.dropped(f"{path}.name", "turns carry no name")
        match message.role:
            case "assistant":
                return self._assistant(message.parts, f"{path}.content")
            case "system" | "developer":
                text = write_instructions(message.parts, f"{path}.content", self._receipt)
                return [_message(message.role, text)] if text else []
            case "user" | "tool":
                return self._user(message.parts, f"{path}.content")

    def _assistant(self, parts: list[Part], path: str) -> list[dict[str, Any]]:
        items: list[dict[str, Any]] = []
        said: list[str] = []
        for at, part in enumerate(parts):
            where = f"{path}[{at}]"
            if isinstance(part, Text | Refusal):
                report_text(part, where, self._receipt)
                said.append(part.text)
                continue
            item = self._item(part, where)
            if item is not None:
                items += _said(said)
                said = []
                items.append(item)
        return items + _said(said)

    def _item(self, part: Part, path: str) -> dict[str, Any] | None:
        match part:
            case ToolUse():
                self._nameless_calls += not part.id
                return write_call(part, path, self._receipt, self._nameless_calls, self._nonce)
            case Thinking() | RedactedThinking():
                item = write_thought(part)
                if item is None:
                    self._receipt.dropped(path, "thinking that another provider did")
                return item
            case Opaque(dialect="responses", value=value) if not part.kind.startswith(CONTENT):
                whole: dict[str, Any] = value
                return whole
            case _:
                self._receipt.dropped(path, "no place in an assistant's turn of this dialect")
                return None

    def _user(self, parts: list[Part], path: str) -> list[dict[str, Any]]:
        results: list[dict[str, Any]] = []
        said: list[dict[str, Any]] = []
        others: list[dict[str, Any]] = []
        for at, part in enumerate(parts):
            where = f"{path}[{at}]"
            if isinstance(part, ToolResult):
                results.append(self._result(part, where))
            elif isinstance(part, Opaque) and part.dialect == DIALECT and not part.kind.startswith(CONTENT):
                others.append(part.value)
            elif (written := write_part(part, where, self._receipt)) is not None:
                said.append(written)
        if not said:
            return results + others
        alone = said[0]["text"] if len(said) == 1 and said[0]["type"] == "input_text" else said
        return [*results, *others, _message("user", alone)]

    def _result(self, result: ToolResult, path: str) -> dict[str, Any]:
        """A text where it is nothing but text, else a list of parts."""
        report_leftovers(result, DIALECT, path, self._receipt)
        report_cache(result.cache, path, self._receipt)
        written = [write_part(part, f"{path}.content[{at}]", self._receipt) for at, part in enumerate(result.content)]
        content = [part for part in written if part is not None]
        if result.is_error:
            self._receipt.changed(f"{path}.is_error", "said in the text of the result")
            content.insert(0, {"type": "input_text", "text": ERROR_PREFIX.rstrip()})
        only_text = all(part["type"] == "input_text" for part in content)
        joined = "\n".join(part["text"] for part in content[1 if result.is_error else 0 :]) if only_text else ""
        return {
            "type": "function_call_output",
            "call_id": self._result_id(result.tool_use_id),
            "output": (ERROR_PREFIX + joined if result.is_error else joined) if only_text else content,
        }

    def _result_id(self, foreign: str) -> str:
        if foreign:
            return translate_id(foreign, TOOL_CALL_ID, TOOL_CALL_PREFIXES)
        self._nameless_results += 1
        return mint_id(TOOL_CALL_ID, self._nonce, self._nameless_results)


def _said(texts: list[str]) -> list[dict[str, Any]]:
    text = "".join(texts)
    return [_message("assistant", text)] if text else []


def _message(role: str, content: Any) -> dict[str, Any]:
    return {"type": "message", "role": role, "content": content}
