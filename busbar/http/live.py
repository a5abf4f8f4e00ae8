"""`GET /stats/stream`: the state as it changes, as server-sent events. What the live page and `busbar top` draw.

    retry: 2000
                                        on a connection: first the whole picture,
    id: 1
    event: snapshot
    data: {"now": …, "gateway": …, …}
                                        then what changed, four times a second at most, and nothing while nothing does
    id: 2
    event: change
    data: {"replace": {"now": …}, "set": {"members": […]}, "prepend": {"requests": […]}}

    : still here                        every 15 seconds of silence

A `snapshot` may come at any time, and stands for everything before it: a reader who was too slow to get each change
gets one instead. `id` counts up, with gaps where changes were missed. After an interruption one gets a snapshot too.
When the gateway drains, the last change says `gateway.draining: true` and the stream ends.

The picture. Lists are never null; what is not known is null.

    now        Unix seconds of the sample, for reckoning with `requests[].time`
    gateway    {draining, version}
    pools      [{name, strategy, waiting, members: [{model, weight, excluded, cell, availability, picks}]}]
               cell: {state: "closed" | "open" | "half_open", streak, cooldown_remaining_s, probe_in_flight}, or null
               of a dead member; cooldown_remaining_s: whole seconds, rounded up, 0 unless open
               availability: as in /stats: available, breaker_open, probe_in_flight, at_capacity, dead,
               budget_exhausted, draining, benched
    members    [{model, provider, protocol, slots, busy, ok, err, client_fault, availability, cell, faults}]
               cell: as above, that of the member's direct routes; faults: those that are injected on purpose,
               [{kind, secs, remaining_s, by}] as in GET /admin/faults, with remaining_s in whole seconds, rounded up
    actors     [{name, kind, parent, mailbox, processed, restarts, dropped, alive}] parents before their children;
               parent: a name, or null; processed: without what this page itself asks
    requests   the latest 50, newest first, each a line as in GET /stats/requests (request_id, time, ingress_protocol,
               pool, member, outcome, status, attempts, failovers, latency_ms, ttft_ms; key_id, cost_nanodollars)
    messages   the latest 50 between actors, newest first: [{at, actor, type}]; at: Unix seconds; without what this
               page itself asks
    rates      {requests_per_s, errors_per_s, p50_ms, p95_ms, ttft_p50_ms} over the last 10 seconds, ms: null when
               there was no request; history: {the same five: [60 values]} second by second, the latest last
    governance null when it is off, else {ready, keys: [{id, name, enabled, spent_cents, reserved_cents, limit_cents,
               period, resets_at, rpm_used, rpm_limit, tpm_used, tpm_limit}]} the 50 busiest keys, the busiest first;
               limits are null where there is none, and so is what is used of a rate that nothing limits

The change. Each of its three parts is left out when there is nothing in it. To apply one, in this order:

    replace    {section: value}     the section's new value as a whole (any section)
    set        {section: [entry]}   put each in the place of the entry of the same name (pools and actors: `name`,
                                    members: `model`); such an entry is always there
    prepend    {section: [entry]}   (requests, messages) put these before the others, and keep the first 50
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Any

import msgspec
import pykka
from aiohttp import web

from busbar.actors.runtime import MailboxFull
from busbar.http.dispatch import Controls
from busbar.http.exchange import AiohttpExchange
from busbar.http.live_patch import Picture, changes
from busbar.http.live_picture import Painter
from busbar.http.ports import CallerGone

TICK_SECS = 0.25
HEARTBEAT_SECS = 15.0
CLOSE_SECS = 1.0
"""For readers to take the last change when the gateway stops."""

STALL_SECS = 10.0
"""A reader that takes nothing for so long is cut off; one that is merely slow is not."""

RETRY_MS = 2000
SUBSCRIBERS_MAX = 32
CHANGES_KEPT = 8
"""Who is further behind gets a snapshot. They are kept once for everybody."""

HEADERS = {"content-type": "text/event-stream", "cache-control": "no-store", "x-accel-buffering": "no"}
STILL_HERE = b": still here\n\n"

_encode = msgspec.json.Encoder().encode


class Feed:
    """The latest picture and how it came about, for any number of readers, each at its own pace.

    A reader has a number, 0 at first, which says how far it has read.
    """

    def __init__(self) -> None:
        self._number = 0
        self._picture: Picture | None = None
        self._snapshot: bytes | None = None
        self._changes: deque[bytes] = deque(maxlen=CHANGES_KEPT)
        """The latest ones as they are sent; the last has `_number`."""
        self._news = asyncio.Event()
        self.ended = False
        """Nothing more will come."""

    def put(self, picture: Picture) -> None:
        """The state is like this now."""
        if self._picture is not None:
            patch = changes(self._picture, picture)
            if not patch:
                return
            self._changes.append(_event(self._number + 1, "change", patch))
        self._number += 1
        self._picture, self._snapshot = picture, None
        self._wake()

    def end(self) -> None:
        self.ended = True
        self._wake()

    def after(self, read: int) -> tuple[bytes, int]:
        """(what brings a reader up to date, its number then)."""
        behind = self._number - read
        if behind == 0:
            return b"", read
        if read == 0 or behind > len(self._changes):
            if self._snapshot is None:
                self._snapshot = _event(self._number, "snapshot", self._picture)
            return self._snapshot, self._number
        return b"".join(list(self._changes)[-behind:]), self._number

    async def news(self) -> None:
        """Until there is more than there is now."""
        await self._news.wait()

    def _wake(self) -> None:
        news, self._news = self._news, asyncio.Event()
        news.set()


class Live:
    """One task looks at the actors, for all who read, and only while somebody does."""

    def __init__(self, painter: Painter, refusal: Callable[[web.BaseRequest], web.Response | None]) -> None:
        """`refusal` gives the answer to a caller who may not see this; None: it may."""
        self._painter = painter
        self._refusal = refusal
        self._subscribers = 0
        self._feed = Feed()
        self._watching: asyncio.Task[None] | None = None
        self._readers: list[web.BaseRequest] = []

    def close(self) -> None:
        """The gateway stops: who reads is told so by the last change, if it still takes anything within a moment."""
        asyncio.get_running_loop().call_later(CLOSE_SECS, self._abort)

    def end(self) -> None:
        """There is another picture from now on: who reads this one comes back for it."""
        if self._watching is not None:
            self._watching.cancel()
        self._feed.end()  # a task that had not begun yet says nothing

    def _abort(self) -> None:
        for request in self._readers:
            if request.transport is not None:
                request.transport.abort()

    @property
    def pages(self) -> Controls:
        return {("GET", "/stats/stream"): self.stream}

    async def stream(self, request: web.BaseRequest) -> web.StreamResponse:
        refusal = self._refusal(request)
        if refusal is not None:
            return refusal
        if self._subscribers >= SUBSCRIBERS_MAX:
            body = _encode({"error": {"message": f"{SUBSCRIBERS_MAX} read this already, and no more may."}})
            headers = {"retry-after": "5"}
            return web.Response(status=503, headers=headers, body=body, content_type="application/json")
        exchange = AiohttpExchange(request, body_max_bytes=0, body_timeout_secs=1)
        feed = self._join()
        self._readers.append(request)
        try:
            await _follow(feed, exchange)
        except TimeoutError:
            if request.transport is not None:
                request.transport.abort()
        except CallerGone:
            # aiohttp knows cancellation as the sign that there is nobody left to answer.
            raise asyncio.CancelledError from None
        finally:
            self._readers[:] = [other for other in self._readers if other is not request]
            self._leave()
        return exchange.response

    def _join(self) -> Feed:
        self._subscribers += 1
        if self._watching is None or self._watching.done():
            self._feed = Feed()
            self._watching = asyncio.create_task(self._watch(self._feed))
        return self._feed

    def _leave(self) -> None:
        self._subscribers -= 1
        if self._subscribers == 0 and self._watching is not None:
            self._watching.cancel()
            self._watching = None

    async def _watch(self, feed: Feed) -> None:
        """Whatever ends it, its readers do not wait for more: they come back, and it is begun anew."""
        try:
            while True:
                if not await self._look(feed):
                    return
                await asyncio.sleep(TICK_SECS)
        except pykka.ActorDeadError:
            return  # the gateway has stopped
        finally:
            feed.end()

    async def _look(self, feed: Feed) -> bool:
        """Whether there will be more: a gateway that drains is looked at for the last time."""
        try:
            picture = await self._painter.paint()
        except MailboxFull:
            return True  # somebody has more to do than to be looked at: the next time will do
        feed.put(picture)
        return not picture["gateway"]["draining"]


async def _follow(feed: Feed, exchange: AiohttpExchange) -> None:
    """Tells until the feed ends. Raises `CallerGone`, and TimeoutError when the caller reads nothing."""
    await exchange.start(200, HEADERS)
    await _write(exchange, f"retry: {RETRY_MS}\n\n".encode())
    read = 0
    while True:
        data, read = feed.after(read)
        if data:
            await _write(exchange, data)
        elif feed.ended:
            return await exchange.end(close=True)
        else:
            try:
                async with asyncio.timeout(HEARTBEAT_SECS):
                    await feed.news()
            except TimeoutError:
                await _write(exchange, STILL_HERE)


async def _write(exchange: AiohttpExchange, data: bytes) -> None:
    waiting = exchange.write(data)
    if waiting is not None:
        async with asyncio.timeout(STALL_SECS):
            await waiting


def _event(number: int, kind: str, data: Any) -> bytes:
    return b"id: %d\nevent: %s\ndata: %s\n\n" % (number, kind.encode(), _encode(data))
