"""Where an operator breaks things on purpose.

POST   /admin/faults             {"member": name, "kind": "429" | "500" | "freeze" | "cut", "secs": 60}: 201
GET    /admin/faults             {"faults": [{"member", "kind", "secs", "remaining_s", "by"}]}
DELETE /admin/faults/<member>    204: it is lifted

Guarded by `governance.admin_token`. A gateway that was made to be broken (`busbar demo`) is open to whoever sits in
front of it, and to no web page but its own.
"""

from __future__ import annotations

import asyncio
from typing import Annotated, Any
from urllib.parse import unquote

import msgspec
import pykka
from aiohttp import web
from msgspec import Meta, Struct

from busbar.actors.faults import FAULT_SECS_MAX, FaultKind, Inject, Lift
from busbar.actors.messages import Snapshot
from busbar.actors.runtime import LoopRef, MailboxFull
from busbar.config import Secret
from busbar.http.administration_bodies import Refusal, decoded
from busbar.http.auth import holds_admin_token
from busbar.http.dispatch import Controls, beneath
from busbar.http.exchange import AiohttpExchange
from busbar.http.origins import from_own_page, names_this_machine
from busbar.http.ports import BodyTooLarge, BodyTooSlow, CallerGone

FAULTS = "/admin/faults"
FAULT = "/admin/faults/"

BODY_BYTES_MAX = 65_536

_encode = msgspec.json.Encoder().encode


class InjectBody(Struct, frozen=True, forbid_unknown_fields=True):
    member: Annotated[str, Meta(max_length=1000)]
    kind: FaultKind
    secs: Annotated[int, Meta(ge=1, le=FAULT_SECS_MAX)] = 60


class FaultsAdmin:
    """Checks who asks and what, and asks the Faults actor."""

    def __init__(
        self,
        token: Secret | None,
        faults: LoopRef,
        body_timeout_secs: float,
        *,
        open: bool = False,  # noqa: A002  # it is the word
    ) -> None:
        """`open`: no token is wanted. Only for a gateway that listens on loopback."""
        self._token = token
        self._faults = faults
        self._body_timeout_secs = body_timeout_secs
        self._open = open

    @property
    def pages(self) -> Controls:
        """None without a token, unless it is open: then the paths answer 404 like any that do not exist."""
        if self._token is None and not self._open:
            return {}
        return {("GET", FAULTS): self.listed, ("POST", FAULTS): self.inject, ("DELETE", FAULT): self.lift}

    async def listed(self, request: web.BaseRequest) -> web.Response:
        """What is in force."""
        try:
            self._admit(request)
            return _json({"faults": (await self._ask(Snapshot()))["in_force"]})
        except Refusal as refusal:
            return _refusal(refusal)

    async def inject(self, request: web.BaseRequest) -> web.Response:
        try:
            by = self._admit(request)
            body = decoded(await self._body(request), InjectBody)
            fault = await self._ask(Inject(member=body.member, kind=body.kind, secs=body.secs, by=by))
            if fault is None:
                raise Refusal(404, "There is no member of this name.")
        except Refusal as refusal:
            return _refusal(refusal)
        return _json(fault, status=201)

    async def lift(self, request: web.BaseRequest) -> web.Response:
        try:
            by = self._admit(request)
            if not await self._ask(Lift(member=unquote(beneath(request, FAULT)), by=by)):
                raise Refusal(404, "There is no fault at this path.")
        except Refusal as refusal:
            return _refusal(refusal)
        return web.Response(status=204, headers={"cache-control": "no-store"})

    def _admit(self, request: web.BaseRequest) -> str:
        """Who asks, for the audit log. Raises `Refusal`."""
        if holds_admin_token(self._token, request.headers):
            return "admin"
        if not self._open:
            raise Refusal(401, "The admin token is missing or not valid.")
        if not (names_this_machine(request) and from_own_page(request)):
            raise Refusal(403, "Pages of other origins may not do this.")
        return "demo"

    async def _body(self, request: web.BaseRequest) -> bytes:
        """Raises `Refusal`."""
        exchange = AiohttpExchange(request, body_max_bytes=BODY_BYTES_MAX, body_timeout_secs=self._body_timeout_secs)
        try:
            return await exchange.body()
        except BodyTooLarge:
            raise Refusal(413, f"The body is over {BODY_BYTES_MAX} bytes.") from None
        except BodyTooSlow:
            raise Refusal(408, "The body is too slow to come.") from None
        except CallerGone:
            raise asyncio.CancelledError from None

    async def _ask(self, message: Any) -> Any:
        """Raises `Refusal`."""
        try:
            return await self._faults.ask(message)
        except (pykka.ActorDeadError, MailboxFull):
            raise Refusal(503, "Faults cannot be injected or lifted at the moment.") from None


def _refusal(refusal: Refusal) -> web.Response:
    response = _json({"error": {"message": str(refusal)}}, status=refusal.status)
    response.force_close()  # a body that was not read is not waited for
    return response


def _json(value: Any, *, status: int = 200) -> web.Response:
    return web.Response(
        status=status,
        body=_encode(value),
        content_type="application/json",
        headers={"cache-control": "no-store"},
    )
