"""What an actor's author writes against: `LoopActor`, `handles`, `Forward`."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar, NoReturn, TypeVar

import msgspec
import pykka
from pykka.messages import _ActorStop

from busbar.actors.runtime.future import TAKEN, LoopFuture
from busbar.actors.runtime.mailbox import MAILBOX_LIMIT, Mailbox, Overflow
from busbar.actors.runtime.node import ActorTimer, Node, Reply

if TYPE_CHECKING:
    import random

    from busbar.actors.runtime.ports import Clock, Timer
    from busbar.actors.runtime.ref import LoopRef
    from busbar.actors.runtime.system import ActorSystem
    from busbar.actors.supervision import SupervisionPolicy

logger = logging.getLogger("busbar.actors")

M = TypeVar("M")
R = TypeVar("R")
A = TypeVar("A", bound="LoopActor")


class UnhandledMessage(TypeError):
    """The answer to an ask whose receiver has no handler for that type of message."""


class Forward(msgspec.Struct, frozen=True, eq=False):
    """A handler's answer that is no answer: `to` gets `message`, and answers the first asker."""

    to: LoopRef
    message: Any

    def __repr__(self) -> str:
        return f"Forward({self.to!r}, {self.message!r})"


def handles(message_type: type[M]) -> Callable[[Callable[[A, M], R]], Callable[[A, M], R]]:
    """Mark a method as the handler of messages of exactly this type (subclasses have their own handlers).

    Raises:
        TypeError: the method is a coroutine; a handler runs to its end and never awaits.
    """

    def mark(method: Callable[[A, M], R]) -> Callable[[A, M], R]:
        if inspect.iscoroutinefunction(method):
            msg = f"{method.__qualname__}: a handler never awaits"
            raise TypeError(msg)
        method.__handles__ = (*getattr(method, "__handles__", ()), message_type)  # type: ignore[attr-defined]
        return method

    return mark


class LoopActor(pykka.Actor):
    """An actor on the event loop: state that only its own handlers touch.

    A handler returns the answer to an ask, or a `Forward`, or takes the answer over with `defer()`. It runs to its
    end, is never re-entered, and never awaits. When it raises, the instance is dead: the asker gets the exception
    and the parent's policy decides what becomes of the actor. So handlers do not guard against the impossible.

    `name`, `ref`, `parent`, `system`, `clock` and `random` are there from `__init__` on.
    """

    overflow: ClassVar[Overflow] = Overflow.REFUSE
    mailbox_limit: ClassVar[int] = MAILBOX_LIMIT

    name: str
    ref: LoopRef
    parent: LoopRef | None
    system: ActorSystem
    clock: Clock
    random: random.Random

    _node: Node
    _handlers: ClassVar[dict[type, str]] = {_ActorStop: "_stop_asked"}

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        own: dict[type, str] = {}
        for attribute, method in vars(cls).items():
            for message_type in getattr(method, "__handles__", ()):
                if message_type in own:
                    names = f"{own[message_type]} and {attribute}"
                    msg = f"{cls.__name__} handles {message_type.__name__} twice: {names}"
                    raise TypeError(msg)
                own[message_type] = attribute
        inherited = {k: v for base in reversed(cls.__mro__[1:]) for k, v in getattr(base, "_handlers", {}).items()}
        cls._handlers = inherited | own

    @classmethod
    def start(cls, *args: Any, **kwargs: Any) -> NoReturn:
        """Not for this runtime: an actor needs a system. Raises TypeError."""
        msg = f"{cls.__name__} lives in a system: system.spawn({cls.__name__}, ..., name=...)"
        raise TypeError(msg)

    def __init__(self) -> None:
        """Only the system makes actors. Do little here; what talks to others belongs in `on_start()`."""
        if not hasattr(self, "_node"):
            type(self).start()

    def __str__(self) -> str:
        return f"{type(self).__name__} {self.name}"

    def defer(self) -> Reply:
        """Take over the answer to the message being handled; the handler's own return value is then ignored.

        Call it inside the handler, keep the `Reply`, answer later.
        """
        mailbox = self._node.mailbox
        reply_to, mailbox.reply_to = mailbox.reply_to, TAKEN
        return Reply(self._node, reply_to if reply_to is not TAKEN else None)

    def schedule(self, delay_secs: float, message: Any) -> Timer:
        """Send `message` to this actor in `delay_secs` seconds of the system's clock, unless it dies before."""
        return ActorTimer(self._node, delay_secs, message)

    def spawn(
        self,
        actor_class: type[LoopActor],
        *args: Any,
        name: str,
        policy: SupervisionPolicy | None = None,
        **kwargs: Any,
    ) -> LoopRef:
        """Start a child of this actor. See `ActorSystem.spawn`."""
        return self.system.spawn(actor_class, *args, name=name, parent=self.ref, policy=policy, **kwargs)

    def renew_with(self, *args: Any, **kwargs: Any) -> None:
        """From now on a restart makes this actor with these arguments: what it was told to be, it still is then."""
        self._node.args, self._node.kwargs = args, kwargs

    def on_receive(self, message: Any) -> Any:
        """Called for a message that no handler is marked for. The asker gets `UnhandledMessage`; the actor lives,
        because the mistake is the sender's."""
        error = f"{self} has no handler for {type(message).__name__}"
        logger.warning(error)
        self.defer().set_exception(UnhandledMessage(error))

    def _stop_asked(self, _message: _ActorStop) -> None:
        mailbox = self._node.mailbox
        reply_to, mailbox.reply_to = mailbox.reply_to, TAKEN
        self.system.supervisor.stop_asked(self._node, reply_to)

    def bind(self, node: Node) -> None:
        """For the runtime: give a new instance its place, before its `__init__` runs."""
        system = node.system
        self._node = node
        self._actor_ref = self.ref = node.ref
        self.name = node.name
        self.system = system
        self.clock = system.clock
        self.random = system.random
        self.parent = node.parent.ref if node.parent is not None else None

    def bound_handlers(self) -> dict[type, Callable[[Any], Any]]:
        """For the runtime: this instance's handlers by the exact type of message."""
        return {message_type: getattr(self, method) for message_type, method in self._handlers.items()}

    # What pykka asks of those who make a new kind of actor.

    @staticmethod
    def _create_actor_inbox() -> Mailbox:
        return Mailbox()

    @staticmethod
    def _create_future() -> LoopFuture:
        return LoopFuture()

    def _start_actor_loop(self) -> None:
        """There is no loop of its own to start."""
