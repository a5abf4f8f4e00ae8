"""One attempt: one request to one member, and its answer to the caller.

An attempt either answers the caller, or comes back as `Failed` with nothing written, so that another member may be
tried. Which of the two is decided by the first byte that reaches the caller.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import NoReturn

from msgspec.structs import replace

from busbar.actors.messages import Keep, Recall, Timeouts
from busbar.actors.runtime import Clock, LoopRef
from busbar.config.schema import LimitsConfig
from busbar.http.bill import Unrecorded
from busbar.http.bodies import read_whole
from busbar.http.call import Call, Failed, Verbatim
from busbar.http.denials import UNRECORDED
from busbar.http.headers import forwarded, header_list, media_type, relayed
from busbar.http.lanes import Lane
from busbar.http.patience import Patience
from busbar.http.ports import AnswerTooLarge, Upstream, UpstreamAnswer, UpstreamBroken
from busbar.http.recovery import Recovery
from busbar.http.spent import Spent
from busbar.http.stream_relay import InBandError, StreamRelay
from busbar.protocols.continuity import keys_of, restore
from busbar.protocols.crossing import Crossing
from busbar.protocols.errors import report_of
from busbar.protocols.failures import Failure, FailureClass, FailureSignal, classify
from busbar.protocols.framing import BrokenFraming
from busbar.protocols.protocol import Hop, StreamPipe
from busbar.protocols.receipt import Receipt
from busbar.protocols.resume import Diverged
from busbar.protocols.signing import MalformedCredential
from busbar.protocols.translate import Unreadable, own_request
from busbar.protocols.usage import Usage

ERROR_BODY_BYTES_MAX = 1 << 20
"""Of a provider's error, no more than this is read."""

UNREADABLE = "The model's provider sent an answer that could not be read."


