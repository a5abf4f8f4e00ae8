"""The only thing one actor knows of another."""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING, Any, Literal, overload

import pykka
from pykka.messages import _ActorStop

from busbar.actors.runtime.future import LoopFuture

if TYPE_CHECKING:
    from busbar.actors.runtime.actor import LoopActor
    from busbar.actors.runtime.mailbox import Mailbox
    from busbar.actors.runtime.node import Node


class LoopRef(pykka.ActorRef["LoopActor"]):
    """An actor's address. It stays valid over restarts, and outlives the actor: see `is_alive()`.

    Unlike pykka's refs, `ask` and `stop` do not block by default, and a tell to a dead actor does not raise: it is
    counted in `ActorSystem.dead_letters`, because a supervised sender must not die of a receiver's death.
    """

    actor_inbox: Mailbox

    def __init__(self, node: Node, actor: LoopActor) -> None:
        super().__init__(actor)
        self._node = node
        self._deliver = node.system.deliver
        self.alive = True
        """What `is_alive()` says, for those who ask it for every request."""

    def point_to(self, actor: LoopActor) -> None:
        """Follow a restart: pykka's proxies look at the instance."""
        self._actor_weakref = weakref.ref(actor)

    @property
    def node(self) -> Node:
        """For the runtime: the actor's place in the tree."""
        return self._node

    @property
    def name(self) -> str:
        """The actor's name, unique in its system."""
        return self.actor_inbox.name

    def is_alive(self) -> bool:
        """Whether the actor has not stopped for good; one that is being restarted is alive."""
        return self.alive

    def __repr__(self) -> str:
        return f"<LoopRef {self}>"

    def __str__(self) -> str:
        return f"{self.actor_class.__name__} {self.name}"

    def tell(self, message: Any) -> None:
        """Send a message that wants no answer. An idle actor handles it before this returns."""
        self._deliver(self.actor_inbox, message, None)

    @overload
    def ask(self, message: Any, *, block: Literal[False] = False, timeout: float | None = None) -> LoopFuture: ...
    @overload
    def ask(self, message: Any, *, block: Literal[True], timeout: float | None = None) -> Any: ...
    @overload
    def ask(self, message: Any, *, block: bool = False, timeout: float | None = None) -> Any | LoopFuture: ...
    def ask(self, message: Any, *, block: bool = False, timeout: float | None = None) -> Any | LoopFuture:
        """Send a message and get a future of the answer, which is there already when the actor was idle.

        The future holds the exception that the handler raised, or `MailboxFull`, `UnhandledMessage` or
        `pykka.ActorDeadError`. With `block` (pykka's signature; nothing is ever waited for) the answer itself is
        returned.

        Raises:
            pykka.Timeout: with `block`, when the answer is not there at once.
            Exception: with `block`, what the future holds.
        """
        future = LoopFuture()
        self._deliver(self.actor_inbox, message, future)
        return future.get(timeout=timeout) if block else future

    @overload
    def stop(self, *, block: Literal[True], timeout: float | None = None) -> bool: ...
    @overload
    def stop(self, *, block: Literal[False] = False, timeout: float | None = None) -> LoopFuture: ...
    @overload
    def stop(self, *, block: bool = False, timeout: float | None = None) -> bool | LoopFuture: ...
    def stop(self, *, block: bool = False, timeout: float | None = None) -> bool | LoopFuture:
        """Ask the actor to stop after the messages sent before this one, its children before it.

        The answer is True once it has stopped, False when it was dead already.

        Raises:
            pykka.Timeout: with `block`, when it could not stop at once.
        """
        future = LoopFuture()
        if self.is_alive():
            self._deliver(self.actor_inbox, _ActorStop(), future)
        else:
            future.set(False)
        if block:
            stopped: bool = future.get(timeout=timeout)
            return stopped
        return future
