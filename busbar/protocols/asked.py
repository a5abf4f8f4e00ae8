"""How much answer a request asks for, without reading the request: one or two fields of its top level say it."""

from __future__ import annotations

import typing
from collections.abc import Callable, Iterable
from typing import Any

from msgspec import Struct

_COUNT_MAX = 10**9
"""Whoever says more has said nothing: no model answers with so much."""


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
    """A float without fraction counts, as JSON has only numbers."""
    if type(value) is int:
        return value if 0 <= value <= _COUNT_MAX else None
    return int(value) if type(value) is float and 0 <= value <= _COUNT_MAX and value.is_integer() else None


def _choices(count: int | None) -> int:
    return max(count or 1, 1)
