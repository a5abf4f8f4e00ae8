"""A pool's queue: requests that wait for a slot, first come, first served."""

from __future__ import annotations

import bisect
import itertools
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from msgspec import Struct
from msgspec.structs import replace

from busbar.actors.messages import Route

if TYPE_CHECKING:
    from busbar.actors.runtime.node import Reply
    from busbar.actors.runtime.ports import Timer

WAITING_MAX = 1024
"""Requests that wait in one pool at most; further ones are refused at once."""


class Waiter(Struct, eq=False):
    """One request, and the answer that it is owed."""

    route: Route
    reply: Reply


class WaitingQueue:
    """In the order of arrival. A request that comes back, because the slot was gone after all, gets its old place."""

    __slots__ = ("_places", "_waiters", "timer")

    def __init__(self) -> None:
        self._waiters: list[Waiter] = []
        self._places = itertools.count()
        self.timer: Timer | None = None
        """When to look again; the pool's."""

    def __len__(self) -> int:
        return len(self._waiters)

    @property
    def full(self) -> bool:
        return len(self._waiters) >= WAITING_MAX

    def add(self, route: Route, reply: Reply) -> None:
        """At the end, or at the place that `route` had before."""
        if route.place is None:
            route = replace(route, place=next(self._places))
        bisect.insort(self._waiters, Waiter(route, reply), key=_place)

    def in_order(self) -> Iterator[Waiter]:
        """A snapshot: waiters may be removed meanwhile."""
        return iter(tuple(self._waiters))

    def remove(self, waiter: Waiter) -> None:
        self._waiters.remove(waiter)

    def take_all(self, which: Callable[[Route], bool]) -> list[Waiter]:
        """Removes those whose route is meant."""
        taken = [waiter for waiter in self._waiters if which(waiter.route)]
        self._waiters = [waiter for waiter in self._waiters if not which(waiter.route)]
        return taken

    def soonest_end(self) -> float:
        """When the first of them has waited long enough. The queue must not be empty."""
        return min(waiter.route.wait_until for waiter in self._waiters)


def _place(waiter: Waiter) -> int:
    return -1 if waiter.route.place is None else waiter.route.place
