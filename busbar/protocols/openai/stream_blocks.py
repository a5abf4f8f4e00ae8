"""The blocks of one choice of a stream: which are open, and the tool calls among them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from busbar.protocols.ir import BlockStart, BlockStop, Part, Refusal, Text, Thinking, ToolUse
from busbar.protocols.openai.stream_form import Draft

CALLS_MAX = 1024
"""Tool calls per choice that are told apart; deltas of further ones are skipped."""

_EMPTY: Mapping[str, Callable[[], Part]] = {
    "text": lambda: Text(text=""),
    "thinking": lambda: Thinking(text=""),
    "refusal": lambda: Refusal(text=""),
}


class Call:
    """A tool call that is being streamed. `block` is -1 until its name is known and its block begun."""

    __slots__ = ("block", "id", "name")

    def __init__(self) -> None:
        self.block = -1
        self.id = ""
        self.name = ""


class Blocks:
    """At most one block of text, thinking or refusal is open at a time; tool calls stay open beside it."""

    __slots__ = ("_begun", "_by_key", "_calls", "_choice", "_kind", "_open")

    def __init__(self, choice: int) -> None:
        self._choice = choice
        self._begun = 0
        self._kind = ""
        self._open = -1
        self._calls: list[Call] = []
        self._by_key: dict[int, Call] = {}

    @property
    def called_tool(self) -> bool:
        return bool(self._calls)

    def ensure(self, kind: str, draft: Draft) -> int:
        """The open block of `kind`; begun, and the other one ended, if it is not open."""
        if self._kind != kind:
            self.end_open(draft)
            self._open = self.begin(_EMPTY[kind](), draft)
            self._kind = kind
        return self._open

    def begin(self, part: Part, draft: Draft) -> int:
        block = self._begun
        self._begun += 1
        draft.add(BlockStart(choice=self._choice, index=block, part=part))
        return block

    def whole(self, part: Part, draft: Draft) -> None:
        """A block that begins and ends at once."""
        self.end_open(draft)
        draft.add(BlockStop(choice=self._choice, index=self.begin(part, draft)))

    def end_open(self, draft: Draft) -> None:
        if self._kind:
            draft.add(BlockStop(choice=self._choice, index=self._open))
            self._kind = ""

    def end_all(self, draft: Draft) -> None:
        self.end_open(draft)
        self.begin_waiting(draft)
        for call in self._calls:
            draft.add(BlockStop(choice=self._choice, index=call.block))

    def call_of(self, key: Any, call_id: str, draft: Draft) -> Call | None:
        """The call that a delta belongs to. A delta without an index goes on with the last call unless it brings
        an id; one with a known index but another id is a new call all the same, as some clones count."""
        if type(key) is not int:
            key = len(self._calls) if call_id or not self._calls else len(self._calls) - 1
        call = self._by_key.get(key)
        if call is not None and not (call_id and call.id and call_id != call.id):
            return call
        if len(self._calls) >= CALLS_MAX:
            return None
        self.end_open(draft)
        self.begin_waiting(draft)
        call = self._by_key[key] = Call()
        self._calls.append(call)
        return call

    def begin_call(self, call: Call, draft: Draft) -> None:
        call.block = self.begin(ToolUse(id=call.id, name=call.name, arguments=""), draft)

    def begin_waiting(self, draft: Draft) -> None:
        """Begins the calls whose names might still have grown: now something else has come."""
        for call in self._calls:
            if call.block < 0:
                self.begin_call(call, draft)
