"""The whole page. The same result gives the same bytes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape

from busbar.simulation.histogram import Histogram
from busbar.simulation.record import OUTCOMES, SLICES, CellRecord, PoolRecord
from busbar.simulation.report.bands import STATES, Row, bands
from busbar.simulation.report.charts import Series, legend, lines, stacked
from busbar.simulation.report.style import STYLE
from busbar.simulation.report.svg import clock
from busbar.simulation.runner import Result
from busbar.simulation.summary import (
    LATENCY_COLUMNS,
    MEMBER_COLUMNS,
    POOL_COLUMNS,
    PROVIDER_COLUMNS,
    dollars,
    duration,
    is_figure,
    latency_row,
    member_row,
    percent,
    pool_row,
    provider_rows,
    spend_dollars,
    trips,
)

COLOURS = 8
_FIGURE = ' class="figure"'
_OUTCOME_STYLES = dict(zip(OUTCOMES, ("ok", "c6", "c1", "c3", "c4", "c7", "c5"), strict=True))
_PERCENTILES = {"p50": (0.5, "c0"), "p95": (0.95, "c1"), "p99": (0.99, "c6")}


def page(result: Result) -> str:
    """HTML, to be written into a file."""
    title = escape(result.scenario.title or "Simulation")
    body = [
        f"<h1>{title}</h1>",
        f'<p class="soft">{clock(result.scenario.duration_secs)} of virtual time, seed {result.seed}. '
        "The same scenario and seed give this very page again.</p>",
        _tiles(_overall(result)),
        _alarm(result),
        *(_pool(result, pool) for pool in result.record.pools.values()),
        _tables(result),
    ]
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{title}</title><style>{STYLE}</style></head><body><main>\n"
        + "\n".join(body)
        + "\n</main></body></html>\n"
    )


def _overall(result: Result) -> Mapping[str, str]:
    pools = list(result.record.pools.values())
    members = list(result.record.members.values())
    latency = Histogram.together(pool.latency_ms for pool in pools)
    return {
        "Requests": f"{sum(pool.requests for pool in pools):,}",
        "Attempts": f"{sum(member.attempts for member in members):,}",
        "Failovers": f"{sum(pool.failovers for pool in pools):,}",
        "Breaker trips": f"{sum(cell.trips for cell in result.record.cells.values()):,}",
        "Latency p50": duration(latency.percentile(0.5)),
        "Latency p95": duration(latency.percentile(0.95)),
        "Spend": dollars(spend_dollars(members)),
    }


def _alarm(result: Result) -> str:
    if result.broken is None:
        return ""
    return (
        '<section class="alarm"><h2>An invariant is broken</h2><p>The run ended there; what is below is what had '
        f"happened until then.</p><pre>{escape(result.broken)}</pre></section>"
    )


# --- one pool


def _pool(result: Result, pool: PoolRecord) -> str:
    record = result.record
    secs = record.duration_secs
    per_slice = secs / SLICES
    outcomes = [
        Series(
            word.replace("_", " "),
            _OUTCOME_STYLES[word],
            [n / per_slice for n in pool.outcomes_over_time[word][:SLICES]],
        )
        for word in OUTCOMES
        if pool.outcomes[word]
    ]
    cells = _cells(result, pool)
    members = [
        Series(_told(cell, pool), f"c{position % COLOURS}", [n / per_slice for n in cell.attempts_over_time[:SLICES]])
        for position, cell in enumerate(cells)
    ]
    latency = [
        Series(name, style, [_secs(slice_.percentile(share)) for slice_ in pool.latency_over_time[:SLICES]])
        for name, (share, style) in _PERCENTILES.items()
    ]
    name = escape(pool.name)
    parts = [f"<h2>{name}</h2>", _tiles(_figures(result, pool))]
    parts += ["<h3>What callers got</h3>", _legend(outcomes)]
    parts += [stacked(f"Requests to {pool.name} by outcome, over time", outcomes, secs, "/s")] if outcomes else []
    if members:
        parts += ["<h3>Attempts by member</h3>", _legend(members)]
        parts += [stacked(f"Attempts of {pool.name} by member, over time", members, secs, "/s")]
        rows = [_row(result, cell, pool) for cell in cells]
        parts += ["<h3>Breaker cells</h3>", legend(STATES), bands(f"Breaker cells of {pool.name}", rows, secs)]
        parts += [_left_out(cells)]
    if pool.latency_ms.count:
        parts += ["<h3>Latency of whole answers</h3>", _legend(latency)]
        parts += [lines(f"Latency percentiles of {pool.name}, over time", latency, secs, " s")]
    return f"<section>{''.join(parts)}</section>"


def _figures(result: Result, pool: PoolRecord) -> Mapping[str, str]:
    some = {word: pool.outcomes[word] for word in ("broken", "failed", "exhausted", "deadline")}
    some |= {"continued": pool.resumed, "fell back": pool.fell_back, "queued": pool.queued}
    return {
        "Available": percent(pool.availability),
        "Requests": f"{pool.requests:,}",
        "Failovers": f"{pool.failovers:,}",
        "Trips": f"{trips(result.record, pool.name):,}",
        **{word.capitalize(): f"{count:,}" for word, count in some.items() if count},
        "First byte p95": duration(pool.ttft_ms.percentile(0.95)),
    }


def _cells(result: Result, pool: PoolRecord) -> list[CellRecord]:
    """The pool's own in configured order, then those of the pools that it falls back on."""
    config = result.scenario.config
    wanted: list[str] = []
    name: str | None = pool.name
    while name is not None and name not in wanted:
        wanted.append(name)
        name = config.pools[name].on_exhausted.fallback_pool if name in config.pools else None
    listed = [
        (each, member.target) for each in wanted if each in config.pools for member in config.pools[each].members
    ]
    cells = result.record.cells
    alone = [key for key in cells if key[0] == pool.name and key not in listed]
    return [cells[key] for key in [*listed, *alone] if key in cells]


