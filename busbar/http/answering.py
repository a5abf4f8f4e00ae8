"""What one attempt knows of its answer, whether that comes whole or as a stream: what is measured, what is charged,
and what every answer to the caller has."""

from __future__ import annotations

from collections.abc import Mapping

from busbar.actors.messages import Keep, Timeouts
from busbar.actors.runtime import Clock, LoopRef
from busbar.http.call import Call
from busbar.http.headers import header_list
from busbar.http.lanes import Lane
from busbar.http.patience import Patience
from busbar.http.spent import Spent
from busbar.http.stream_relay import Pace
from busbar.protocols.crossing import Crossing
from busbar.protocols.failures import Failure, FailureSignal, classify
from busbar.protocols.protocol import Hop
from busbar.protocols.receipt import Receipt
from busbar.protocols.usage import Usage


class Answering:
    """One attempt's. Time before the first byte to the caller is the provider's from `asked` to `answered`; the rest
    is the gateway's own."""

    crossing: Crossing | None = None
    """Where the two sides speak different dialects."""
    prefill: str | None = None
    own_receipt: Receipt | None = None
    usage: Usage | None = None
    first_byte_at: float | None = None
    """When the caller got its first byte, or would have: a resumed stream's member went on with it."""
    pace: Pace | None = None
    """Of a stream that started, once it is over."""
    broken: Failure | None = None
    """The failure of a stream that broke after it had started; the caller was told."""
    finished = False
    """A stream's terminal event is out."""
    spent: Spent | None = None
    """Where somebody is charged."""

    _sent = False
    _patience: Patience | None = None
    _asked_at: float | None = None
    _answered_at: float | None = None

    def __init__(self, call: Call, lane: Lane, continuity: LoopRef, clock: Clock) -> None:
        self.call = call
        self.lane = lane
        self.same = lane.protocol is call.ingress
        """Whether both sides speak the same dialect."""
        self._continuity = continuity
        self._clock = clock
        if call.bill is not None and call.operation == "chat":
            self.spent = Spent(call.bill, lane.model, lane.protocol)

    # --- time

    def begin(self, timeouts: Timeouts, available_secs: float) -> Patience:
        self._patience = patience = Patience(timeouts, available_secs, stream=self.call.stream)
        return patience

    @property
    def waiting_for(self) -> Patience:
        assert self._patience is not None, "the attempt runs"
        return self._patience

    @property
    def out_of_time(self) -> bool:
        """Whether, if it took too long, it was the request's deadline that passed, not a limit of the member's."""
        return self._patience is not None and self._patience.out_of_time

    @property
    def waited_secs(self) -> float:
        """For the provider, before the caller's first byte: from when it was asked (connecting included) until it had
        answered, or until now."""
        if self._asked_at is None:
            return 0.0
        return (self._clock.now() if self._answered_at is None else self._answered_at) - self._asked_at

    def asked(self) -> None:
        """The request is about to go out, for the first time or with another key."""
        if self._asked_at is None:
            self._asked_at = self._clock.now()

    def refused(self) -> None:
        """The provider did nothing for it: it did not want the key."""
        self._sent = False
        self.waiting_for.connecting()

    def answered(self) -> None:
        """A whole answer is there, or a stream's first content."""
        if self._answered_at is None:
            self._answered_at = self._clock.now()

    def content(self) -> None:
        """A stream's first content is there; it may be held back."""
        self.answered()
        self.waiting_for.holding()

    def heard(self) -> None:
        """The provider goes on, or repeats what the caller has."""
        self.first_byte_at = self._clock.now()
        self.content()

    def first_byte(self) -> None:
        """From here on there is no failover, and no deadline."""
        now = self._clock.now()
        self._answered_at = self._answered_at or now
        self.first_byte_at = self.first_byte_at or now
        self.waiting_for.streaming()
        if self.call.recovery is None:
            self.call.body.forget()

    def linger(self) -> None:
        """The terminal event is out."""
        self.finished = True
        self.waiting_for.lingering()

    # --- money

    def connected(self) -> None:
        self._sent = True

    def charge_left(self) -> None:
        """The answer stays incomplete: charges, once, what of it was seen. Nothing was, if nothing was sent."""
        if self.spent is not None and self._sent:
            self.spent.cut(self.usage)

    # --- between the dialects

    def hop(self) -> Hop:
        return Hop(
            model=self.lane.upstream_model,
            default_max_tokens=self.lane.default_max_tokens,
            framing=self.call.framing,
            now=int(self._clock.time()),
            nonce=self.call.request_id,
            changes=self.lane.changes,
        )

    @property
    def dropped_fields(self) -> tuple[str, ...]:
        """What had no place on the other side: the request's fields, then the answer's."""
        if self.crossing is not None:
            return self.crossing.dropped_fields
        return () if self.own_receipt is None else self.own_receipt.dropped_paths

    def keep_aside(self) -> None:
        """The answer is whole: keeps what of it the caller's dialect cannot carry, for the next turn."""
        entries = self.crossing.kept_aside() if self.crossing is not None else {}
        if entries:
            kept = next(iter(entries.values()))
            self._continuity.tell(Keep(keys=tuple(entries), state=kept, weight_bytes=kept.weight_bytes))

    def judge(self, signal: FailureSignal) -> Failure:
        return Failure(kind=classify(signal, self.lane.protocol.knowledge, self.lane.rules), signal=signal)

    # --- headers

    def foreign_headers(self, content_type: str) -> dict[str, str]:
        return {"content-type": content_type, self.call.ingress.request_id_header: self.call.request_id}

    def answer_headers(self, headers: Mapping[str, str]) -> dict[str, str]:
        call = self.call
        own = (
            {**headers, **call.own_headers}
            if call.bill is None
            else {**call.callers_own(headers), **call.own_headers}
        )
        if call.exchange.headers.get("x-busbar-receipt") == "1":
            own["x-busbar-dropped"] = header_list(self.dropped_fields)
        return own
