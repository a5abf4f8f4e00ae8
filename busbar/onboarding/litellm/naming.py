"""Names that nobody has yet."""

from __future__ import annotations

from collections.abc import Iterable


class Names:
    """Gives each name once: the wanted one, else the same with the next number behind it."""

    def __init__(self, taken: Iterable[str] = (), *, between: str = "-", chars_max: int = 200) -> None:
        self._taken = set(taken)
        self._next: dict[str, int] = {}
        self._between = between
        self._chars_max = chars_max

    def __contains__(self, name: str) -> bool:
        return name in self._taken

    def give(self, wanted: str) -> str:
        """`wanted`, or `wanted-2`, or `wanted-3`, …"""
        wanted = wanted[: self._chars_max]
        name = wanted
        while name in self._taken:
            number = self._next[wanted] = self._next.get(wanted, 1) + 1
            ending = f"{self._between}{number}"
            name = wanted[: self._chars_max - len(ending)] + ending
        self._taken.add(name)
        return name
