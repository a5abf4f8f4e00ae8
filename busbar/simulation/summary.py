"""What came of a run, or of many, as text. The same result gives the same bytes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from busbar.simulation.record import MemberRecord, PoolRecord, Record
from busbar.simulation.runner import Result

FAILING_SEEDS_SHOWN_MAX = 50


def summary(result: Result) -> str:
    """Pools, members, providers, and what broke."""
    record, scenario = result.record, result.scenario
    requests = sum(pool.requests for pool in record.pools.values())
    title = scenario.title or "simulation"
    parts = [
        f"{title}: {scenario.duration_secs:g} s, {requests:,} requests, seed {result.seed}",
        table(POOL_COLUMNS, [pool_row(record, pool) for pool in record.pools.values()]),
        table(LATENCY_COLUMNS, [latency_row(pool) for pool in record.pools.values()]),
        table(MEMBER_COLUMNS, [member_row(member) for member in record.members.values() if member.attempts]),
        table(PROVIDER_COLUMNS, provider_rows(record)),
    ]
    if result.broken is not None:
        parts.append(f"an invariant is broken, {result.broken}")
    return "\n\n".join(parts) + "\n"


POOL_COLUMNS = (
    *("pool", "requests", "available", "failovers", "trips", "broken", "failed", "exhausted", "deadline"),
    *("client's", "cancelled"),
)


def pool_row(record: Record, pool: PoolRecord) -> list[str]:
    outcomes = pool.outcomes
    return [
        pool.name,
        f"{pool.requests:,}",
        percent(pool.availability),
        f"{pool.failovers:,}",
        f"{trips(record, pool.name):,}",
        *(f"{outcomes[word]:,}" for word in ("broken", "failed", "exhausted", "deadline")),
        *(f"{outcomes[word]:,}" for word in ("client_error", "cancelled")),
    ]


LATENCY_COLUMNS = ("pool", "whole answer p50", "p95", "p99", "first byte p50", "p95", "p99")


def latency_row(pool: PoolRecord) -> list[str]:
    times = (
        histogram.percentile(share) for histogram in (pool.latency_ms, pool.ttft_ms) for share in (0.5, 0.95, 0.99)
    )
    return [pool.name, *(duration(time) for time in times)]


MEMBER_COLUMNS = ("member", "provider", "attempts", "ok", "cancelled", "input", "output", "spend", "failures")


def member_row(member: MemberRecord) -> list[str]:
    failures = {word: count for word, count in member.words.items() if word not in ("ok", "cancelled")}
    told = ", ".join(f"{word} {count:,}" for word, count in sorted(failures.items())) or "-"
    return [
        *(member.name, member.provider, f"{member.attempts:,}"),
        *(f"{member.words.get(word, 0):,}" for word in ("ok", "cancelled")),
        *(f"{member.input_tokens:,}", f"{member.output_tokens:,}", dollars(member.spend_dollars)),
        told,
    ]


PROVIDER_COLUMNS = ("provider", "attempts", "ok", "spend")


def provider_rows(record: Record) -> list[list[str]]:
    """By provider, and together."""
    members = list(record.members.values())
    providers = dict.fromkeys(member.provider for member in members)
    rows = [_sum(provider, [member for member in members if member.provider == provider]) for provider in providers]
    return [*rows, _sum("together", members)]


def _sum(name: str, members: Sequence[MemberRecord]) -> list[str]:
    attempts = sum(member.attempts for member in members)
    answered = sum(member.words.get("ok", 0) for member in members)
    return [name, f"{attempts:,}", f"{answered:,}", dollars(spend_dollars(members))]


def spend_dollars(members: Iterable[MemberRecord]) -> float | None:
    """Of those that have a price; None: none has."""
    spent = [member.spend_dollars for member in members if member.spend_dollars is not None]
    return sum(spent) if spent else None


def trips(record: Record, pool: str) -> int:
    return sum(cell.trips for (name, _), cell in record.cells.items() if name == pool)


class Aggregate:
    """Many runs, folded one after the other: a thousand cost no more memory than one."""

    def __init__(self) -> None:
        self.seeds = 0
        self.requests = 0
        self.broken: dict[int, str] = {}
        """The seed → what broke with it."""
        self._pools: dict[str, list[list[float]]] = {}

    def add(self, result: Result) -> None:
        self.seeds += 1
        if result.broken is not None:
            self.broken[result.seed] = result.broken.partition("\n")[0]
        for pool in result.record.pools.values():
            self.requests += pool.requests
            figures = [
                pool.availability,
                float(pool.failovers),
                float(trips(result.record, pool.name)),
                float(pool.outcomes["exhausted"]),
                float(pool.outcomes["broken"]),
                pool.latency_ms.percentile(0.5),
                pool.latency_ms.percentile(0.95),
            ]
            columns = self._pools.setdefault(pool.name, [[] for _ in figures])
            for column, figure in zip(columns, figures, strict=True):
                if figure is not None:
                    column.append(figure)

    def text(self, title: str) -> str:
        rows = []
        for pool, columns in self._pools.items():
            available, *counts, p50, p95 = columns
            rows.append(
                [
                    *(pool, percent(_mean(available)), percent(min(available, default=None))),
                    *(f"{_mean(count) or 0:.1f} / {max(count, default=0):,.0f}" for count in counts),
                    *(f"{duration(_mean(times))} / {duration(max(times, default=None))}" for times in (p50, p95)),
                ]
            )
        parts = [
            f"{title or 'simulation'}: {self.seeds:,} seeds, {self.requests:,} requests; mean / highest of all seeds",
            table(AGGREGATE_COLUMNS, rows),
            self._verdict(),
        ]
        return "\n\n".join(parts) + "\n"

    def _verdict(self) -> str:
        if not self.broken:
            return "every invariant held with every seed"
        shown = list(self.broken.items())[:FAILING_SEEDS_SHOWN_MAX]
        lines = [f"invariants broke with {len(self.broken):,} of {self.seeds:,} seeds:"]
        lines += [f"  seed {seed}: {said}" for seed, said in shown]
        lines += [f"  … and {len(self.broken) - len(shown):,} more"] if len(shown) < len(self.broken) else []
        return "\n".join(lines)


AGGREGATE_COLUMNS = (*("pool", "available", "lowest", "failovers", "trips", "exhausted", "broken", "p50", "p95"),)


def _mean(values: Sequence[float]) -> float | None:
    return sum(values) / len(values) if values else None


# --- how figures are shown


def percent(share: float | None) -> str:
    """Rounded down, so that nothing but all is 100 %."""
    return "-" if share is None else f"{int(share * 100_000) / 1000:.3f}%"


def duration(ms: float | None) -> str:
    """In three digits."""
    if ms is None:
        return "-"
    for limit, factor, unit in ((1000, 1, "ms"), (100_000, 1000, "s"), (6_000_000, 60_000, "min")):
        if ms < limit:
            return f"{ms / factor:.3g} {unit}"
    return f"{ms / 3_600_000:.3g} h"


def dollars(amount: float | None) -> str:
    return "-" if amount is None else f"${amount:,.2f}"


def table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Aligned; figures to the right."""
    if not rows:
        return "(nothing)"
    widths = [max(len(line[position]) for line in (columns, *rows)) for position in range(len(columns))]
    right = [all(is_figure(row[position]) for row in rows) for position in range(len(columns))]
    return "\n".join(
        "  ".join(
            cell.rjust(width) if to_the_right else cell.ljust(width)
            for cell, width, to_the_right in zip(line, widths, right, strict=True)
        ).rstrip()
        for line in (columns, *rows)
    )


def is_figure(cell: str) -> bool:
    return cell == "-" or cell[:1].isdigit() or cell[:1] == "$"
