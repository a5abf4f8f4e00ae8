"""Scenarios drawn from seeds: every invariant holds in all of them, and none of the mistakes gets through.

`BUSBAR_SEEDS=10000` runs more (`make nightly`); `BUSBAR_SEED=17` runs that one alone.
"""

from __future__ import annotations

import os
import re

import pytest
from simulation.mutations import MUTATIONS, Mutate

from busbar.simulation.random_scenarios import random_scenario, written
from busbar.simulation.record import OUTCOMES
from busbar.simulation.runner import simulate
from busbar.testing import seeds

SEEDS = 200
BLOCK = 20


def blocks() -> list[list[int]]:
    """Of seeds, so that ten thousand of them are not ten thousand tests."""
    chosen = seeds(int(os.environ.get("BUSBAR_SEEDS", SEEDS)))
    return [chosen[start : start + BLOCK] for start in range(0, len(chosen), BLOCK)]


@pytest.mark.parametrize("block", blocks(), ids=lambda block: f"{block[0]}-{block[-1]}")
def test_every_invariant_holds_in_random_scenarios(block: list[int]) -> None:
    broken = {seed: result.broken for seed in block if (result := simulate(random_scenario(seed))).broken}
    assert broken == {}, "repeat one of them with BUSBAR_SEED=<seed>"


@pytest.mark.parametrize("mutate", MUTATIONS, ids=lambda mutate: mutate.__name__)
def test_a_mistake_is_caught(mutate: Mutate, monkeypatch: pytest.MonkeyPatch) -> None:
    mutate(monkeypatch)
    caught = next((said for seed in range(SEEDS) if (said := simulate(random_scenario(seed)).broken)), "")
    assert re.search(MUTATIONS[mutate], caught.partition("\n")[0]), caught


def test_the_same_seed_is_the_same_scenario() -> None:
    assert written(3) == written(3)
    assert written(3) != written(4)


def test_the_scenarios_are_not_all_alike() -> None:
    """Everything that the invariants speak of happens in them, and happens often."""
    seen = dict.fromkeys((*OUTCOMES, "failovers", "fell_back", "queued", "probes", "last_resorts", "trips"), 0)
    for seed in range(50):
        record = simulate(random_scenario(seed)).record
        for pool in record.pools.values():
            for outcome, count in pool.outcomes.items():
                seen[outcome] += count
            for what in ("failovers", "fell_back", "queued", "probes", "last_resorts"):
                seen[what] += getattr(pool, what)
        seen["trips"] += sum(cell.trips for cell in record.cells.values())
    assert {what: count for what, count in seen.items() if count < 20} == {}
