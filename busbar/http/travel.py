"""One request on its way: what its journey says, done with real pools and providers."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from msgspec import Struct
from msgspec.structs import replace

from busbar.actors.journey import Ask, Destination, Failing, GiveUp, Journey, Step, Try, Verdict, Wait
from busbar.actors.messages import Assignment, Exhausted, Route
from busbar.actors.runtime import Clock, LoopFuture, LoopRef
from busbar.config.schema import LimitsConfig
from busbar.http.admissions import Admissions
from busbar.http.attempt import Attempt
from busbar.http.auth import Doorkeeper
from busbar.http.bill import Unrecorded
from busbar.http.call import Call, Failed
from busbar.http.destinations import Destinations
from busbar.http.estimate import estimate
from busbar.http.lanes import Lane
from busbar.http.permit import Permit, ask_at_once, wait_for
from busbar.http.ports import CallerGone, Upstream
from busbar.http.record import Record
from busbar.http.recovery import Recovery
from busbar.http.reports import NOTHING_HERE, TOOK_TOO_LONG, exhausted, final, report_of_callers_account
from busbar.protocols.errors import ErrorReport, report_of
from busbar.protocols.failures import Disposition, Failure, FailureClass
from busbar.protocols.protocol import InvalidRequest
from busbar.protocols.signing import MalformedCredential

FAIR_TRIAL_SECS = 10.0
"""A member that the request's deadline left less time than this is not blamed for having been too slow."""

_OUTCOMES: Mapping[Disposition, str] = {
    Disposition.TRANSIENT: "error",
    Disposition.HARD_DOWN: "error",
    Disposition.CLIENT_FAULT: "client_error",
    Disposition.CONTEXT_LENGTH: "client_error",
}


class Means(Struct, frozen=True, kw_only=True):
    """What every request needs on its way."""

    destinations: Destinations
    lanes: Mapping[str, Lane]
    doorkeeper: Doorkeeper
    upstream: Upstream
    continuity: LoopRef
    clock: Clock
    limits: LimitsConfig
    admissions: Admissions | None = None
    """Where there is governance."""


