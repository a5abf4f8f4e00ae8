"""One attempt: one request to one member, and its answer to the caller.

An attempt either answers the caller, or comes back as `Failed` with nothing written, so that another member may be
tried. Which of the two is decided by the first byte that reaches the caller.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from msgspec.structs import replace

from busbar.actors.credentials.messages import Held
from busbar.actors.messages import Recall, Timeouts
from busbar.actors.runtime import Clock, LoopRef
from busbar.config.schema import LimitsConfig
from busbar.http.answering import Answering
from busbar.http.bodies import read_whole
from busbar.http.call import Call, Failed, Verbatim
from busbar.http.headers import forwarded, media_type, relayed
from busbar.http.keys_in_turn import KeysInTurn
from busbar.http.lanes import Lane
from busbar.http.ports import AnswerTooLarge, Upstream, UpstreamAnswer, UpstreamBroken
from busbar.http.stream_relay import Pace
from busbar.http.streamed import StreamedAnswer
from busbar.protocols.continuity import keys_of, restore
from busbar.protocols.crossing import Crossing
from busbar.protocols.failures import Failure, FailureClass, FailureSignal
from busbar.protocols.resume import Diverged
from busbar.protocols.signing import MalformedCredential, Signer
from busbar.protocols.translate import Unreadable, own_request
from busbar.protocols.usage import Usage

ERROR_BODY_BYTES_MAX = 1 << 20
"""Of a provider's error, no more than this is read."""

UNREADABLE = "The model's provider sent an answer that could not be read."


