"""What the writers of all dialects' streams have in common."""

from __future__ import annotations

import abc
from collections.abc import Callable, Mapping
from typing import Any

from busbar.protocols.errors import ErrorReport
from busbar.protocols.ir import Chunk, Event
from busbar.protocols.leftovers import report_leftovers
from busbar.protocols.receipt import Receipt


class ChunkWriter(abc.ABC):
    """A `StreamWriter` that has one handler for each kind of event. `_over` is set with the terminal event.

    A chunk of the dialect itself is written as it was read; an `Errored` of another one gives nothing: how the caller
    is told, and whether at all, is decided by whoever then calls `error`. After that nothing more is written.
    """

    __slots__ = ("_broken", "_dialect", "_handlers", "_over", "_receipt", "_reported")

    def __init__(
        self, dialect: str, handlers: Mapping[type[Event], Callable[[Any, Any], bytes]], receipt: Receipt
    ) -> None:
        self._dialect = dialect
        self._handlers = handlers
        self._receipt = receipt
        self._reported: set[str] = set()
        """Leftovers of chunks that were reported: most providers send the same ones with every chunk."""
        self._over = False
        self._broken = False
        """An error was written. Until then one may be, in the place of an end that was withheld."""

    def write(self, chunk: Chunk) -> bytes:
        if self._over:
            return self._after_the_end(chunk)
        kept = chunk.native
        if kept is not None:
            if kept.dialect == self._dialect:
                return self._own(chunk)
            if kept.fields and not kept.fields.keys() <= self._reported:
                self._reported |= kept.fields.keys()
                report_leftovers(chunk, self._dialect, "", self._receipt)
        events, handlers = chunk.events, self._handlers
        if len(events) == 1:
            return handlers[type(events[0])](self, events[0])
        return b"".join([handlers[type(event)](self, event) for event in events])

    def error(self, report: ErrorReport) -> bytes:
        if self._broken:
            return b""
        self._over = self._broken = True
        return self._error(report)

    def _after_the_end(self, _chunk: Chunk) -> bytes:
        return b""

    @abc.abstractmethod
    def _own(self, chunk: Chunk) -> bytes:
        """A chunk of the writer's own dialect."""

    @abc.abstractmethod
    def _error(self, report: ErrorReport) -> bytes:
        """The native end of a stream that broke."""
