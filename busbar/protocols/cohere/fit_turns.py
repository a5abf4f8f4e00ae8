"""The conversation of another dialect, as this one wants it.

- Instructions are `system` messages: text. They may stand anywhere.
- The results of tools are `tool` messages directly after the turn that made the calls; a result may hold text and
  documents, and what else it holds follows in a `user` message.
- Every call is answered directly after the turn that made it.
- Facts: "tool call id not found in previous tool calls" (a result without its call becomes a user's text), "cannot
  have duplicate tool ids" (the second gets another), "message must not be empty in a turn", and images only where
  the model sees.
"""

from __future__ import annotations

from typing import Any

from busbar.protocols.cohere.abilities import sees_images, thinks
from busbar.protocols.cohere.calls import TOOL_CALLS, call_id, minted_call_id, tool_name, write_call
from busbar.protocols.cohere.fit_parts import PartWriter
from busbar.protocols.cohere.words import DIALECT
from busbar.protocols.fitting.as_text import ERROR_PREFIX
from busbar.protocols.ir import Message, Part, Refusal, Request, Text, Thinking, ToolResult, ToolUse
from busbar.protocols.leftovers import report_leftovers
from busbar.protocols.receipt import Receipt

EMPTY_RESULT = "(empty)"
_SAYS_NOTHING = "."


