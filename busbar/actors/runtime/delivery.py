"""Delivery: the one place that every message to every actor goes through.

A *turn* is what happens between a message (or a spawn) from outside of all actors and the moment control goes
back there. In it, a message to an idle actor is handled at once, a busy actor's are queued and handled before the
turn ends, up to the dispatcher's budget; the rest gets a turn of its own, from the dispatcher. An actor is never
re-entered. Crashes and stops are dealt with at the end of the turn, when no handler is on the stack.
"""

from __future__ import annotations

from collections import deque
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

import pykka
from pykka.messages import _ActorStop

from busbar.actors.runtime.actor import Forward
from busbar.actors.runtime.future import TAKEN
from busbar.actors.runtime.mailbox import BUSY, CLOSED, IDLE, Letter, MailboxFull, Overflow, State

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from busbar.actors.runtime.future import LoopFuture
    from busbar.actors.runtime.mailbox import Mailbox
    from busbar.actors.runtime.node import Node
    from busbar.actors.runtime.ports import Clock, Dispatcher
    from busbar.actors.runtime.tap import Tap


class Delivery:
    """Takes messages to mailboxes and runs handlers, one turn at a time."""

    supervise: Callable[[Node], None]
    """Decides about a crashed actor; the supervisor puts itself here."""

    def __init__(self, clock: Clock, dispatcher: Dispatcher, tap: Tap) -> None:
        assert dispatcher.budget >= 1, "a turn handles at least one message"
        self.sent = 0  # whatever became of them
        self.dead_letters = 0
        self.end_of_turn: deque[Callable[[], None]] = deque()  # at most a crash and a stop of each actor
        self._now = clock.now
        self._record = tap.record
        self._dispatcher = dispatcher
        self._depth = 0
        self._depth_limit = dispatcher.depth_limit
        self._left = self._budget = dispatcher.budget

    def deliver(self, mailbox: Mailbox, message: Any, reply_to: LoopFuture | None) -> None:
        """Send a message. With `reply_to` it is an ask; the answer may come before this returns."""
        self._record((self._now(), mailbox.name, message))
        self.sent += 1
        if mailbox.state is not IDLE or self._depth >= self._depth_limit or self._left <= 0:
            self._enqueue(mailbox, message, reply_to)
            return
        mailbox.state = BUSY
        self._depth += 1
        self._left -= 1
        mailbox.processed += 1
        mailbox.reply_to = reply_to
        try:
            # What `_handle` does, without the call: this is the way of nearly every message.
            try:
                result = (mailbox.handlers.get(message.__class__) or mailbox.otherwise)(message)
            except Exception as error:  # noqa: BLE001  # the supervision boundary
                self._failed(mailbox, error, reply_to)
            else:
                reply_to = mailbox.reply_to
                if result.__class__ is Forward:
                    if reply_to is not TAKEN:
                        self.deliver(result.to.actor_inbox, result.message, reply_to)
                elif reply_to is not None:
                    reply_to.set(result)
            if mailbox.queue:
                self._drain_turn(mailbox)
            elif mailbox.state is BUSY:
                mailbox.state = IDLE
        finally:
            self._depth -= 1
            if not self._depth:
                self._left = self._budget
                if self.end_of_turn:
                    self.settle()

    def drain(self, mailbox: Mailbox) -> None:
        """Handle what is in the mailbox now, whatever the budget: the last thing an actor does before it stops."""
        mailbox.state = BUSY
        for _ in range(len(mailbox.queue)):
            if mailbox.state is not BUSY:
                return  # crashed, or asked to stop
            letter = mailbox.queue.popleft()
            self._handle(mailbox, letter.message, letter.reply_to)

    def release(self, mailbox: Mailbox) -> None:
        """Let an actor go on after `on_start` or a resumed crash, with what waits for it."""
        mailbox.state = BUSY
        if mailbox.queue and not self._depth_limit:
            self._queue_turn(mailbox)
        else:
            self._drain_turn(mailbox)

    def crashed(self, node: Node, error: BaseException) -> None:
        """Suspend an actor whose instance failed, until the supervisor decides at the end of the turn."""
        node.mailbox.state = State.SUSPENDED
        node.error = error
        self.end_of_turn.append(partial(self.supervise, node))

    def refuse_dead(self, mailbox: Mailbox, reply_to: LoopFuture | None) -> None:
        """Answer for an actor that is dead."""
        if reply_to is not None:
            reply_to.set_exception(pykka.ActorDeadError(f"{mailbox.name} is not alive"))
        else:
            self.dead_letters += 1

    @contextmanager
    def in_turn(self) -> Iterator[None]:
        """A turn for something that is no message; inside of another turn, a part of that."""
        self._depth += 1
        try:
            yield
        finally:
            self._leave()

    def settle(self) -> None:
        """Do what waits for the end of the turn; nothing when called within one."""
        while self.end_of_turn and not self._depth:
            act = self.end_of_turn.popleft()
            self._left = self._budget
            self._depth = 1
            try:
                act()
            finally:
                self._depth = 0
                self._left = self._budget

    def _handle(self, mailbox: Mailbox, message: Any, reply_to: LoopFuture | None) -> None:
        """Run the handler of one message, and pass on its answer."""
        mailbox.processed += 1
        mailbox.reply_to = reply_to  # until the handler takes the answer over
        try:
            result = (mailbox.handlers.get(message.__class__) or mailbox.otherwise)(message)
        except Exception as error:  # noqa: BLE001  # the supervision boundary
            self._failed(mailbox, error, reply_to)
            return
        reply_to = mailbox.reply_to
        if result.__class__ is Forward:
            if reply_to is not TAKEN:
                self.deliver(result.to.actor_inbox, result.message, reply_to)
        elif reply_to is not None:
            reply_to.set(result)

    def _failed(self, mailbox: Mailbox, error: Exception, reply_to: LoopFuture | None) -> None:
        self.crashed(mailbox.node, error)
        if reply_to is not None:
            reply_to.set_exception(error)

    def _enqueue(self, mailbox: Mailbox, message: Any, reply_to: LoopFuture | None) -> None:
        """Let a message wait, or apply the overflow rule."""
        if mailbox.state is CLOSED:
            self.refuse_dead(mailbox, reply_to)
            return
        if len(mailbox.queue) >= mailbox.limit and message.__class__ is not _ActorStop:
            if reply_to is not None:
                mailbox.refused += 1
                reply_to.set_exception(MailboxFull(f"{mailbox.name}: {mailbox.limit} messages wait already"))
                return
            if mailbox.overflow is Overflow.DROP:
                mailbox.dropped += 1
                return
        mailbox.queue.append(Letter(message, reply_to, self.sent))
        if mailbox.state is IDLE:
            self._queue_turn(mailbox)

    def _queue_turn(self, mailbox: Mailbox) -> None:
        mailbox.state = State.QUEUED
        self._dispatcher.call_soon(self._queued_turn, mailbox)

    def _queued_turn(self, mailbox: Mailbox) -> None:
        """A turn from the dispatcher."""
        if mailbox.state is not State.QUEUED:
            return  # stopped, or restarted and drained, since it was queued
        mailbox.state = BUSY
        self._depth += 1
        try:
            self._drain_turn(mailbox)
        finally:
            self._leave()

    def _drain_turn(self, mailbox: Mailbox) -> None:
        """Handle what waits, as far as the turn's budget goes."""
        queue = mailbox.queue
        while queue and self._left > 0 and mailbox.state is BUSY:
            self._left -= 1
            letter = queue.popleft()
            self._handle(mailbox, letter.message, letter.reply_to)
        if mailbox.state is BUSY:
            if queue:
                self._queue_turn(mailbox)
            else:
                mailbox.state = IDLE

    def _leave(self) -> None:
        self._depth -= 1
        if not self._depth:
            self._left = self._budget
            if self.end_of_turn:
                self.settle()
