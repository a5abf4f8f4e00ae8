"""How much answer a request asks for, without reading the request: one or two fields of its top level say it."""

from __future__ import annotations

import typing
from collections.abc import Callable, Iterable
from typing import Any

from msgspec import Struct

COUNT_MAX = 10**9
"""More is the same: no model answers with so much."""


_DIGITS_MAX = 100


class Asked(Struct, frozen=True, kw_only=True):
    """What is not said, or of a wrong type, is None or 1: whoever gets the request will say what is wrong."""

    max_output_tokens: int | None = None
    """Of each choice; 0 or more."""
    choices: int = 1
    """Answers to the one prompt; 1 or more."""


class TopFields(typing.Protocol):
    """A JSON object of which single fields can be read: `body.Body`."""

    def field(self, name: str) -> Any:
        """None when there is no such field. Raises `InvalidRequest`."""
        ...


def asked_at_top(max_tokens: tuple[str, ...], choices: str | None = None) -> Callable[[TopFields], Asked]:
    """Reads requests that say both at their top level. Where `max_tokens` has several names, the largest value
    counts: which of them a provider obeys is not known here."""

    def asked(body: TopFields) -> Asked:
        return Asked(
            max_output_tokens=_largest(map(body.field, max_tokens)),
            choices=1 if choices is None else _choices(_count(body.field(choices))),
        )

    return asked


def asked_inside(
    places: tuple[str, ...], max_tokens: tuple[str, ...], choices: tuple[str, ...] = ()
) -> Callable[[TopFields], Asked]:
    """Reads requests that say both inside of an object at the top level. Each tuple is one field's spellings."""

    def asked(body: TopFields) -> Asked:
        configs = [config for place in places if isinstance(config := body.field(place), dict)]
        return Asked(
            max_output_tokens=_largest(config.get(name) for config in configs for name in max_tokens),
            choices=_choices(_largest(config.get(name) for config in configs for name in choices)),
        )

    return asked


def _largest(values: Iterable[Any]) -> int | None:
    return max((count for value in values if (count := _count(value)) is not None), default=None)


def _count(value: Any) -> int | None:
    """A float without fraction counts, as JSON has only numbers; and digits in a string, as in the JSON of protobufs,
    and to providers that are not strict."""
    if isinstance(value, str) and len(value) <= _DIGITS_MAX and value.isascii() and value.isdigit():
        value = int(value)
    if type(value) not in (int, float) or not value >= 0 or value != value // 1:
        return None
    return int(min(value, COUNT_MAX))


def _choices(count: int | None) -> int:
    return max(count or 1, 1)
