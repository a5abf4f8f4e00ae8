"""What each of several workers has of a configuration."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from busbar.config import loads
from busbar.config.shares import share_of
from tests.config.conftest import Complaints

TEXT = """
workers: {workers}
providers: {{p: {{protocol: openai, base_url: "http://localhost", auth: none}}}}
models:
  m: {{provider: p, max_concurrent: {slots}, max_requests: {budget}}}
  n: {{provider: p, max_concurrent: 64}}
limits: {{connections_max: 1000, upstream_connections_max: 333}}
"""


@given(st.integers(1, 16), st.integers(16, 1000), st.one_of(st.just(-1), st.integers(16, 10_000)))
def test_all_parts_are_the_whole(workers: int, slots: int, budget: int) -> None:
    whole = loads(TEXT.format(workers=workers, slots=slots, budget=budget), env={})
    parts = [share_of(whole, worker) for worker in range(1, workers + 1)]
    assert sum(part.models["m"].max_concurrent for part in parts) == slots
    budgets = [part.models["m"].max_requests for part in parts]
    assert sum(budgets) == budget if budget > 0 else set(budgets) == {-1}
    assert sum(part.limits.connections_max for part in parts) == 1000
    assert sum(part.limits.upstream_connections_max for part in parts) == 333
    slots_of_parts = [part.models["m"].max_concurrent for part in parts]
    assert max(slots_of_parts) - min(slots_of_parts) <= 1


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("workers: 4\nmodels: {m: {provider: anthropic, max_concurrent: 3}}", "3 cannot be shared among 4 workers"),
        ("workers: 4\nmodels: {m: {provider: anthropic, max_requests: 2}}", "2 cannot be shared among 4 workers"),
        (
            "workers: 2\ngovernance: {enabled: true, admin_token: '${TOKEN}'}",
            "governance keeps its books in one process: write 1, or turn governance off",
        ),
        ("workers_control: 127.0.0.1:9000", "there is one process; it is asked at `listen`"),
        ("workers: 2\nworkers_control: nowhere", "expected HOST:PORT, such as 127.0.0.1:8080 or [::1]:8080"),
        (
            "workers: 4\nworkers_control: 127.0.0.1:65533",
            "expected HOST:PORT, such as 127.0.0.1:8080 or [::1]:8080",
        ),
        ("workers: 65", "expected a whole number from 1 to 64"),
    ],
)
def test_what_cannot_be_shared_is_refused(text: str, complaint: str, complaints: Complaints) -> None:
    found = complaints(f"providers: {{anthropic: {{}}}}\n{text}")
    assert [line.partition(": ")[2].partition(": ")[2] for line in found] == [complaint]
