"""One attempt: one request to one member, and its answer to the caller.

An attempt either answers the caller, or comes back as `Failed` with nothing written, so that another member may be
tried. Which of the two is decided by the first byte that reaches the caller.
"""

from __future__ import annotations

from collections.abc import Sequence

from msgspec.structs import replace

from busbar.actors.credentials.messages import Held
from busbar.actors.messages import Recall, Timeouts
from busbar.actors.runtime import Clock, LoopRef
from busbar.config.schema import LimitsConfig
from busbar.http.answering import Answering
from busbar.http.bodies import read_whole, whole_of
from busbar.http.call import Call, Failed, Verbatim
from busbar.http.headers import forwarded, media_type, relayed
from busbar.http.keys_in_turn import KeysInTurn
from busbar.http.lanes import Lane, RequestHead
from busbar.http.ports import AnswerTooLarge, Upstream, UpstreamAnswer, UpstreamBroken, remember
from busbar.http.streamed import StreamedAnswer
from busbar.protocols.continuity import keys_of, restore
from busbar.protocols.crossing import Crossing
from busbar.protocols.failures import Failure, FailureClass, FailureSignal
from busbar.protocols.receipt import Receipt
from busbar.protocols.resume import Diverged
from busbar.protocols.signing import MalformedCredential, Signer
from busbar.protocols.translate import Unreadable, own_request

ERROR_BODY_BYTES_MAX = 1 << 20
"""Of a provider's error, no more than this is read."""

UNREADABLE = "The model's provider sent an answer that could not be read."


