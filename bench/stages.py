"""The stages of a request, as a sampled stack tells them: where in the gateway the innermost of its own frames is."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping

from bench.report import table

STAGES: Mapping[str, re.Pattern[str]] = {
    "who calls": re.compile(r"busbar/http/(auth|denials|admissions|spent|bill|estimate)\.py"),
    "route": re.compile(
        r"busbar/(plan|actors/journey|http/(routes|dispatch|destinations|lanes|bodies|screen|keys_in_turn|patience"
        r"|relay|travel|attempt|answering|call|permit|headers))"
    ),
    "pools and breakers": re.compile(
        r"busbar/actors/(pool|lines|member|breaker|selection|policies|waiting|two_stage|mem)"
    ),
    "lean upstream": re.compile(r"busbar/http/lean/"),
    "aiohttp upstream": re.compile(r"busbar/http/upstream_aiohttp\.py|aiohttp/(client|connector)"),
    "streams": re.compile(r"busbar/http/(stream_relay|streamed|recovery)\.py"),
    "dialects": re.compile(r"busbar/protocols/"),
    "metrics, traces, log": re.compile(
        r"busbar/(telemetry/|actors/(metrics|histogram|journal|request_log|tallies|telemetry|traces|audit)"
        r"|http/(record|reports|trac|live|metrics_page))"
    ),
    "actors' runtime": re.compile(r"busbar/actors/"),
    "front": re.compile(r"busbar/http/"),
    "aiohttp in front": re.compile(r"aiohttp/"),
    "the rest of busbar": re.compile(r"busbar/"),
}
"""Of a frame the first that it is; what the interpreter's library does is its caller's."""
BETWEEN = "the loop"


def by_stage(stacks: Iterable[str]) -> Counter[str]:
    """How many samples fell into each. `stacks`: one line each, frames from the outside in, joined by `;`, and how
    often it was seen. Raises `ValueError` when a line is none."""
    seen: Counter[str] = Counter()
    for line in stacks:
        stack, _, count = line.rpartition(" ")
        seen[stage(stack.split(";"))] += int(count)
    return seen


def stage(frames: Iterable[str]) -> str:
    """That of the innermost frame which has one. `busbar/cli` and `busbar/gateway.py` are in every stack: they start
    the loop."""
    for frame in reversed(list(frames)):
        place = frame.rpartition("(")[2]
        if re.match(r"busbar/(cli/|__main__|gateway\.py|platforms)", place):
            return BETWEEN
        for name, pattern in STAGES.items():
            if pattern.search(place):
                return name
    return BETWEEN


def stage_lines(seen: Counter[str], whole_us: float) -> list[str]:
    """A Markdown table of the µs of each stage. `whole_us`: what all of them take."""
    total = max(1, seen.total())
    body = [
        [name, f"{whole_us * count / total:.1f}", f"{100 * count / total:.0f}"] for name, count in seen.most_common()
    ]
    return table(["stage", "µs", "%"], body)
