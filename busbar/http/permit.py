"""Slots at members: asking a pool for one, and giving it back exactly once."""

from __future__ import annotations

import asyncio

import pykka
from msgspec import Struct

from busbar.actors.messages import Assignment, Exhausted, Release, Report, Route, Withdraw
from busbar.actors.runtime import LoopFuture, LoopRef, MailboxFull
from busbar.actors.supervision import Outcome
from busbar.protocols.failures import Failure


class Permit(Struct):
    """The slot that an assignment gives."""

    assignment: Assignment
    held: bool = True

    def report(self, failure: Failure | None, latency_ms: float, *, refund: bool) -> None:
        """With a verdict on the member."""
        self.held = False
        if failure is None:
            outcome = Outcome(None, None, latency_ms)
        else:
            outcome = Outcome(failure.kind, failure.signal.retry_after_secs, latency_ms)
        self.assignment.ref.tell(Report(permit=self.assignment.permit, outcome=outcome, refund=refund))

    def release(self, *, refund: bool = False) -> None:
        """Without a verdict, unless there was one already."""
        if self.held:
            self.held = False
            self.assignment.ref.tell(Release(permit=self.assignment.permit, refund=refund))


def ask_at_once(pool: LoopRef, route: Route) -> Assignment | Exhausted | LoopFuture:
    """Which member takes the request: the reply, which is nearly always there at once. A request that has to wait
    gets its future, for `wait_for`."""
    asked = pool.ask(route)
    return _reply(asked) if asked.done() else asked


async def wait_for(asked: LoopFuture, pool: LoopRef, route: Route) -> Assignment | Exhausted:
    """The reply. A caller that goes away before it comes does not take the slot with it."""
    try:
        await asked
    except asyncio.CancelledError:
        asked.when_done(_give_back)  # it may be on its way
        pool.tell(Withdraw(route.request_id))
        raise
    except (pykka.ActorDeadError, MailboxFull):
        pass
    return _reply(asked)


def _reply(asked: LoopFuture) -> Assignment | Exhausted:
    try:
        reply: Assignment | Exhausted = asked.get()
    except (pykka.ActorDeadError, MailboxFull):
        # The pool has just been restarted, or cannot keep up: nobody was found, and soon somebody may be.
        return Exhausted(reasons={}, retry_after_secs=1.0)
    return reply


def _give_back(asked: LoopFuture) -> None:
    try:
        reply: Assignment | Exhausted = asked.get()
    except (pykka.ActorDeadError, MailboxFull):
        return  # and with the actor went whatever it had given
    if isinstance(reply, Assignment):
        Permit(reply).release(refund=True)
