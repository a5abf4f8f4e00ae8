"""Provider entries: one for each pair of a key and an address, however many deployments share it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import TypeAlias
from urllib.parse import urlsplit

from busbar.config.catalog import MERGED_KEYS
from busbar.onboarding.litellm.naming import Names
from busbar.onboarding.litellm.params import variable_name
from busbar.onboarding.offers import Entry
from busbar.onboarding.yaml_text import Value, Variable, write

Overrides: TypeAlias = dict[str, Value]

_KEYS = ("api_key_env", "api_key")
_FIRST = ("protocol", "base_url", "path")
_FOR_PEOPLE = ("display_name", "docs")
_NAME = re.compile(r"[^A-Za-z0-9._-]+")


class Accounts:
    """Gives out entries' names, and keeps the entries."""

    def __init__(self, catalog: Mapping[str, Entry], callers_names: Iterable[str] = ()) -> None:
        """`callers_names` are what callers ask for: no account is called so, for a pool of its name could not be."""
        self.catalog = catalog
        self.entries: dict[str, Overrides] = {}
        """As they are to be written under `providers`."""
        self._reserved = set(callers_names)
        self._free = Names((*catalog, *self._reserved))
        self._names: dict[tuple[str, str], str] = {}

    def of_catalog(self, catalog: str, overrides: Overrides) -> str:
        """The name of the account at one of the catalog's providers. Further ones have the catalog's entry written
        out, under a name of their own."""
        key = (catalog, write(overrides))
        if key not in self._names:
            taken = catalog in self.entries or catalog in self._reserved
            name = self._free.give(catalog) if taken else catalog
            self.entries[name] = self._written_out(catalog, overrides) if taken else overrides
            self._names[key] = name
        return self._names[key]

    def of_its_own(self, hint: str, entry: Overrides) -> str:
        """The name of an account that the catalog knows nothing of."""
        key = ("", write(entry))
        if key not in self._names:
            name = self._free.give(_NAME.sub("-", hint).strip("-.")[:60] or "provider")
            self.entries[name] = entry
            self._names[key] = name
        return self._names[key]

    def _written_out(self, catalog: str, overrides: Overrides) -> Overrides:
        vetted = self.catalog[catalog]
        entry = {key: vetted[key] for key in (*_FIRST, *vetted) if key in vetted and key not in _FOR_PEOPLE}
        if any(key in overrides for key in (*_KEYS, "auth")) or entry.get("auth") == "none":
            entry = {key: value for key, value in entry.items() if key not in _KEYS}
        for key, value in overrides.items():
            below = entry.get(key)
            if key in MERGED_KEYS and isinstance(below, Mapping) and isinstance(value, Mapping):
                entry[key] = {**below, **value}
            else:
                entry[key] = value
        return entry


class Literals:
    """Keys that stand in LiteLLM's file: each becomes the name of a variable, the same key the same name."""

    def __init__(self, taken: Iterable[str]) -> None:
        """`taken` are the variables that the file names already: they hold something else."""
        self._free = Names(taken, between="_", chars_max=128)
        self._names: dict[str, str] = {}

    def variable(self, literal: str, *words: str) -> str:
        if literal not in self._names:
            self._names[literal] = self._free.give(variable_name(*words))
        return self._names[literal]


def host_name(base: str | Variable) -> str:
    """What to call a provider that is known by its address alone."""
    if isinstance(base, Variable):
        return base.name.lower()
    try:
        return urlsplit(base.strip()).hostname or "provider"
    except ValueError:
        return "provider"
