"""Rows and values: how each is made of the other. Columns have the names of the fields."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final, TypeVar

import msgspec

from busbar.actors.governance.batch import RateCount, RateKey, StoreUnusable, Tokens, UsageKey
from busbar.actors.governance.scopes import Group, Scope, VirtualKey

SUM_MAX: Final = 2**63 - 1
"""Sums stop here: SQLite would go on in floating point, which is inexact."""

ScopeType = TypeVar("ScopeType", bound=Scope)
Row = tuple[Any, ...]


def _names(columns: Iterable[str]) -> str:
    return ", ".join(f'"{column}"' for column in columns)


def _insert(table: str, columns: Sequence[str]) -> str:
    return f"INSERT INTO {table} ({_names(columns)}) VALUES ({', '.join('?' * len(columns))})"  # noqa: S608  # ours


def _put(table: str, columns: Sequence[str]) -> str:
    """Write a row by its id, over an older one and over its tombstone."""
    changes = ", ".join(f'"{column}" = excluded."{column}"' for column in columns if column != "id")
    return f"{_insert(table, columns)} ON CONFLICT (id) DO UPDATE SET {changes}, deleted_at = NULL"


def _add(table: str, key: Sequence[str], sums: Sequence[str]) -> str:
    added = ", ".join(f"{each} = min({each}, {SUM_MAX} - excluded.{each}) + excluded.{each}" for each in sums)
    return f"{_insert(table, (*key, *sums))} ON CONFLICT ({_names(key)}) DO UPDATE SET {added}"


def _select(table: str, columns: Sequence[str], rest: str) -> str:
    return f"SELECT {_names(columns)} FROM {table} {rest}"  # noqa: S608  # all of it is ours


_KEY: Final = VirtualKey.__struct_fields__
_GROUP: Final = Group.__struct_fields__
_USAGE: Final = (*UsageKey._fields, *Tokens.__struct_fields__)
_RATE: Final = (*RateKey._fields, *RateCount.__struct_fields__)
_NOW: Final = "CAST(strftime('%s', 'now') AS INTEGER)"
_DELETED: Final = (
    "SELECT id FROM virtual_keys WHERE deleted_at IS NOT NULL UNION ALL SELECT id FROM groups"
    " WHERE deleted_at IS NOT NULL"
)

READ_META: Final = "SELECT store_id, last_number FROM meta"
SET_LAST_NUMBER: Final = "UPDATE meta SET last_number = ?"

PUT_KEY: Final = _put("virtual_keys", _KEY)
PUT_GROUP: Final = _put("groups", _GROUP)
DELETE_KEY: Final = (
    "INSERT INTO virtual_keys (id, name, budget_period, created_at, enabled, deleted_at)"  # noqa: S608  # ours
    f" VALUES (?, '', 'total', {_NOW}, 0, {_NOW}) ON CONFLICT (id)"
    " DO UPDATE SET deleted_at = excluded.deleted_at, secret_hash = NULL, aws_access_key_id = NULL"
)
DELETE_GROUP: Final = (
    "INSERT INTO groups (id, name, budget_period, created_at, deleted_at)"  # noqa: S608  # ours
    f" VALUES (?, '', 'total', {_NOW}, {_NOW}) ON CONFLICT (id) DO UPDATE SET deleted_at = excluded.deleted_at"
)
ADD_USAGE: Final = _add("usage", UsageKey._fields, Tokens.__struct_fields__)
ADD_RATE: Final = _add("rates", RateKey._fields, RateCount.__struct_fields__)
FORGET_RATES: Final = "DELETE FROM rates WHERE second NOT BETWEEN ? AND ?"

READ_KEYS: Final = _select("virtual_keys", _KEY, "WHERE deleted_at IS NULL ORDER BY id")
READ_GROUPS: Final = _select("groups", _GROUP, "WHERE deleted_at IS NULL ORDER BY id")
READ_SPENT: Final = _select("usage", _USAGE, f"WHERE scope NOT IN ({_DELETED})")
READ_USAGE: Final = _select(
    "usage", _USAGE, "WHERE scope = ? AND day >= ? ORDER BY day, model, context_tier, estimated"
)
READ_RATES: Final = _select("rates", _RATE, "")


def key_row(key: VirtualKey) -> Row:
    pools = key.allowed_pools
    values = msgspec.structs.asdict(key)
    values["allowed_pools"] = None if pools is None else msgspec.json.encode(pools).decode()
    return tuple(values.values())


def key_value(row: Row) -> VirtualKey:
    """Raises StoreUnusable: the row is none that we wrote."""
    values = dict(zip(_KEY, row, strict=True))
    pools = values["allowed_pools"]
    values["allowed_pools"] = None if pools is None else _json(values["id"], pools)
    values["enabled"] = values["enabled"] != 0
    return _scope(VirtualKey, values)


def group_row(group: Group) -> Row:
    return msgspec.structs.astuple(group)


def group_value(row: Row) -> Group:
    """Raises StoreUnusable: the row is none that we wrote."""
    return _scope(Group, dict(zip(_GROUP, row, strict=True)))


def usage_row(sum_of: tuple[UsageKey, Tokens]) -> Row:
    key, tokens = sum_of
    return (*key, *msgspec.structs.astuple(tokens))


def usage_value(row: Row) -> tuple[UsageKey, Tokens]:
    scope, day, model, context_tier, estimated, requests, fresh, output, read, write, write_1h, reasoning = row
    tokens = Tokens(
        requests=requests,
        input=fresh,
        output=output,
        cache_read=read,
        cache_write=write,
        cache_write_1h=write_1h,
        reasoning=reasoning,
    )
    return UsageKey(scope, day, model, context_tier, estimated != 0), tokens


def rate_row(count_of: tuple[RateKey, RateCount]) -> Row:
    key, count = count_of
    return (*key, count.requests, count.tokens)


def rate_value(row: Row) -> tuple[RateKey, RateCount]:
    scope, second, requests, tokens = row
    return RateKey(scope, second), RateCount(requests, tokens)


def _scope(kind: type[ScopeType], values: dict[str, Any]) -> ScopeType:
    try:
        return msgspec.convert(values, kind, builtin_types=(bytes,))
    except msgspec.ValidationError as error:
        raise StoreUnusable(f"{values['id']} in the database cannot be read: {error}") from error


def _json(scope_id: str, text: str) -> Any:
    try:
        return msgspec.json.decode(text)
    except msgspec.DecodeError as error:
        raise StoreUnusable(f"{scope_id} in the database cannot be read: {error}") from error
