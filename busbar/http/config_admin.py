"""The configuration of a running gateway, guarded by `governance.admin_token`; without it there is nothing.

GET  /admin/config                   what is in effect, without secrets
POST /admin/config/reload            reads the files again: {"generation", "changes", "notes"}, or 422 and why
POST /admin/config/reload?dry_run=1  only says what would change
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import msgspec
from aiohttp import web

from busbar.config import Secret
from busbar.config.difference import Change
from busbar.http.auth import holds_admin_token
from busbar.http.dispatch import Controls

CONFIG = "/admin/config"
RELOAD = "/admin/config/reload"

_encode = msgspec.json.Encoder().encode


class NotReloaded(Exception):
    """Nothing has changed. `problems` says why, one text each, as `busbar check` would."""

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__("; ".join(problems))
        self.problems = tuple(problems)


class Reloaded(msgspec.Struct, frozen=True):
    """`generation` None: nothing had to be applied."""

    generation: int | None
    changes: tuple[Change, ...]
    notes: tuple[str, ...]


class Reloading(Protocol):
    """What reads and applies."""

    def shown(self) -> Mapping[str, Any]: ...

    async def reload(self, who: str, *, dry_run: bool = False) -> Reloaded:
        """Raises `NotReloaded`."""
        ...


class ConfigAdmin:
    def __init__(self, token: Secret | None, reloading: Reloading) -> None:
        self._token = token
        self._reloading = reloading

    @property
    def pages(self) -> Controls:
        """None without a token: then the paths answer 404 like any that do not exist."""
        return {("GET", CONFIG): self.config, ("POST", RELOAD): self.reload} if self._token is not None else {}

    async def config(self, request: web.BaseRequest) -> web.Response:
        return self._refusal(request) or _json(self._reloading.shown())

    async def reload(self, request: web.BaseRequest) -> web.Response:
        refusal = self._refusal(request)
        if refusal is not None:
            return refusal
        try:
            done = await self._reloading.reload("admin", dry_run=request.query.get("dry_run", "") in ("1", "true"))
        except NotReloaded as refused:
            message = "The configuration was not reloaded; nothing has changed."
            return _json({"error": {"message": message, "problems": refused.problems}}, status=422)
        return _json(done)

    def _refusal(self, request: web.BaseRequest) -> web.Response | None:
        if holds_admin_token(self._token, request.headers):
            return None
        return _json({"error": {"message": "The admin token is missing or not valid."}}, status=401)


def _json(value: Any, *, status: int = 200) -> web.Response:
    headers = {"cache-control": "no-store"}
    return web.Response(status=status, body=_encode(value), content_type="application/json", headers=headers)
