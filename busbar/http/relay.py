"""The relay: one coroutine per request. Admit, route, try, try elsewhere, answer, settle.

It is written against ports (`Exchange`, `Upstream`, the clock) and actors, and knows no HTTP library and no dialect.
"""

from __future__ import annotations

import asyncio
import itertools
import secrets
from collections.abc import Mapping

import pykka
from msgspec.structs import replace

from busbar.actors.journey import (
    Ask,
    Destination,
    Failing,
    GiveUp,
    Journey,
    Step,
    Try,
    Verdict,
    Wait,
)
from busbar.actors.messages import Assignment, Exhausted, Release, Report, Route, Withdraw
from busbar.actors.runtime import Clock, LoopFuture, LoopRef, MailboxFull
from busbar.actors.supervision import Outcome
from busbar.config.schema import LimitsConfig
from busbar.http.attempt import Attempt, Call, Failed
from busbar.http.auth import Doorkeeper, Refused
from busbar.http.destinations import Destinations, NotOwned, UnknownName
from busbar.http.estimate import estimate
from busbar.http.lanes import Lane
from busbar.http.ports import BodyTooLarge, BodyTooSlow, CallerGone, Exchange, Upstream
from busbar.http.record import Record
from busbar.http.recovery import Recovery
from busbar.http.reports import (
    NOTHING_HERE,
    TOOK_TOO_LONG,
    client_report,
    exhausted,
    final,
    outcome_of,
    report_of_callers_account,
)
from busbar.http.routes import Target
from busbar.protocols.body import Body
from busbar.protocols.errors import ErrorKind, ErrorReport, report_of
from busbar.protocols.failures import Disposition, Failure, FailureClass
from busbar.protocols.protocol import Hop, InvalidRequest, Protocol
from busbar.protocols.signing import MalformedCredential

FAIR_TRIAL_SECS = 10.0
"""A member that the request's deadline left less time than this is not blamed for having been too slow."""

_OUTCOMES: Mapping[Disposition, str] = {
    Disposition.TRANSIENT: "error",
    Disposition.HARD_DOWN: "error",
    Disposition.CLIENT_FAULT: "client_error",
    Disposition.CONTEXT_LENGTH: "client_error",
}


