"""What an operator may change in a running gateway, guarded by `governance.admin_token`; without it there is nothing.

POST /admin/members/<model>/reinstate    {"pool": name}, or no body for all pools: the member is well again
"""

from __future__ import annotations

import asyncio
from typing import Any
from urllib.parse import unquote

import msgspec
from aiohttp import web

from busbar.actors.audit import record
from busbar.actors.messages import Directory, Reinstate, Snapshot
from busbar.config import Secret
from busbar.http.auth import holds_admin_token
from busbar.http.dispatch import Controls, beneath
from busbar.http.exchange import AiohttpExchange
from busbar.http.ports import BodyTooLarge, BodyTooSlow, CallerGone

MEMBERS = "/admin/members/"
REINSTATE = "/reinstate"

BODY_BYTES_MAX = 65_536

_encode = msgspec.json.Encoder().encode


class ReinstateBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`pool` None: in every pool, and for direct routes."""

    pool: str | None = None


class Admin:
    """Checks the token, tells the actor, shows what has become of it."""

    def __init__(self, token: Secret | None, directory: Directory, body_timeout_secs: float) -> None:
        self._token = token
        self._directory = directory
        self._body_timeout_secs = body_timeout_secs

    @property
    def pages(self) -> Controls:
        """None without a token: then the paths answer 404 like any that do not exist."""
        return {("POST", MEMBERS): self.reinstate} if self._token is not None else {}

    async def reinstate(self, request: web.BaseRequest) -> web.Response:
        """Ends a quarantine or a throttle, closes the cells. Answers the member as `/stats` shows it."""
        if not holds_admin_token(self._token, request.headers):
            return _refusal(401, "The admin token is missing or not valid.")
        path = beneath(request, MEMBERS)
        model = unquote(path.removesuffix(REINSTATE))
        ref = self._directory.members.get(model) if path.endswith(REINSTATE) else None
        if ref is None:
            return _refusal(404, "There is no member at this path.")
        try:
            body = await self._body(request)
        except msgspec.DecodeError as error:
            return _refusal(400, f"The body is not what it should be: {error}")
        except (BodyTooLarge, BodyTooSlow):
            return _refusal(400, "The body is too large, or too slow to come.")
        except CallerGone:
            raise asyncio.CancelledError from None
        if not ref.is_alive():
            return _refusal(409, "The member was stopped for good.")
        if not await ref.ask(Reinstate(body.pool)):
            return _refusal(404, "The member is in no pool of this name.")
        record("admin", "reinstate", member=model, **({} if body.pool is None else {"pool": body.pool}))
        return _json(await ref.ask(Snapshot()))

    async def _body(self, request: web.BaseRequest) -> ReinstateBody:
        exchange = AiohttpExchange(request, body_max_bytes=BODY_BYTES_MAX, body_timeout_secs=self._body_timeout_secs)
        text = await exchange.body()
        return msgspec.json.decode(text, type=ReinstateBody) if text.strip() else ReinstateBody()


def _refusal(status: int, message: str) -> web.Response:
    return _json({"error": {"message": message}}, status=status)


def _json(value: Any, *, status: int = 200) -> web.Response:
    return web.Response(status=status, body=_encode(value), content_type="application/json")