class Attempt:
    """Makes one. Afterwards: `usage`, `first_byte_at`, `dropped_fields`, `finished` (a stream's terminal event is
    out), and `broken`, the failure of a stream that broke after it had started (the caller was told)."""

    def __init__(
        self,
        call: Call,
        lane: Lane,
        *,
        upstream: Upstream,
        continuity: LoopRef,
        clock: Clock,
        limits: LimitsConfig,
    ) -> None:
        self._call = call
        self._lane = lane
        self._upstream = upstream
        self._continuity = continuity
        self._clock = clock
        self._limits = limits
        self._patience: Patience | None = None
        self._same = lane.protocol is call.ingress
        self._crossing: Crossing | None = None
        self._prefill: str | None = None
        self.finished = False
        self._own_receipt = Receipt()
        self.usage: Usage | None = None
        self.first_byte_at: float | None = None
        self.broken: Failure | None = None
        bill = call.bill if call.operation == "chat" else None
        self._spent = None if bill is None else Spent(bill, lane.model, lane.protocol)
        self._sent = False

    @property
    def dropped_fields(self) -> tuple[str, ...]:
        """What had no place on the other side: the request's fields, then the answer's."""
        return self._own_receipt.dropped_paths if self._crossing is None else self._crossing.dropped_fields

    @property
    def out_of_time(self) -> bool:
        """Whether, if it took too long, it was the request's deadline that passed, not a limit of the member's."""
        return self._patience is not None and self._patience.out_of_time

    def latency_ms(self, started_at: float) -> float:
        """Until the first byte, or until now if there was none."""
        return ((self.first_byte_at or self._clock.now()) - started_at) * 1000

    async def run(self, available_secs: float, timeouts: Timeouts = Timeouts()) -> Failed | None:  # noqa: B008
        """None: the caller has its answer. The request's deadline, which is `available_secs` away, ends with the
        first byte to the caller.

        Raises `InvalidRequest` (the caller's document cannot be read; nothing was sent), `MalformedCredential`,
        `CallerGone`.
        """
        body = await self._request_body()
        try:
            self._patience = patience = Patience(timeouts, available_secs, stream=self._call.stream)
            async with patience.limit:
                return await self._exchange_with_provider(body)
        except UpstreamBroken as broken:
            return _failed(broken.kind)
        except Diverged:
            return Failed(failure=Failure(kind=FailureClass.CLIENT_ERROR), diverged=True)
        except TimeoutError:
            # After the terminal event only the connection was waited for: the caller has a whole answer.
            return None if self.finished else _failed(FailureClass.TIMEOUT)

    # --- there

    async def _request_body(self) -> bytes:
        call, lane = self._call, self._lane
        if self._same and not call.resumed:
            return self._own_request()
        request = call.ingress.read_request(call.body.document())
        request.stream = call.stream or None  # some dialects say it in the path
        keys = keys_of(request)
        if keys:
            restore(request, await self._continuity.ask(Recall(keys)), lane.protocol.signer)
        if call.recovery is not None:
            self._prefill = call.recovery.prefill(allowed=lane.prefill)
        self._crossing = Crossing(call.ingress, lane.protocol, request, self._hop(), self._prefill)
        return self._own_request() if self._same and self._prefill is None else self._crossing.body

    def _own_request(self) -> bytes:
        call = self._call
        return own_request(call.ingress, call.body, self._lane.upstream_model, self._own_receipt)

    def _keep_aside(self) -> None:
        """The answer is whole: keeps what of it the caller's dialect cannot carry, for the next turn."""
        entries = self._crossing.kept_aside() if self._crossing is not None else {}
        if entries:
            kept = next(iter(entries.values()))
            self._continuity.tell(Keep(keys=tuple(entries), state=kept, weight_bytes=kept.weight_bytes))

    def _hop(self) -> Hop:
        return Hop(
            model=self._lane.upstream_model,
            default_max_tokens=self._lane.default_max_tokens,
            framing=self._call.framing,
            now=int(self._clock.time()),
            nonce=self._call.request_id,
        )

    async def _exchange_with_provider(self, body: bytes) -> Failed | None:
        call, lane = self._call, self._lane
        try:
            request = lane.request(
                body,
                stream=call.stream,
                operation=call.operation,
                forwarded=forwarded(call.exchange.headers, call.ingress.forwarded_headers) if self._same else {},
                caller_key=call.caller.key,
                now=self._clock.time(),
            )
        except MalformedCredential:
            if lane.signer is None:
                raise  # it is the caller's own
            return _failed(FailureClass.AUTH)
        if self._spent is not None:
            request = replace(request, on_connected=self._connected)
        answer = await self._upstream.send(request)
        self._waiting_for.answering()
        try:
            if not 200 <= answer.status < 300:
                return await self._error(answer)
            return await (self._streamed(answer) if call.stream else self._whole(answer))
        finally:
            answer.close()

    # --- and back: an error

    async def _error(self, answer: UpstreamAnswer) -> Failed:
        lane = self._lane
        try:
            body = await read_whole(answer, ERROR_BODY_BYTES_MAX, self._waiting_for.watch())
        except (UpstreamBroken, AnswerTooLarge, TimeoutError):
            body = b""
        signal = lane.protocol.read_error(answer.status, answer.headers, body, self._clock.time())
        # A page of HTML is nothing that the caller's SDK could read: then it gets a native error instead.
        native = self._same and "json" in answer.headers.get("content-type", "")
        verbatim = Verbatim(answer.status, relayed(answer.headers), body) if native else None
        return Failed(failure=self._judge(signal), verbatim=verbatim)

    def _judge(self, signal: FailureSignal) -> Failure:
        return Failure(kind=classify(signal, self._lane.protocol.knowledge, self._lane.rules), signal=signal)

    # --- a whole answer

    async def _whole(self, answer: UpstreamAnswer) -> Failed | None:
        call, lane = self._call, self._lane
        try:
            body = await read_whole(answer, self._limits.answer_max_bytes, self._waiting_for.watch())
        except UpstreamBroken as broken:
            return _failed(broken.kind, refund=True)
        except TimeoutError:
            return _failed(FailureClass.TIMEOUT, refund=True)
        except AnswerTooLarge:
            return _failed(FailureClass.SERVER_ERROR, "The answer is too large.")
        found = lane.protocol.inspect_response(body)
        if found.error is not None:
            return Failed(failure=self._judge(found.error), refund=True)
        if not found.readable:
            return _failed(FailureClass.SERVER_ERROR, UNREADABLE, refund=True)
        self.usage = found.usage
        headers = relayed(answer.headers)
        if self._crossing is not None:
            headers = self._foreign_headers("application/json")
            try:
                body, self.usage = self._crossing.answer(body)
            except Unreadable:
                return _failed(FailureClass.SERVER_ERROR, UNREADABLE, refund=True)
            self._keep_aside()
        self._first_byte()
        if self._spent is not None:
            self._spent.whole_answer(self.usage, body)
            await self._spent.settle()
        await call.exchange.send(answer.status if self._same else 200, self._answer_headers(headers), body)
        return None

    # --- a streamed answer

    async def _streamed(self, answer: UpstreamAnswer) -> Failed | None:
        call, lane = self._call, self._lane
        if media_type(answer.headers.get("content-type", "")) != media_type(lane.protocol.stream_content_type):
            return await self._not_a_stream(answer)
        pipe = self._pipe()
        content_type = call.ingress.framing_content_types.get(call.framing, call.ingress.stream_content_type)
        headers = relayed(answer.headers) if self._same else self._foreign_headers(content_type)
        if call.framing:
            headers["content-type"] = content_type

        async def begin() -> None:
            self._first_byte()
            if not call.resumed:
                await call.exchange.start(200, self._answer_headers({"cache-control": "no-cache", **headers}))

        relay = StreamRelay(
            pipe,
            call.exchange,
            begin=begin,
            content=self._waiting_for.holding,
            ending=None if self._spent is None else partial(self._settle, pipe),
            finished=self._linger,
            hold_secs=call.hold_secs,
        )
        try:
            failure = await self._pump(answer, relay)
        except Unrecorded:
            await relay.stop()
            await self._withhold(relay, begun=relay.begun or call.resumed)
        finally:
            await relay.stop()
            self.usage = pipe.usage
        if failure is None:
            return None
        if not relay.begun:
            return Failed(failure=failure, refund=True)
        if call.recovery is not None:
            return await self._recover(call.recovery, failure, relay)
        await self._break_off(failure, relay)
        return None

    def _pipe(self) -> StreamPipe:
        """What stands between the provider's stream and the caller's."""
        call, recovery = self._call, self._call.recovery
        if self._crossing is None:
            tap = self._lane.protocol.stream_tap(call.framing)
            return tap if recovery is None else recovery.watch_tap(tap, self._lane.protocol, self._hop())
        if recovery is not None and recovery.begun:
            return self._crossing.resume(
                recovery.delivered, self._prefill, on_whole=self._keep_aside, on_heard=self._heard
            )
        translator = self._crossing.stream(on_whole=self._keep_aside)
        return translator if recovery is None else recovery.watch(translator, self._hop())

    async def _recover(self, recovery: Recovery, failure: Failure, relay: StreamRelay) -> Failed | None:
        """A stream that has started broke: its end is written if that is all, else another member goes on with it."""
        end = recovery.closing(self._call.ingress, self._crossing)
        if end is not None:
            self._keep_aside()
            if self._spent is not None:
                self._spent.whole_stream(self.usage)
                try:
                    await self._spent.settle()
                except Unrecorded:
                    await self._withhold(relay, begun=True)
            await relay.finish(end)
            return Failed(failure=failure, answered=True)
        self.charge_left()
        if recovery.broke(failure, relay):
            return Failed(failure=failure)
        await self._break_off(failure, relay)
        return None

    async def _withhold(self, relay: StreamRelay, *, begun: bool) -> NoReturn:
        """The end of an answer that could not be recorded. Raises `Unrecorded`."""
        if begun:
            await relay.break_off(UNRECORDED)
        raise Unrecorded(told=begun)

    async def _break_off(self, failure: Failure, relay: StreamRelay) -> None:
        self.broken = failure
        self.charge_left()
        await relay.break_off(report_of(failure))

    async def _pump(self, answer: UpstreamAnswer, relay: StreamRelay) -> Failure | None:
        """Runs the stream to its end. None: it is whole."""
        watch = self._waiting_for.watch()
        try:
            sink = relay.sink if self._spent is None else self._spent.metered(relay.sink)
            if watch is None:
                await answer.stream(sink)
            else:
                async with watch:
                    await answer.stream(watch.around(sink))
            if await relay.close():
                return None
            reason, kind = "The stream ended before the answer did.", FailureClass.NETWORK
        except TimeoutError:
            reason, kind = "The stream came to a halt.", FailureClass.TIMEOUT
        except InBandError as error:
            return self._judge(error.signal)
        except UpstreamBroken as broken:
            reason, kind = "The connection broke in the middle of the answer.", broken.kind
        except BrokenFraming:
            reason, kind = "The stream could not be read.", FailureClass.SERVER_ERROR
        # What comes after the terminal event is the connection's affair: the caller has a whole answer.
        return None if relay.finished else Failure(kind=kind, signal=FailureSignal(message=reason))

    async def _not_a_stream(self, answer: UpstreamAnswer) -> Failed:
        """A 2xx that is no stream although one was asked for: an error, told in an unusual way."""
        try:
            body = await read_whole(answer, ERROR_BODY_BYTES_MAX, self._waiting_for.watch())
        except (UpstreamBroken, AnswerTooLarge, TimeoutError):
            body = b""
        found = self._lane.protocol.inspect_response(body)
        if found.error is None:
            return _failed(FailureClass.SERVER_ERROR, "The answer is not a stream.", refund=True)
        return Failed(failure=self._judge(found.error), refund=True)

    def _linger(self) -> None:
        self.finished = True
        self._waiting_for.lingering()

    # --- what every answer has

    def _connected(self) -> None:
        self._sent = True

    def charge_left(self) -> None:
        """The answer stays incomplete: charges, once, what of it was seen. Nothing was, if nothing was sent."""
        if self._spent is not None and self._sent:
            self._spent.cut(self.usage)

    async def _settle(self, pipe: StreamPipe) -> None:
        """Before a stream's terminal event."""
        assert self._spent is not None, "somebody is charged"
        self._waiting_for.streaming()
        self._spent.whole_stream(pipe.usage)
        await self._spent.settle()

    def _heard(self) -> None:
        """The provider goes on, or repeats what the caller has."""
        self.first_byte_at = self._clock.now()
        self._waiting_for.holding()

    def _first_byte(self) -> None:
        """From here on there is no failover, and no deadline."""
        self.first_byte_at = self.first_byte_at or self._clock.now()
        self._waiting_for.streaming()

    @property
    def _waiting_for(self) -> Patience:
        assert self._patience is not None, "the attempt runs"
        return self._patience

    def _foreign_headers(self, content_type: str) -> dict[str, str]:
        return {"content-type": content_type, self._call.ingress.request_id_header: self._call.request_id}

    def _answer_headers(self, headers: Mapping[str, str]) -> dict[str, str]:
        own = {**self._call.callers_own(headers), **self._call.own_headers}
        if self._call.exchange.headers.get("x-busbar-receipt") == "1":
            own["x-busbar-dropped"] = header_list(self.dropped_fields)
        return own


def _failed(kind: FailureClass, message: str = "", *, refund: bool = False) -> Failed:
    return Failed(failure=Failure(kind=kind, signal=FailureSignal(message=message)), refund=refund)
