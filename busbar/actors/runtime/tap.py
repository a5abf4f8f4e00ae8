"""The latest messages of a system, for `/stats`, the live page and replays."""

from __future__ import annotations

from collections import deque
from typing import Any

import msgspec

TAP_SIZE = 256
"""Messages a tap remembers, unless the system is made with another number."""


class TapEntry(msgspec.Struct, frozen=True):
    """One message that was sent. There is no sender: an actor is told something, not by whom."""

    at: float
    """The clock's `now()`, in seconds."""
    actor: str
    """The receiver's name."""
    type: str
    """The message's type name: what a page may show. The message itself may hold what only its receiver may see."""
    message: Any


class Tap:
    """A ring buffer of the latest messages, whatever became of them."""

    def __init__(self, size: int = TAP_SIZE) -> None:
        self._latest: deque[tuple[float, str, Any]] = deque(maxlen=size)
        self.record = self._latest.append
        """Record `(now, receiver's name, message)`: the buffer's own append, because every message pays for it."""

    def __len__(self) -> int:
        return len(self._latest)

    def entries(self) -> list[TapEntry]:
        """What is remembered, oldest first."""
        return [TapEntry(at, actor, type(message).__name__, message) for at, actor, message in self._latest]