def _row(result: Result, cell: CellRecord, pool: PoolRecord) -> Row:
    scenario = result.scenario
    script = scenario.models.get(cell.member)
    provider = scenario.providers.get(scenario.config.models[cell.member].provider)
    faults = (*(script.faults if script is not None else ()), *(provider.faults if provider is not None else ()))
    return Row(_told(cell, pool), cell, faults)


def _told(cell: CellRecord, pool: PoolRecord) -> str:
    return cell.member if cell.pool == pool.name else f"{cell.member} ({cell.pool})"


def _left_out(cells: Sequence[CellRecord]) -> str:
    left_out = sum(cell.changes_left_out for cell in cells)
    return f'<p class="soft">{left_out:,} later changes are not drawn.</p>' if left_out else ""


def _secs(ms: float | None) -> float | None:
    return None if ms is None else ms / 1000


# --- pieces


def _tiles(figures: Mapping[str, str]) -> str:
    tiles = "".join(f"<div><dt>{escape(name)}</dt><dd>{escape(value)}</dd></div>" for name, value in figures.items())
    return f'<dl class="tiles">{tiles}</dl>'


def _legend(series: Sequence[Series]) -> str:
    return legend({each.name: each.style for each in series})


def _tables(result: Result) -> str:
    record = result.record
    attempted = [member_row(member) for member in record.members.values() if member.attempts]
    return (
        "<section><h2>All figures</h2>"
        + _table(POOL_COLUMNS, [pool_row(record, pool) for pool in record.pools.values()])
        + _table(LATENCY_COLUMNS, [latency_row(pool) for pool in record.pools.values()])
        + _table(MEMBER_COLUMNS, attempted)
        + _table(PROVIDER_COLUMNS, provider_rows(record))
        + "</section>"
    )


def _table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    figures = [all(is_figure(row[position]) for row in rows) for position in range(len(columns))]

    def line(tag: str, cells: Sequence[str]) -> str:
        return "".join(
            f"<{tag}{_FIGURE if figure else ''}>{escape(cell)}</{tag}>"
            for cell, figure in zip(cells, figures, strict=True)
        )

    body = "".join(f"<tr>{line('td', row)}</tr>" for row in rows)
    return (
        f'<div class="wide"><table><thead><tr>{line("th", columns)}</tr></thead><tbody>{body}</tbody></table></div>'
    )
