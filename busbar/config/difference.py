"""What changed from one configuration to the next, and what of it wants a restart; and a configuration as it may be
shown."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, Literal
from urllib.parse import urlsplit

import msgspec
from msgspec import Struct

from busbar.config.schema import Config
from busbar.config.secret import MASK, Secret, encode_hook

RESTART_ONLY = (
    *("listen", "tls", "upstream_engine", "security", "observability", "workers", "workers_control"),
    *("governance.enabled", "governance.db_path", "governance.durability"),
    *("limits.upstream_connections_max", "limits.connect_timeout_secs"),
)
"""Keys whose parts are made once for the life of the process. (The files that `tls` names are read again by
themselves.)"""

_NOT_COMPARED = {"notes", "listen_host", "listen_port", "worker"}
_MAY_HOLD_A_TOKEN = {"request_log_webhook_url", "otlp_endpoint"}
"""URLs of which only the origin is shown."""

_FREE = {"body", "options", "variables"}
"""Tables of whatever the operator wants, from variables too: what is called like a secret is taken for one."""

_LIKE_A_SECRET = re.compile(r"(?i)key|token|secret|password|credential|auth")


class Change(Struct, frozen=True):
    """One key's. Values are as they may be shown: a secret that changed is `***` before and after."""

    path: str
    kind: Literal["added", "removed", "changed"]
    before: Any = None
    after: Any = None

    def __str__(self) -> str:
        if self.kind != "changed":
            return f"{self.path}: {self.kind}"
        return f"{self.path}: {_word(self.before)} → {_word(self.after)}"


def changes(before: Config, after: Config) -> tuple[Change, ...]:
    """In the order of the keys. An entry that is added or removed is one change, however much is in it."""
    return tuple(_differences("", _parts(before), _parts(after)))


def needs_restart(changed: tuple[Change, ...]) -> tuple[str, ...]:
    """The keys among them that a running gateway cannot take over."""
    return tuple(change.path for change in changed if _within(change.path))


def shown(config: Config) -> dict[str, Any]:
    """The whole configuration in effect, defaults included, without secrets: ready for JSON."""
    document: dict[str, Any] = {name: _shown(name, value) for name, value in _parts(config).items()}
    return document


def _within(path: str) -> bool:
    return any(path == key or path.startswith((f"{key}.", f"{key}[")) for key in RESTART_ONLY)


def _parts(config: Config) -> dict[str, Any]:
    host = f"[{config.listen_host}]" if ":" in config.listen_host else config.listen_host
    fields = {name: getattr(config, name) for name in config.__struct_fields__ if name not in _NOT_COMPARED}
    return {"listen": f"{host}:{config.listen_port}", **fields}


def _differences(path: str, before: Any, after: Any, table: str = "", name: str = "") -> Iterator[Change]:
    """Of what is called `name` in `table`."""
    if before == after:
        return
    mine, yours = _table(before), _table(after)
    if mine is None or yours is None:
        yield Change(path, "changed", _item(table, name, before), _item(table, name, after))
        return
    for key in dict.fromkeys((*mine, *yours)):
        below = f"{path}.{key}" if path else key
        if key not in yours:
            yield Change(below, "removed")
        elif key not in mine:
            yield Change(below, "added")
        else:
            yield from _differences(below, mine[key], yours[key], name, key)
    if isinstance(before, tuple) and isinstance(after, tuple) and mine.keys() == yours.keys() and [*mine] != [*yours]:
        yield Change(path, "changed", [*mine], [*yours])  # among equals the first goes first


def _table(value: Any) -> Mapping[str, Any] | None:
    """What is compared part by part: sections by key, a pool's members by their target."""
    match value:
        case Struct():
            return {name: getattr(value, name) for name in value.__struct_fields__ if name != "name"}
        case Mapping():
            return {str(key): item for key, item in value.items()}
        case (Struct(), *_) if all(hasattr(item, "target") for item in value):
            return {item.target: item for item in value}
        case _:
            return None


def _shown(name: str, value: Any) -> Any:
    if isinstance(value, str) and name in _MAY_HOLD_A_TOKEN:
        return _origin(value)
    if isinstance(value, str) and name == "token_url" and "?" in value:
        return value.partition("?")[0] + "?…"
    if name == "command" and isinstance(value, tuple):
        return [value[0], *(MASK for _ in value[1:])]  # arguments may hold more than they should
    if isinstance(value, Struct):
        return {field: _shown(field, getattr(value, field)) for field in value.__struct_fields__ if field != "name"}
    if isinstance(value, Mapping):
        return {str(key): _item(name, str(key), item) for key, item in value.items()}
    if isinstance(value, tuple | list):
        return [_shown(name, item) for item in value]
    return msgspec.to_builtins(value, enc_hook=encode_hook)


def _item(table: str, key: str, value: Any) -> Any:
    if table in _FREE and isinstance(value, str) and _LIKE_A_SECRET.search(key):
        return MASK
    return _shown(key, value)


def _origin(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}" + ("/…" if parts.path.strip("/") else "")


def _word(value: Any) -> str:
    if isinstance(value, str) and value and not isinstance(value, Secret):
        return value
    return msgspec.json.encode(value).decode()
