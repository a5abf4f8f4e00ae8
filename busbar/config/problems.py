"""What is wrong with a configuration: every problem, each with its place, in one report."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from difflib import get_close_matches

from msgspec import Struct

KeyPath = tuple[str | int, ...]
"""The way from the top of the document to a value: keys, and positions in lists."""

_PLAIN_KEY = re.compile(r"[A-Za-z0-9_-]{1,80}\Z")
_SHOWN_CHARACTERS_MAX = 80


class Problem(Struct, frozen=True, order=True):
    """One thing to correct. `line` counts from 1; 0 means the file as a whole."""

    file: str
    line: int
    path: str
    message: str

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}" if self.line else self.file
        return f"{place}: {self.path}: {self.message}" if self.path else f"{place}: {self.message}"


class ConfigErrors(Exception):
    """The configuration cannot be used. `problems` holds all of it, sorted by file and line."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = sorted(problems)
        super().__init__("\n".join(map(str, self.problems)))


class Report:
    """Collects problems while a configuration is read, so that one run shows them all."""

    def __init__(self) -> None:
        self.problems: list[Problem] = []

    def add(self, file: str, line: int, path: KeyPath, message: str) -> None:
        problem = Problem(file, line, spell(path), message)
        if problem not in self.problems:
            self.problems.append(problem)

    def raise_if_any(self) -> None:
        """Raises ConfigErrors when there is something to correct."""
        if self.problems:
            raise ConfigErrors(self.problems)


def spell(path: KeyPath) -> str:
    """`("pools", "smart", "members", 0)` as `pools.smart.members[0]`; odd names as `models["gpt-4.1"]`."""
    spelled = ""
    for step in path:
        if isinstance(step, int):
            spelled += f"[{step}]"
        elif _PLAIN_KEY.match(step):
            spelled += f".{step}" if spelled else step
        else:
            spelled += f"[{_quoted(step)}]"
    return spelled


def shown(word: str) -> str:
    """A name as an error text shows it: in backticks, on one line, bounded."""
    if len(word) > _SHOWN_CHARACTERS_MAX or not word.isprintable():
        return _quoted(word)
    return f"`{word}`"


def closest(word: str, known: Sequence[str]) -> str | None:
    """The known word that `word` was probably meant to be."""
    matches = get_close_matches(word[:_SHOWN_CHARACTERS_MAX], known, n=1)
    return matches[0] if matches else None


def did_you_mean(word: str, known: Sequence[str]) -> str:
    """`, did you mean `x`?`, or nothing when no known word is near."""
    match = closest(word, known)
    return f", did you mean {shown(match)}?" if match is not None else ""


def _quoted(word: str) -> str:
    cut = word if len(word) <= _SHOWN_CHARACTERS_MAX else word[:_SHOWN_CHARACTERS_MAX] + "…"
    return json.dumps(cut, ensure_ascii=not cut.isprintable())
