"""Whole runs: what callers get when providers do this or that."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from simulation.worlds import attempts, only, outcomes, run

from busbar.simulation.load import load_scenario
from busbar.simulation.random_scenarios import random_scenario
from busbar.simulation.report.page import page
from busbar.simulation.runner import simulate
from busbar.simulation.summary import summary

EXAMPLES = Path(__file__).parents[2] / "examples" / "simulation"


def test_when_nothing_goes_wrong_every_request_is_answered_as_the_script_says() -> None:
    pool = only(run({"a": {"ttft_ms": 250, "tokens_per_sec": 90}}))
    assert {word: count for word, count in pool.outcomes.items() if count} == {"ok": 400}
    assert pool.ttft_ms.percentile(0.5) == pytest.approx(250, rel=0.01)
    assert pool.latency_ms.percentile(0.99) == pytest.approx(1250, rel=0.01)


def test_an_outage_costs_failovers_and_no_request() -> None:
    record = run({"a": {"faults": [{"kind": "refused", "from_secs": 20, "until_secs": 60}]}, "b": {}})
    cell = record.cell("p", "a")
    assert only(record).availability == 1
    assert only(record).failovers == record.members["a"].words["network"] < 20
    assert cell.trips == 1
    assert [state for _, state in cell.changes][:3] == ["open", "half_open", "open"]
    assert cell.changes[-1][1] == "closed"


def test_a_lone_member_that_is_down_is_told_to_the_caller() -> None:
    record = run({"a": {"faults": [{"failure": "overloaded"}]}})
    assert outcomes(record) == {"failed": 7, "exhausted": 393}
    assert only(record).probes == 2  # after about 15 seconds, and 30 more


def test_a_caller_s_own_fault_is_nobody_elses() -> None:
    record = run({"a": {}, "b": {}}, traffic={"bad_share": 0.5})
    assert set(outcomes(record)) == {"ok", "client_error"}
    assert only(record).availability == 1
    assert (only(record).failovers, record.cell("p", "a").trips) == (0, 0)


def test_a_request_that_does_not_fit_goes_to_a_larger_member() -> None:
    members = [{"target": "small", "context_max": 50, "weight": 9}, {"target": "large", "context_max": 5000}]
    record = run({"small": {"context_tokens": 50}, "large": {"context_tokens": 5000}}, {"members": members})
    assert outcomes(record) == {"ok": 400}
    assert record.members["small"].words == {"context_length": 360}


def test_a_rate_limit_is_waited_out_when_the_pool_says_so() -> None:
    limited = {"rate_limit": {"requests": 30, "window_secs": 10}}
    breaker = {"breaker": {"trip": {"min_requests": 1000}}}
    hammered = run({"a": limited}, breaker)
    patient = run({"a": limited}, {**breaker, "retry": {"retry_after_max_secs": 10}})
    assert outcomes(hammered) == {"ok": 300, "failed": 100}
    assert outcomes(patient) == {"ok": 330, "failed": 70}  # another window, in which the last ones are waited for


def test_a_queue_serves_what_would_have_been_refused() -> None:
    narrow = {"a": {"max_concurrent": 4}}
    burst = {"rate_per_sec": 2, "burst": 10}
    refused = run({"a": {}}, model_configs=narrow, traffic=burst)
    queued = run({"a": {}}, {"on_exhausted": "queue:5000"}, model_configs=narrow, traffic=burst)
    assert outcomes(refused) == {"ok": 80, "exhausted": 120}
    assert outcomes(queued) == {"ok": 200}
    assert only(queued).queued == 120


def test_a_fallback_pool_takes_over() -> None:
    pools = {
        "pools": {
            "p": {"members": [{"target": "a"}], "on_exhausted": "fallback_pool:q"},
            "q": {"members": [{"target": "b"}]},
        }
    }
    record = run({"a": {"faults": [{"failure": "billing"}]}, "b": {}}, config=pools)
    assert outcomes(record) == {"failed": 1, "ok": 399}
    assert only(record).fell_back == 399


def test_least_bad_asks_the_open_member_rather_than_nobody() -> None:
    record = run({"a": {"faults": [{"failure": "server_error", "share": 0.7}]}}, {"on_exhausted": "least_bad"})
    assert only(record).last_resorts > 100
    assert set(outcomes(record)) == {"ok", "failed"}


BREAKING = {"a": {"faults": [{"kind": "break", "after_share": 0.4}]}, "b": {}}


def test_a_stream_that_breaks_is_told_as_broken() -> None:
    record = run(BREAKING, {"breaker": {"trip": {"min_requests": 1000}}})
    assert outcomes(record)["broken"] == record.members["a"].words["network"] > 50
    assert only(record).failovers == 0


def test_a_held_stream_that_breaks_early_is_saved() -> None:
    record = run(BREAKING, {"stream_recovery": "hold:600"})
    assert outcomes(record) == {"ok": 400}


def test_a_stream_is_gone_on_with_where_the_model_takes_a_prefill() -> None:
    recovered = {"stream_recovery": "continue", "breaker": {"trip": {"min_requests": 1000}}}
    able = run(BREAKING, recovered, model_configs={"b": {"prefill": True}})
    unable = run(BREAKING, recovered)
    assert outcomes(able) == {"ok": 400}
    assert outcomes(unable)["broken"] == unable.members["b"].words["diverged"] == only(able).resumed


def test_a_stall_is_bounded() -> None:
    stalling = {"a": {"faults": [{"kind": "stall", "stall_secs": 600}]}}
    record = run(stalling, model_configs={"a": {"stall_timeout_ms": 2000}}, duration_secs=10)
    assert record.members["a"].words == {
        "timeout": sum(outcomes(record).values()) - outcomes(record).get("exhausted", 0)
    }
    assert record.ended_at < 15


def test_silence_is_bounded_by_the_first_token_timeout_and_at_last_by_the_deadline() -> None:
    silent = {"a": {"faults": [{"kind": "silent"}]}}
    quick = run(silent, model_configs={"a": {"first_token_timeout_ms": 1000}}, duration_secs=1)
    slow = run(silent, {"failover": {"deadline_secs": 30}}, duration_secs=1)
    assert (outcomes(quick), quick.ended_at) == ({"failed": 4}, pytest.approx(1.75))
    assert (outcomes(slow), slow.ended_at) == ({"deadline": 4}, pytest.approx(30.75))


def test_callers_that_go_away_are_no_verdict_and_pay_for_what_they_saw() -> None:
    record = run(
        {"a": {}}, traffic={"hang_up": {"share": 1, "after_ms": 550}}, config={"governance": {"prices": {"a": ONE}}}
    )
    member = record.members["a"]
    assert outcomes(record) == {"cancelled": 400}
    assert (member.words, member.output_tokens) == ({"cancelled": 400}, 400 * 45)
    assert member.spend_dollars == pytest.approx((400 * 100 + 400 * 45) / 1e6)
    assert record.cell("p", "a").trips == 0


ONE = {"input": 1, "output": 1}


def test_a_session_stays_with_its_member() -> None:
    affinity = {"affinity": {"mode": "session"}}
    record = run({"a": {}, "b": {}, "c": {}}, affinity, traffic={"sessions": 1})
    assert sorted(attempts(record).values()) == [0, 0, 400]


def test_active_probes_bring_a_member_back_without_a_caller() -> None:
    health = {"mode": "dead", "interval_secs": 5}
    provider = {"protocol": "openai", "base_url": "http://here.invalid", "auth": "none", "health": health}
    down = {"a": {"faults": [{"failure": "auth", "until_secs": 30}]}, "b": {}}
    record = run(down, config={"providers": {"here": provider}})
    (opened, closed) = record.cell("p", "a").changes
    assert (opened[1], closed[1]) == ("open", "closed")
    assert 30 <= closed[0] < 36  # half an hour early
    assert only(record).probes == 0


def test_quarantine_keeps_a_member_out_until_somebody_looks() -> None:
    down = {"a": {"faults": [{"failure": "auth", "until_secs": 5}]}, "b": {}}
    record = run(down, {"supervision": {"policy": "quarantine", "options": {"failures": 1}}})
    assert record.members["a"].attempts == 1


# --- the same again


@pytest.mark.parametrize("name", ["provider-outage", "rate-limit-storm"])
def test_the_examples_run(name: str) -> None:
    result = simulate(load_scenario(EXAMPLES / f"{name}.yaml", env={}))
    assert result.broken is None
    assert only(result.record).availability > 0.99
    assert sum(cell.trips for cell in result.record.cells.values()) > 0


def test_the_same_seed_gives_the_same_bytes() -> None:
    """In another process too, where sets and dicts hash otherwise."""
    here = simulate(random_scenario(11))
    script = (
        "import sys; from busbar.simulation.random_scenarios import random_scenario as r\n"
        "from busbar.simulation.runner import simulate; from busbar.simulation.report.page import page\n"
        "from busbar.simulation.summary import summary\n"
        "result = simulate(r(11)); sys.stdout.write(summary(result) + page(result))"
    )
    env = {**os.environ, "PYTHONHASHSEED": "77", "PYTHONIOENCODING": "utf-8"}
    there = subprocess.run([sys.executable, "-c", script], env=env, capture_output=True, check=True, timeout=60)
    assert there.stdout.decode() == summary(here) + page(here)
