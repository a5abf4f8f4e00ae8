"""`GET /metrics`: the numbers, for Prometheus."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any

import pykka
from aiohttp import web

from busbar import __version__
from busbar.actors.messages import Directory, Snapshot
from busbar.actors.runtime import ActorSystem, LoopRef, MailboxFull, Overflow
from busbar.actors.telemetry import Tally
from busbar.http.dispatch import Controls

LOST_KEYS = ("dropped", "failed")
"""In a sink's snapshot: what it could not hand on."""

WITHOUT_OUTLET = frozenset({"metrics", "journal"})
"""Telemetry that stays in the process."""


class MetricsPage:
    """Asks actors, as `/stats` does; reading changes nothing. `refusal` is the answer to a caller who may not see
    what concerns operators only."""

    def __init__(
        self,
        *,
        system: ActorSystem,
        gateway: LoopRef,
        directory: Directory,
        refusal: Callable[[web.BaseRequest], web.Response | None],
    ) -> None:
        self._system = system
        self._gateway = gateway
        self._directory = directory
        self._refusal = refusal
        self._rendering = asyncio.Lock()
        """One page at a time: its thread takes turns with the loop, and several would take most of them."""

    @property
    def pages(self) -> Controls:
        return {("GET", "/metrics"): self.metrics}

    async def metrics(self, request: web.BaseRequest) -> web.Response:
        """As OpenMetrics for those who accept it."""
        refusal = self._refusal(request)
        if refusal is not None:
            return refusal
        async with self._rendering:
            try:
                tallied = await self._directory.metrics.ask(Tally())
            except (pykka.ActorDeadError, MailboxFull):
                return web.Response(status=503, text="the metrics cannot be read now\n")
            actors = self._system.snapshot()
            plain = {
                "version": __version__,
                "tallied": tallied,
                "members": [
                    await _told(ref) or {"model": name, "usable": False}
                    for name, ref in self._directory.members.items()
                ],
                "actors": actors,
                "lost": await self._lost({actor.name: actor.dropped for actor in actors if actor.alive}),
                "governance": await self._governance(),
            }
            body, content_type = await asyncio.to_thread(_render, plain, request.headers.get("accept", ""))
        return web.Response(body=body, headers={"content-type": content_type})

    async def _lost(self, dropped: Mapping[str, int]) -> dict[str, int]:
        """By telemetry actor: the messages that its mailbox dropped, and what the actor itself could not hand on."""
        lost: dict[str, int] = {}
        for ref in self._system.children(self._gateway):
            name = ref.name
            if ref.actor_class.overflow is Overflow.DROP and name != self._directory.continuity.name:
                told = None if name in WITHOUT_OUTLET else await _told(ref)
                lost[name] = dropped.get(name, 0) + sum((told or {}).get(key, 0) for key in LOST_KEYS)
        return lost

    async def _governance(self) -> Mapping[str, Any] | None:
        told = {name: await _told(ref) for name, ref in self._directory.governance.items()}
        return told if told and None not in told.values() else None


async def _told(ref: LoopRef) -> dict[str, Any] | None:
    """The actor's own words; None when it is no more, or has no time."""
    try:
        snapshot: dict[str, Any] = await ref.ask(Snapshot())
    except (pykka.ActorDeadError, MailboxFull):
        return None
    return snapshot


def _render(plain: Mapping[str, Any], accept: str) -> tuple[bytes, str]:
    from busbar.telemetry.prometheus import Scrape, render  # its client costs a start some 30 ms

    return render(Scrape(**plain), accept)