class Relay:
    """Serves exchanges. Holds nothing of a request beyond its coroutine."""

    def __init__(
        self,
        *,
        destinations: Destinations,
        lanes: Mapping[str, Lane],
        doorkeeper: Doorkeeper,
        upstream: Upstream,
        metrics: LoopRef,
        continuity: LoopRef,
        clock: Clock,
        limits: LimitsConfig,
    ) -> None:
        self._destinations = destinations
        self._lanes = lanes
        self._speakers = {
            lane.protocol.name: frozenset(name for name, other in lanes.items() if other.protocol is lane.protocol)
            for lane in lanes.values()
        }
        self._doorkeeper = doorkeeper
        self._upstream = upstream
        self._metrics = metrics
        self._continuity = continuity
        self._clock = clock
        self._limits = limits
        process = secrets.token_hex(6)
        self._ids = (f"req_{process}{number:08x}" for number in itertools.count(1))

    def next_id(self) -> str:
        """Of a request, or of an answer to none: what a caller gets to see, and its trace is found by."""
        return next(self._ids)

    async def serve(self, exchange: Exchange, target: Target, request_id: str) -> None:
        """Answers the exchange, whatever happens; when its caller goes away, it is cancelled."""
        request = Record(request_id, target.ingress, self._clock, target.operation)
        try:
            await self._answer(exchange, target, request)
        except (asyncio.CancelledError, CallerGone):
            if not request.answered:
                request.outcome = "cancelled"
            raise
        except Exception:
            request.told("error", 500)
            raise
        finally:
            self._metrics.tell(request.done())

    async def refuse(self, exchange: Exchange, ingress: Protocol, report: ErrorReport, request_id: str) -> None:
        """Answers with an error of ours, outside of any request."""
        await self._tell(exchange, ingress, report, request_id)

    # --- one request

    async def _answer(self, exchange: Exchange, target: Target, request: Record) -> None:
        try:
            caller = self._doorkeeper.admit(exchange.headers, exchange.query)
            body = Body(await exchange.body(), self._limits.json_depth_max)
            destination = self._find(target, body)
            request.pool = destination.name
            call = Call(
                request_id=request.id,
                exchange=exchange,
                ingress=target.ingress,
                body=body,
                stream=body.stream if target.stream is None else target.stream,
                framing=target.ingress.framing_of(exchange.query),
                operation=target.operation,
                caller=caller,
                own_headers={"x-busbar-request-id": request.id},
            )
            report = await self._travel(call, destination, request)
        except (Refused, MalformedCredential) as refused:
            report = ErrorReport(kind=ErrorKind.UNAUTHENTICATED, message=str(refused), should_retry=False)
        except (BodyTooLarge, BodyTooSlow, InvalidRequest, UnknownName, NotOwned) as fault:
            report = client_report(fault, self._limits)
        if report is not None:
            request.told(outcome_of(report), await self._tell(exchange, target.ingress, report, request.id))

    def _find(self, target: Target, body: Body) -> Destination:
        if target.provider is not None:
            return self._destinations.find_direct(target.provider, target.name or "")
        return self._destinations.find(body.model if target.name is None else target.name)

    async def _travel(self, call: Call, destination: Destination, request: Record) -> ErrorReport | None:
        """Goes where the journey says until a member answers. None: the caller has an answer; else what it is to be
        told."""
        route = Route(
            only=None if call.operation == "chat" else self._speakers.get(call.ingress.name, frozenset()),
            request_id=call.request_id,
        )
        journey = Journey(destination, self._destinations.pools, route, self._clock.now())
        request.journey = journey
        request.stream = call.stream
        last: Failed | None = None
        step: Step = journey.begin()
        while True:
            match step:
                case Ask(there, asked):
                    call.hold_secs = there.hold_secs
                    if not call.resumed:
                        insured = there.continues and call.stream and call.operation == "chat"
                        call.recovery = Recovery() if insured else None
                    told = _told(asked, there, call)
                    if told.session is not None:
                        request.by_session.add(there.name)
                    reply = await self._route(there.ref, told)
                    now = self._clock.now()
                    if isinstance(reply, Assignment):
                        step = journey.assigned(reply, now)
                    else:
                        step = journey.exhausted(reply, now)
                case Try(assignment, available_secs):
                    resumed = call.resumed
                    last = await self._try(call, assignment, available_secs, request)
                    if last is None or last.answered:
                        return None
                    failure = last.failure
                    of_account = failure.disposition is Disposition.HARD_DOWN
                    if of_account and self._doorkeeper.passthrough and not call.resumed:
                        return await self._relay_failure(call, last, request)  # the account is the caller's own
                    failing = Failing(failure.kind, failure.signal.retry_after_secs, ours=resumed)
                    step = journey.failed(failing, self._clock.now())
                case Wait(secs):
                    await asyncio.sleep(secs)
                    step = journey.waited()
                case GiveUp() if call.recovery is not None and call.recovery.begun:
                    request.told("error", request.status)
                    await call.recovery.give_up()
                    return None
                case GiveUp(Verdict.FAILED):
                    assert last is not None, "at least one attempt was made"
                    return await self._relay_failure(call, last, request)
                case GiveUp(Verdict.DEADLINE):
                    return TOOK_TOO_LONG
                case GiveUp(Verdict.EXHAUSTED, nobody):
                    assert nobody is not None, "somebody said so"
                    return exhausted(nobody) if nobody.reasons or route.only is None else NOTHING_HERE

    async def _route(self, pool: LoopRef, route: Route) -> Assignment | Exhausted:
        """Asks the pool. A caller that goes away in between must not take the answer's slot with it."""
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

    async def _try(self, call: Call, assignment: Assignment, available_secs: float, request: Record) -> Failed | None:
        """One attempt, and the one report that its permit owes the member."""
        permit = _Permit(assignment)
        lane = self._lanes[assignment.member]
        attempt = Attempt(
            call,
            lane,
            upstream=self._upstream,
            continuity=self._continuity,
            clock=self._clock,
            limits=self._limits,
        )
        started_at = self._clock.now()
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
            if not call.resumed:
                raise
            word = FailureClass.CLIENT_ERROR.value
            return Failed(failure=Failure(kind=FailureClass.CLIENT_ERROR))
        except (asyncio.CancelledError, CallerGone):
            if attempt.finished:  # and only then did the caller go: it has a whole answer
                word = "ok"
                permit.report(None, attempt.latency_ms(started_at), refund=False)
            raise
        finally:
            permit.release()
            request.note(attempt, lane, word, started_at, failure)

    def _is_verdict(self, failure: Failure | None, available_secs: float, attempt: Attempt) -> bool:
        """Whether the member is told. Not when the account is the caller's own, nor when it had no fair time."""
        if failure is None:
            return True
        if self._doorkeeper.passthrough and failure.disposition is Disposition.HARD_DOWN:
            return False
        hurried = attempt.out_of_time and available_secs < FAIR_TRIAL_SECS
        return failure.kind is not FailureClass.TIMEOUT or not hurried

    async def _relay_failure(self, call: Call, last: Failed, request: Record) -> ErrorReport | None:
        """The last failure, to the caller: word for word in the same dialect, else in its own.

        A provider's trouble with the account that we hold there is never shown; with the caller's own (passthrough)
        it is the caller's to know.
        """
        failure, verbatim = last.failure, last.verbatim
        of_account = failure.disposition is Disposition.HARD_DOWN
        if of_account and verbatim is None and self._doorkeeper.passthrough:
            return report_of_callers_account(failure)
        if verbatim is None or (of_account and not self._doorkeeper.passthrough):
            report = report_of(failure)
            asked = report.retry_after_secs is not None or failure.disposition is Disposition.CLIENT_FAULT
            return report if asked else final(report)
        headers = {**verbatim.headers, **call.own_headers}
        if failure.disposition is Disposition.TRANSIENT and not {"retry-after", "retry-after-ms"} & headers.keys():
            headers["x-should-retry"] = "false"
        request.told(_OUTCOMES[failure.disposition], verbatim.status)
        await call.exchange.send(verbatim.status, headers, verbatim.body)
        return None

    async def _tell(self, exchange: Exchange, ingress: Protocol, report: ErrorReport, request_id: str) -> int:
        answer = ingress.write_error(report, Hop(now=int(self._clock.time()), nonce=request_id))
        headers = {**answer.headers, "x-busbar-request-id": request_id}
        await exchange.send(answer.status, headers, answer.body)
        return answer.status


def _told(route: Route, destination: Destination, call: Call) -> Route:
    """`route` with what this destination wants to know besides. A fallback pool has its own wishes."""
    header = destination.session_header
    if header is not None:
        route = replace(route, session=call.exchange.headers.get(header))
    if destination.estimates:
        route = replace(route, demand=estimate(call.ingress, call.body))
    return route


class _Permit:
    """The slot at a member, given back exactly once."""

    def __init__(self, assignment: Assignment) -> None:
        self._assignment = assignment
        self._held = True

    def report(self, failure: Failure | None, latency_ms: float, *, refund: bool) -> None:
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


def _give_back(asked: LoopFuture) -> None:
    try:
        reply: Assignment | Exhausted = asked.get()
    except pykka.ActorDeadError:
        return  # and with the actor went whatever it had given
    if isinstance(reply, Assignment):
        _Permit(reply).release(refund=True)
