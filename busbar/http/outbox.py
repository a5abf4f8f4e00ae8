"""What is written in one turn of the loop goes out at its end, all of it together.

So many pieces for one connection are one write. And whoever is written to on the same machine, or behind the same
queue of a network card, is woken once, not again and again: a fifth of what a request costs.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Protocol

logger = logging.getLogger("busbar.http")


class Sender(Protocol):
    """A connection that has something to send."""

    def flush(self) -> None:
        """Sends it. Raises nothing."""
        ...


class Outbox:
    """Of one loop. It holds nothing from one turn to the next."""

    __slots__ = ("_senders", "loop")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self._senders: list[Sender] = []

    def add(self, sender: Sender) -> None:
        """`sender` is flushed when the turn is over. uvloop may look for what has come in before that."""
        if not self._senders:
            self.loop.call_soon(self._flush)
        self._senders.append(sender)

    def _flush(self) -> None:
        senders, self._senders = self._senders, []
        for sender in senders:
            try:
                sender.flush()
            except Exception:  # the others are not to wait for ever
                logger.exception("something could not be sent")
