"""One request on its way to members: what stays the same over all attempts, and what comes of one that failed."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from msgspec import Struct

from busbar.http.auth import Caller
from busbar.http.bill import Bill
from busbar.http.ports import Exchange, Memo
from busbar.http.recovery import Recovery
from busbar.protocols.body import Body
from busbar.protocols.failures import Failure
from busbar.protocols.protocol import Operation, Protocol


class Call(Struct, kw_only=True):
    """What stays the same over all attempts of one request."""

    request_id: str
    exchange: Exchange
    ingress: Protocol
    body: Body
    stream: bool
    framing: str
    """How the caller wants its stream framed (`Hop.framing`)."""
    operation: Operation
    caller: Caller
    own_headers: Mapping[str, str]
    """On every answer."""
    hold_secs: float = 0.0
    """How long the first content of a stream is held back."""
    recovery: Recovery | None = None
    """Where the pool insures its streams."""
    bill: Bill | None = None
    """Where the caller has a virtual key."""
    outgoing: Callable[[], Mapping[str, str]] | None = None
    """More headers for the next attempt: the trace that it belongs to."""
    memo: Memo | None = None
    """Where something may be kept for the connection's next request with the same head; None: nowhere."""

    @property
    def resumed(self) -> bool:
        """The caller has the beginning of an answer; an attempt goes on with it."""
        return self.recovery is not None and self.recovery.begun

    def callers_own(self, headers: Mapping[str, str]) -> Mapping[str, str]:
        """A provider's headers without those about the limits of an account, which is not that of a caller with a
        virtual key."""
        if self.bill is None:
            return headers
        families = self.ingress.account_header_prefixes
        return {name: value for name, value in headers.items() if not name.startswith(families)}


class Verbatim(Struct, frozen=True):
    """A provider's error answer as it came: what a caller of the same dialect gets to see."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class Failed(Struct, frozen=True, kw_only=True):
    """The attempt failed; the caller has not been told of it."""

    failure: Failure
    verbatim: Verbatim | None = None
    refund: bool = False
    """A 2xx that died before its first byte."""
    answered: bool = False
    """Nothing was missing but the end, and the caller has it."""
    diverged: bool = False
    """It was to go on with an answer, and gave another one: that is no fault of the member's."""
