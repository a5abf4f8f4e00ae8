"""What `busbar top` shows of a picture (see `busbar.http.live`), as lines of text for a terminal of any size."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeAlias

from msgspec import Struct

Document: TypeAlias = Mapping[str, Any]

SPARKS = "▁▂▃▄▅▆▇█"
BAR_CELLS = 10
ONCE_ROWS = 20
"""Of each section, where there is no height to keep to."""

_STYLES = {"": "", "bold": "1", "dim": "2", "good": "32", "bad": "31", "warn": "33"}

_CELLS = {"closed": ("●", "good"), "half_open": ("◐", "warn"), "open": ("○", "bad")}
"""A shape besides the colour: not everybody, and not every terminal, sees colours."""


class Span(Struct, frozen=True):
    """Text of one style; it says what the text means, not how it looks."""

    text: str
    style: str = ""


Line: TypeAlias = list[Span]


class Section(Struct, frozen=True):
    title: str
    rows: Sequence[Line]


def screen(picture: Document, where: str, width: int, height: int | None = None) -> list[Line]:
    """All of it, no wider than `width`. With a `height`, what has no room is counted."""
    head = _head(picture, where, width)
    sections = [it for it in (_pools(picture), _keys(picture), _actors(picture), _requests(picture)) if it.rows]
    room = ONCE_ROWS * len(sections) if height is None else height - len(head) - 2 * len(sections)
    lines = [*head]
    for section, rows in zip(sections, fair([len(it.rows) for it in sections], room), strict=True):
        lines += [[], [Span(section.title, "bold")], *_fitting(section.rows, rows)]
    return [_cut(line, width) for line in lines[:height]]


def text(lines: Iterable[Line], *, colour: bool) -> list[str]:
    return ["".join(_painted(span) if colour else span.text for span in line).rstrip() for line in lines]


def fair(wanted: Sequence[int], room: int) -> list[int]:
    """`room` among those who want it: nobody gets more than it wants, and who gets less gets as much as any other."""
    given = [0] * len(wanted)
    left = max(0, room)
    hungry = sorted(range(len(wanted)), key=lambda index: wanted[index])
    for done, index in enumerate(hungry):
        given[index] = min(wanted[index], left // (len(hungry) - done))
        left -= given[index]
    return given


def sparkline(values: Sequence[float | None]) -> str:
    """The highest is full; zero and the lowest bar are the same; nothing known is nothing seen."""
    top = max((value for value in values if value is not None), default=0)
    steps = len(SPARKS) - 1
    return "".join(" " if it is None else SPARKS[round(it / top * steps) if top > 0 else 0] for it in values)


def bar(used: int, size: int) -> str:
    """Not empty while anything is used, and full only when all is."""
    filled = min(BAR_CELLS, used * BAR_CELLS // size) if size > 0 else 0
    if used > 0 and filled == 0:
        filled = 1
    return "█" * filled + "░" * (BAR_CELLS - filled)


# --- sections


def _head(picture: Document, where: str, width: int) -> list[Line]:
    gateway, rates = picture["gateway"], picture["rates"]
    title = [Span(f"busbar {_plain(gateway['version'])}", "bold"), Span(f"  {_plain(where)}", "dim")]
    if gateway["draining"]:
        title.append(Span("  draining", "warn"))
    figures = (
        ("requests", "requests_per_s", "/s", ""),
        ("errors", "errors_per_s", "/s", "bad" if rates["errors_per_s"] else ""),
        ("p50", "p50_ms", " ms", ""),
        ("p95", "p95_ms", " ms", ""),
        ("first token", "ttft_p50_ms", " ms", ""),
    )
    room = max(0, width - 26)
    lines = [title]
    for label, name, unit, style in figures:
        history = rates["history"][name]
        value = "–" if rates[name] is None else f"{rates[name]:g}{unit}"
        lines.append([Span(f"{label:<12}", "dim"), Span(f"{value:>12}  "), Span(sparkline(history[-room:]), style)])
    return lines


def _pools(picture: Document) -> Section:
    members = {member["model"]: member for member in picture["members"]}
    rows: list[Line] = []
    for pool in picture["pools"]:
        waiting = f", {pool['waiting']} waiting" if pool["waiting"] else ""
        rows.append([Span(_plain(pool["name"])), Span(f"  {pool['strategy']}{waiting}", "dim")])
        for line in pool["members"]:
            note = "excluded" if line["excluded"] else f"weight {line['weight']}, {line['picks']} picks"
            rows.append(_member(members[line["model"]], line["cell"], line["availability"], note))
    pooled = {line["model"] for pool in picture["pools"] for line in pool["members"]}
    alone = [member for member in picture["members"] if member["model"] not in pooled]
    if alone:
        rows.append([Span("in no pool", "dim")])
        rows += [_member(member, member["cell"], member["availability"], "") for member in alone]
    return Section("Pools", rows)


def _member(member: Document, cell: Document | None, availability: str, note: str) -> Line:
    sign, style = _CELLS[cell["state"]] if cell is not None else ("✕", "bad")
    said = availability
    if cell is not None and cell["cooldown_remaining_s"]:
        said = f"{said} {cell['cooldown_remaining_s']} s"
    if cell is not None and availability not in ("available", "breaker_open", "probe_in_flight"):
        style = "warn"
    faults = ", ".join(f"{_plain(fault['kind'])} {fault['remaining_s']} s" for fault in member["faults"])
    return [
        Span(f"  {sign} ", style),
        Span(f"{_plain(member['model']):<20.20} "),
        Span(f"{said:<20.20} ", style),
        Span(f"{bar(member['busy'], member['slots'])} {member['busy']:>4}/{member['slots']:<5}"),
        Span(f"ok {member['ok']}  err {member['err']}  "),
        Span(note, "dim"),
        *([Span(f"  fault: {faults}", "bad")] if faults else []),
    ]


def _keys(picture: Document) -> Section:
    governance = picture["governance"]
    if governance is None:
        return Section("Keys", [])
    if not governance["ready"]:
        return Section("Keys", [[Span("  the governance database has not been read yet", "warn")]])
    return Section("Keys", [_key(key) for key in governance["keys"]])


def _key(key: Document) -> Line:
    limit = key["limit_cents"]
    spent = f"{key['spent_cents'] / 100:.4f}" + ("" if limit is None else f" of {limit / 100:.2f}") + " $"
    reserved = f" (+{key['reserved_cents'] / 100:.4f})" if key["reserved_cents"] else ""
    tight = limit is not None and key["spent_cents"] + key["reserved_cents"] >= 0.9 * limit
    rates = [
        f"{name} {key[f'{name}_used']}/{key[f'{name}_limit']}"
        for name in ("rpm", "tpm")
        if key[f"{name}_limit"] is not None
    ]
    return [
        Span(f"  {_plain(key['name']):<20.20} "),
        Span(f"{spent + reserved:<30} ", "warn" if tight else ""),
        Span(f"{key['period']:<8} ", "dim"),
        Span("  ".join(rates)),
        *([] if key["enabled"] else [Span("  disabled", "dim")]),
    ]


def _actors(picture: Document) -> Section:
    depths: dict[str, int] = {}
    rows: list[Line] = []
    for actor in picture["actors"]:
        depth = depths[actor["name"]] = depths[actor["parent"]] + 1 if actor["parent"] in depths else 0
        name = f"{'  ' * depth}{_plain(actor['name'])}"
        rows.append(
            [
                Span(f"  {name:<30.30} ", "" if actor["alive"] else "bad"),
                Span(f"mailbox {actor['mailbox']:<6}", "warn" if actor["mailbox"] else ""),
                Span(f"processed {actor['processed']:<9}"),
                *([Span(f"restarts {actor['restarts']}  ", "warn")] if actor["restarts"] else []),
                *([Span(f"dropped {actor['dropped']}  ", "bad")] if actor["dropped"] else []),
                *([] if actor["alive"] else [Span("dead", "bad")]),
            ]
        )
    return Section("Actors", rows)


def _requests(picture: Document) -> Section:
    return Section("Requests", [_request(request) for request in picture["requests"]])


def _request(request: Document) -> Line:
    way = _plain(request["pool"]) + (f" → {_plain(request['member'])}" if request["member"] else "")
    failovers = f"  {request['failovers']} failed over" if request["failovers"] else ""
    styles = {"ok": "good", "client_error": "warn", "cancelled": "dim"}
    return [
        Span(f"  {time.strftime('%H:%M:%S', time.localtime(request['time']))} ", "dim"),
        Span(f"{request['status']} {request['outcome']:<13}", styles.get(request["outcome"], "bad")),
        Span(f"{request['latency_ms']:>9.1f} ms  "),
        Span(f"{request['ingress_protocol']:<10} {way}"),
        Span(failovers, "warn"),
    ]


# --- lines


def _fitting(rows: Sequence[Line], room: int) -> list[Line]:
    if len(rows) <= room:
        return [*rows]
    kept = max(0, room - 1)
    return [*rows[:kept], [Span(f"  … {len(rows) - kept} more", "dim")]]


def _cut(line: Line, width: int) -> Line:
    cut: Line = []
    for span in line:
        cut.append(Span(span.text[:width], span.style))
        width -= len(cut[-1].text)
    return cut


def _plain(words: object) -> str:
    """Names are others' words: none of them may steer the terminal."""
    return "".join(char if char.isprintable() else "?" for char in str(words))


def _painted(span: Span) -> str:
    code = _STYLES[span.style]
    return f"\x1b[{code}m{span.text}\x1b[0m" if code and span.text else span.text
