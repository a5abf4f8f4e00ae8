"""Small scenarios for tests: what matters is said, the rest is left out."""

from __future__ import annotations

from typing import Any

import msgspec

from busbar.simulation.load import loads_scenario
from busbar.simulation.record import PoolRecord, Record
from busbar.simulation.runner import Result, simulate
from busbar.simulation.scenario import Scenario


def scenario(
    models: dict[str, Any],
    pool: dict[str, Any] | None = None,
    *,
    duration_secs: float = 100,
    traffic: dict[str, Any] | None = None,
    model_configs: dict[str, Any] | None = None,
    **sections: Any,
) -> Scenario:
    """Models by name with their scripts, in one pool called `p`, with constant traffic."""
    listed = {"members": [{"target": name} for name in models], **(pool or {})}
    own = model_configs or {}
    config = {
        "providers": {"here": {"protocol": "openai", "base_url": "http://here.invalid", "auth": "none"}},
        "models": {name: {"provider": "here", "max_concurrent": 500, **own.get(name, {})} for name in models},
        "pools": {"p": listed},
        **sections.pop("config", {}),
    }
    document = {
        "duration_secs": duration_secs,
        "config": config,
        "models": {name: {"ttft_ms": 100, "tokens_per_sec": 100, **script} for name, script in models.items()},
        "traffic": [
            {
                "to": "p",
                "rate_per_sec": 4,
                "arrivals": "constant",
                "input_tokens": 100,
                "output_tokens": 90,
                **(traffic or {}),
            }
        ],
        **sections,
    }
    return loads_scenario(msgspec.json.encode(document).decode(), env={})


def run(models: dict[str, Any], pool: dict[str, Any] | None = None, **more: Any) -> Record:
    """Simulates it; the invariants hold."""
    result: Result = simulate(scenario(models, pool, **more))
    assert result.broken is None, result.broken
    return result.record


def only(record: Record) -> PoolRecord:
    """The one pool that was asked."""
    (pool,) = record.pools.values()
    return pool


def attempts(record: Record) -> dict[str, int]:
    return {name: member.attempts for name, member in record.members.items()}


def outcomes(record: Record) -> dict[str, int]:
    return {outcome: count for outcome, count in only(record).outcomes.items() if count}
