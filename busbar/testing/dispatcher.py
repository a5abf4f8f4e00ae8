"""Delivers one message at a time, when a test says so, in an order that it can repeat."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from busbar.actors.runtime import Dispatcher, Mailbox

if TYPE_CHECKING:
    import random
    from collections.abc import Callable


class Delivered(msgspec.Struct, frozen=True):
    """A message that was handled in one step."""

    actor: str
    message: Any


class SteppingDispatcher(Dispatcher):
    """No message is handled in its sender's turn; each waits for a `step()`.

    In order: the message that was sent first goes first. With a `random.Random`, the actor that goes next is drawn;
    each actor still gets its messages in the order they were sent, so none overtakes another between two actors.
    """

    depth_limit = 0
    budget = 1

    def __init__(self, shuffle: random.Random | None = None) -> None:
        self._shuffle = shuffle
        self._turns: dict[Mailbox, Callable[[Mailbox], None]] = {}  # at most one for each actor

    def call_soon(self, turn: Callable[[Mailbox], None], mailbox: Mailbox) -> None:
        self._turns[mailbox] = turn

    def waiting(self) -> list[Mailbox]:
        """The mailboxes that a step may pick from, in order of becoming ready."""
        gone = [mailbox for mailbox in self._turns if not mailbox.ready]
        for mailbox in gone:
            del self._turns[mailbox]
        return list(self._turns)

    def step(self) -> Delivered | None:
        """Have one message handled; None when no message waits."""
        waiting = self.waiting()
        if not waiting:
            return None
        if self._shuffle is None:
            chosen = min(waiting, key=lambda mailbox: mailbox.queue[0].order)
        else:
            chosen = self._shuffle.choice(waiting)
        delivered = Delivered(chosen.name, chosen.queue[0].message)
        self._turns.pop(chosen)(chosen)
        return delivered
