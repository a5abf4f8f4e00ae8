"""A bounded mailbox and the states an actor goes through.

IDLE       nothing to do; a message may be handled at once, in the sender's turn
QUEUED     messages wait, and the dispatcher knows of it
BUSY       a handler (or on_start, on_stop) of this actor is on the stack: messages queue, nobody re-enters
SUSPENDED  crashed or asked to stop; messages queue until its parent's policy has been applied
CLOSED     stopped for good: asks are answered with ActorDeadError, tells are dead letters

IDLE ──► BUSY ──► IDLE            delivered in the sender's turn
IDLE ──► QUEUED ──► BUSY          by the dispatcher: too deep, over budget, or one step at a time
BUSY ──► QUEUED                   the turn's budget is spent
BUSY ──► SUSPENDED ──► BUSY       crash, then restart (on_start) or resume
SUSPENDED, IDLE, QUEUED ──► BUSY ──► CLOSED    on_stop
"""

from __future__ import annotations

import enum
from collections import deque
from typing import TYPE_CHECKING, Any, Final

from pykka._envelope import Envelope

from busbar.actors.runtime.future import LoopFuture

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from busbar.actors.runtime.node import Node

MAILBOX_LIMIT = 1024
"""Messages that may wait for one actor, unless its class says otherwise."""


class State(enum.Enum):
    IDLE = "idle"
    QUEUED = "queued"
    BUSY = "busy"
    SUSPENDED = "suspended"
    CLOSED = "closed"


# Every message looks at these several times, and to look a member up in its Enum costs ten times what a name does.
IDLE: Final = State.IDLE
BUSY: Final = State.BUSY
CLOSED: Final = State.CLOSED


class Overflow(enum.Enum):
    """What happens to a message when `mailbox_limit` messages wait already. An ask is always refused."""

    REFUSE = "refuse"
    """Tells are taken all the same: each one ends work that an accepted ask began, so their number is bounded by
    the asks. New work is refused, the end of old work never is."""

    DROP = "drop"
    """Tells are dropped and counted: telemetry, which must never hold up the work it reports on."""


class MailboxFull(Exception):
    """The answer to an ask that found `mailbox_limit` messages waiting."""


class Letter(Envelope[Any]):
    """A message that waits. `order` counts the messages of the system, in the order they were sent."""

    __slots__ = ("order",)

    reply_to: LoopFuture | None

    def __init__(self, message: Any, reply_to: LoopFuture | None, order: int) -> None:
        self.message = message
        self.reply_to = reply_to
        self.order = order


class Mailbox:
    """What the delivery of a message needs to know about its receiver. It outlives restarts of the actor."""

    __slots__ = (
        "dropped",
        "handlers",
        "limit",
        "name",
        "node",
        "otherwise",
        "overflow",
        "processed",
        "queue",
        "refused",
        "reply_to",
        "state",
    )

    node: Node
    handlers: Mapping[type, Callable[[Any], Any]]
    otherwise: Callable[[Any], Any]

    def __init__(self, name: str = "", limit: int = MAILBOX_LIMIT, overflow: Overflow = Overflow.REFUSE) -> None:
        self.name = name
        self.limit = limit
        self.overflow = overflow
        self.state: State = BUSY  # until on_start has run
        self.queue: deque[Letter] = deque()  # bounded by the runtime: see Overflow
        self.reply_to: LoopFuture | None = None  # whom the handler on the stack will answer
        self.processed = 0
        self.dropped = 0
        self.refused = 0

    def __repr__(self) -> str:
        return f"<Mailbox {self.name} {self.state.value} {len(self.queue)}>"

    @property
    def ready(self) -> bool:
        """Whether messages wait for a turn from the dispatcher."""
        return self.state is State.QUEUED

    def put(self, envelope: Envelope[Any], /) -> None:
        """Deliver an envelope (pykka's interface; a LoopRef goes to the system directly)."""
        reply_to = envelope.reply_to
        assert reply_to is None or isinstance(reply_to, LoopFuture), "replies of a LoopActor are LoopFutures"
        self.node.system.deliver(self, envelope.message, reply_to)

    def get(self) -> Letter:
        """Take the oldest waiting message.

        Raises:
            IndexError: nothing waits.
        """
        return self.queue.popleft()

    def empty(self) -> bool:
        return not self.queue
