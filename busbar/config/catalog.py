"""The operator's providers laid over the catalog's entries, node by node, so that each value keeps its place."""

from __future__ import annotations

from msgspec.structs import replace

from busbar.config.problems import Report, did_you_mean
from busbar.config.source import Mapping, Node, Scalar

MERGED_KEYS = ("error_map", "error_status", "error_texts", "headers", "health", "variables", "identity", "body")
"""Tables in which the operator's entries join the catalog's; everything else is replaced."""

SHARED_ERRORS = "errors_as"
"""A key of the catalog alone: the entry whose tables of errors are this one's too."""

_ERROR_TABLES = ("error_map", "error_status", "error_texts")
_KEY_SOURCES = ("api_key_env", "api_key", "api_key_file", "api_key_command", "api_keys")


def catalog_entries(document: Mapping, report: Report) -> Mapping:
    """The `providers:` mapping of a catalog file; everything else in it is reported."""
    for key, node in document.items.items():
        if key != "providers":
            report.add(node.file, node.line, node.path, f"unknown key{did_you_mean(key, ['providers'])}")
    entries = document.items.get("providers")
    if isinstance(entries, Mapping):
        shared = {name: _with_shared_errors(node, entries, report) for name, node in entries.items.items()}
        return replace(entries, items=shared)
    if entries is not None:
        report.add(entries.file, entries.line, entries.path, "expected one entry for each provider")
    return Mapping(file=document.file, line=0, path=("providers",), items={})


def _with_shared_errors(entry: Node, entries: Mapping, report: Report) -> Node:
    """The entry with the tables of the one that it names below its own."""
    named = entry.items.get(SHARED_ERRORS) if isinstance(entry, Mapping) else None
    if named is None or not isinstance(entry, Mapping):
        return entry
    own = replace(entry, items={key: node for key, node in entry.items.items() if key != SHARED_ERRORS})
    source = entries.items.get(named.text) if isinstance(named, Scalar) else None
    if not isinstance(source, Mapping) or SHARED_ERRORS in source.items:
        report.add(named.file, named.line, named.path, "expected an entry that has its tables of errors itself")
        return own
    tables = {key: node for key, node in source.items.items() if key in _ERROR_TABLES}
    return _entry(own, replace(source, items=tables))


def overlay(config: Mapping, catalog: Mapping) -> Mapping:
    """`config` with each entry of its `providers:` completed from the catalog.

    Only the providers that the operator names are taken. Where the operator says where the key comes from, the
    catalog's word on it is dropped.
    """
    named = config.items.get("providers")
    if not isinstance(named, Mapping):
        return config
    merged = {name: _entry(node, catalog.items.get(name)) for name, node in named.items.items()}
    return replace(config, items={**config.items, "providers": replace(named, items=merged)})


def _entry(own: Node, vetted: Node | None) -> Node:
    if not isinstance(vetted, Mapping):
        return own
    if isinstance(own, Scalar) and own.value is None:
        own = Mapping(file=own.file, line=own.line, path=own.path, items={})
    if not isinstance(own, Mapping):
        return own
    items = dict(vetted.items)
    if any(key in own.items for key in _KEY_SOURCES):
        items = {key: node for key, node in items.items() if key not in _KEY_SOURCES}
    for key, node in own.items.items():
        below = items.get(key)
        if key in MERGED_KEYS and isinstance(below, Mapping) and isinstance(node, Mapping):
            own_words = {word.lower() for word in node.items}  # header names and texts know no case
            kept = {word: value for word, value in below.items.items() if word.lower() not in own_words}
            items[key] = replace(node, items={**node.items, **kept})
        else:
            items[key] = node
    return replace(own, items=items)
