"""Life and death of actors: starts them, applies what the policies decide, and stops them in order.

Decisions and stops happen at the end of a turn, when no handler is on the stack. So an actor that crashed or stops is
never in the middle of a message, and neither are its parent and its children.
"""

from __future__ import annotations

import logging
from collections import deque
from functools import partial
from typing import TYPE_CHECKING, TypeAlias

import msgspec
import pykka
from pykka.messages import _ActorStop

from busbar.actors.runtime.future import LoopFuture
from busbar.actors.runtime.mailbox import State
from busbar.actors.supervision import ChildView, Directive, Escalate, Restart, Resume, Stop

if TYPE_CHECKING:
    from busbar.actors.runtime.delivery import Delivery
    from busbar.actors.runtime.node import ActorInfo, Node
    from busbar.actors.runtime.ports import Clock
    from busbar.actors.supervision import SupervisionPolicy

logger = logging.getLogger("busbar.actors")

CRASHES_KEPT = 16
FALLEN_KEPT = 64

CrashDirective: TypeAlias = Resume | Restart | Stop | Escalate


class Crash(msgspec.Struct, frozen=True):
    """An actor raised, and this was done about it."""

    at: float
    """The clock's `now()`, in seconds."""
    actor: str
    error: BaseException
    directive: Directive