class Travel:
    """One request's. `only`: the members that can do what is asked; None: all can."""

    __slots__ = (
        "_call",
        "_journey",
        "_last",
        "_means",
        "_only",
        "_record",
    )

    def __init__(
        self, means: Means, call: Call, destination: Destination, only: frozenset[str] | None, record: Record
    ) -> None:
        self._means = means
        self._call = call
        self._only = only
        self._record = record
        route = Route(only=only, request_id=call.request_id)
        self._journey = Journey(destination, means.destinations.pools, route, means.clock.now())
        self._last: Failed | None = None
        record.journey = self._journey
        record.stream = call.stream

    async def run(self) -> ErrorReport | None:
        """Until a member answers. None: the caller has an answer; else what it is to be told."""
        step: Step | None = self._journey.begin()
        while step is not None:
            match step:
                case Ask(destination, route):
                    route = self._with_wishes(route, destination)
                    reply = ask_at_once(destination.ref, route)
                    if isinstance(reply, LoopFuture):
                        reply = await wait_for(reply, destination.ref, route)
                    step = self._told(reply)
                case Try(assignment, available_secs):
                    resumed = self._call.resumed
                    failed = await self._attempt(assignment, available_secs)
                    step = None if failed is None or failed.answered else self._failed(failed, ours=resumed)
                case Wait(secs):
                    await asyncio.sleep(secs)
                    step = self._journey.waited()
                case GiveUp():
                    return await self._give_up(step)
        return None

    # --- the journey's steps

    def _with_wishes(self, route: Route, there: Destination) -> Route:
        """`route` with what this destination wants to know besides. A fallback pool has its own wishes."""
        call = self._call
        call.hold_secs = there.hold_secs
        if not call.resumed:
            insured = there.continues and call.stream and call.operation == "chat"
            call.recovery = Recovery() if insured else None
        if there.session_header is not None:
            route = replace(route, session=call.exchange.headers.get(there.session_header))
            if route.session is not None:
                self._record.by_session.add(there.name)
        if there.estimates:
            route = replace(route, demand=estimate(call.ingress, call.body))
        return route

    def _told(self, reply: Assignment | Exhausted) -> Step:
        now = self._means.clock.now()
        if isinstance(reply, Assignment):
            return self._journey.assigned(reply, now)
        return self._journey.exhausted(reply, now)

    def _failed(self, failed: Failed, *, ours: bool) -> Step:
        """The attempt failed, and the caller has seen nothing of it."""
        self._last = failed
        failure = failed.failure
        if self._is_callers_account(failure) and not self._call.resumed:
            return GiveUp(Verdict.FAILED)
        failing = Failing(failure.kind, failure.signal.retry_after_secs, ours=ours)
        return self._journey.failed(failing, self._means.clock.now())

    async def _give_up(self, step: GiveUp) -> ErrorReport | None:
        recovery = self._call.recovery
        if recovery is not None and recovery.begun:
            self._record.told("error", self._record.status)
            await recovery.give_up()
            return None
        match step.verdict:
            case Verdict.FAILED:
                assert self._last is not None, "at least one attempt was made"
                return await self._relay_failure(self._last)
            case Verdict.DEADLINE:
                return TOOK_TOO_LONG
            case Verdict.EXHAUSTED:
                nobody = step.exhausted
                assert nobody is not None, "somebody said so"
                return exhausted(nobody) if nobody.reasons or self._only is None else NOTHING_HERE

    # --- one attempt

    async def _attempt(self, assignment: Assignment, available_secs: float) -> Failed | None:
        """One attempt, and the one report that its permit owes the member."""
        means = self._means
        permit = Permit(assignment)
        lane = means.lanes[assignment.member]
        attempt = Attempt(
            self._call,
            lane,
            upstream=means.upstream,
            continuity=means.continuity,
            clock=means.clock,
            limits=means.limits,
        )
        started_at = means.clock.now()
        word = "cancelled"
        failure: Failure | None = None
        try:
            failed = await attempt.run(available_secs, assignment.terms.timeouts)
            failure = failed.failure if failed is not None else attempt.broken
            word = "ok" if failure is None else failure.kind.value
            if failed is not None and failed.diverged:
                word, failure = "diverged", None
            elif self._is_verdict(failure, available_secs, attempt):
                permit.report(failure, attempt.latency_ms(started_at), refund=failed is not None and failed.refund)
            return failed
        except (InvalidRequest, MalformedCredential):
            permit.release(refund=True)  # nothing was sent
            if not self._call.resumed:
                raise
            word = FailureClass.CLIENT_ERROR.value
            return Failed(failure=Failure(kind=FailureClass.CLIENT_ERROR))
        except (asyncio.CancelledError, CallerGone):
            if attempt.finished:  # and only then did the caller go: it has a whole answer
                word = "ok"
                permit.report(None, attempt.latency_ms(started_at), refund=False)
            attempt.charge_left()
            raise
        except Unrecorded:  # the member did its part
            word = "ok"
            permit.report(None, attempt.latency_ms(started_at), refund=False)
            raise
        finally:
            permit.release()
            self._record.note(attempt, lane, assignment.pool, word, started_at, failure)

    def _is_callers_account(self, failure: Failure) -> bool:
        return self._means.doorkeeper.passthrough and failure.disposition is Disposition.HARD_DOWN

    def _is_verdict(self, failure: Failure | None, available_secs: float, attempt: Attempt) -> bool:
        """Whether the member is told. Not when the account is the caller's own, nor when it had no fair time."""
        if failure is None:
            return True
        hurried = attempt.out_of_time and available_secs < FAIR_TRIAL_SECS
        if failure.kind is FailureClass.TIMEOUT and hurried:
            return False
        return not self._is_callers_account(failure)

    async def _relay_failure(self, last: Failed) -> ErrorReport | None:
        """The last failure, to the caller: word for word in the same dialect, else in its own.

        A provider's trouble with the account that we hold there is never shown; with the caller's own (passthrough)
        it is the caller's to know.
        """
        failure, verbatim = last.failure, last.verbatim
        callers_account = self._is_callers_account(failure)
        if callers_account and verbatim is None:
            return report_of_callers_account(failure)
        if verbatim is None or (failure.disposition is Disposition.HARD_DOWN and not callers_account):
            report = report_of(failure)
            asked = report.retry_after_secs is not None or failure.disposition is Disposition.CLIENT_FAULT
            return report if asked else final(report)
        headers = {**self._call.callers_own(verbatim.headers), **self._call.own_headers}
        if failure.disposition is Disposition.TRANSIENT and not {"retry-after", "retry-after-ms"} & headers.keys():
            headers["x-should-retry"] = "false"
        self._record.told(_OUTCOMES[failure.disposition], verbatim.status)
        await self._call.exchange.send(verbatim.status, headers, verbatim.body)
        return None
