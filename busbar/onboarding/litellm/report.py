"""What there is to say about an import. Nothing in it quotes a value that could be a secret."""

from __future__ import annotations

import enum
from collections.abc import Iterable

from msgspec import Struct


class Kind(enum.Enum):
    """In the order in which they are told."""

    TO_DO = "To do before it serves"
    CHANGED = "Works differently here"
    LEFT_OUT = "Has no counterpart, and was left out"
    SAME = "Needs no setting here"


class Finding(Struct, frozen=True):
    """One sentence about one key; `places` are where it stands in LiteLLM's file."""

    kind: Kind
    key: str
    advice: str
    places: tuple[str, ...] = ()


PLACES_SHOWN = 4


class Findings:
    """Collects, and tells the same about several places once."""

    def __init__(self) -> None:
        self._found: dict[tuple[Kind, str, str], dict[str, None]] = {}

    def to_do(self, key: str, advice: str, place: str = "") -> None:
        self.add(Kind.TO_DO, key, advice, place)

    def changed(self, key: str, advice: str, place: str = "") -> None:
        self.add(Kind.CHANGED, key, advice, place)

    def left_out(self, key: str, advice: str, place: str = "") -> None:
        self.add(Kind.LEFT_OUT, key, advice, place)

    def same(self, key: str, advice: str, place: str = "") -> None:
        self.add(Kind.SAME, key, advice, place)

    def add(self, kind: Kind, key: str, advice: str, place: str) -> None:
        places = self._found.setdefault((kind, key, advice), {})
        if place:
            places[place] = None

    def all(self) -> tuple[Finding, ...]:
        found = [Finding(kind, key, advice, tuple(places)) for (kind, key, advice), places in self._found.items()]
        order = list(Kind)
        return tuple(sorted(found, key=lambda finding: order.index(finding.kind)))


def text(findings: Iterable[Finding], summary: str) -> str:
    """The report as lines for people."""
    lines = [summary]
    findings = list(findings)
    for kind in Kind:
        told = [finding for finding in findings if finding.kind is kind]
        if told:
            lines += ["", f"{kind.value}:"]
        for finding in told:
            lines.append(f"  - {_one_line(finding.key)}{_places(finding)}: {_one_line(finding.advice)}")
    return "\n".join(lines) + "\n"


def _places(finding: Finding) -> str:
    if not finding.places:
        return ""
    shown = ", ".join(map(_one_line, finding.places[:PLACES_SHOWN]))
    more = len(finding.places) - PLACES_SHOWN
    return f" ({shown}{f' and {more} more' if more > 0 else ''})"


def _one_line(words: str) -> str:
    return "".join(character if character.isprintable() else "�" for character in words)
