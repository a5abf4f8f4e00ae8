"""A block of a stream that is open: what the readers of dialects with explicit blocks remember of it."""

from __future__ import annotations

from busbar.protocols.ir import ArgumentsDelta, BlockStop, Part, ToolUse


class OpenBlock:
    """Its index in the IR, and what its deltas need to know."""

    __slots__ = ("index", "kind", "needs_arguments")

    def __init__(self, index: int, part: Part) -> None:
        self.index = index
        self.kind = type(part)
        self.needs_arguments = isinstance(part, ToolUse)
        """A tool call without any argument text so far: it ends as `{}`, which is what the model meant."""

    def close(self) -> list[ArgumentsDelta | BlockStop]:
        stop = BlockStop(index=self.index)
        return [ArgumentsDelta(index=self.index, fragment="{}"), stop] if self.needs_arguments else [stop]
