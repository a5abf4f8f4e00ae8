"""Who gets the next request: pure functions over the members that are usable now.

A strategy says which of them are best; among equals, smooth weighted round robin decides. So weights keep their
meaning under every strategy, and `weighted` is the strategy to which all are equal.

strategy      best are those with
------------  ---------------------------------------------------------------------------------------
weighted      (all)
least_busy    the smallest share of their slots in use
fastest       the shortest smoothed time to the first token; every 16th pick goes by weight, so that
              the others' figures stay fresh; one whose time is not known is asked first, but has no
              more than one request until it is
cheapest      the lowest price for this request's estimate; a member without a price is the dearest
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Literal, TypeAlias

from msgspec import Struct

StrategyName: TypeAlias = Literal["weighted", "least_busy", "fastest", "cheapest"]

EXPLORE_EVERY = 16
"""`fastest` picks by weight alone once in so many picks: about 6 % of the traffic."""

FAST_ENOUGH = 1.05
"""Times to the first token that lie within 5 % of the best are equally fast."""

_HASH_BITS = 52
"""Of the digest: one bit less than a float holds, so that the middle of each step is exact, and never 0 or 1."""


class Price(Struct, frozen=True):
    """What a model costs, in US dollars for a million tokens."""

    input: float
    output: float


class Demand(Struct, frozen=True):
    """What is known of a request before it is sent, in tokens. Both are estimates."""

    input_tokens: int = 0
    output_tokens: int = 0


class Candidate(Struct, frozen=True):
    """A usable member, as strategies see it. `weight` > 0; `busy` of its `slots` are in use."""

    member: str
    weight: int = 1
    busy: int = 0
    slots: int = 1
    ttft_ms: float | None = None
    """Smoothed time to the first token; None: not known (again) yet."""
    price: Price | None = None


Currents: TypeAlias = Mapping[str, int]
"""The state of smooth weighted round robin: each member's running credit; absent means 0."""

Strategy: TypeAlias = Callable[[Sequence[Candidate], Demand, int], Sequence[Candidate]]
"""(usable, the request, picks made before) → the best of them, in the same order; not empty if `usable` is not."""


def pick(
    strategy: Strategy, currents: Currents, usable: Sequence[Candidate], demand: Demand, picks: int
) -> tuple[str, Currents]:
    """`(state, usable) → (choice, state)`: the strategy's best, and among them whose turn it is by weight."""
    if len(usable) == 1 and usable[0].member in currents:
        return usable[0].member, currents  # alone, it gains what it pays
    best = usable if strategy is weighted else strategy(usable, demand, picks)
    return smooth_weighted(currents, best)


def weighted(usable: Sequence[Candidate], _demand: Demand, _picks: int) -> Sequence[Candidate]:
    return usable


def least_busy(usable: Sequence[Candidate], _demand: Demand, _picks: int) -> Sequence[Candidate]:
    lowest = min(candidate.busy / candidate.slots for candidate in usable)
    return [candidate for candidate in usable if candidate.busy / candidate.slots == lowest]


def fastest(usable: Sequence[Candidate], _demand: Demand, picks: int) -> Sequence[Candidate]:
    unheard = [candidate for candidate in usable if candidate.ttft_ms is None and not candidate.busy]
    if unheard:
        return unheard
    times = {candidate.member: candidate.ttft_ms for candidate in usable if candidate.ttft_ms is not None}
    if not times or picks % EXPLORE_EVERY == EXPLORE_EVERY - 1:
        return usable
    limit = min(times.values()) * FAST_ENOUGH
    return [candidate for candidate in usable if times.get(candidate.member, math.inf) <= limit]


def cheapest(usable: Sequence[Candidate], demand: Demand, _picks: int) -> Sequence[Candidate]:
    costs = [_cost(candidate.price, demand) for candidate in usable]
    lowest = min(costs)
    return [candidate for candidate, cost in zip(usable, costs, strict=True) if cost == lowest]


def _cost(price: Price | None, demand: Demand) -> float:
    if price is None:
        return math.inf
    return price.input * demand.input_tokens + price.output * demand.output_tokens


STRATEGIES: Mapping[StrategyName, Strategy] = {
    "weighted": weighted,
    "least_busy": least_busy,
    "fastest": fastest,
    "cheapest": cheapest,
}


def smooth_weighted(currents: Currents, usable: Sequence[Candidate]) -> tuple[str, Currents]:
    """Smooth weighted round robin: `(state, usable) → (choice, state)`.

    Each usable member gains its weight; the richest wins (ties: the configured order) and pays the sum of the
    usable weights. So 5/1/1 gives a a b a c a a, never a burst of five. A member that is not usable keeps its
    credit. `usable` must not be empty.
    """
    after = dict(currents)
    total = 0
    choice, richest = "", -math.inf
    for candidate in usable:
        member, weight = candidate.member, candidate.weight
        credit = after.get(member, 0) + weight
        after[member] = credit
        total += weight
        if credit > richest:
            choice, richest = member, credit
    after[choice] -= total
    return choice, after


def rendezvous(session: str, usable: Sequence[Candidate]) -> str:
    """The member that `session` prefers among `usable`: weighted rendezvous hashing (Wang and Ravishankar 1998;
    weights by Schindler's logarithmic method). Losing a member moves only the sessions that were on it.

    The hash is stable across processes and restarts. `usable` must not be empty.
    """
    return max(usable, key=lambda candidate: _score(session, candidate.member, candidate.weight)).member


def _score(session: str, member: str, weight: int) -> float:
    digest = hashlib.blake2b(f"{member}\0{session}".encode("utf-8", "surrogatepass"), digest_size=8).digest()
    uniform = ((int.from_bytes(digest) >> (64 - _HASH_BITS)) + 0.5) / 2**_HASH_BITS
    return -weight / math.log(uniform)
