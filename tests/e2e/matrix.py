"""Prints the matrix as Markdown: `python -m tests.e2e.matrix`, with pytest's options after it.

Rows are the callers' SDKs, columns the providers; a cell says how many of its cases passed, of how many. What failed
is listed below the grid, and makes the exit code that of pytest.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

FILE = Path(__file__).with_name("test_matrix.py")


class Grid:
    """A pytest plugin that counts what happened to each pair of dialects."""

    def __init__(self) -> None:
        self.passed: Counter[tuple[str, str]] = Counter()
        self.total: Counter[tuple[str, str]] = Counter()
        self.failures: list[str] = []

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(self, item: pytest.Item, call: pytest.CallInfo[None]) -> object:
        report = yield
        pair = getattr(item, "callspec", None) and item.callspec.params.get("pair")  # type: ignore[attr-defined]
        if pair is None or report.skipped:
            return report
        if report.when == "call" or report.failed:
            cell = pair.ingress, pair.egress
            self.total[cell] += 1
            self.passed[cell] += report.passed
            if report.failed:
                self.failures.append(item.name)
        return report


def markdown(passed: Mapping[tuple[str, str], int], total: Mapping[tuple[str, str], int]) -> str:
    """The grid; its last column and row add up."""
    rows = list(dict.fromkeys(ingress for ingress, _ in total))
    columns = list(dict.fromkeys(egress for _, egress in total))
    lines = [
        _line(["caller ↓ · provider →", *(f"`{name}`" for name in columns)]),
        _line(["---"] * (len(columns) + 1)),
    ]
    for ingress in rows:
        cells = [(ingress, egress) for egress in columns]
        lines.append(_line([f"`{ingress}`", *(f"{passed.get(cell, 0)}/{total.get(cell, 0)}" for cell in cells)]))
    return "\n".join(lines)


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def main(options: Sequence[str]) -> int:
    grid = Grid()
    code = pytest.main([str(FILE), "-q", "--no-header", "--tb=no", "--disable-warnings", *options], plugins=[grid])
    print(f"\n{markdown(grid.passed, grid.total)}\n")  # noqa: T201
    passed, total = grid.passed.total(), grid.total.total()
    print(f"{passed} of {total} cases passed.")  # noqa: T201
    for name in grid.failures:
        print(f"- {name}")  # noqa: T201
    return int(code)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
