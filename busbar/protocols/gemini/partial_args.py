"""A call's arguments that come in pieces, as Vertex AI sends them when asked to: each piece has a path and a value.

{"functionCall": {"name": "f", "willContinue": true}}
{"functionCall": {"partialArgs": [{"jsonPath": "$.a[0].b", "stringValue": "x", "willContinue": true}], …}}
{"functionCall": {"partialArgs": [{"jsonPath": "$.a[0].b", "stringValue": "yz"}]}}
"""

from __future__ import annotations

import re
from itertools import pairwise
from typing import Any

ITEMS_MAX = 10_000
"""Elements of one array that a path may name."""
DEPTH_MAX = 128

_STEP = re.compile(r"\.([A-Za-z_][\w-]*)|\[(\d{1,6})\]|\[(?:'([^']*)'|\"([^\"]*)\")\]")


class PartialArgs:
    """The arguments as far as they are known."""

    __slots__ = ("value",)

    def __init__(self) -> None:
        self.value: dict[str, Any] = {}

    def add(self, piece: Any) -> None:
        """Takes a piece; one whose path or value is not understood is skipped."""
        if not isinstance(piece, dict) or not isinstance(path := piece.get("jsonPath"), str):
            return
        steps = _steps(path)
        if not steps or len(steps) > DEPTH_MAX:
            return
        for kind in ("stringValue", "numberValue", "boolValue"):
            if kind in piece:
                self._put(steps, piece[kind])
                return
        if "nullValue" in piece:
            self._put(steps, None)

    def _put(self, steps: list[str | int], value: Any) -> None:
        holder: Any = self.value
        for step, following in pairwise(steps):
            empty: Any = [] if isinstance(following, int) else {}
            holder = _inner(holder, step, empty)
            if holder is None:
                return
        last = steps[-1]
        known = _inner(holder, last, None)
        if isinstance(known, str) and isinstance(value, str):
            value = known + value
        match holder, last:
            case list(), int() if last < len(holder):
                holder[last] = value
            case dict(), str():
                holder[last] = value


def _steps(path: str) -> list[str | int]:
    """`$.a[0].b` → a, 0, b; nothing for a path that is written otherwise."""
    at, steps = 1, []
    while at < len(path):
        found = _STEP.match(path, at)
        if found is None:
            return []
        name, index, single, double = found.groups()
        steps.append(int(index) if index is not None else name or single or double or "")
        at = found.end()
    return steps if path.startswith("$") else []


def _inner(holder: Any, step: str | int, empty: Any) -> Any:
    """What is at `step`; made `empty` where there is nothing yet."""
    if isinstance(step, int):
        if not isinstance(holder, list) or step >= ITEMS_MAX:
            return None
        while len(holder) <= step:
            holder.append(None)
        if holder[step] is None:
            holder[step] = empty
        return holder[step]
    if not isinstance(holder, dict):
        return None
    return holder.setdefault(step, empty)
