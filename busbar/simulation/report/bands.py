"""States over time, as bands: what the script did to each member, and what its breaker cell made of it."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from msgspec import Struct

from busbar.simulation.record import CellRecord
from busbar.simulation.report.svg import BOTTOM, LEFT, TOP, Frame, clock, number
from busbar.simulation.scenario import Fault

ROW = 24
_NAME_CHARACTERS_MAX = 17
_STATES = {"closed": "s-closed", "open": "s-open", "half_open": "s-half"}
STATES = {"closed": "s-closed", "open": "s-open", "half-open": "s-half", "fault in the script": "s-fault"}


class Row(Struct, frozen=True):
    """One member in one pool."""

    name: str
    cell: CellRecord | None
    """None: no attempt was made there."""
    faults: Sequence[Fault]
    """Its own, and its provider's."""


def bands(label: str, rows: Sequence[Row], duration_secs: float) -> str:
    frame = Frame(TOP + BOTTOM + ROW * len(rows), duration_secs)
    parts = [frame.time_axis()]
    for position, row in enumerate(rows):
        top = TOP + position * ROW
        shown = row.name if len(row.name) <= _NAME_CHARACTERS_MAX else row.name[: _NAME_CHARACTERS_MAX - 1] + "…"
        parts.append(
            f'<text class="name" x="{LEFT - 8}" y="{top + 15}" text-anchor="end">{escape(shown)}'
            f"<title>{escape(row.name)}</title></text>"
        )
        parts += [_fault(frame, fault, top) for fault in row.faults]
        parts += [_band(frame, *span, top) for span in spans(row.cell, duration_secs)]
    return frame.wrap(label, *parts)


def spans(cell: CellRecord | None, duration_secs: float) -> list[tuple[str, float, float]]:
    """(state, from, until), without gaps."""
    changes = [(0.0, "closed"), *(cell.changes if cell is not None else ())]
    ends = [at for at, _ in changes[1:]] + [max(duration_secs, changes[-1][0])]
    return [(state, since, until) for (since, state), until in zip(changes, ends, strict=True) if until > since]


def _band(frame: Frame, state: str, since: float, until: float, top: float) -> str:
    left, right = frame.x(since), frame.x(until)
    width = max(right - left, 0.0 if state == "closed" else 0.6)
    return (
        f'<rect class="{_STATES[state]}" x="{number(left)}" y="{number(top + 7)}" width="{width:.2f}" height="12">'
        f"<title>{state.replace('_', '-')} from {clock(since)} to {clock(until)} "
        f"({until - since:.1f} s)</title></rect>"
    )


def _fault(frame: Frame, fault: Fault, top: float) -> str:
    until = frame.duration_secs if fault.until_secs is None else fault.until_secs
    left, right = frame.x(fault.from_secs), frame.x(until)
    return (
        f'<rect class="s-fault" x="{number(left)}" y="{number(top + 1)}" width="{number(max(1.0, right - left))}" '
        f'height="4"><title>{escape(told(fault))}</title></rect>'
    )


def told(fault: Fault) -> str:
    """The fault in one line."""
    word: str = fault.kind
    if fault.failure is not None:
        word += f" {fault.failure.value}"
    if fault.status is not None:
        word += f" {fault.status}"
    until = "the end" if fault.until_secs is None else clock(fault.until_secs)
    return f"script: {word}, {fault.share:.0%} of attempts, from {clock(fault.from_secs)} to {until}"
