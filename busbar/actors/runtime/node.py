"""An actor's place in the tree: what outlives its restarts, and what dies with each instance."""

from __future__ import annotations

import threading
import uuid
from typing import TYPE_CHECKING, Any

import msgspec
import pykka

from busbar.actors.runtime.ports import Timer
from busbar.actors.runtime.ref import LoopRef

if TYPE_CHECKING:
    from collections.abc import Callable

    from busbar.actors.runtime.actor import LoopActor
    from busbar.actors.runtime.future import LoopFuture
    from busbar.actors.runtime.mailbox import Mailbox
    from busbar.actors.runtime.system import ActorSystem
    from busbar.actors.supervision import SupervisionPolicy


class ActorInfo(msgspec.Struct, frozen=True):
    """One actor, for `/stats`."""

    name: str
    kind: str
    """Its class's name."""
    alive: bool
    mailbox: int
    """Messages that wait."""
    processed: int
    restarts: int
    """Since it was spawned."""
    dropped: int
    """Tells dropped and asks refused because the mailbox was full."""


class Node:
    """Everything the system keeps about one actor, besides its mailbox. Nothing here is for other actors."""

    __slots__ = (
        "actor",
        "actor_class",
        "args",
        "children",
        "error",
        "kwargs",
        "mailbox",
        "parent",
        "policy",
        "ref",
        "replies",
        "restarted_at",
        "restarts",
        "started_at",
        "stop_replies",
        "stopping",
        "system",
        "timers",
    )

    ref: LoopRef
    actor: LoopActor | None

    def __init__(
        self,
        system: ActorSystem,
        actor_class: type[LoopActor],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        mailbox: Mailbox,
        parent: Node | None,
        policy: SupervisionPolicy,
    ) -> None:
        self.system = system
        self.actor_class = actor_class
        self.args = args
        self.kwargs = kwargs
        self.mailbox = mailbox
        mailbox.node = self
        self.parent = parent
        self.policy = policy  # over this node's children
        self.children: dict[str, Node] = {}  # in order of start
        self.stopping = False
        self.stop_replies: list[LoopFuture] = []
        self.restarts = 0
        self.restarted_at: list[float] = []  # inside the parent policy's window, so at most its max_restarts
        self.started_at = 0.0
        self.timers: set[ActorTimer] = set()
        self.replies: set[Reply] = set()
        self.actor = None
        self.error: BaseException | None = None  # what the instance died of, until the supervisor has decided

    @property
    def name(self) -> str:
        return self.mailbox.name

    def attach(self, actor: LoopActor) -> None:
        """Give a new instance, before its `__init__` runs, what outlives instances."""
        ref: LoopRef | None = getattr(self, "ref", None)
        actor.actor_inbox = self.mailbox
        actor.actor_urn = ref.actor_urn if ref is not None else uuid.uuid4().urn
        actor.actor_stopped = ref.actor_stopped if ref is not None else threading.Event()
        if ref is None:
            self.ref = LoopRef(self, actor)
        else:
            ref.point_to(actor)
        actor.bind(self)

    def info(self, *, alive: bool = True) -> ActorInfo:
        box = self.mailbox
        return ActorInfo(
            name=box.name,
            kind=self.actor_class.__name__,
            alive=alive,
            mailbox=len(box.queue),
            processed=box.processed,
            restarts=self.restarts,
            dropped=box.dropped + box.refused,
        )

    def end_instance(self, reason: str) -> None:
        """Take from a dead instance what it left behind: its timers, and the answers it owes."""
        while self.timers:
            self.timers.pop().cancel()
        while self.replies:
            self.replies.pop().set_exception(pykka.ActorDeadError(f"{self.name} {reason}"))


class ActorTimer(Timer):
    """A message that an actor sends to itself later. It dies with the instance that set it."""

    def __init__(self, node: Node, delay_secs: float, message: Any) -> None:
        self._node = node
        self._message = message
        self._timer = node.system.clock.call_later(delay_secs, self._fire)
        node.timers.add(self)

    def cancel(self) -> None:
        self._node.timers.discard(self)
        self._timer.cancel()

    def _fire(self) -> None:
        self._node.timers.discard(self)
        self._node.ref.tell(self._message)


class Reply:
    """The answer to one ask, taken over with `defer()`. Answer it once; when the actor dies first, the asker gets
    `pykka.ActorDeadError`. After `defer()` in the handler of a tell there is nobody to answer, and that is fine."""

    __slots__ = ("_future", "_node")

    def __init__(self, node: Node, future: LoopFuture | None) -> None:
        self._node = node
        self._future = future
        if future is not None:
            node.replies.add(self)

    @property
    def open(self) -> bool:
        """Whether somebody still waits: not answered yet, and the asking coroutine was not cancelled."""
        return self._future is not None and not self._future.done() and not self._future.abandoned

    def set(self, value: Any = None) -> bool:
        """Answer. False when nobody waits any more, so that what was about to be given away can be kept."""
        return self._answer(lambda future: future.set(value))

    def set_exception(self, error: BaseException) -> bool:
        """Answer with an exception. False when nobody waits any more."""
        return self._answer(lambda future: future.set_exception(error))

    def forward(self, to: LoopRef, message: Any) -> bool:
        """Hand the question on: `to` answers the first asker. False, and nothing sent, when nobody waits any more."""
        return self._answer(lambda future: self._node.system.deliver(to.actor_inbox, message, future))

    def _answer(self, act: Callable[[LoopFuture], None]) -> bool:
        waited_for = self.open
        future, self._future = self._future, None
        self._node.replies.discard(self)
        if future is None or not waited_for:
            return False
        act(future)
        return True
