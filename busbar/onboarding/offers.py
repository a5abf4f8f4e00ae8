"""What the catalog offers, as somebody who chooses sees it."""

from __future__ import annotations

import re
from collections.abc import Mapping as Environment
from typing import TypeAlias

from msgspec import Struct

from busbar.config.catalog import catalog_entries
from busbar.config.problems import Report
from busbar.config.providers import DEFAULT_AUTH
from busbar.config.source import Mapping, Node, Scalar, Sequence, parse
from busbar.onboarding.yaml_text import Value

Entry: TypeAlias = dict[str, Value]
"""An entry of the catalog as it stands there."""

_BRACES = re.compile(r"\{([A-Za-z0-9_]{1,64})\}")
_PATHS = ("base_url", "path", "stream_path", "count_path")


class Offer(Struct, frozen=True, kw_only=True):
    """One provider of the catalog."""

    name: str
    title: str
    protocol: str
    key_env: str | None
    """The variable that conventionally holds the key; None: it needs none, or an identity."""
    auth: str
    base_url: str
    variables: tuple[str, ...]
    """What stands in braces in its address."""
    asks: tuple[str, ...]
    """Those of them that are the operator's to say."""

    def has_key(self, env: Environment[str, str]) -> bool:
        """Whether the key's variable is set. Its value is of no interest here."""
        return self.key_env is not None and bool(env.get(self.key_env))


def read_catalog(text: str, file: str) -> dict[str, Entry]:
    """The catalog's entries by name. Raises `ConfigErrors`."""
    report = Report()
    document = parse(text, file, report)
    entries = None if document is None else catalog_entries(document, report)
    report.raise_if_any()
    assert entries is not None, "else it was reported"
    return {name: value for name, node in entries.items.items() if isinstance(value := plain(node), dict)}


def offers(catalog: dict[str, Entry]) -> dict[str, Offer]:
    """By name, in the catalog's order."""
    return {name: _offer(name, entry) for name, entry in catalog.items()}


def _offer(name: str, entry: Entry) -> Offer:
    protocol = str(entry.get("protocol", ""))
    auth = str(entry.get("auth") or DEFAULT_AUTH.get(protocol, "bearer"))
    given = entry.get("variables")
    known = set(given) if isinstance(given, dict) else set()
    wanted = dict.fromkeys(word for key in _PATHS for word in _BRACES.findall(str(entry.get(key, ""))))
    wanted.pop("model", None)
    key_env = entry.get("api_key_env")
    return Offer(
        name=name,
        title=str(entry.get("display_name") or name),
        protocol=protocol,
        key_env=str(key_env) if key_env is not None and auth != "none" else None,
        auth=auth,
        base_url=str(entry.get("base_url", "")),
        variables=tuple(wanted),
        asks=tuple(word for word in wanted if word not in known),
    )


def plain(node: Node) -> Value:
    """A node of a file as plain values."""
    match node:
        case Mapping(items=items):
            return {key: plain(item) for key, item in items.items()}
        case Sequence(items=elements):
            return [plain(element) for element in elements]
        case Scalar():
            return node.value
        case _:
            raise AssertionError("there are three kinds of nodes")
