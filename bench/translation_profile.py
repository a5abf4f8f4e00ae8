"""Where the time of a translation goes: by stage and by function, sampled in this process.

A timer interrupts the interpreter; what it was doing is noted as a stack, in the form that py-spy writes. Unlike a
tracing profiler this adds nothing to each call, so that small functions do not look expensive. The interpreter is
interrupted between two of its own steps: a call of msgspec's is seen at the moment in which it returns, and stands in
the stack as a frame of its own.
"""

from __future__ import annotations

import linecache
import re
import signal
import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from itertools import islice
from types import CodeType, FrameType

from msgspec import Struct

from bench.contenders import ROOT
from bench.profile import summary
from bench.report import table
from bench.translation import EVENT_IN_PIECES, REPEAT_SECS, Pair, Work, loops_of, translated

SAMPLE_SECS = 2.0
"""CPU time for which one work is sampled."""
INTERVAL_SECS = 0.0005
SHOWN = 16
"""Functions."""

DECODE, ENCODE = "JSON decode", "JSON encode"
STAGES: Mapping[str, re.Pattern[str]] = {
    DECODE: re.compile(r"^msgspec decode$|^Body\.document "),
    ENCODE: re.compile(r"^msgspec encode$"),
    "split body": re.compile(r"\(busbar/protocols/body\.py"),
    "framing": re.compile(r"\(busbar/protocols/(framing/|\w+/stream_frames\.py)"),
    "continuity": re.compile(r"\(busbar/protocols/(continuity|seal)\.py"),
    "inspect": re.compile(r"^inspect_response "),
    "fit": re.compile(r"\(busbar/protocols/(fitting/|\w+/fit_\w+\.py|\w+/schema(_write)?\.py)"),
    "read": re.compile(r"^(read_request|read_response|\w+StreamReader\.\w+) "),
    "write": re.compile(
        r"^(write_response|\w+StreamWriter\.\w+) |^write_request \((?!busbar/protocols/translate\.py)"
    ),
}
"""What a frame says of the stage of everything that it calls; the innermost frame that says something counts. A
dialect's own schema module is asked by its writer, to bring schemas into the dialect's subset."""
BETWEEN = "between"
"""Stages' own callers: `translate.py`, `crossing.py`, and the loop that runs them."""

_MSGSPEC = re.compile(r"(?:msgspec\.json\.|_)(?:(de)|en)code(?:r\.(?:de|en)code)?\(", re.IGNORECASE)


class Profile(Struct, frozen=True, kw_only=True):
    """One work's stacks, as py-spy writes them (`bench.profile.summary`), and what it costs when nobody looks."""

    pair: Pair
    column: str
    best_us: float
    stacks: tuple[str, ...]


def profile_translation(pairs: Sequence[Pair], sample_secs: float = SAMPLE_SECS) -> list[Profile]:
    """Every work of every pair. Has to run in the main thread, where signals arrive."""
    profiles = []
    for pair in pairs:
        for work in translated(*pair):
            if work.column != EVENT_IN_PIECES:
                best_us = _best_us(work)
                stacks = tuple(sample(work, sample_secs))
                profiles.append(Profile(pair=pair, column=work.column, best_us=best_us, stacks=stacks))
    return profiles


def sample(work: Work, secs: float) -> list[str]:
    """Runs it for so much CPU time."""
    seen: Counter[str] = Counter()

    def look(_signal: int, frame: FrameType | None) -> None:
        if stack := _stack(frame):
            seen[stack] += 1

    run, loops = work.run, loops_of(work, 0.01)
    before = signal.signal(signal.SIGALRM, look)
    signal.setitimer(signal.ITIMER_REAL, INTERVAL_SECS, INTERVAL_SECS)
    try:
        until = time.process_time() + secs
        while time.process_time() < until:
            for _ in range(loops):
                run()
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    return [f"{stack} {times}" for stack, times in seen.items()]


def stages(stacks: Iterable[str]) -> dict[str, float]:
    """The share of each stage, from 0 to 1."""
    seen: Counter[str] = Counter()
    for line in stacks:
        stack, _, times = line.rpartition(" ")
        seen[_stage(stack.split(";"))] += int(times)
    total = max(1, seen.total())
    return {stage: seen[stage] / total for stage in (*STAGES, BETWEEN)}


def profile_report(profiles: Sequence[Profile]) -> str:
    """One table of stages, then the functions of each work."""
    body = []
    for each in profiles:
        shares = stages(each.stacks).values()
        cells = [_us(share * each.best_us) if share >= 0.005 else "–" for share in shares]
        body.append([_title(each), _us(each.best_us), *cells])
    lines = ["# Translation, stage by stage", "", "CPU µs: the best time, divided as samples fell.", ""]
    lines += table(["caller → provider", "whole", *STAGES, BETWEEN], body)
    for each in profiles:
        lines += ["", f"## {_title(each)}", "", "```", summary(each.stacks, SHOWN), "```"]
    return "\n".join(lines) + "\n"


def _title(each: Profile) -> str:
    return f"{each.pair[0]} → {each.pair[1]}, {each.column}"


def _us(value: float) -> str:
    return f"{value:.{0 if value >= 10 else 1 if value >= 1 else 2}f}"


def _best_us(work: Work) -> float:
    loops = loops_of(work, REPEAT_SECS)
    best_secs = float("inf")
    for _ in range(9):
        started = time.process_time()
        for _ in range(loops):
            work.run()
        best_secs = min(best_secs, time.process_time() - started)
    return best_secs / loops / work.units * 1e6


def _stage(frames: Sequence[str]) -> str:
    for frame in reversed(frames):
        for stage, pattern in STAGES.items():
            if pattern.search(frame):
                return stage
    return BETWEEN


def _stack(frame: FrameType | None) -> str:
    """From the outside in, without what runs the work; empty outside of the package."""
    names = [native] if frame is not None and (native := _native(frame.f_code, frame.f_lasti)) else []
    while frame is not None:
        path = frame.f_code.co_filename.removeprefix(f"{ROOT}/")
        if path.startswith("busbar/"):
            names.append(f"{frame.f_code.co_qualname.rpartition('<locals>.')[2]} ({path}:{frame.f_lineno or 0})")
        frame = frame.f_back
    return ";".join(reversed(names))


@lru_cache(maxsize=4096)
def _native(code: CodeType, at: int) -> str | None:
    """The call of msgspec's that has just returned, told by its place in the source."""
    place = next(islice(code.co_positions(), at // 2, None), None)
    if place is None or None in place or not code.co_filename.startswith(str(ROOT)):
        return None
    first, last, start, end = place
    if first is None or first != last:
        return None
    found = _MSGSPEC.match(linecache.getline(code.co_filename, first)[start:end])
    return None if found is None else f"msgspec {'decode' if found[1] else 'encode'}"