class Attempt(Answering):
    """Makes one. What is known of it afterwards, its properties say."""

    _keys: KeysInTurn | None = None
    """Where the provider's credential may change."""
    _status = 0
    """Of the provider's last answer."""

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
        super().__init__(call, lane, continuity, clock)
        self._upstream = upstream
        self._limits = limits
        if lane.wallet is not None:
            self._keys = KeysInTurn(lane.wallet, lane.model, clock)

    @property
    def refused_keys(self) -> Sequence[tuple[int, str]]:
        """(number, class) of the account's keys that the provider refused; another one may have been answered."""
        return () if self._keys is None else self._keys.refusals

    def latency_ms(self, started_at: float) -> float:
        """Until the first byte, or until now if there was none."""
        return ((self.first_byte_at or self._clock.now()) - started_at) * 1000

    async def run(self, available_secs: float, timeouts: Timeouts = Timeouts()) -> Failed | None:  # noqa: B008
        """None: the caller has its answer. The request's deadline, which is `available_secs` away, ends with the
        first byte to the caller.

        Raises `InvalidRequest` (the caller's document cannot be read; nothing was sent), `MalformedCredential`,
        `CallerGone`.
        """
        try:
            with self.begin(timeouts, available_secs):
                usual = self.same and not self.call.resumed
                body = [self._own_request() if usual else await self._foreign_request()]
                if self._keys is None:
                    return await self._exchange_with_provider(body.pop(), self._head())
                return await self._with_each_key(self._keys, body.pop(), self._head())
        except UpstreamBroken as broken:
            return _failed(broken.kind)
        except Diverged:
            return Failed(failure=Failure(kind=FailureClass.CLIENT_ERROR), diverged=True)
        except TimeoutError:
            # After the terminal event only the connection was waited for: the caller has a whole answer.
            return None if self.finished else _failed(FailureClass.TIMEOUT)

    # --- there

    def _own_request(self) -> bytes:
        call, lane = self.call, self.lane
        changes = lane.changes and lane.changes_for(call.operation)
        self.own_receipt = receipt = Receipt()
        return own_request(call.ingress, call.body, lane.upstream_model, receipt, changes)

    async def _foreign_request(self) -> bytes:
        call, lane = self.call, self.lane
        request = call.ingress.read_request(call.body.document())
        request.stream = call.stream or None  # some dialects say it in the path
        keys = keys_of(request)
        if keys:
            restore(request, await self._continuity.ask(Recall(keys)), lane.protocol.signer)
        if call.recovery is not None:
            self.prefill = call.recovery.prefill(allowed=lane.prefill)
        self.crossing = Crossing(call.ingress, lane.protocol, request, self.hop(), self.prefill)
        return self._own_request() if self.same and self.prefill is None else self.crossing.body

    async def _with_each_key(self, keys: KeysInTurn, body: bytes, head: RequestHead) -> Failed | None:
        """The same request with one key after the other, until one is not refused."""
        while isinstance(found := await keys.next(), Held):
            failed = await self._exchange_with_provider(body, head, found.credential)
            if failed is None or not keys.is_refusal(failed, self._status):
                return failed
            keys.refused(found, failed)
            self.refused()
        return keys.verdict(found)

    async def _exchange_with_provider(
        self, body: bytes, head: RequestHead, signer: Signer | None = None
    ) -> Failed | None:
        call = self.call
        self._status = 0
        try:
            request = head.request(body, call.caller.key, self._clock, signer)
            if self.spent is not None:
                request = replace(request, on_connected=self.connected)
            self.asked()
            answer = await self._upstream.send(request)
        except MalformedCredential:
            if self.lane.takes_callers_key:
                raise  # it is the caller's own
            return _failed(FailureClass.AUTH)
        del body, request  # a stream may go on for long, and it is in memory twice already
        self._status = status = answer.status
        self.waiting_for.answering()
        try:
            if not 200 <= status < 300:
                return await self._error(answer)
            return await (self._streamed(answer) if call.stream else self._whole(answer))
        finally:
            answer.close()

    def _head(self) -> RequestHead:
        """What goes before the body. The caller's next request with the same head has the same, unless it belongs to
        a trace."""
        call, lane = self.call, self.lane
        memo = call.memo if call.outgoing is None else None
        key = (lane.model, call.stream, call.operation)
        if memo is not None and (known := memo.get(key)) is not None and known.lane is lane:
            head: RequestHead = known
            return head
        own = forwarded(call.exchange.headers, call.ingress.forwarded_headers) if self.same else {}
        if call.outgoing is not None:
            own = {**own, **call.outgoing()}
        head = lane.head(stream=call.stream, operation=call.operation, forwarded=own)
        if memo is not None:
            remember(memo, key, head)
        return head

    # --- and back: an error

    async def _error(self, answer: UpstreamAnswer) -> Failed:
        lane = self.lane
        try:
            body = await read_whole(answer, ERROR_BODY_BYTES_MAX, self.waiting_for.watch())
        except (UpstreamBroken, AnswerTooLarge, TimeoutError):
            body = b""
        signal = lane.protocol.read_error(answer.status, answer.headers, body, self._clock.time())
        # A page of HTML is nothing that the caller's SDK could read: then it gets a native error instead.
        native = self.same and "json" in answer.headers.get("content-type", "")
        verbatim = Verbatim(answer.status, relayed(answer.headers), body) if native else None
        return Failed(failure=self.judge(signal), verbatim=verbatim)

    # --- a whole answer

    async def _whole(self, answer: UpstreamAnswer) -> Failed | None:
        call, lane = self.call, self.lane
        try:
            body = whole_of(answer, self._limits.answer_max_bytes)
            if body is None:
                body = await read_whole(answer, self._limits.answer_max_bytes, self.waiting_for.watch())
        except UpstreamBroken as broken:
            return _failed(broken.kind, refund=True)
        except TimeoutError:
            return _failed(FailureClass.TIMEOUT, refund=True)
        except AnswerTooLarge:
            return _failed(FailureClass.SERVER_ERROR, "The answer is too large.")
        self.answered()
        found = lane.protocol.inspect_response(body)
        if found.error is not None:
            return Failed(failure=self.judge(found.error), refund=True)
        if not found.readable:
            return _failed(FailureClass.SERVER_ERROR, UNREADABLE, refund=True)
        self.usage = found.usage
        if self.crossing is None:
            headers = relayed(answer.headers)
        else:
            headers = self.foreign_headers("application/json")
            try:
                body, self.usage = self.crossing.answer(body)
            except Unreadable:
                return _failed(FailureClass.SERVER_ERROR, UNREADABLE, refund=True)
            self.keep_aside()
        self.first_byte()
        if self.spent is not None:
            self.spent.whole_answer(self.usage, body)
            await self.spent.settle()
        await call.exchange.send(answer.status if self.same else 200, self.answer_headers(headers), body)
        return None

    # --- a streamed answer

    async def _streamed(self, answer: UpstreamAnswer) -> Failed | None:
        expected = self.lane.protocol.stream_content_type
        if media_type(answer.headers.get("content-type", "")) != media_type(expected):
            return await self._not_a_stream(answer)
        return await StreamedAnswer(self).relay(answer)

    async def _not_a_stream(self, answer: UpstreamAnswer) -> Failed:
        """A 2xx that is no stream although one was asked for: an error, told in an unusual way."""
        try:
            body = await read_whole(answer, ERROR_BODY_BYTES_MAX, self.waiting_for.watch())
        except (UpstreamBroken, AnswerTooLarge, TimeoutError):
            body = b""
        found = self.lane.protocol.inspect_response(body)
        if found.error is None:
            return _failed(FailureClass.SERVER_ERROR, "The answer is not a stream.", refund=True)
        return Failed(failure=self.judge(found.error), refund=True)


def _failed(kind: FailureClass, message: str = "", *, refund: bool = False) -> Failed:
    return Failed(failure=Failure(kind=kind, signal=FailureSignal(message=message)), refund=refund)
