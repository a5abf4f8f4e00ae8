"""What a new answer to the same request has to say again, before anything of it is new to the caller.

Texts are compared as they come, whatever the blocks that they stand in: where a block ends is for a dialect to say,
not for the model. A complete call has to be the same call: its name, and its arguments as values. A call that the
caller has half of goes on where its arguments begin with the same characters. Thinking is compared only where there
is nothing else yet: nobody thinks the same thing twice, and what came of it decides.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from busbar.protocols.ir import Text, Thinking, ToolUse
from busbar.protocols.resume.delivered import CHARS_MAX, Block

_decode = msgspec.json.Decoder().decode


class Diverged(Exception):
    """The new answer is another one. Nothing of it was written."""


class ExpectedCall:
    """A tool call of which the caller has a part, or all. `index` is the delivered block's."""

    __slots__ = ("_left", "_pieces", "_said", "index", "name", "verified", "whole")

    def __init__(self, index: int, block: Block, use: ToolUse) -> None:
        self.index = index
        self.name = use.name
        self.whole = not block.open
        self._said = self._left = block.said
        self._pieces: list[str] = []
        self.verified = not self.whole and not self._left

    def take(self, fragment: str) -> str:
        """Arguments of the new call; gives what of them the caller does not have."""
        if self.whole:
            self._pieces.append(fragment)
            return ""
        known = min(len(self._left), len(fragment))
        if self._left[:known] != fragment[:known]:
            raise Diverged
        self._left = self._left[known:]
        self.verified = not self._left
        return fragment[known:]

    def end(self) -> None:
        """The new call is complete."""
        if self.whole:
            new = "".join(self._pieces)
            self._pieces.clear()
            self.verified = new == self._said or _value(new) == _value(self._said)
        if not self.verified:
            raise Diverged


class Prefix:
    """Takes what the new answer says, and gives what of it is new. Raises `Diverged`."""

    __slots__ = ("_at", "_calls", "_left", "_steps", "thinks")

    def __init__(self, blocks: Sequence[Block]) -> None:
        said = any(isinstance(block.part, Text | ToolUse) for block in blocks)
        self.thinks = bool(blocks) and not said and all(isinstance(block.part, Thinking) for block in blocks)
        """All that the caller has is thinking: so that is what is compared."""
        kind = Thinking if self.thinks else Text
        self._steps: list[str | ExpectedCall] = []
        for index, block in enumerate(blocks):
            if isinstance(block.part, ToolUse):
                self._steps.append(ExpectedCall(index, block, block.part))
            elif isinstance(block.part, kind) and block.said:
                if self._steps and isinstance(before := self._steps[-1], str):
                    self._steps[-1] = before + block.said
                else:
                    self._steps.append(block.said)
        self._calls = [step for step in self._steps if isinstance(step, ExpectedCall)]
        self._at = 0
        self._left = ""
        self._load()

    @property
    def matched(self) -> bool:
        """Everything that the caller has was said again."""
        return self._at == len(self._steps) and all(call.verified for call in self._calls)

    def text(self, said: str) -> str:
        """A piece of text (or of thought, where that `thinks`); gives what of it is new."""
        while said and self._at < len(self._steps):
            known = min(len(self._left), len(said))
            if not known or self._left[:known] != said[:known]:
                raise Diverged
            self._left, said = self._left[known:], said[known:]
            if not self._left:
                self._advance()
        return said

    def call(self, name: str) -> ExpectedCall | None:
        """A call begins. None: it is a new one."""
        if self._at == len(self._steps):
            return None
        step = self._steps[self._at]
        if not isinstance(step, ExpectedCall) or step.name != name:
            raise Diverged
        self._advance()
        return step

    def _advance(self) -> None:
        self._at += 1
        self._load()

    def _load(self) -> None:
        step = self._steps[self._at] if self._at < len(self._steps) else ""
        self._left = step if isinstance(step, str) else ""


def _value(arguments: str) -> Any:
    """Arguments as a value; what is no JSON is only equal to itself."""
    if len(arguments) > CHARS_MAX:
        raise Diverged
    try:
        return _decode(arguments or "{}")
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return object()
