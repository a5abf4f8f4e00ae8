"""The relay: one coroutine per request. Admit, route, try, try elsewhere, answer, settle.

It is written against ports (`Exchange`, `Upstream`, the clock) and actors, and knows no HTTP library and no dialect.
"""

from __future__ import annotations

import asyncio
import itertools
import secrets
from collections.abc import Mapping

from busbar.actors.messages import (
    Assignment,
    Exhausted,
    Release,
    Report,
    Route,
)
from busbar.actors.runtime import Clock, LoopFuture, LoopRef
from busbar.actors.supervision import Outcome
from busbar.config.schema import LimitsConfig
from busbar.http.attempt import Attempt, Call, Failed
from busbar.http.auth import Doorkeeper, Refused
from busbar.http.destinations import Destination, Destinations, NotOwned, UnknownName
from busbar.http.lanes import Lane
from busbar.http.ports import BodyTooLarge, BodyTooSlow, CallerGone, Exchange, Upstream
from busbar.http.record import Record
from busbar.http.reports import NOTHING_HERE, client_report, exhausted, final, outcome_of, report_of_callers_account
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
        self._giving_back: set[asyncio.Task[None]] = set()
        process = secrets.token_hex(6)
        self._ids = (f"req_{process}{number:08x}" for number in itertools.count(1))

    async def serve(self, exchange: Exchange, target: Target) -> None:
        """Answers the exchange, whatever happens; when its caller goes away, it is cancelled."""
        request = Record(next(self._ids), target.ingress, self._clock)
        try:
            await self._answer(exchange, target, request)
        except (asyncio.CancelledError, CallerGone):
            request.outcome = "cancelled"
            raise
        finally:
            self._metrics.tell(request.done())

    async def refuse(self, exchange: Exchange, ingress: Protocol, report: ErrorReport) -> None:
        """Answers with an error of ours, outside of any request."""
        await self._tell(exchange, ingress, report, next(self._ids))

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
            report = await self._try_members(call, destination, request)
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

    async def _try_members(self, call: Call, destination: Destination, request: Record) -> ErrorReport | None:
        """Tries members until one answers. None: the caller has an answer; else what it is to be told."""
        deadline = self._clock.now() + destination.deadline_secs
        session = call.exchange.headers.get(destination.session_header) if destination.session_header else None
        only = None if call.operation == "chat" else self._speakers.get(call.ingress.name, frozenset())
        tried: frozenset[str] = frozenset()
        context_above: int | None = None
        last: Failed | None = None
        for _ in range(destination.cap + 1):
            route = Route(tried=tried, only=only, session=session, context_above=context_above)
            reply = await self._route(destination.ref, route)
            if isinstance(reply, Exhausted):
                if last is None:
                    return exhausted(reply) if reply.reasons or only is None else NOTHING_HERE
                break
            last = await self._try(call, reply, deadline, request)
            if last is None:
                return None
            match last.failure.disposition:
                case Disposition.CLIENT_FAULT:
                    break
                case Disposition.HARD_DOWN if self._doorkeeper.passthrough:
                    return await self._relay_failure(call, last, request)
                case Disposition.CONTEXT_LENGTH:
                    context_above = reply.context_max
                case Disposition.TRANSIENT | Disposition.HARD_DOWN:
                    pass
            if self._clock.now() >= deadline:
                return ErrorReport(
                    kind=ErrorKind.TIMEOUT, message="The request took too long to answer.", should_retry=False
                )
            tried |= {reply.member}
        assert last is not None, "at least one attempt was made"
        return await self._relay_failure(call, last, request)

    async def _route(self, pool: LoopRef, route: Route) -> Assignment | Exhausted:
        """Asks the pool. A caller that goes away in between must not take the answer's slot with it."""
        asked = pool.ask(route)
        try:
            reply: Assignment | Exhausted = await asked
        except asyncio.CancelledError:
            task = asyncio.create_task(_give_back(asked))
            self._giving_back.add(task)
            task.add_done_callback(self._giving_back.discard)
            raise
        return reply

    async def _try(self, call: Call, assignment: Assignment, deadline: float, request: Record) -> Failed | None:
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
        available_secs = max(0.0, deadline - started_at)
        word = "cancelled"
        try:
            failed = await attempt.run(available_secs)
            failure = failed.failure if failed is not None else attempt.broken
            latency_ms = ((attempt.first_byte_at or self._clock.now()) - started_at) * 1000
            word = "ok" if failure is None else failure.kind.value
            if self._is_verdict(failure, available_secs):
                permit.report(failure, latency_ms, refund=failed is not None and failed.refund)
            return failed
        except (InvalidRequest, MalformedCredential):
            permit.release(refund=True)  # nothing was sent
            raise
        finally:
            permit.release()
            request.note(attempt, lane, word, (self._clock.now() - started_at) * 1000)

    def _is_verdict(self, failure: Failure | None, available_secs: float) -> bool:
        """Whether the member is told. Not when the account is the caller's own, nor when it had no fair time."""
        if failure is None:
            return True
        if self._doorkeeper.passthrough and failure.disposition is Disposition.HARD_DOWN:
            return False
        return failure.kind is not FailureClass.TIMEOUT or available_secs >= FAIR_TRIAL_SECS

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


async def _give_back(asked: LoopFuture) -> None:
    reply: Assignment | Exhausted = await asked
    if isinstance(reply, Assignment):
        _Permit(reply).release(refund=True)
