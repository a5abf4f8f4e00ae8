"""Keys, groups and their usage, as people read them."""

from __future__ import annotations

import re
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from busbar.actors.governance.periods import utc

Document = Mapping[str, Any]

_NANO = 10**9
_NUMBER = re.compile(r"\$?[0-9.]+|-")


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Columns as wide as they must be; those of which all is numbers to the right."""
    body = [list(row) for row in rows]
    lines = [list(head), *body]
    widths = [max(len(line[column]) for line in lines) for column in range(len(head))]
    right = [_numbers([row[column] for row in body]) for column in range(len(head))]
    return "\n".join(
        "  ".join(
            cell.rjust(width) if to_right else cell.ljust(width)
            for cell, width, to_right in zip(line, widths, right, strict=True)
        ).rstrip()
        for line in lines
    )


def _numbers(cells: Sequence[str]) -> bool:
    return any(cell != "-" for cell in cells) and all(_NUMBER.fullmatch(cell) for cell in cells)


def keys_table(keys: Iterable[Document]) -> str:
    head = ("ID", "NAME", "STATE", "GROUP", "BUDGET", "RPM", "TPM", "POOLS", "EXPIRES")
    return table(
        head,
        (
            (key["id"], key["name"], _state(key), key["group"] or "-", *_limits(key), _pools(key), _time(key))
            for key in keys
        ),
    )


def groups_table(groups: Iterable[Document]) -> str:
    head = ("ID", "NAME", "PARENT", "BUDGET", "RPM", "TPM")
    return table(head, ((group["id"], group["name"], group["parent"] or "-", *_limits(group)) for group in groups))


def details(document: Document) -> str:
    """One key or group, a field to a line."""
    shown = {
        **document,
        "max_budget_cents": None if document["max_budget_cents"] is None else _of_cents(document["max_budget_cents"]),
        "created_at": utc(document["created_at"]),
    }
    if "allowed_pools" in shown:
        shown["allowed_pools"], shown["expires_at"] = _pools(document), _time(document)
    shown = {name.removesuffix("_cents"): value for name, value in shown.items()}
    width = max(map(len, shown))
    return "\n".join(f"{name.ljust(width)}  {_plain(value)}" for name, value in shown.items())


def usage_text(usage: Document) -> str:
    lines = [
        f"{usage['id']}{' (deleted)' if usage.get('deleted') else ''}: {money(usage['spend_nanodollars'])},"
        f" {usage['requests']} requests ({usage['estimated_requests']} estimated), {usage['tokens']} tokens"
    ]
    budget, rate = usage.get("budget"), usage.get("rate")
    if budget is not None:
        resets = "never" if budget["resets_at"] is None else utc(budget["resets_at"])
        spent, limit, reserved = (_of_cents(budget[f"{part}_cents"]) for part in ("spent", "limit", "reserved"))
        lines.append(f"budget {budget['period']}: {spent} of {limit} spent, {reserved} reserved; resets {resets}")
    for unit in ("requests", "tokens"):
        counted = None if rate is None else rate[f"{unit}_last_minute"]
        if counted is not None:
            lines.append(f"{unit} in the last minute: {counted}")
    for part in ("model", "day"):
        if usage[f"{part}s"]:
            lines += ["", _parts(part, usage[f"{part}s"])]
    return "\n".join(lines)


def money(nanodollars: int) -> str:
    """All of it, with at least two decimals: `$0.0000125`."""
    whole, rest = divmod(nanodollars, _NANO)
    decimals = f"{rest:09d}".rstrip("0")
    return f"${whole}.{decimals.ljust(2, '0')}"


def _parts(part: str, rows: Iterable[Document]) -> str:
    head = (part.upper(), "SPEND", "REQUESTS", "INPUT", "OUTPUT", "CACHE READ", "CACHE WRITE", "REASONING")
    kinds = (
        "requests",
        "input_tokens",
        "output_tokens",
        "cache_read_tokens",
        "cache_write_tokens",
        "reasoning_tokens",
    )
    return table(
        head, ((row[part], money(row["spend_nanodollars"]), *(str(row[kind]) for kind in kinds)) for row in rows)
    )


def _limits(scope: Document) -> tuple[str, str, str]:
    return _budget(scope), _plain(scope["rpm_limit"]), _plain(scope["tpm_limit"])


def _budget(scope: Document) -> str:
    cents = scope["max_budget_cents"]
    return "-" if cents is None else f"{_of_cents(cents)} {scope['budget_period']}"


def _of_cents(cents: float) -> str:
    return money(round(cents * (_NANO // 100)))


def _state(key: Document) -> str:
    if not key["enabled"]:
        return "disabled"
    return "expired" if key["expires_at"] is not None and key["expires_at"] <= time.time() else "enabled"


def _pools(key: Document) -> str:
    pools = key["allowed_pools"]
    return "all" if pools is None else ", ".join(pools) or "none"


def _time(key: Document) -> str:
    return "never" if key["expires_at"] is None else utc(key["expires_at"])


def _plain(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "-" if value is None else str(value)
