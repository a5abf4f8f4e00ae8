"""Admission of governed requests: what one may use at most is estimated, and Governance is asked."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import pykka

from busbar.actors.governance.messages import Admit, Admitted, Denied, Quota, Settle
from busbar.actors.governance.money import Tariff
from busbar.actors.governance.scopes import VirtualKey
from busbar.actors.journey import Destination
from busbar.actors.runtime import Clock, LoopFuture, LoopRef, MailboxFull
from busbar.http.bill import Bill
from busbar.http.denials import STORE_FAILS, denial
from busbar.http.estimate import input_estimate
from busbar.http.lanes import Lane
from busbar.protocols.asked import COUNT_MAX
from busbar.protocols.body import Body
from busbar.protocols.errors import ErrorReport
from busbar.protocols.protocol import Operation, Protocol
from busbar.protocols.rate_limits import RateLimits


class NotAdmitted(Exception):
    """The request is refused. `headers` say how the limit stands that refused it."""

    def __init__(self, report: ErrorReport, headers: Mapping[str, str]) -> None:
        super().__init__(report.message)
        self.report = report
        self.headers = headers


class Admissions:
    """Asks Governance for those who hold a virtual key."""

    def __init__(
        self,
        governance: LoopRef,
        tariff: Tariff,
        clock: Clock,
        lanes: Mapping[str, Lane],
        pools: Mapping[str, Destination],
        destinations: Iterable[Destination],
    ) -> None:
        self._governance = governance
        self._tariff = tariff
        self._clock = clock
        self._models = {there.ref.actor_urn: _models(there, pools) for there in destinations}
        self._output_tokens = {
            urn: max(lanes[model].default_max_tokens for model in models) for urn, models in self._models.items()
        }

    async def admit(
        self, key: VirtualKey, ingress: Protocol, body: Body, destination: Destination, operation: Operation
    ) -> Bill:
        """Raises `NotAdmitted`."""
        urn = destination.ref.actor_urn
        wanted = ingress.asked(body)
        input_tokens = input_estimate(body)
        output_tokens = min((wanted.max_output_tokens or self._output_tokens[urn]) * wanted.choices, COUNT_MAX)
        billed = operation == "chat"
        reply = await self._ask(
            Admit(
                key=key.id,
                pool=destination.name,
                models=self._models[urn],
                input_tokens=input_tokens,
                output_tokens=output_tokens if billed else 0,
                billed=billed,
            )
        )
        if isinstance(reply, Admitted):
            headers = self._headers(ingress, reply.requests, reply.tokens)
            return Bill(self._governance, self._tariff, key.id, reply, input_tokens=input_tokens, headers=headers)
        raise NotAdmitted(denial(reply, destination.name), self._headers_of_denial(ingress, reply))

    async def _ask(self, message: Admit) -> Admitted | Denied:
        """A caller that goes away in between leaves nothing reserved."""
        asked = self._governance.ask(message)

        def give_back(future: LoopFuture) -> None:
            try:
                reply = future.get()
            except pykka.ActorDeadError:
                return  # and its settlement is nobody's any more
            if isinstance(reply, Admitted):
                self._governance.tell(Settle(ticket=reply.ticket, key=message.key, day=reply.day))

        try:
            reply: Admitted | Denied = await asked
        except (pykka.ActorDeadError, MailboxFull):
            raise NotAdmitted(STORE_FAILS, {}) from None
        except BaseException:
            asked.when_done(give_back)
            raise
        return reply

    def _headers(self, ingress: Protocol, requests: Quota | None, tokens: Quota | None) -> Mapping[str, str]:
        if requests is None and tokens is None:
            return {}
        limits = RateLimits(
            requests_limit=None if requests is None else requests.limit,
            requests_remaining=None if requests is None else requests.remaining,
            requests_reset_secs=None if requests is None else requests.reset_secs,
            tokens_limit=None if tokens is None else tokens.limit,
            tokens_remaining=None if tokens is None else tokens.remaining,
            tokens_reset_secs=None if tokens is None else tokens.reset_secs,
        )
        return ingress.rate_limit_headers(limits, self._clock.time())

    def _headers_of_denial(self, ingress: Protocol, denied: Denied) -> Mapping[str, str]:
        rate = denied.rate
        if rate is None:
            return {}
        quota = Quota(rate.limit, max(0, rate.limit - rate.used), rate.reset_secs)
        by_unit = {rate.unit: quota}
        return self._headers(ingress, by_unit.get("requests"), by_unit.get("tokens"))


def _models(destination: Destination, pools: Mapping[str, Destination]) -> tuple[str, ...]:
    """All that may answer a request to it, those of the pools that it falls back on included."""
    models: dict[str, None] = {}
    visited: set[str] = set()
    there: Destination | None = destination
    while there is not None:
        models.update((line.member, None) for line in there.listing.lines if not line.excluded)
        visited.add(there.name)
        fallback = there.fallback
        there = pools[fallback] if fallback is not None and fallback not in visited else None
    return tuple(models)
