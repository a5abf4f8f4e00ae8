"""A plot's frame: where time and values lie, axes, and how numbers are written into SVG."""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape

from msgspec import Struct

WIDTH = 960
LEFT, RIGHT, TOP, BOTTOM = 132, 12, 8, 22
"""Margins. All plots of a page share the left one, so that their times stand under each other."""

_TIME_STEPS_SECS = (
    *(1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800),
    *(3600, 7200, 10_800, 21_600, 43_200, 86_400, 172_800, 604_800, 2_592_000),
)
_TICKS_MAX = 10


class Frame(Struct, frozen=True):
    """A plot of `height` pixels over `duration_secs`, with values from 0 to `top`."""

    height: int
    duration_secs: float
    top: float = 1.0

    def x(self, secs: float) -> float:
        return LEFT + (WIDTH - LEFT - RIGHT) * min(max(secs / self.duration_secs, 0.0), 1.0)

    def y(self, value: float) -> float:
        return self.base - (self.height - TOP - BOTTOM) * min(max(value / self.top, 0.0), 1.0)

    @property
    def base(self) -> float:
        return float(self.height - BOTTOM)

    def wrap(self, label: str, *parts: str) -> str:
        """The parts as one picture. `label` is for those who do not see it."""
        return (
            f'<svg viewBox="0 0 {WIDTH} {self.height}" role="img" aria-label="{escape(label)}">'
            + "".join(parts)
            + "</svg>"
        )

    def time_axis(self) -> str:
        step = next(
            (secs for secs in _TIME_STEPS_SECS if self.duration_secs / secs <= _TICKS_MAX),
            self.duration_secs / _TICKS_MAX,
        )
        ticks = [step * number for number in range(int(self.duration_secs / step + 1e-9) + 1)]
        return "".join(
            f'<line class="grid" x1="{number(self.x(at))}" x2="{number(self.x(at))}" y1="{TOP}" '
            f'y2="{number(self.base)}"/>'
            f'<text class="tick" x="{number(self.x(at))}" y="{self.height - 6}" '
            f'text-anchor="{self._anchor(at)}">{clock(at)}</text>'
            for at in ticks
        )

    def value_axis(self, unit: str) -> str:
        step = self.top / 4
        return "".join(
            f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{number(self.y(step * count))}" '
            f'y2="{number(self.y(step * count))}"/>'
            f'<text class="tick" x="{LEFT - 8}" y="{number(self.y(step * count) + 4)}" '
            f'text-anchor="end">{plain(step * count)}{unit if count == 4 else ""}</text>'
            for count in range(5)
        )

    def _anchor(self, at: float) -> str:
        return "end" if at >= self.duration_secs * 0.98 else "middle"


def nice_top(highest: float) -> float:
    """The end of an axis that is divided by four: at least `highest`, and easy to read."""
    if highest <= 0:
        return 1.0
    magnitude = 10.0 ** math.floor(math.log10(highest))
    return next(top for factor in (1, 1.2, 1.6, 2, 3, 4, 6, 8, 10, 12) if (top := factor * magnitude) >= highest)


def number(value: float) -> str:
    """A coordinate, to a tenth of a pixel."""
    return f"{value:.1f}".removesuffix(".0")


def plain(value: float) -> str:
    """A value at an axis or in a hint."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def clock(secs: float) -> str:
    """`20:00` (minutes and seconds), `2:30 h`, `3 d`."""
    whole = round(secs)
    if whole % 86_400 == 0 and whole:
        return f"{whole // 86_400} d"
    if whole >= 3600:
        return f"{whole // 3600}:{whole % 3600 // 60:02d} h"
    return f"{whole // 60}:{whole % 60:02d}"


def path(points: Sequence[tuple[float, float]]) -> str:
    return "M" + "L".join(f"{number(x)} {number(y)}" for x, y in points)
