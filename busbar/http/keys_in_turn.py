"""One attempt's way through the keys of a provider's account: which one is sent, and what follows when it is refused.

A refusal is an answer with an error's status that says: not with this key (401, 403), not this account (402), not so
many (429). The caller has seen nothing of it, and the member hears of it only when no key is left.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import pykka
from msgspec.structs import replace

from busbar.actors.credentials.messages import Held, KeyRefused, Obtain, Withheld
from busbar.actors.credentials.wallet import Wallet
from busbar.actors.runtime import Clock, MailboxFull
from busbar.http.call import Failed, Verbatim
from busbar.protocols.failures import Disposition, Failure, FailureClass, FailureSignal, disposition

TRIES_MAX = 128
"""Twice as many as an account can have keys: each, and what came in its place."""

NO_CREDENTIAL = "The model is not available at the moment."

_REFUSALS = frozenset({FailureClass.AUTH, FailureClass.BILLING, FailureClass.RATE_LIMIT})


class KeysInTurn:
    """One attempt's. `refusals`: (number of the key, class) of what was refused so far."""

    def __init__(self, wallet: Wallet, model: str, clock: Clock) -> None:
        self._wallet = wallet
        self._model = model
        self._clock = clock
        self._tried: frozenset[int] = frozenset()
        self._failed: list[Failed] = []
        self.refusals: list[tuple[int, str]] = []

    async def next(self) -> Held | Withheld:
        """A key that was not tried. Waits while one is being got; the attempt's own limits end that."""
        held = None if self._tried else self._wallet.find(self._model, self._clock.now())
        if held is not None:
            return held
        if self._wallet.ref is None or len(self._tried) >= TRIES_MAX:
            return Withheld(FailureClass.OVERLOADED, 1.0)
        try:
            answer: Held | Withheld = await self._wallet.ref.ask(Obtain(self._model, self._tried))
        except (pykka.ActorDeadError, MailboxFull):
            return Withheld(FailureClass.OVERLOADED, 1.0)  # it has just been restarted, or has other things to do
        return answer

    def is_refusal(self, failed: Failed, status: int) -> bool:
        """`status`: the answer's own. What stands in a 200 comes too late: some of that may be with the caller, and
        another key would begin from the start."""
        return status >= 400 and failed.failure.kind in _REFUSALS

    def refused(self, held: Held, failed: Failed) -> None:
        """The account is told."""
        kind, signal = failed.failure.kind, failed.failure.signal
        self._tried |= {held.serial}
        self._failed.append(failed)
        self.refusals.append((held.number, kind.value))
        if self._wallet.ref is not None:
            self._wallet.ref.tell(
                KeyRefused(
                    number=held.number,
                    serial=held.serial,
                    model=self._model,
                    kind=kind,
                    retry_after_secs=signal.retry_after_secs,
                )
            )

    def verdict(self, withheld: Withheld) -> Failed:
        """What the attempt comes to when no key is left: the last refusal. But while only one key is dead and another
        will be back by itself, the member is not dead."""
        soon = disposition(withheld.kind) is Disposition.TRANSIENT
        chosen = self._failed[-1] if self._failed else None
        if chosen is None or (soon and chosen.failure.disposition is Disposition.HARD_DOWN):
            passing = (it for it in reversed(self._failed) if it.failure.disposition is Disposition.TRANSIENT)
            chosen = next(passing, None)
            if chosen is None:
                return _without_credential(withheld, sent=bool(self._failed))
        if self._wallet.several and chosen.failure.disposition is Disposition.TRANSIENT:
            return _back_in(chosen, withheld.retry_after_secs)
        return chosen


def _without_credential(withheld: Withheld, *, sent: bool) -> Failed:
    passing = disposition(withheld.kind) is Disposition.TRANSIENT
    signal = FailureSignal(message=NO_CREDENTIAL, retry_after_secs=withheld.retry_after_secs if passing else None)
    return Failed(failure=Failure(kind=withheld.kind, signal=signal), refund=not sent)


def _back_in(failed: Failed, secs: float) -> Failed:
    """The same, with the time after which the first of the keys is back."""
    failure, verbatim = failed.failure, failed.verbatim
    failure = replace(failure, signal=replace(failure.signal, retry_after_secs=secs))
    if verbatim is not None:
        verbatim = Verbatim(verbatim.status, _with_retry_after(verbatim.headers, secs), verbatim.body)
    return replace(failed, failure=failure, verbatim=verbatim)


def _with_retry_after(headers: Mapping[str, str], secs: float) -> Mapping[str, str]:
    others = {name: value for name, value in headers.items() if name not in ("retry-after", "retry-after-ms")}
    return {**others, "retry-after": str(max(1, math.ceil(secs)))}
