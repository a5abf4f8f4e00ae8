"""The catalog as values, for those who choose from it: `busbar providers`, `busbar init`."""

from __future__ import annotations

import os
from collections.abc import Mapping as Environment
from typing import cast

from msgspec import Struct

from busbar.config.catalog import catalog_entries
from busbar.config.files import find_providers, read_text
from busbar.config.problems import Report
from busbar.config.read import Reader
from busbar.config.schema import ProviderEntry
from busbar.config.source import Mapping, parse


class _Catalog(Struct, frozen=True, kw_only=True):
    providers: dict[str, ProviderEntry] = {}


def known_providers(
    path: str | os.PathLike[str] | None = None, env: Environment[str, str] = os.environ
) -> dict[str, ProviderEntry]:
    """Each entry of the catalog by its name, in the file's order.

    The file is found as `load` finds it. Raises ConfigErrors with every problem.
    """
    file = find_providers(os.fspath(path) if path is not None else None, env)
    report = Report()
    document = parse(read_text(file), str(file), report)
    report.raise_if_any()
    entries = catalog_entries(cast(Mapping, document), report)
    root = Mapping(file=str(file), line=0, path=(), items={"providers": entries})
    catalog = Reader(report, {}).read(root, _Catalog)
    report.raise_if_any()
    return {} if catalog is None else catalog.providers
