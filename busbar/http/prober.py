"""Active probes: members are asked for one token from time to time, so that one that has tripped comes back without
a caller's request being risked on it.

mode      which members are probed
--------  --------------------------------------------------------
none      none: the first request after a cooldown is the probe
dead      those with a breaker cell that is not closed
active    all of them

A probe is an attempt like any other: same way there, same judgement, same report. It only has no caller. Which cell
it may speak for is the member's to say (`Examine`), and so is that there is never more than one.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import random as _random
from collections.abc import Mapping, Sequence
from functools import partial

import msgspec
import pykka
from msgspec import Struct

from busbar.actors.messages import Examination, Examine, Release, Report
from busbar.actors.runtime import Clock, LoopFuture, LoopRef, MailboxFull, Timer
from busbar.actors.supervision import Outcome
from busbar.config.schema import HealthConfig, LimitsConfig
from busbar.http.attempt import Attempt
from busbar.http.auth import Caller
from busbar.http.call import Call
from busbar.http.lanes import Lane
from busbar.http.ports import Upstream
from busbar.protocols.body import Body
from busbar.protocols.failures import Disposition, Failure
from busbar.protocols.ir import Message, Request, Text
from busbar.protocols.protocol import Hop
from busbar.protocols.receipt import Receipt

logger = logging.getLogger("busbar.health")

_encode = msgspec.json.Encoder().encode


class Probed(Struct, frozen=True):
    """A member that is probed, and how."""

    lane: Lane
    ref: LoopRef
    health: HealthConfig


class Prober:
    """Probes each member on its own beat, which begins at a random point of the interval so that they do not all go
    at once. Holds at most one timer or one task for each."""

    def __init__(
        self,
        members: Sequence[Probed],
        *,
        upstream: Upstream,
        continuity: LoopRef,
        clock: Clock,
        random: _random.Random,
        limits: LimitsConfig,
    ) -> None:
        """Members in mode `none` are left alone, and so are those for which there is no key but a caller's own."""
        self._members = [it for it in members if it.health.mode != "none" and not it.lane.takes_callers_key]
        self._upstream = upstream
        self._continuity = continuity
        self._clock = clock
        self._random = random
        self._limits = limits
        self._timers: dict[str, Timer] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._stopped = False
        self._numbers = itertools.count(1)

    def start(self) -> None:
        for member in self._members:
            self._wait(member, self._random.uniform(0.0, member.health.interval_secs))

    async def stop(self) -> None:
        """Begins no more probes, and gives up those under way: without a verdict."""
        self._stopped = True
        for timer in self._timers.values():
            timer.cancel()
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    # --- the beat

    def _wait(self, member: Probed, secs: float) -> None:
        self._timers[member.lane.model] = self._clock.call_later(secs, partial(self._begin, member))

    def _begin(self, member: Probed) -> None:
        task = asyncio.get_running_loop().create_task(self._probe(member))
        self._tasks[member.lane.model] = task
        task.add_done_callback(partial(self._over, member))

    def _over(self, member: Probed, task: asyncio.Task[None]) -> None:
        del self._tasks[member.lane.model]
        if self._stopped:
            return
        if not task.cancelled() and (error := task.exception()) is not None:
            logger.error("the probe of %s failed unexpectedly", member.lane.model, exc_info=error)
        self._wait(member, member.health.interval_secs)

    # --- one probe

    async def _probe(self, member: Probed) -> None:
        examination = await self._ask(member)
        if examination is None:
            return
        began_at = self._clock.now()
        answer: Report | Release = Release(permit=examination.permit)
        try:
            attempt = self._attempt(member.lane)
            failed = await attempt.run(member.health.timeout_secs)
            failure = None if failed is None else failed.failure
            latency_ms = ((attempt.first_byte_at or self._clock.now()) - began_at) * 1000
            if failure is None or failure.disposition in (Disposition.TRANSIENT, Disposition.HARD_DOWN):
                answer = Report(permit=examination.permit, outcome=_outcome(failure, latency_ms))
            _log(member.lane, examination, failure)
        finally:
            examination.ref.tell(answer)

    async def _ask(self, member: Probed) -> Examination | None:
        """Asks the member whether it may be probed. A place that is given after we have left is given back."""
        asked = member.ref.ask(Examine(only_open=member.health.mode == "dead"))
        try:
            reply: Examination | None = await asked
        except asyncio.CancelledError:
            asked.when_done(_give_back)
            raise
        except (pykka.ActorDeadError, MailboxFull):
            return None  # it has just been restarted, or has other things to do
        return reply

    def _attempt(self, lane: Lane) -> Attempt:
        nonce = f"probe{next(self._numbers)}"
        hop = Hop(
            model=lane.upstream_model,
            default_max_tokens=lane.default_max_tokens,
            now=int(self._clock.time()),
            nonce=nonce,
        )
        call = Call(
            request_id=nonce,
            exchange=_Nobody(),
            ingress=lane.protocol,
            body=Body(probe_body(lane, hop)),
            stream=False,
            framing="",
            operation="chat",
            caller=Caller(),
            own_headers={},
        )
        return Attempt(
            call,
            lane,
            upstream=self._upstream,
            continuity=self._continuity,
            clock=self._clock,
            limits=self._limits,
        )


def probe_body(lane: Lane, hop: Hop) -> bytes:
    """The smallest request there is: a word, and one token for the answer. What a dialect asks for beyond that is
    its writer's to know."""
    request = Request(
        model=lane.upstream_model, messages=[Message(role="user", parts=[Text(text="Hi")])], max_tokens=1
    )
    return _encode(lane.protocol.write_request(request, hop, Receipt()))


def _outcome(failure: Failure | None, latency_ms: float) -> Outcome:
    if failure is None:
        return Outcome(failure=None, latency_ms=latency_ms)
    return Outcome(failure.kind, failure.signal.retry_after_secs, latency_ms)


def _log(lane: Lane, examination: Examination, failure: Failure | None) -> None:
    if failure is None and examination.open_in:
        logger.info("%s answers again: its breaker is closed in %s", lane.model, ", ".join(examination.open_in))
    elif failure is not None:
        logger.debug("the probe of %s failed: %s", lane.model, failure.kind.value)


def _give_back(asked: LoopFuture) -> None:
    try:
        examination: Examination | None = asked.get()
    except (pykka.ActorDeadError, MailboxFull):
        return
    if examination is not None:
        examination.ref.tell(Release(permit=examination.permit))


class _Nobody:
    """The caller's side of a probe: nobody asked, and nobody hears the answer."""

    method = "POST"
    path = ""
    raw_query = ""
    query: Mapping[str, str] = {}
    headers: Mapping[str, str] = {}
    memo = None

    async def body(self) -> bytes:
        return b""

    async def send(self, status: int, headers: Mapping[str, str], body: bytes) -> None:
        """Not kept."""

    async def start(self, status: int, headers: Mapping[str, str]) -> None:
        """Never called: probes are not streamed."""

    def write(self, data: bytes) -> None:
        """Never called either."""

    async def end(self, *, close: bool = False) -> None:
        """Nor this."""
