"""What operators may say about keys and groups: strict shapes for bodies and queries, and what is wrong with them."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from datetime import date
from typing import Annotated, Any, TypeVar

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType

from busbar.actors.governance.scopes import BudgetPeriod
from busbar.config.problems import did_you_mean, shown

T = TypeVar("T")

PAGE_MAX = 1000
PAGE_DEFAULT = 100

LATEST_UNIX_SECS = 253_402_300_799
"""The last second of the year 9999."""

Name = Annotated[str, Meta(min_length=1, max_length=200)]
Id = Annotated[str, Meta(max_length=64)]
Cents = Annotated[int, Meta(ge=0, le=10**12)]
PerMinute = Annotated[int, Meta(ge=1, le=10**9)]
UnixSecs = Annotated[int, Meta(ge=0, le=LATEST_UNIX_SECS)]
PoolNames = Annotated[tuple[Annotated[str, Meta(max_length=1000)], ...], Meta(max_length=1000)]

_NO_LIMIT = "null is no limit; to let nothing through, disable the key or give it a budget of 0"
_HINTS = {
    "budget_period": "total, daily or monthly",
    "expires_at": "Unix seconds, or null: never",
    "rpm_limit": _NO_LIMIT,
    "tpm_limit": _NO_LIMIT,
}

_TEXT_MAX = 500


class Refusal(Exception):
    """It cannot be done. The text is for the operator; `allow` are the methods that could be used."""

    def __init__(self, status: int, text: str, allow: tuple[str, ...] = ()) -> None:
        super().__init__(text[:_TEXT_MAX])
        self.status = status
        self.allow = allow


class NewScope(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What keys and groups have in common. A limit of null is none; 0 requests or tokens a minute are refused, as
    that is more clearly said by `enabled: false`."""

    name: Name
    max_budget_cents: Cents | None = None
    budget_period: BudgetPeriod = "total"
    rpm_limit: PerMinute | None = None
    tpm_limit: PerMinute | None = None


class NewKey(NewScope, frozen=True, kw_only=True, forbid_unknown_fields=True):
    group: Id | None = None
    allowed_pools: PoolNames | None = None
    enabled: bool = True
    expires_at: UnixSecs | None = None
    issue_aws_credential: bool = False


class NewGroup(NewScope, frozen=True, kw_only=True, forbid_unknown_fields=True):
    parent: Id | None = None


class ScopePatch(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Only what is given changes; null takes a limit away."""

    name: Name | UnsetType = UNSET
    max_budget_cents: Cents | UnsetType | None = UNSET
    budget_period: BudgetPeriod | UnsetType = UNSET
    rpm_limit: PerMinute | UnsetType | None = UNSET
    tpm_limit: PerMinute | UnsetType | None = UNSET

    def changes(self) -> dict[str, Any]:
        """By field."""
        given = ((field, getattr(self, field)) for field in self.__struct_fields__)
        return {field: value for field, value in given if value is not UNSET}


class KeyPatch(ScopePatch, frozen=True, kw_only=True, forbid_unknown_fields=True):
    group: Id | UnsetType | None = UNSET
    allowed_pools: PoolNames | UnsetType | None = UNSET
    enabled: bool | UnsetType = UNSET
    expires_at: UnixSecs | UnsetType | None = UNSET


class GroupPatch(ScopePatch, frozen=True, kw_only=True, forbid_unknown_fields=True):
    parent: Id | UnsetType | None = UNSET


class Rotation(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`issue_aws_credential` None: a new pair for a key that has one; False takes the pair away."""

    issue_aws_credential: bool | None = None


def decoded(body: bytes, shape: type[T]) -> T:
    """Raises `Refusal` with 400, which names the field."""
    try:
        return msgspec.json.decode(body, type=shape)
    except msgspec.ValidationError as error:
        raise Refusal(400, _complaint(str(error), shape)) from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Refusal(400, f"The body is not JSON: {error}") from None


def check_name(name: str | UnsetType) -> None:
    """Names are shown on terminals and in error texts. Raises `Refusal`."""
    if name is not UNSET and not (name.isprintable() and name.strip()):
        raise Refusal(400, "name: only printable characters, of which one is not a space.")


def check_pools(pools: Collection[str] | UnsetType | None, known: Collection[str] | None) -> None:
    """A name that means nothing would quietly allow nothing. Raises `Refusal`; `known` None: it cannot be told."""
    if pools is UNSET or pools is None or known is None:
        return
    for pool in pools:
        if pool not in known:
            raise Refusal(
                400, f"allowed_pools: no pool or model is called {shown(pool)}{did_you_mean(pool, list(known))}"
            )


def read_query(query: Mapping[str, str], known: Collection[str]) -> Mapping[str, str]:
    """Raises `Refusal` for a parameter that is not known: ignored, it would seem to have been obeyed."""
    for name in query:
        if name not in known:
            raise Refusal(400, f"There is no parameter {shown(name)} here{did_you_mean(name, list(known))}")
    return query


def page_size(query: Mapping[str, str]) -> int:
    """Raises `Refusal`."""
    text = query.get("limit", str(PAGE_DEFAULT))
    if not re.fullmatch(r"[0-9]{1,4}", text) or not 1 <= int(text) <= PAGE_MAX:
        raise Refusal(400, f"limit: a number from 1 to {PAGE_MAX}.")
    return int(text)


def since_day(query: Mapping[str, str]) -> int:
    """UTC days since 1970 began; 0 when nothing is said. Raises `Refusal`."""
    text = query.get("since")
    if text is None:
        return 0
    try:
        if not re.fullmatch(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", text):
            raise ValueError
        day = date.fromisoformat(text)
    except ValueError:
        raise Refusal(400, "since: a day of UTC, as in 2026-01-31.") from None
    return max(0, (day - date(1970, 1, 1)).days)


def day_text(day: int) -> str:
    """`2026-01-31`"""
    return date.fromordinal(date(1970, 1, 1).toordinal() + day).isoformat()


def _complaint(text: str, shape: type) -> str:
    """msgspec's, with the field in front and what would be right behind."""
    unknown = re.fullmatch(r"Object contains unknown field `(.*)`", text, re.DOTALL)
    if unknown is not None:
        fields = shape.__struct_fields__ if issubclass(shape, Struct) else ()
        return f"There is no field {shown(unknown[1])}{did_you_mean(unknown[1], fields)}"
    placed = re.fullmatch(r"(.*) - at `\$\.?(.*)`", text, re.DOTALL)
    if placed is None:
        return f"The body: {text}"
    hint = _HINTS.get(placed[2])
    return f"{placed[2]}: {placed[1][:200]}" + ("" if hint is None else f" ({hint})")
