"""One governed request: what was reserved when it was admitted, and what is charged for it in the end."""

from __future__ import annotations

from collections.abc import Mapping

import pykka

from busbar.actors.governance.charging import charged
from busbar.actors.governance.messages import Admitted, Charge, NotRecorded, Settle, Settled
from busbar.actors.governance.money import Tariff
from busbar.actors.runtime import LoopRef, MailboxFull
from busbar.protocols.usage import Usage


class Unrecorded(Exception):
    """What the answer cost could not be recorded, so it may not end. `told`: the caller was told in the stream."""

    def __init__(self, *, told: bool = False) -> None:
        super().__init__("the governance store does not record")
        self.told = told


class Bill:
    """Charges are gathered, and told to Governance once: by `settle`, which waits until they last, or else by
    `close`, which does not. Whoever got it owes it a `close`."""

    __slots__ = (
        "_admitted",
        "_charges",
        "_governance",
        "_settled",
        "_tariff",
        "headers",
        "input_tokens",
        "key",
        "picodollars",
    )

    def __init__(
        self,
        governance: LoopRef,
        tariff: Tariff,
        key: str,
        admitted: Admitted,
        *,
        input_tokens: int,
        headers: Mapping[str, str],
    ) -> None:
        self._governance = governance
        self._tariff = tariff
        self._admitted = admitted
        self._charges: list[Charge] = []
        self._settled = False
        self.key = key
        """The key's id."""
        self.input_tokens = input_tokens
        """Of the prompt, as estimated at admission."""
        self.headers = headers
        """How the key's limits stand, for the answer."""
        self.picodollars: int | None = None
        """What it cost, once that is known."""

    def charge(self, model: str, usage: Usage, *, estimated: bool) -> None:
        """`model` did so much for the caller."""
        if not self._settled:
            self._charges.append(Charge(model=model, usage=usage, estimated=estimated))

    async def settle(self) -> None:
        """Before the last byte of the answer. Raises `Unrecorded`: then the charges stand, and are recorded later."""
        if self._settled:
            return
        try:
            told: Settled | NotRecorded = await self._governance.ask(self._message())
        except MailboxFull:
            self._settled = False  # it was not even delivered
            raise Unrecorded from None
        except pykka.ActorDeadError:
            raise Unrecorded from None
        if isinstance(told, NotRecorded):
            raise Unrecorded
        self.picodollars = told.picodollars

    def close(self) -> None:
        """The request is over, however it ended: what was reserved is given back."""
        if not self._settled:
            message = self._message()
            self._governance.tell(message)
            if message.charges:
                self.picodollars = charged(message.charges, message.key, message.day, self._tariff).picodollars

    def _message(self) -> Settle:
        self._settled = True
        admitted = self._admitted
        return Settle(ticket=admitted.ticket, key=self.key, day=admitted.day, charges=tuple(self._charges))
