"""Scenarios that nobody would think of: pools, policies, faults and traffic, all drawn from one seed.

Small worlds with short cooldowns and tight limits, so that in a minute of virtual time much goes wrong at once. Each
seed is one scenario for ever, as far as this file does not change.
"""

from __future__ import annotations

import random
from typing import Any

import msgspec

from busbar.simulation.load import loads_scenario
from busbar.simulation.scenario import Scenario

REQUESTS = 100
"""About so many are made in one scenario."""

PROVIDERS = ("north", "south", "east")
STRATEGIES = ("weighted", "weighted", "least_busy", "fastest", "cheapest")
FAILURES = (
    *("rate_limit", "overloaded", "server_error", "server_error", "timeout", "network"),
    *("auth", "billing", "client_error", "context_length"),
)


def random_scenario(seed: int) -> Scenario:
    """The scenario of this seed, through the same reader as a file."""
    return loads_scenario(written(seed), f"random scenario {seed}", env={})


def written(seed: int) -> str:
    """The same as the text of a scenario file (JSON is YAML), for `busbar simulate`."""
    return msgspec.json.format(msgspec.json.encode(_Author(seed).scenario())).decode()


class _Author:
    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._rng = random.Random(f"scenario {seed}")  # noqa: S311  # repeatable is the point
        self._duration = self._rng.choice((30.0, 60.0, 120.0))
        self._calm = self._chance(0.2)
        """Nothing goes wrong: only then all members are usable all the time."""

    def scenario(self) -> dict[str, Any]:
        rng = self._rng
        models = [f"model-{letter}" for letter in "abcdef"[: rng.randint(2, 6)]]
        pools = self._pools(models)
        scenario: dict[str, Any] = {
            "title": f"random scenario {self._seed}",
            "duration_secs": self._duration,
            "seed": self._seed,
            "config": {
                "providers": {
                    name: {
                        "protocol": "openai",
                        "base_url": f"http://{name}.invalid",
                        "auth": "none",
                        "health": self._health(),
                    }
                    for name in PROVIDERS
                },
                "models": {model: self._model() for model in models},
                "pools": pools,
                "governance": {"prices": {model: self._price() for model in models if self._chance(0.8)}},
            },
            "models": {model: self._script() for model in models},
            "traffic": self._traffic([*pools, *pools, rng.choice(models)]),
        }
        if not self._calm and self._chance(0.5):
            scenario["providers"] = {
                rng.choice(PROVIDERS): {"faults": self._faults(1), **self._maybe("rate_limit", 0.4, self._rate_limit)}
            }
        return scenario

    # --- the gateway

    def _model(self) -> dict[str, Any]:
        rng = self._rng
        model: dict[str, Any] = {"provider": rng.choice(PROVIDERS)}
        if self._calm:
            return {**model, "max_concurrent": 1000}
        model["max_concurrent"] = rng.choice((1, 2, 4, 8, 20))
        if self._chance(0.15):
            model["max_requests"] = rng.randint(1, 40)
        model["prefill"] = self._chance(0.5)
        return model | self._timeouts(0.4)

    def _pools(self, models: list[str]) -> dict[str, Any]:
        names = [f"pool-{number}" for number in range(self._rng.choice((1, 2, 3, 3)))]
        return {name: self._pool(models, names[position + 1 :]) for position, name in enumerate(names)}

    def _pool(self, models: list[str], further: list[str]) -> dict[str, Any]:
        rng = self._rng
        members = rng.sample(models, rng.randint(1, len(models)))
        lines = [
            {"target": member, "weight": rng.choice((1, 1, 1, 2, 2, 3, 7, 0)), **self._timeouts(0.1)}
            for member in members
        ]
        for line in lines:
            if self._chance(0.3):
                line["context_max"] = rng.choice((1000, 4000, 16000))
        pool: dict[str, Any] = {
            "members": lines,
            "strategy": "weighted" if self._calm else rng.choice(STRATEGIES),
            "breaker": self._breaker(),
            "failover": {"cap": rng.choice((0, 1, 3, 6)), "deadline_secs": rng.choice((2, 8, 12, 30))},
            "retry": {"same_member": rng.choice((0, 0, 1, 2)), "retry_after_max_secs": rng.choice((0, 0, 2))},
            "on_exhausted": self._on_exhausted(further),
        }
        if len(members) > 2 and self._chance(0.2):
            pool["failover"]["exclusions"] = [rng.choice(members)]
        if not self._calm and self._chance(0.2):
            pool["affinity"] = {"mode": "session"}
        if not self._calm and self._chance(0.15):
            pool["supervision"] = rng.choice(("adaptive-concurrency", "quarantine"))
        pool["stream_recovery"] = rng.choice(("none", "none", "none", "hold:700", "continue"))
        return pool

    def _health(self) -> dict[str, Any]:
        mode = "none" if self._calm else self._rng.choice(("none", "none", "dead", "active"))
        return {"mode": mode, "interval_secs": self._rng.choice((2, 7, 30)), "timeout_secs": 1}

    def _on_exhausted(self, further: list[str]) -> str:
        if further and self._chance(0.5):
            return f"fallback_pool:{self._rng.choice(further)}"
        action = self._rng.choice(("reject", "least_bad", "queue"))
        return f"queue:{self._rng.choice((50, 500, 3000, 20000))}" if action == "queue" else action

    def _breaker(self) -> dict[str, Any]:
        rng = self._rng
        base = rng.choice((1, 2, 5))
        return {
            "base_cooldown_secs": base,
            "max_cooldown_secs": base * rng.choice((1, 2, 8)),
            "trip": {
                "mode": rng.choice(("error_rate", "consecutive")),
                "window_secs": rng.choice((2, 5, 30)),
                "threshold": rng.choice((0.25, 0.5, 0.55, 1.0)),
                "min_requests": rng.choice((1, 3, 5)),
                "consecutive_n": rng.choice((1, 2, 3)),
            },
        }

    def _timeouts(self, share: float) -> dict[str, int]:
        choices = {
            "attempt_timeout_ms": (300, 1000, 5000),
            "first_token_timeout_ms": (300, 1000, 5000),
            "stall_timeout_ms": (200, 1000),
        }
        return {
            key: self._rng.choice(values) for key, values in choices.items() if not self._calm and self._chance(share)
        }

    def _price(self) -> dict[str, float]:
        return {"input": self._rng.choice((0.1, 1, 3)), "output": self._rng.choice((0.4, 5, 15))}

    # --- the providers

    def _script(self) -> dict[str, Any]:
        rng = self._rng
        script: dict[str, Any] = {
            "ttft_ms": rng.choice((200, {"low": 50, "high": 900}, {"median": 300, "p95": 1500}, {"mean": 400})),
            "tokens_per_sec": rng.choice((40, 200, {"low": 20, "high": 400})),
            "error_ms": rng.choice((0, 20, {"mean": 100})),
        }
        if self._calm:
            return script
        return {
            **script,
            "faults": self._faults(rng.choice((0, 1, 1, 2, 3))),
            **self._maybe("headers_ms", 0.3, lambda: {"mean": 200}),
            **self._maybe("output_tokens", 0.3, lambda: {"median": 60, "p95": 300}),
            **self._maybe("context_tokens", 0.3, lambda: rng.choice((1000, 4000))),
            **self._maybe("rate_limit", 0.3, self._rate_limit),
        }

    def _rate_limit(self) -> dict[str, Any]:
        return {"requests": self._rng.randint(1, 20), "window_secs": self._rng.choice((1, 5, 20))}

    def _faults(self, count: int) -> list[dict[str, Any]]:
        return [self._fault() for _ in range(count)]

    def _fault(self) -> dict[str, Any]:
        rng = self._rng
        since = round(rng.uniform(0, 0.7) * self._duration, 3)
        fault: dict[str, Any] = {
            "from_secs": since,
            "until_secs": since + round(rng.uniform(0.05, 0.6) * self._duration, 3),
            "share": rng.choice((0.1, 0.3, 0.7, 1.0)),
            "kind": rng.choice(("error", "error", "error", "refused", "silent", "break", "break", "stall", "slow")),
        }
        match fault["kind"]:
            case "error":
                fault["failure"] = rng.choice(FAILURES)
                if self._chance(0.3):
                    fault["retry_after_secs"] = rng.choice((0, 1, 2, 7))
            case "break" | "stall":
                fault["after_share"] = rng.choice((0.0, 0.2, 0.9, 1.0))
                fault["stall_secs"] = rng.choice((0.5, 5, 60))
            case "slow":
                fault["factor"] = rng.choice((0.5, 3, 20))
        return fault

    # --- the callers

    def _traffic(self, targets: list[str]) -> list[dict[str, Any]]:
        sources = self._rng.randint(1, 3)
        return [self._source(self._rng.choice(targets), REQUESTS / sources / self._duration) for _ in range(sources)]

    def _source(self, target: str, rate: float) -> dict[str, Any]:
        rng = self._rng
        source: dict[str, Any] = {
            "to": target,
            "rate_per_sec": rate,
            "arrivals": rng.choice(("poisson", "constant")),
            "stream_share": rng.choice((0.0, 0.7, 1.0)),
            "input_tokens": {"median": 600, "p95": 5000},
            "output_tokens": rng.choice((20, {"low": 1, "high": 200}, {"median": 40, "p95": 400})),
            **self._maybe("sessions", 0.4, lambda: rng.randint(1, 10)),
        }
        if self._calm:
            return source
        if self._chance(0.3):
            source["burst"] = rng.choice((2, 10))
        if self._chance(0.3):
            middle = round(self._duration / 2, 3)
            source["phases"] = [
                {"from_secs": 0, "until_secs": middle, "rate_per_sec": 0, "end_rate_per_sec": 2 * rate},
                {"from_secs": middle, "rate_per_sec": rate / 2},
            ]
        return {
            **source,
            **self._maybe("bad_share", 0.4, lambda: rng.choice((0.05, 0.5))),
            **self._maybe("hang_up", 0.5, lambda: {"share": rng.choice((0.1, 0.6)), "after_ms": {"mean": 800}}),
        }

    def _chance(self, share: float) -> bool:
        return self._rng.random() < share

    def _maybe(self, key: str, share: float, value: Any) -> dict[str, Any]:
        return {key: value()} if self._chance(share) else {}
