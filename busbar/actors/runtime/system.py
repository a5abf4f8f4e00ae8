"""The actor system: what the rest of Busbar holds of the runtime."""

from __future__ import annotations

import asyncio
import random as _random
from typing import TYPE_CHECKING, Any

import pykka

from busbar.actors.runtime.delivery import Delivery
from busbar.actors.runtime.mailbox import Mailbox
from busbar.actors.runtime.node import ActorInfo, Node
from busbar.actors.runtime.ports import Clock, Dispatcher, InlineDispatcher, LoopClock
from busbar.actors.runtime.supervision import Crash, Supervisor
from busbar.actors.runtime.tap import TAP_SIZE, Tap
from busbar.actors.supervision import RestartPolicy, SupervisionPolicy

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from busbar.actors.runtime.actor import LoopActor
    from busbar.actors.runtime.future import LoopFuture
    from busbar.actors.runtime.ref import LoopRef


class ActorSystem:
    """A tree of actors on one event loop.

    Not thread-safe: a system belongs to its loop's thread. How messages are run is told in `delivery`, how actors die
    and are renewed in `supervision`.
    """

    def __init__(
        self,
        *,
        clock: Clock | None = None,
        random: _random.Random | None = None,
        dispatcher: Dispatcher | None = None,
        policy: SupervisionPolicy | None = None,
        tap_size: int = TAP_SIZE,
        register: bool = True,
    ) -> None:
        """`policy` supervises the actors without a parent (None: restart them); `register` keeps living actors in
        `pykka.ActorRegistry`, which is global."""
        self.clock = clock if clock is not None else LoopClock()
        self.random = random if random is not None else _random.Random()  # noqa: S311  # jitter, not secrets
        self.tap = Tap(tap_size)
        self._delivery = Delivery(self.clock, dispatcher or InlineDispatcher(), self.tap)
        self.deliver = self._delivery.deliver
        """The one function that delivers every message; `LoopRef` and `Forward` come here."""
        self.supervisor = Supervisor(self.clock, self._delivery, policy or RestartPolicy(), register=register)
        """For the runtime."""

    def spawn(
        self,
        actor_class: type[LoopActor],
        *args: Any,
        name: str,
        parent: LoopRef | None = None,
        policy: SupervisionPolicy | None = None,
        **kwargs: Any,
    ) -> LoopRef:
        """Start an actor; its arguments are kept, for restarts.

        `policy` decides what happens when a child of the new actor crashes (None: restart it). What happens when the
        new actor itself crashes, be it in `on_start`, is for its parent's policy.

        Raises:
            ValueError: a living actor has that name.
            pykka.ActorDeadError: the parent, or the system, has stopped or is stopping.
            Exception: what the class's `__init__` raised; then there is no actor.
        """
        above = parent.node if parent is not None else None
        if self.supervisor.stopping or (above is not None and above.stopping):
            msg = f"{name} cannot start: {parent or 'the system'} is stopping"
            raise pykka.ActorDeadError(msg)
        if name in self.supervisor.nodes:
            msg = f"there is an actor called {name} already"
            raise ValueError(msg)
        mailbox = Mailbox(name, actor_class.mailbox_limit, actor_class.overflow)
        node = Node(self, actor_class, args, kwargs, mailbox, above, policy or RestartPolicy())
        self.supervisor.admit(node)
        return node.ref

    def children(self, ref: LoopRef | None = None) -> list[LoopRef]:
        """The actors right below one, or those without a parent, in order of start."""
        nodes = self.supervisor.roots if ref is None else ref.node.children
        return [node.ref for node in nodes.values()]

    def snapshot(self) -> list[ActorInfo]:
        """Every living actor, parents before their children; then the latest of those that a crash ended."""
        living = [node.info() for node in _walk(self.supervisor.roots)]
        return living + list(self.supervisor.fallen.values())

    def crashes(self) -> list[Crash]:
        """The latest crashes and what was done about them, oldest first."""
        return list(self.supervisor.crashes)

    @property
    def sent(self) -> int:
        """Messages sent so far, whatever became of them."""
        return self._delivery.sent

    @property
    def dead_letters(self) -> int:
        """Tells whose receiver was dead, or died before it came to them."""
        return self._delivery.dead_letters

    @property
    def failure(self) -> BaseException | None:
        """The error that escalated past the root and stopped the system."""
        return self.supervisor.failure

    @property
    def terminated(self) -> LoopFuture:
        """Answered once everything has stopped: with None, or with `failure` as an exception."""
        return self.supervisor.terminated

    async def stop(self) -> None:
        """Stop all actors in order, one in each turn of the loop.

        Children stop before their parents, siblings in reverse order of start. Each handles what is in its
        mailbox, then its `on_stop` runs; later asks are answered with `pykka.ActorDeadError`. Nothing can be spawned
        any more.
        """
        self.supervisor.stopping = True
        while self.supervisor.roots:
            with self._delivery.in_turn():
                self._delivery.end_of_turn.append(self.supervisor.stop_next)
            await asyncio.sleep(0)
        self.stop_now()

    def stop_now(self) -> None:
        """Stop all actors in the same order, at once; when a handler calls it, at the end of its turn."""
        self.supervisor.stopping = True
        with self._delivery.in_turn():
            self._delivery.end_of_turn.append(self.supervisor.stop_all)


def _walk(nodes: Mapping[str, Node]) -> Iterator[Node]:
    for node in nodes.values():
        yield node
        yield from _walk(node.children)