class Supervisor:
    """The part of a system that makes, renews and ends actors."""

    def __init__(self, clock: Clock, delivery: Delivery, policy: SupervisionPolicy, *, register: bool) -> None:
        self.roots: dict[str, Node] = {}  # in order of start
        self.nodes: dict[str, Node] = {}
        self.crashes: deque[Crash] = deque(maxlen=CRASHES_KEPT)
        self.fallen: dict[str, ActorInfo] = {}  # ended by a crash, latest last; at most FALLEN_KEPT
        self.stopping = False
        self.failure: BaseException | None = None
        self.terminated = LoopFuture()
        self._clock = clock
        self._delivery = delivery
        self._policy = policy
        self._register = register
        delivery.supervise = self.decide

    def admit(self, node: Node) -> None:
        """Put a new node in its place and start it. Raises what its `__init__` raises, and then nothing is left."""
        self.nodes[node.name] = self._siblings(node)[node.name] = node
        self.fallen.pop(node.name, None)
        with self._delivery.in_turn():
            try:
                self._make(node)
            except BaseException:
                self.end(node, drain=False)
                raise
            if self._register:
                pykka.ActorRegistry.register(node.ref)
            self._start(node)

    def decide(self, node: Node) -> None:
        """Ask the parent's policy about a crashed actor, and do what it says."""
        error = node.error
        if node.mailbox.state is State.CLOSED or error is None:
            return
        directive = self._directive(node, error)
        self.crashes.append(Crash(self._clock.now(), node.name, error, directive))
        logger.error("%s crashed: %s", node.ref, type(directive).__name__.lower(), exc_info=error)
        match directive:
            case Resume():
                node.error = None
                self._delivery.release(node.mailbox)
            case Restart():
                self._restart(node)
            case Stop():
                self.end(node, drain=False)
            case Escalate():
                self._escalate(node, error)

    def end(self, node: Node, *, drain: bool) -> None:
        """Stop an actor for good, its children first. With `drain` it handles what is in its mailbox now."""
        mailbox = node.mailbox
        if mailbox.state is State.CLOSED:
            return
        node.stopping = True
        self._end_children(node)
        if drain and mailbox.state is not State.SUSPENDED:
            self._delivery.drain(mailbox)
        if mailbox.state is not State.SUSPENDED:
            mailbox.state = State.BUSY
        self._last_hook(node)
        node.end_instance("stopped before it answered")
        self._close(node)

    def stop_asked(self, node: Node, reply_to: LoopFuture | None) -> None:
        """Suspend an actor that was asked to stop, and stop it at the end of the turn."""
        node.mailbox.state = State.SUSPENDED
        if reply_to is not None:
            node.stop_replies.append(reply_to)
        self._delivery.end_of_turn.append(partial(self.end, node, drain=False))

    def stop_next(self) -> None:
        """Stop the actor whose turn it is: the last of the last started branch."""
        node = next(reversed(self.roots.values()))
        while node.children:
            node = next(reversed(node.children.values()))
        self.end(node, drain=True)

    def stop_all(self) -> None:
        """Stop everything, in order, and say so."""
        self.stopping = True
        while self.roots:
            self.stop_next()
        if self.failure is None:
            self.terminated.set(None)
        else:
            self.terminated.set_exception(self.failure)

    def _make(self, node: Node) -> None:
        """Make a node's instance. What outlives an instance (pykka's urn, the ref, the mailbox) is made once."""
        actor = node.actor_class.__new__(node.actor_class)
        node.attach(actor)
        actor.__init__(*node.args, **node.kwargs)  # type: ignore[misc]  # an instance of exactly that class
        node.actor = actor
        node.mailbox.handlers = actor.bound_handlers()
        node.mailbox.otherwise = actor.on_receive
        node.started_at = self._clock.now()

    def _start(self, node: Node) -> None:
        actor, mailbox = node.actor, node.mailbox
        assert actor is not None, "made before it is started"
        mailbox.state = State.BUSY
        try:
            actor.on_start()
        except Exception as error:  # noqa: BLE001  # supervision boundary: the parent's policy decides
            self._delivery.crashed(node, error)
        else:
            self._delivery.release(mailbox)

    def _siblings(self, node: Node) -> dict[str, Node]:
        return node.parent.children if node.parent is not None else self.roots

    def _directive(self, node: Node, error: BaseException) -> CrashDirective:
        if self.stopping or node.stopping:
            return Stop()
        policy = node.parent.policy if node.parent is not None else self._policy
        since = self._clock.now() - policy.restart_window_secs
        node.restarted_at = [at for at in node.restarted_at if at > since]
        restarts = len(node.restarted_at)
        child = ChildView(node.name, node.actor_class.__name__, restarts, node.started_at)
        try:
            directive = policy.on_crash(child, error)
        except Exception:  # the policy is the user's code, and this is its boundary
            logger.exception("%s: the supervision policy failed, escalating", node.ref)
            return Escalate()
        if isinstance(directive, Restart) and restarts >= policy.max_restarts:
            return Escalate()
        if not isinstance(directive, CrashDirective):
            logger.error("%s: %r is no answer to a crash, escalating", node.ref, directive)
            return Escalate()
        return directive

    def _restart(self, node: Node) -> None:
        node.restarts += 1
        node.restarted_at.append(self._clock.now())
        self._end_children(node)
        self._last_hook(node)
        node.end_instance("was restarted before it answered")
        node.error = None
        try:
            self._make(node)
        except Exception as again:  # noqa: BLE001  # supervision boundary: the parent's policy decides
            self._delivery.crashed(node, again)
        else:
            self._start(node)

    def _escalate(self, node: Node, error: BaseException) -> None:
        parent = node.parent
        self.end(node, drain=False)
        if parent is None:
            self.failure = error
            self.stop_all()
        elif parent.error is None:
            self._delivery.crashed(parent, error)

    def _end_children(self, node: Node) -> None:
        for child in reversed(list(node.children.values())):
            self.end(child, drain=True)

    def _last_hook(self, node: Node) -> None:
        """`on_stop`, or pykka's `on_failure` for an instance that crashed."""
        (actor, node.actor), error = (node.actor, None), node.error
        if actor is None:
            return
        try:
            if error is None:
                actor.on_stop()
            else:
                actor.on_failure(type(error), error, error.__traceback__)
        except Exception:  # supervision boundary: the instance is on its way out anyway
            logger.exception("%s failed while it was ending", node.ref)

    def _close(self, node: Node) -> None:
        mailbox = node.mailbox
        mailbox.state = State.CLOSED
        node.ref.alive = False
        node.ref.actor_stopped.set()
        if self._register:
            pykka.ActorRegistry.unregister(node.ref)
        del self._siblings(node)[node.name], self.nodes[node.name]
        if node.error is not None:
            while len(self.fallen) >= FALLEN_KEPT:
                del self.fallen[next(iter(self.fallen))]
            self.fallen[node.name] = node.info(alive=False)
        while mailbox.queue:
            letter = mailbox.queue.popleft()
            if letter.message.__class__ is _ActorStop and letter.reply_to is not None:
                letter.reply_to.set(True)
            else:
                self._delivery.refuse_dead(mailbox, letter.reply_to)
        while node.stop_replies:
            node.stop_replies.pop().set(True)
        mailbox.handlers = {}
        mailbox.otherwise = _nobody


def _nobody(message: object) -> None:
    """Handles the messages of a closed mailbox: there are none."""
    msg = f"{type(message).__name__} reached a stopped actor"
    raise pykka.ActorDeadError(msg)
