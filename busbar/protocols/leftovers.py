"""What a hop leaves behind: leftovers of a node's source dialect, on the receipt of another dialect's writer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from busbar.protocols.ir import Chunk
from busbar.protocols.native import Node, Rest
from busbar.protocols.receipt import Receipt


def report_leftovers(node: Node | Chunk, writer: str, path: str, receipt: Receipt) -> None:
    """Reports what only the node's source dialect could say, unless that is the `writer`'s own dialect, which puts
    it back. `path` is the node's, in the IR's names; empty for the document itself."""
    kept = node.native
    if kept is not None and kept.fields and kept.dialect != writer:
        report_fields(kept.fields, kept.dialect, path, receipt)


def report_fields(fields: Mapping[str, Any], source: str, path: str, receipt: Receipt, within: str = "") -> None:
    """Reports the leftover `fields` of the dialect `source`, which stand in the member `within` of the node at
    `path`. Type tags and what says nothing are not missed."""
    for key, value in fields.items():
        if key == "type" or value is None or says_nothing(value):
            continue
        left = f"{within}.{key}" if within else key
        if isinstance(value, Rest):
            report_fields(value, source, path, receipt, left)
        else:
            receipt.dropped(path, f"only {source} has it", left=left)


def says_nothing(value: Any) -> bool:
    """null, an empty text or list, or an object whose members all say nothing."""
    if isinstance(value, dict):
        for inner in value.values():  # noqa: SIM110  (half as long as all() of a generator)
            if not says_nothing(inner):
                return False
        return True
    return value is None or value == "" or value == []