class TurnWriter:
    """Writes the messages of one request. Owns which tool calls wait for their results."""

    def __init__(self, model: str, nonce: str, receipt: Receipt) -> None:
        self._thinks = thinks(model)
        self._nonce = nonce
        self._receipt = receipt
        self._parts = PartWriter(receipt, images=sees_images(model))
        self._waiting: dict[str, list[str]] = {}
        """Foreign id → ids here of the calls that were not answered yet."""
        self._taken: set[str] = set()

    def write(self, request: Request) -> list[dict[str, Any]]:
        messages = self._system(request.system, "system")
        for at, message in enumerate(request.messages):
            path = f"messages[{at}]"
            report_leftovers(message, DIALECT, path, self._receipt)
            if message.name is not None:
                self._receipt.dropped(f"{path}.name", "messages carry no name")
            match message.role:
                case "system" | "developer":
                    messages += self._system(message.parts, f"{path}.content")
                case "assistant":
                    messages += self._assistant(message, path)
                case "user" | "tool":
                    messages += self._user(message, path)
        if not any(message["role"] in ("user", "tool") for message in messages):
            self._receipt.added(f"messages[{len(messages)}]", "somebody must have said something")
            messages.append({"role": "user", "content": _SAYS_NOTHING})
        return self._answered(messages) if self._taken else messages

    def _answered(self, messages: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Every call's result directly after the turn that made it; a call without one gets one that says so."""
        results = {message["tool_call_id"]: message for message in messages if message["role"] == "tool"}
        ordered: list[dict[str, Any]] = []
        for message in messages:
            if message["role"] == "tool":
                continue
            ordered.append(message)
            for call in message.get(TOOL_CALLS, ()):
                result = results.get(call["id"])
                if result is None:
                    self._receipt.added(f"messages[{len(ordered)}]", "a call must be answered")
                    result = {"role": "tool", "tool_call_id": call["id"], "content": EMPTY_RESULT}
                ordered.append(result)
        return ordered

    def _system(self, parts: list[Part], path: str) -> list[dict[str, Any]]:
        texts = []
        for at, part in enumerate(parts):
            where = f"{path}[{at}]"
            if isinstance(part, Text):
                self._parts.report_text(part, where)
                texts.append(part.text)
            else:
                self._receipt.dropped(where, "instructions are text in this dialect")
        text = "\n\n".join(text for text in texts if text.strip())
        return [{"role": "system", "content": text}] if text else []

    def _assistant(self, message: Message, path: str) -> list[dict[str, Any]]:
        content: list[dict[str, Any]] = []
        calls: list[dict[str, Any]] = []
        for at, part in enumerate(message.parts):
            where = f"{path}.content[{at}]"
            match part:
                case Text() if part.text.strip():
                    self._parts.report_text(part, where)
                    content.append({"type": "text", "text": part.text})
                case Refusal() if part.text.strip():
                    self._receipt.changed(where, "a refusal is written as text")
                    content.append({"type": "text", "text": part.text})
                case Thinking():
                    content += self._thinking(part, where)
                case ToolUse():
                    calls.append(self._call(part, where))
                case Text() | Refusal():
                    pass  # says nothing
                case _:
                    self._receipt.dropped(where, "no place in an assistant's message of this dialect")
        if not calls and all(part["type"] == "thinking" for part in content):
            for at, part in enumerate(message.parts):
                if isinstance(part, Thinking):
                    self._receipt.dropped(f"{path}.content[{at}]", "a turn that only thinks is empty")
            return []
        written: dict[str, Any] = {"role": "assistant"}
        if content:
            thought = any(part["type"] == "thinking" for part in content)
            written["content"] = content if thought else "".join(part["text"] for part in content)
        if calls:
            written[TOOL_CALLS] = calls
        return [written]

    def _thinking(self, part: Thinking, path: str) -> list[dict[str, Any]]:
        report_leftovers(part, DIALECT, path, self._receipt)
        if not part.text.strip():
            if part.signature:
                self._receipt.dropped(path, "signature of another provider")
            return []
        if not self._thinks:
            self._receipt.dropped(path, "this model does not think")
            return []
        if part.signature:
            self._receipt.dropped(f"{path}.signature", "signature of another provider")
        return [{"type": "thinking", "thinking": part.text}]

    def _call(self, use: ToolUse, path: str) -> dict[str, Any]:
        self._parts.report_cache(use.cache, path)
        if use.signature:
            self._receipt.dropped(f"{path}.signature", "signature of another provider")
        report_leftovers(use, DIALECT, path, self._receipt)
        name = tool_name(use.name, f"{path}.name", self._receipt)
        own = call_id(use.id)
        if not own or own in self._taken:
            own = minted_call_id(name, f"{self._nonce}:{use.id}", len(self._taken))
        self._taken.add(own)
        self._waiting.setdefault(use.id, []).append(own)
        return write_call(own, name, use.arguments or "{}")

    def _user(self, message: Message, path: str) -> list[dict[str, Any]]:
        results: list[dict[str, Any]] = []
        beside: list[dict[str, Any]] = []
        """What results hold that only a user may say."""
        said: list[dict[str, Any]] = []
        for at, part in enumerate(message.parts):
            where = f"{path}.content[{at}]"
            if isinstance(part, ToolResult):
                self._result(part, where, results, beside)
            elif (written := self._parts.write(part, where)) is not None:
                said.append(written)
        content = beside + said
        if not content:
            return results
        alone = len(content) == 1 and content[0]["type"] == "text"
        return [*results, {"role": "user", "content": content[0]["text"] if alone else content}]

    def _result(
        self, result: ToolResult, path: str, results: list[dict[str, Any]], beside: list[dict[str, Any]]
    ) -> None:
        self._parts.report_cache(result.cache, path)
        report_leftovers(result, DIALECT, path, self._receipt)
        content = []
        for at, part in enumerate(result.content):
            written = self._parts.write(part, f"{path}.content[{at}]", in_result=True)
            if written is not None and written["type"] == "image_url":
                self._receipt.changed(f"{path}.content[{at}]", "stands in a user message after the tool's result")
                beside.append(written)
            elif written is not None:
                content.append(written)
        if result.is_error:
            self._receipt.changed(f"{path}.is_error", "said in the text of the result")
            content.insert(0, {"type": "text", "text": ERROR_PREFIX})
        if not content:
            self._receipt.changed(path, "an empty result is refused")
            content.append({"type": "text", "text": EMPTY_RESULT})
        waiting = self._waiting.get(result.tool_use_id)
        if waiting:
            results.append({"role": "tool", "tool_call_id": waiting.pop(0), "content": _shortest(content)})
            return
        self._receipt.changed(path, "the result of no call that is known: said by the user")
        beside += [part if part["type"] == "text" else _as_text(part) for part in content]


def _shortest(content: list[dict[str, Any]]) -> str | list[dict[str, Any]]:
    """Texts alone are one string."""
    if all(part["type"] == "text" for part in content):
        prefix, rest = ("", content)
        if content[0]["text"] == ERROR_PREFIX:
            prefix, rest = ERROR_PREFIX, content[1:]
        return prefix + "\n".join(part["text"] for part in rest)
    return content


def _as_text(part: dict[str, Any]) -> dict[str, Any]:
    data = part["document"]["data"]
    title = data.get("title")
    return {"type": "text", "text": f"{title}\n\n{data['text']}" if title else data["text"]}
