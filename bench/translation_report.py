"""The costs of translation as Markdown tables."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from bench.machine import Machine
from bench.report import table
from bench.scenarios import DIALECTS, Dialect
from bench.translation import ANSWER, COLUMNS, EVENT, EVENT_IN_PIECES, REQUESTS, Cost, Kind, Pair


def translation_report(costs: Sequence[Cost], pairs: Sequence[Pair], repeats: int, machine: Machine) -> str:
    """One table of pairs, one of dialects by themselves."""
    return "\n".join([*_head(repeats, machine), *_pairs(costs, pairs), *_dialects(costs)]) + "\n"


def _head(repeats: int, machine: Machine) -> Iterator[str]:
    yield "# Translation"
    yield ""
    yield machine.line
    yield ""
    yield (
        f"CPU µs in one process, without sockets: the best of {repeats} repeats / their median (how many times the "
        "floor the best is). A request goes from the caller's dialect to the provider's, answers and events the "
        "other way; the floor is of what was read, decoded and encoded by msgspec and nothing else."
    )


def _pairs(costs: Sequence[Cost], pairs: Sequence[Pair]) -> Iterator[str]:
    body = []
    for caller, provider in pairs:
        cells = []
        for column in COLUMNS:
            floor = _find(costs, "floor", *_read(column, caller, provider))
            cells.append(_cell(_find(costs, "translated", caller, provider, column), floor))
        body.append([f"{caller} → {provider}", *cells])
    yield ""
    yield from table(["caller → provider", *COLUMNS], body)


def _dialects(costs: Sequence[Cost]) -> Iterator[str]:
    body = []
    for dialect in DIALECTS:
        taps = [_cell(_find(costs, "tap", dialect, dialect, column), None) for column in (EVENT, EVENT_IN_PIECES)]
        floors = [
            _cell(_find(costs, "floor", dialect, dialect, column), None)
            for column in (*REQUESTS.values(), ANSWER, EVENT)
        ]
        body.append([dialect, *taps, *floors])
    floor_titles = [f"floor: {column}" for column in (*REQUESTS.values(), ANSWER, EVENT)]
    yield ""
    yield from table(["dialect", f"tap: {EVENT}", f"tap: {EVENT_IN_PIECES}", *floor_titles], body)


def _read(column: str, caller: Dialect, provider: Dialect) -> tuple[Dialect, Dialect, str]:
    """Whose document is decoded in a column, and the column that has its floor."""
    reads = caller if column in REQUESTS.values() else provider
    return reads, reads, EVENT if column == EVENT_IN_PIECES else column


def _find(costs: Sequence[Cost], kind: Kind, caller: Dialect, provider: Dialect, column: str) -> Cost | None:
    wanted = (kind, caller, provider, column)
    return next((cost for cost in costs if (cost.kind, cost.caller, cost.provider, cost.column) == wanted), None)


def _cell(cost: Cost | None, floor: Cost | None) -> str:
    if cost is None:
        return "–"
    digits = 1 if cost.best_us < 100 else 0
    times = "" if floor is None else f" (×{cost.best_us / floor.best_us:.1f})"
    return f"{cost.best_us:.{digits}f} / {cost.median_us:.{digits}f}{times}"