class Attempt:
    """Makes one. What is known of it afterwards, its properties say."""

    __slots__ = (
        "_answering",
        "_call",
        "_clock",
        "_continuity",
        "_keys",
        "_lane",
        "_limits",
        "_status",
        "_upstream",
    )

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
        self._answering = Answering(call, lane, continuity, clock)
        self._keys = None if lane.wallet is None else KeysInTurn(lane.wallet, lane.model, clock)
        self._status = 0
        """Of the provider's last answer."""

    @property
    def usage(self) -> Usage | None:
        return self._answering.usage

    @property
    def first_byte_at(self) -> float | None:
        """When the caller got its first byte, or would have: a resumed stream's member went on with it."""
        return self._answering.first_byte_at

    @property
    def finished(self) -> bool:
        """A stream's terminal event is out."""
        return self._answering.finished

    @property
    def broken(self) -> Failure | None:
        """The failure of a stream that broke after it had started; the caller was told."""
        return self._answering.broken

    @property
    def dropped_fields(self) -> tuple[str, ...]:
        """What had no place on the other side: the request's fields, then the answer's."""
        return self._answering.dropped_fields

    @property
    def out_of_time(self) -> bool:
        """Whether, if it took too long, it was the request's deadline that passed, not a limit of the member's."""
        return self._answering.out_of_time

    @property
    def waited_secs(self) -> float:
        """For the provider, before the caller's first byte; see `Answering.waited_secs`."""
        return self._answering.waited_secs

    @property
    def refused_keys(self) -> Sequence[tuple[int, str]]:
        """(number, class) of the account's keys that the provider refused; another one may have been answered."""
        return () if self._keys is None else self._keys.refusals

    @property
    def pace(self) -> Pace | None:
        """Of a stream that started, once it is over."""
        return self._answering.pace

    def latency_ms(self, started_at: float) -> float:
        """Until the first byte, or until now if there was none."""
        return ((self.first_byte_at or self._clock.now()) - started_at) * 1000

    def charge_left(self) -> None:
        """The answer stays incomplete: charges, once, what of it was seen."""
        self._answering.charge_left()

    async def run(self, available_secs: float, timeouts: Timeouts = Timeouts()) -> Failed | None:  # noqa: B008
        """None: the caller has its answer. The request's deadline, which is `available_secs` away, ends with the
        first byte to the caller.

        Raises `InvalidRequest` (the caller's document cannot be read; nothing was sent), `MalformedCredential`,
        `CallerGone`.
        """
        try:
            patience = self._answering.begin(timeouts, available_secs)
            async with patience.limit:
                if self._keys is None:
                    return await self._exchange_with_provider(await self._request_body(), self._forwarded())
                return await self._with_each_key(self._keys, await self._request_body(), self._forwarded())
        except UpstreamBroken as broken:
            return _failed(broken.kind)
        except Diverged:
            return Failed(failure=Failure(kind=FailureClass.CLIENT_ERROR), diverged=True)
        except TimeoutError:
            # After the terminal event only the connection was waited for: the caller has a whole answer.
            return None if self.finished else _failed(FailureClass.TIMEOUT)

    # --- there

    async def _request_body(self) -> bytes:
        call, lane, it = self._call, self._lane, self._answering
        if it.same and not call.resumed:
            return self._own_request()
        request = call.ingress.read_request(call.body.document())
        request.stream = call.stream or None  # some dialects say it in the path
        keys = keys_of(request)
        if keys:
            restore(request, await self._continuity.ask(Recall(keys)), lane.protocol.signer)
        if call.recovery is not None:
            it.prefill = call.recovery.prefill(allowed=lane.prefill)
        it.crossing = Crossing(call.ingress, lane.protocol, request, it.hop(), it.prefill)
        return self._own_request() if it.same and it.prefill is None else it.crossing.body

    def _own_request(self) -> bytes:
        call, lane = self._call, self._lane
        changes = lane.changes and lane.changes_for(call.operation)
        return own_request(call.ingress, call.body, lane.upstream_model, self._answering.own_receipt, changes)

    async def _with_each_key(self, keys: KeysInTurn, body: bytes, headers: Mapping[str, str]) -> Failed | None:
        """The same request with one key after the other, until one is not refused."""
        while isinstance(found := await keys.next(), Held):
            failed = await self._exchange_with_provider(body, headers, found.credential)
            if failed is None or not keys.is_refusal(failed, self._status):
                return failed
            keys.refused(found, failed)
            self._answering.refused()
        return keys.verdict(found)

    async def _exchange_with_provider(
        self, body: bytes, headers: Mapping[str, str], signer: Signer | None = None
    ) -> Failed | None:
        call, lane, it = self._call, self._lane, self._answering
        self._status = 0
        try:
            answer = await self._ask(body, headers, signer)
        except MalformedCredential:
            if lane.takes_callers_key:
                raise  # it is the caller's own
            return _failed(FailureClass.AUTH)
        del body  # a stream may go on for long, and it is in memory twice already
        self._status = answer.status
        it.waiting_for.answering()
        try:
            if not 200 <= answer.status < 300:
                return await self._error(answer)
            return await (self._streamed(answer) if call.stream else self._whole(answer))
        finally:
            answer.close()

    async def _ask(self, body: bytes, headers: Mapping[str, str], signer: Signer | None) -> UpstreamAnswer:
        """Raises `MalformedCredential`, `UpstreamBroken`."""
        call, it = self._call, self._answering
        request = self._lane.request(
            body,
            stream=call.stream,
            operation=call.operation,
            forwarded=headers,
            caller_key=call.caller.key,
            now=self._clock.time(),
            signer=signer,
        )
        if it.spent is not None:
            request = replace(request, on_connected=it.connected)
        it.asked()
        return await self._upstream.send(request)

    def _forwarded(self) -> Mapping[str, str]:
        call = self._call
        own = forwarded(call.exchange.headers, call.ingress.forwarded_headers) if self._answering.same else {}
        return own if call.outgoing is None else {**own, **call.outgoing()}

    # --- and back: an error

    async def _error(self, answer: UpstreamAnswer) -> Failed:
        lane = self._lane
        try:
            body = await read_whole(answer, ERROR_BODY_BYTES_MAX, self._answering.waiting_for.watch())
        except (UpstreamBroken, AnswerTooLarge, TimeoutError):
            body = b""
        signal = lane.protocol.read_error(answer.status, answer.headers, body, self._clock.time())
        # A page of HTML is nothing that the caller's SDK could read: then it gets a native error instead.
        native = self._answering.same and "json" in answer.headers.get("content-type", "")
        verbatim = Verbatim(answer.status, relayed(answer.headers), body) if native else None
        return Failed(failure=self._answering.judge(signal), verbatim=verbatim)

    # --- a whole answer

    async def _whole(self, answer: UpstreamAnswer) -> Failed | None:
        call, lane, it = self._call, self._lane, self._answering
        try:
            body = await read_whole(answer, self._limits.answer_max_bytes, it.waiting_for.watch())
        except UpstreamBroken as broken:
            return _failed(broken.kind, refund=True)
        except TimeoutError:
            return _failed(FailureClass.TIMEOUT, refund=True)
        except AnswerTooLarge:
            return _failed(FailureClass.SERVER_ERROR, "The answer is too large.")
        it.answered()
        found = lane.protocol.inspect_response(body)
        if found.error is not None:
            return Failed(failure=it.judge(found.error), refund=True)
        if not found.readable:
            return _failed(FailureClass.SERVER_ERROR, UNREADABLE, refund=True)
        it.usage = found.usage
        headers = relayed(answer.headers)
        if it.crossing is not None:
            headers = it.foreign_headers("application/json")
            try:
                body, it.usage = it.crossing.answer(body)
            except Unreadable:
                return _failed(FailureClass.SERVER_ERROR, UNREADABLE, refund=True)
            it.keep_aside()
        it.first_byte()
        if it.spent is not None:
            it.spent.whole_answer(it.usage, body)
            await it.spent.settle()
        await call.exchange.send(answer.status if it.same else 200, it.answer_headers(headers), body)
        return None

    # --- a streamed answer

    async def _streamed(self, answer: UpstreamAnswer) -> Failed | None:
        expected = self._lane.protocol.stream_content_type
        if media_type(answer.headers.get("content-type", "")) != media_type(expected):
            return await self._not_a_stream(answer)
        return await StreamedAnswer(self._answering).relay(answer)

    async def _not_a_stream(self, answer: UpstreamAnswer) -> Failed:
        """A 2xx that is no stream although one was asked for: an error, told in an unusual way."""
        try:
            body = await read_whole(answer, ERROR_BODY_BYTES_MAX, self._answering.waiting_for.watch())
        except (UpstreamBroken, AnswerTooLarge, TimeoutError):
            body = b""
        found = self._lane.protocol.inspect_response(body)
        if found.error is None:
            return _failed(FailureClass.SERVER_ERROR, "The answer is not a stream.", refund=True)
        return Failed(failure=self._answering.judge(found.error), refund=True)


def _failed(kind: FailureClass, message: str = "", *, refund: bool = False) -> Failed:
    return Failed(failure=Failure(kind=kind, signal=FailureSignal(message=message)), refund=refund)
