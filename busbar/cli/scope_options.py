"""What keys and groups have, as options: each is named for its field in the API, and absent when it was not given."""

from __future__ import annotations

import argparse
import re
import time
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

_UNITS_SECS = {"m": 60, "h": 3600, "d": 86_400, "w": 7 * 86_400}
_NONE = ("none", "never", "null")


def add_limits(command: argparse.ArgumentParser, *, required_name: bool) -> None:
    command.add_argument("--name", required=required_name, default=argparse.SUPPRESS, help="for people to know it by")
    budget = command.add_mutually_exclusive_group()
    _field(
        budget, "--budget", "max_budget_cents", dollars, "'$5.00'", "what may be spent; none: as much as one likes"
    )
    _field(budget, "--budget-cents", "max_budget_cents", count, "N", "the same in cents")
    command.add_argument(
        "--period",
        dest="budget_period",
        default=argparse.SUPPRESS,
        choices=("total", "daily", "monthly"),
        help="how often the budget is there anew, in days and months of UTC",
    )
    _field(command, "--rpm", "rpm_limit", count, "N", "requests in any 60 seconds; none: no limit")
    _field(command, "--tpm", "tpm_limit", count, "N", "tokens in any 60 seconds; none: no limit")


def add_key_fields(command: argparse.ArgumentParser) -> None:
    _field(command, "--group", "group", name_or_none, "ID", "the group whose budget and limits hold as well; none")
    pools = command.add_mutually_exclusive_group()
    kept: dict[str, Any] = {"dest": "allowed_pools", "default": argparse.SUPPRESS}
    pools.add_argument(
        "--pool", **kept, metavar="NAME", action="append", help="a pool or model it may use; repeatable"
    )
    pools.add_argument("--all-pools", **kept, action="store_const", const=None, help="it may use all of them")
    pools.add_argument("--no-pools", **kept, action="store_const", const=[], help="it may use none of them")
    _field(command, "--expires", "expires_at", moment, "WHEN", "2026-12-31, 30d, Unix seconds; or never")


def add_group_fields(command: argparse.ArgumentParser) -> None:
    _field(command, "--parent", "parent", name_or_none, "ID", "the group above; none")


def given(arguments: argparse.Namespace, fields: Iterable[str]) -> dict[str, Any]:
    """The fields that were given, as the API wants them."""
    told = vars(arguments)
    return {field: told[field] for field in fields if field in told}


def _field(command: Any, option: str, field: str, reader: Any, metavar: str, text: str) -> None:
    command.add_argument(option, dest=field, type=reader, default=argparse.SUPPRESS, metavar=metavar, help=text)


# --- values, of which `none` takes one away


def name_or_none(text: str) -> str | None:
    return None if text in _NONE else text


def count(text: str) -> int | None:
    if text in _NONE:
        return None
    if not re.fullmatch(r"[0-9]{1,15}", text):
        raise argparse.ArgumentTypeError(f"expected a number or none, not {text!r}")
    return int(text)


def dollars(text: str) -> int | None:
    """`$5`, `5.00` → 500 cents."""
    if text in _NONE:
        return None
    amount = re.fullmatch(r"\$?([0-9]{1,10}(?:\.[0-9]{1,2})?)", text)
    if amount is None:
        raise argparse.ArgumentTypeError(f"expected dollars like $5.00 or none, not {text!r}")
    return int(Decimal(amount[1]) * 100)


def moment(text: str) -> int | None:
    """Unix seconds. Without a zone it is UTC; a day is its beginning."""
    if text in _NONE:
        return None
    if re.fullmatch(r"[0-9]{9,12}", text):
        return int(text)
    ahead = _span(text)
    if ahead is not None:
        return int(time.time()) + ahead
    try:
        when = datetime.fromisoformat(text)
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"expected a time like 2026-12-31, 2026-12-31T18:00+02:00, 30d, Unix seconds, or never, not {text!r}"
        ) from None
    return int((when if when.tzinfo is not None else when.replace(tzinfo=UTC)).timestamp())


def day(text: str) -> str:
    """`2026-01-31` as it is; `30d`: the day before so many."""
    behind = _span(text)
    if behind is not None:
        return (datetime.now(UTC) - timedelta(seconds=behind)).date().isoformat()
    return text


def _span(text: str) -> int | None:
    """Seconds: `90m`, `12h`, `30d`, `2w`."""
    span = re.fullmatch(r"([0-9]{1,5})([mhdw])", text)
    return None if span is None else int(span[1]) * _UNITS_SECS[span[2]]
