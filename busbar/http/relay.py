"""The relay: one coroutine per request. Admit, find where to, travel, answer, settle.

It is written against ports (`Exchange`, `Upstream`, the clock) and actors, and knows no HTTP library and no dialect.
"""

from __future__ import annotations

import asyncio
import itertools
import secrets
from collections.abc import Mapping

from busbar.actors.journey import Destination
from busbar.actors.runtime import LoopRef
from busbar.http.admissions import NotAdmitted
from busbar.http.auth import NotReady, Refused
from busbar.http.bill import Unrecorded
from busbar.http.call import Call
from busbar.http.denials import STORE_FAILS, UNRECORDED
from busbar.http.destinations import NotOwned, UnknownName
from busbar.http.ports import BodyTooLarge, BodyTooSlow, CallerGone, Exchange
from busbar.http.record import Record
from busbar.http.reports import client_report, outcome_of
from busbar.http.routes import Target
from busbar.http.tracing import Tracing
from busbar.http.travel import Means, Travel
from busbar.protocols.body import Body
from busbar.protocols.errors import ErrorKind, ErrorReport
from busbar.protocols.protocol import Hop, InvalidRequest, Protocol
from busbar.protocols.signing import MalformedCredential

REQUEST_ID = "x-busbar-request-id"
"""On every answer."""


class Relay:
    """Serves exchanges. Holds nothing of a request beyond its coroutine. `tracing`: where traces are collected."""

    def __init__(self, means: Means, metrics: LoopRef, tracing: Tracing | None = None) -> None:
        self._means = means
        self._metrics = metrics
        self._tracing = tracing
        self._speakers = {
            lane.protocol.name: frozenset(
                name for name, other in means.lanes.items() if other.protocol is lane.protocol
            )
            for lane in means.lanes.values()
        }
        process = secrets.token_hex(6)
        self._ids = (f"req_{process}{number:08x}" for number in itertools.count(1))

    def next_id(self) -> str:
        """Of a request, or of an answer to none: what a caller gets to see, and its trace is found by."""
        return next(self._ids)

    async def serve(self, exchange: Exchange, target: Target, request_id: str) -> None:
        """Answers the exchange, whatever happens; when its caller goes away, it is cancelled."""
        request = Record(request_id, target.ingress, self._means.clock, target.operation)
        if self._tracing is not None:
            request.trace = self._tracing.begin(exchange.headers)
            exchange = request.trace.watch(exchange)
        try:
            await self._answer(exchange, target, request)
        except (asyncio.CancelledError, CallerGone):
            if not request.answered:
                request.left()
            raise
        except Exception:
            request.told("error", 500)
            raise
        finally:
            if request.bill is not None:
                request.bill.close()
            if request.trace is not None:
                request.trace.close()
            self._metrics.tell(request.done())

    async def refuse(self, exchange: Exchange, ingress: Protocol, report: ErrorReport, request_id: str) -> None:
        """Answers with an error of ours, outside of any request."""
        await self._tell(exchange, ingress, report, {REQUEST_ID: request_id})

    # --- one request

    async def _answer(self, exchange: Exchange, target: Target, request: Record) -> None:
        means = self._means
        own_headers = {REQUEST_ID: request.id}
        try:
            caller = means.doorkeeper.recognise(exchange)
            raw = await exchange.body()
            means.doorkeeper.verify(caller, exchange, raw)
            body = Body(raw, means.limits.json_depth_max)
            del raw  # nobody else keeps its bytes: see `Body.forget`
            destination = self._find(target, body)
            request.pool = destination.name
            if means.admissions is not None and caller.virtual is not None:
                request.bill = bill = await means.admissions.admit(
                    caller.virtual, target.ingress, body, destination, target.operation
                )
                own_headers.update(bill.headers)
            call = Call(
                request_id=request.id,
                exchange=exchange,
                ingress=target.ingress,
                body=body,
                stream=body.stream if target.stream is None else target.stream,
                framing=target.ingress.framing_of(exchange.query),
                operation=target.operation,
                caller=caller,
                own_headers=own_headers,
                bill=request.bill,
                outgoing=None if request.trace is None else request.trace.outgoing,
                memo=exchange.memo,
            )
            only = None if call.operation == "chat" else self._speakers.get(call.ingress.name, frozenset())
            report = await Travel(means, call, destination, only, request).run()
        except (Refused, MalformedCredential) as refused:
            report = ErrorReport(kind=ErrorKind.UNAUTHENTICATED, message=str(refused), should_retry=False)
        except NotAdmitted as refused:
            report = refused.report
            own_headers.update(refused.headers)
        except NotReady:
            report = STORE_FAILS
        except Unrecorded as fault:
            report = UNRECORDED
            if fault.told:
                request.told("error", request.status)
                return
        except (BodyTooLarge, BodyTooSlow, InvalidRequest, UnknownName, NotOwned) as fault:
            report = client_report(fault, means.limits)
        if report is not None:
            request.told(outcome_of(report), await self._tell(exchange, target.ingress, report, own_headers))

    def _find(self, target: Target, body: Body) -> Destination:
        if target.provider is not None:
            return self._means.destinations.find_direct(target.provider, target.name or "")
        return self._means.destinations.find(body.model if target.name is None else target.name)

    async def _tell(
        self, exchange: Exchange, ingress: Protocol, report: ErrorReport, own_headers: Mapping[str, str]
    ) -> int:
        answer = ingress.write_error(report, Hop(now=int(self._means.clock.time()), nonce=own_headers[REQUEST_ID]))
        await exchange.send(answer.status, {**answer.headers, **own_headers}, answer.body)
        return answer.status
