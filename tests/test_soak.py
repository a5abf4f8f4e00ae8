"""The soak, for a moment: that it works at all, and how it reads a slope."""

from __future__ import annotations

import pytest

from soak.__main__ import slope_kb_per_min, soak
from soak.gateway import Sample


def samples(*kilobytes: int) -> list[Sample]:
    """One every thirty seconds."""
    return [Sample(at_secs=30.0 * n, rss_kb=kb, fds=0, tasks=0, inflight=0) for n, kb in enumerate(kilobytes)]


def test_the_slope_is_that_of_the_line_through_the_samples() -> None:
    assert slope_kb_per_min(samples(1000, 1050, 1100, 1150)) == pytest.approx(100)
    assert slope_kb_per_min(samples(1000, 1010, 1000, 1010, 1000)) == pytest.approx(0)
    assert slope_kb_per_min(samples(1000)) == 0


async def test_a_moment_of_it_leaks_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    assert await soak(2.0, callers_count=8, seed=1) == []
    assert "2xx" in capsys.readouterr().out
