"""The pages of `Administration`, guarded by `governance.admin_token`; without governance there are none."""

from __future__ import annotations

import asyncio

import msgspec
from aiohttp import web

from busbar.config import Secret
from busbar.http.administration import Administration, Answer
from busbar.http.auth import holds_admin_token
from busbar.http.dispatch import Controls
from busbar.http.exchange import AiohttpExchange
from busbar.http.ports import BodyTooLarge, BodyTooSlow, CallerGone

BODY_BYTES_MAX = 65_536

PLACES = {
    "/admin/keys": ("GET", "POST"),
    "/admin/keys/": ("GET", "POST", "PATCH", "DELETE"),
    "/admin/groups": ("GET", "POST"),
    "/admin/groups/": ("GET", "POST", "PATCH", "DELETE"),
}

_encode = msgspec.json.Encoder().encode


class KeysAdmin:
    """Checks the token and the size of the body, and writes what `Administration` answers."""

    def __init__(self, token: Secret | None, administration: Administration | None, body_timeout_secs: float) -> None:
        self._token = token
        self._administration = administration
        self._body_timeout_secs = body_timeout_secs

    @property
    def pages(self) -> Controls:
        """None without governance: then the paths answer 404 like any that do not exist."""
        if self._token is None or self._administration is None:
            return {}
        return {(method, path): self.answer for path, methods in PLACES.items() for method in methods}

    async def answer(self, request: web.BaseRequest) -> web.Response:
        assert self._administration is not None, "there are no pages without it"
        if not holds_admin_token(self._token, request.headers):
            return _refusal(401, "The admin token is missing or not valid.")
        exchange = AiohttpExchange(request, body_max_bytes=BODY_BYTES_MAX, body_timeout_secs=self._body_timeout_secs)
        try:
            body = await exchange.body()
        except BodyTooLarge:
            return _refusal(413, f"The body is over {BODY_BYTES_MAX} bytes.")
        except BodyTooSlow:
            return _refusal(408, "The body is too slow to come.")
        except CallerGone:
            raise asyncio.CancelledError from None
        return _response(await self._administration.call(request.method, exchange.path, exchange.query, body))


def _refusal(status: int, message: str) -> web.Response:
    response = _response(Answer(status=status, document={"error": {"message": message}}))
    response.force_close()  # a body that was not read is not waited for
    return response


def _response(answer: Answer) -> web.Response:
    headers = {"cache-control": "no-store"}
    if answer.allow:
        headers["allow"] = ", ".join(answer.allow)
    if answer.document is None:
        return web.Response(status=answer.status, headers=headers)
    return web.Response(
        status=answer.status, headers=headers, body=_encode(answer.document), content_type="application/json"
    )
