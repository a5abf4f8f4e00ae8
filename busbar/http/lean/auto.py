"""Lean where it can be, aiohttp's client for the rest: proxies of the environment, and anything unusual."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any

from busbar.config.reach import Reach
from busbar.http.lean.upstream import LeanUpstream
from busbar.http.ports import UpstreamAnswer, UpstreamRequest
from busbar.http.proxies import EnvironmentProxies
from busbar.http.upstream_aiohttp import AiohttpUpstream

_KEPT = "auto"
"""Under this name it is kept whether a request is a lean one."""


class AutoUpstream:
    """Each of the two has `connections_max` connections to itself; a provider is always reached by the same one."""

    def __init__(self, *, connect_timeout_secs: float, connections_max: int, reach: Reach | None = None) -> None:
        self._reach = reach
        self._connect_timeout_secs = connect_timeout_secs
        self._connections_max = connections_max
        self._proxies = EnvironmentProxies()
        self._lean = LeanUpstream(
            connect_timeout_secs=connect_timeout_secs, connections_max=connections_max, reach=reach
        )
        self._aiohttp: AiohttpUpstream | None = None

    def send(self, request: UpstreamRequest) -> Coroutine[Any, Any, UpstreamAnswer]:
        kept = request.kept
        is_lean = None if kept is None else kept.get(_KEPT)
        if is_lean is None:
            is_lean = self._proxies.for_url(request.url) is None and self._lean.takes(request)
            if kept is not None:
                kept[_KEPT] = is_lean
        return (self._lean if is_lean else self._others()).send(request)

    def _others(self) -> AiohttpUpstream:
        if self._aiohttp is None:
            self._aiohttp = AiohttpUpstream(
                connect_timeout_secs=self._connect_timeout_secs,
                connections_max=self._connections_max,
                reach=self._reach,
            )
        return self._aiohttp

    async def close(self) -> None:
        await self._lean.close()
        if self._aiohttp is not None:
            await self._aiohttp.close()
