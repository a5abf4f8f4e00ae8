"""Slots at members: asking a pool for one, and giving it back exactly once."""

from __future__ import annotations

import asyncio

import pykka

from busbar.actors.messages import Assignment, Exhausted, Release, Report, Route, Withdraw
from busbar.actors.runtime import LoopFuture, LoopRef, MailboxFull
from busbar.actors.supervision import Outcome
from busbar.protocols.failures import Failure


class Permit:
    """The slot that an assignment gives."""

    __slots__ = (
        "_assignment",
        "_held",
    )

    def __init__(self, assignment: Assignment) -> None:
        self._assignment = assignment
        self._held = True

    def report(self, failure: Failure | None, latency_ms: float, *, refund: bool) -> None:
        """With a verdict on the member."""
        self._held = False
        outcome = Outcome(
            failure=None if failure is None else failure.kind,
            retry_after_secs=None if failure is None else failure.signal.retry_after_secs,
            latency_ms=latency_ms,
        )
        self._assignment.ref.tell(Report(permit=self._assignment.permit, outcome=outcome, refund=refund))

    def release(self, *, refund: bool = False) -> None:
        """Without a verdict, unless there was one already."""
        if self._held:
            self._held = False
            self._assignment.ref.tell(Release(permit=self._assignment.permit, refund=refund))


async def ask_pool(pool: LoopRef, route: Route) -> Assignment | Exhausted:
    """Which member takes the request. A caller that goes away in between does not take the answer's slot with it."""
    asked = pool.ask(route)
    try:
        reply: Assignment | Exhausted = await asked
    except asyncio.CancelledError:
        asked.when_done(_give_back)  # it may be on its way
        pool.tell(Withdraw(route.request_id))
        raise
    except (pykka.ActorDeadError, MailboxFull):
        # The pool has just been restarted, or cannot keep up: nobody was found, and soon somebody may be.
        return Exhausted(reasons={}, retry_after_secs=1.0)
    return reply


def _give_back(asked: LoopFuture) -> None:
    try:
        reply: Assignment | Exhausted = asked.get()
    except pykka.ActorDeadError:
        return  # and with the actor went whatever it had given
    if isinstance(reply, Assignment):
        Permit(reply).release(refund=True)
