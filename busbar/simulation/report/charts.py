"""Values over time: stacked shares, lines, and the hints that show their figures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape

from msgspec import Struct

from busbar.simulation.report.svg import BOTTOM, TOP, Frame, clock, nice_top, number, path, plain


class Series(Struct, frozen=True):
    """One colour in a plot: a value for each slice of time; None: there is none."""

    name: str
    style: str
    """The CSS class with its colour."""
    values: Sequence[float | None]


def stacked(label: str, series: Sequence[Series], duration_secs: float, unit: str) -> str:
    """Series above each other, in steps, because a slice's value holds for all of the slice."""
    slices = len(series[0].values)
    totals = [sum(each.values[position] or 0.0 for each in series) for position in range(slices)]
    frame = Frame(170, duration_secs, nice_top(max(totals)))
    below = [0.0] * slices
    areas = []
    for each in series:
        above = [low + (value or 0.0) for low, value in zip(below, each.values, strict=True)]
        if above != below:
            outline = [*_steps(frame, above), *reversed(_steps(frame, below))]
            areas.append(f'<path class="area {each.style}" d="{path(outline)}Z"/>')
        below = above
    return frame.wrap(label, frame.value_axis(unit), *areas, frame.time_axis(), _hints(frame, series, slices, unit))


def lines(label: str, series: Sequence[Series], duration_secs: float, unit: str) -> str:
    """A line for each series, broken where it has no value."""
    slices = len(series[0].values)
    highest = max((value for each in series for value in each.values if value is not None), default=0.0)
    frame = Frame(170, duration_secs, nice_top(highest))
    drawn = [
        f'<path class="line {each.style}" d="{path(run)}"/>' for each in series for run in _runs(frame, each.values)
    ]
    return frame.wrap(label, frame.value_axis(unit), frame.time_axis(), *drawn, _hints(frame, series, slices, unit))


def legend(entries: Mapping[str, str]) -> str:
    """Name → CSS class."""
    items = "".join(f'<li><i class="{style}"></i>{escape(name)}</li>' for name, style in entries.items())
    return f'<ul class="legend">{items}</ul>'


def _steps(frame: Frame, values: Sequence[float]) -> list[tuple[float, float]]:
    width = frame.duration_secs / len(values)
    points: list[tuple[float, float]] = []
    for position, value in enumerate(values):
        y = frame.y(value)
        if len(points) > 1 and points[-1][1] == y:
            points.pop()
        else:
            points.append((frame.x(position * width), y))
        points.append((frame.x((position + 1) * width), y))
    return points


def _runs(frame: Frame, values: Sequence[float | None]) -> list[list[tuple[float, float]]]:
    """Stretches without a gap; a lone value is a short line."""
    width = frame.duration_secs / len(values)
    runs: list[list[tuple[float, float]]] = [[]]
    for position, value in enumerate(values):
        if value is None:
            runs.append([])
        else:
            runs[-1].append((frame.x((position + 0.5) * width), frame.y(value)))
    return [run if len(run) > 1 else [run[0], (run[0][0] + 2, run[0][1])] for run in runs if run]


def _hints(frame: Frame, series: Sequence[Series], slices: int, unit: str) -> str:
    """What a browser shows when the pointer rests on a slice."""
    width = frame.duration_secs / slices
    hints = []
    for position in range(slices):
        told = [f"{each.name} {plain(v)}{unit}" for each in series if (v := each.values[position])]
        if told:
            left, right = frame.x(position * width), frame.x((position + 1) * width)
            hints.append(
                f'<rect class="hint" x="{number(left)}" width="{number(right - left)}" y="{TOP}" '
                f'height="{frame.height - TOP - BOTTOM}"><title>{clock(position * width)}\n'
                f"{escape(chr(10).join(told))}</title></rect>"
            )
    return "".join(hints)
