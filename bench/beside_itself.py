"""Tables that compare the gateway with itself: what something adds, and how many times as much it is."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from bench import figures
from bench.figures import Figure, Row
from bench.report import cell, table
from bench.scenarios import Scenario

PLAIN = "busbar"
"""The contender that the others are compared with."""


def p50_ms(row: Row) -> float | None:
    return row.p50_us / 1000 or None


def p99_ms(row: Row) -> float | None:
    return row.p99_us / 1000 or None


_CPU: tuple[tuple[str, Figure, int], ...] = (
    ("CPU µs/request", figures.cpu_us_per_request, 0),
    ("CPU µs/event", figures.cpu_us_per_event, 2),
)
_LATENCY: tuple[tuple[str, Figure, int], ...] = (("p50 ms", p50_ms, 2), ("p99 ms", p99_ms, 2))
_RATIOS: tuple[tuple[str, Figure, int], ...] = (
    ("CPU/request", figures.cpu_us_per_request, 2),
    ("requests/s", figures.requests_per_sec, 2),
)

Told = tuple[str, Callable[[Sequence[Row]], str]]
"""One more column: its head, and its cell for a contender's rows under a scenario."""


def added_lines(
    rows: Sequence[Row], scenarios: Sequence[Scenario], names: Sequence[str], first: str, more: Told | None = None
) -> Iterator[str]:
    """`first`: the head of the first column."""
    head = [f"added {title}" for title, _, _ in (*_CPU, *_LATENCY)]
    body = []
    for scenario in scenarios:
        for name in names:
            figures_here = (*_CPU, *(_LATENCY if scenario.rate_per_sec else ()))
            cells = [
                cell(figures.added(rows, scenario.name, name, figure, PLAIN), digits)
                for _, figure, digits in figures_here
            ]
            cells += ["–"] * (len(head) - len(cells))
            mine = [row for row in rows if (row.scenario, row.contender) == (scenario.name, name)]
            body.append([f"{scenario.name}, {name}", *cells, *(() if more is None else (more[1](mine),))])
    yield from table([first, *head, *(() if more is None else (more[0],))], body)


def ratio_lines(
    rows: Sequence[Row], scenarios: Sequence[Scenario], names: Sequence[str], first: str
) -> Iterator[str]:
    """The same of ratios. Latencies only at a fixed rate."""
    yield from ("", "Of the same round each; min / median / max of these ratios.", "")
    body = [
        [
            f"{scenario.name}, {name}",
            *(
                cell(figures.ratio(rows, scenario.name, name, PLAIN, figure), digits)
                for _, figure, digits in (*_RATIOS, *(_LATENCY if scenario.rate_per_sec else ()))
            ),
            *(() if scenario.rate_per_sec else ("–", "–")),
        ]
        for scenario in scenarios
        for name in names
    ]
    yield from table([first, *(title for title, _, _ in (*_RATIOS, *_LATENCY))], body)
