"""All connections to all providers: kept while they are good, counted, and waited for in order.

Nobody waits while a connection is idle: one that leads elsewhere is closed to make room. So when there are waiters,
every connection is busy (or being made), and the first that is released or lost is the first waiter's.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Protocol

from busbar.http.lean.connection import Connection, Keeper
from busbar.http.lean.target import Origin
from busbar.http.outbox import Outbox
from busbar.http.ports import UpstreamBroken
from busbar.protocols.failures import FailureClass

KEEPALIVE_SECS = 30.0
"""An idle connection is not used again after so long."""

SILENCE_SECS_MAX = 600.0
"""A provider that sends nothing for so long is given up, whatever else is configured."""

SWEEP_SECS = 5.0
"""How often both are looked after: silence is noticed up to two sweeps late."""


class Dial(Protocol):
    """Opens connections; `dial.Dialer` in life."""

    async def dial(self, origin: Origin, keeper: Keeper) -> Connection:
        """Raises `UpstreamBroken`."""
        ...

    def served(self, connection: Connection) -> None: ...


class ConnectionPool:
    """At most `connections_max` connections, those that are being made among them. How many may wait is for those to
    bound who ask (a gateway's `limits.inflight_max`)."""

    def __init__(self, dial: Dial, connections_max: int) -> None:
        self._dial = dial
        self._connections_max = connections_max
        self._taken = 0
        """Places: connections, and those that are being made."""
        self._all: set[Connection] = set()
        self._idle: dict[Origin, list[Connection]] = {}
        """The last used is last, and the first to be used again."""
        self._waiters: deque[tuple[Origin, asyncio.Future[Connection | None]]] = deque()
        self._loop = asyncio.get_running_loop()
        self.outbox = Outbox(self._loop)
        self._sweeping: asyncio.TimerHandle | None = None
        self._closed = False

    def __repr__(self) -> str:
        idle = sum(map(len, self._idle.values()))
        return f"ConnectionPool(taken={self._taken}, idle={idle}, waiting={len(self._waiters)})"

    def take(self, origin: Origin) -> Connection | None:
        """An idle connection, if there is one that may be used again."""
        idle = self._idle.get(origin)
        while idle:
            connection = idle.pop()
            if connection.open and self._loop.time() - connection.idle_since < KEEPALIVE_SECS:
                return connection
            connection.abort()
        return None

    async def open(self, origin: Origin) -> Connection:
        """A new connection, or one that is released while this waits for its turn. Raises `UpstreamBroken`."""
        if self._closed:
            raise _closed()
        if not self._claim_place():
            connection = await self._turn(origin)
            if connection is not None:
                return connection
        return await self._fill_place(origin)

    def close(self) -> None:
        """Closes all. Whoever waits gets `UpstreamBroken`."""
        self._closed = True
        for _, waiter in self._waiters:
            if not waiter.done():
                waiter.set_exception(_closed())
        self._waiters.clear()
        for connection in list(self._all):
            connection.break_off(_closed())
        if self._sweeping is not None:
            self._sweeping.cancel()

    # --- told by the connections

    def released(self, connection: Connection) -> None:
        if connection.requests == 1:
            self._dial.served(connection)
        waiting = self._first_waiter() if self._waiters else None
        if waiting is None:
            connection.idle_since = self._loop.time()
            idle = self._idle.get(connection.origin)
            if idle is None:
                idle = self._idle[connection.origin] = []
            idle.append(connection)
            return
        origin, waiter = waiting
        if origin == connection.origin:
            self._waiters.popleft()
            waiter.set_result(connection)
        else:
            connection.abort()  # its place goes to the waiter

    def lost(self, connection: Connection) -> None:
        if connection not in self._all:
            return
        self._all.remove(connection)
        idle = self._idle.get(connection.origin)
        if idle is not None:
            if connection in idle:
                idle.remove(connection)
            if not idle:
                del self._idle[connection.origin]
        self._give_place_away()

    # --- places

    def _claim_place(self) -> bool:
        """A free one, or that of the connection that has been idle longest. False: all are busy."""
        if self._taken >= self._connections_max:
            longest = min((idle[0] for idle in self._idle.values() if idle), key=_idle_since, default=None)
            if longest is None:
                return False
            longest.abort()
        self._taken += 1
        return True

    async def _turn(self, origin: Origin) -> Connection | None:
        """Waits. None: the place is the asker's, to make a connection of its own."""
        while True:
            waiter: asyncio.Future[Connection | None] = self._loop.create_future()
            place = (origin, waiter)
            self._waiters.append(place)
            try:
                given = await waiter
            except asyncio.CancelledError:
                if waiter.cancelled() or not waiter.done():
                    if place in self._waiters:
                        self._waiters.remove(place)
                elif waiter.exception() is None:
                    self._give_back(waiter.result())
                raise
            if given is None or given.open:
                return given
            # It was closed just now; its place went on to the next.
            if self._claim_place():
                return None

    def _give_back(self, given: Connection | None) -> None:
        if given is None:
            self._give_place_away()
        elif given.open:
            self.released(given)

    def _give_place_away(self) -> None:
        waiting = self._first_waiter()
        if waiting is None:
            self._taken -= 1
        else:
            self._waiters.popleft()
            waiting[1].set_result(None)

    def _first_waiter(self) -> tuple[Origin, asyncio.Future[Connection | None]] | None:
        while self._waiters and self._waiters[0][1].done():
            self._waiters.popleft()
        return self._waiters[0] if self._waiters else None

    async def _fill_place(self, origin: Origin) -> Connection:
        made = False
        try:
            connection = await self._dial.dial(origin, self)
            made = connection.open
            if not made:
                raise UpstreamBroken(FailureClass.NETWORK, "closed at once")
        finally:
            if not made:
                self._give_place_away()
        self._all.add(connection)
        if self._closed:
            connection.abort()
            raise _closed()
        if self._sweeping is None:
            self._sweeping = self._loop.call_later(SWEEP_SECS, self._sweep)
        return connection

    # --- time

    def _sweep(self) -> None:
        now = self._loop.time()
        for connection in list(self._all):
            if connection.silent_for(now) >= SILENCE_SECS_MAX:
                connection.break_off(UpstreamBroken(FailureClass.TIMEOUT, "silence"))
        for idle in list(self._idle.values()):
            for connection in [each for each in idle if now - each.idle_since >= KEEPALIVE_SECS]:
                connection.abort()
        self._sweeping = self._loop.call_later(SWEEP_SECS, self._sweep) if self._all else None


def _idle_since(connection: Connection) -> float:
    return connection.idle_since


def _closed() -> UpstreamBroken:
    return UpstreamBroken(FailureClass.NETWORK, "the gateway stops")
