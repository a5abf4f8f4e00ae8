"""Who gets the next request: pure functions over the members that are usable now."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from typing import TypeAlias

Candidate: TypeAlias = tuple[str, int]
"""A usable member and its weight (> 0)."""

Currents: TypeAlias = Mapping[str, int]
"""The state of smooth weighted round robin: each member's running credit; absent means 0."""

_HASH_BITS = 52
"""Of the digest: one bit less than a float holds, so that the middle of each step is exact, and never 0 or 1."""


def smooth_weighted(currents: Currents, usable: Sequence[Candidate]) -> tuple[str, Currents]:
    """Smooth weighted round robin: `(state, usable) → (choice, state)`.

    Each usable member gains its weight; the richest wins (ties: the configured order) and pays the sum of the
    usable weights. So 5/1/1 gives a a b a c a a, never a burst of five. A member that is not usable keeps its
    credit. `usable` must not be empty.
    """
    after = dict(currents)
    total = 0
    choice, richest = "", -math.inf
    for member, weight in usable:
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
    return max(usable, key=lambda candidate: _score(session, *candidate))[0]


def _score(session: str, member: str, weight: int) -> float:
    digest = hashlib.blake2b(f"{member}\0{session}".encode("utf-8", "surrogatepass"), digest_size=8).digest()
    uniform = ((int.from_bytes(digest) >> (64 - _HASH_BITS)) + 0.5) / 2**_HASH_BITS
    return -weight / math.log(uniform)
