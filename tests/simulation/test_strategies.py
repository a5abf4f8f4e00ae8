"""What each strategy does with a minute or two of traffic."""

from __future__ import annotations

import pytest
from simulation.worlds import attempts, only, run


def test_weighted_shares_the_traffic_exactly_by_weight() -> None:
    members = [{"target": "a", "weight": 5}, {"target": "b", "weight": 2}, {"target": "c", "weight": 1}]
    assert attempts(run({"a": {}, "b": {}, "c": {}}, {"members": members})) == {"a": 250, "b": 100, "c": 50}


def test_weighted_gives_the_others_the_share_of_one_that_is_down() -> None:
    members = [{"target": "a", "weight": 2}, {"target": "b", "weight": 2}, {"target": "c", "weight": 1}]
    down = {"faults": [{"failure": "auth"}]}
    assert attempts(run({"a": down, "b": {}, "c": {}}, {"members": members})) == {"a": 1, "b": 267, "c": 133}


def test_least_busy_fills_members_in_proportion_to_their_slots() -> None:
    """Same speed, four times the slots: four times the traffic."""
    record = run(
        {"big": {"ttft_ms": 4000}, "small": {"ttft_ms": 4000}},
        {"strategy": "least_busy"},
        model_configs={"big": {"max_concurrent": 40}, "small": {"max_concurrent": 10}},
        traffic={"rate_per_sec": 8},
    )
    assert attempts(record)["big"] / attempts(record)["small"] == pytest.approx(4, rel=0.1)


def test_least_busy_avoids_one_that_hangs_before_it_fails() -> None:
    """Answers that take ten times as long hold ten times as many slots."""
    record = run({"quick": {}, "slow": {"ttft_ms": 9000}}, {"strategy": "least_busy"})
    assert attempts(record)["slow"] < 0.25 * attempts(record)["quick"]
    assert only(record).availability == 1


def test_fastest_sends_most_traffic_to_the_faster_member_and_keeps_exploring() -> None:
    record = run({"quick": {"ttft_ms": 200}, "slow": {"ttft_ms": 800}}, {"strategy": "fastest"})
    share = attempts(record)["slow"] / 400
    assert 0.02 < share < 0.08


def test_fastest_moves_on_when_the_faster_one_becomes_slow() -> None:
    """Which exploring is for: nobody told it that `a` was slow before, nor that it is quick now."""
    slow = {"kind": "slow", "factor": 10}
    record = run(
        {"a": {"faults": [{**slow, "until_secs": 50}]}, "b": {"faults": [{**slow, "from_secs": 50}]}},
        {"strategy": "fastest"},
    )
    taken = {name: record.cell("p", name).attempts_over_time for name in "ab"}
    early, late = slice(20, 85), slice(130, 180)
    assert sum(taken["b"][early]) > 8 * sum(taken["a"][early])
    assert sum(taken["a"][late]) > 8 * sum(taken["b"][late])


PRICES = {"governance": {"prices": {"long": {"input": 1, "output": 20}, "short": {"input": 4, "output": 1}}}}


def test_cheapest_looks_at_each_requests_own_cost() -> None:
    """`long` is cheap to read, `short` is cheap to write."""
    models: dict[str, dict[str, object]] = {"long": {}, "short": {}}
    reading = run(
        models, {"strategy": "cheapest"}, config=PRICES, traffic={"input_tokens": 9000, "output_tokens": 50}
    )
    writing = run(models, {"strategy": "cheapest"}, config=PRICES, traffic={"input_tokens": 50, "output_tokens": 900})
    assert attempts(reading) == {"long": 400, "short": 0}
    assert attempts(writing) == {"long": 0, "short": 400}
    assert reading.members["long"].spend_dollars == pytest.approx(400 * (9000 * 1 + 50 * 20) / 1e6)


def test_cheapest_pays_more_while_the_cheapest_is_down() -> None:
    down = {"faults": [{"failure": "server_error", "from_secs": 25, "until_secs": 75}]}
    record = run({"long": {}, "short": down}, {"strategy": "cheapest"}, config=PRICES)
    assert only(record).availability == 1
    assert 150 < attempts(record)["long"] < 300
