"""What the configuration language knows and this version does not do yet.

Every key and word of the language is parsed and checked from the start; a key whose feature is still to come is
accepted at the values listed here and otherwise answered with "not supported yet". An issue that builds a feature
deletes its row. Patterns are key paths, with `*` for a name and `[]` for a place in a list.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import get_args

from busbar.config.problems import KeyPath
from busbar.config.schema import ProtocolName

SUPPORTED_PROTOCOLS: tuple[str, ...] = get_args(ProtocolName)

SUPPORTED_VALUES: Mapping[str, tuple[object, ...]] = {}

RENAMED_KEYS: Mapping[str, str] = {}
"""Keys of earlier versions → where their meaning lives now, both as patterns."""


def pattern(path: KeyPath) -> str:
    """The row that speaks for `path`: `pools.smart.members[0].weight` is `pools.*.members[].weight`."""
    spelled = ""
    for depth, step in enumerate(path):
        if isinstance(step, int):
            spelled += "[]"
        elif depth == 1 and path[0] in ("providers", "models", "pools"):
            spelled += ".*"
        else:
            spelled += f".{step}" if spelled else step
    return spelled


def not_supported_yet(path: KeyPath, value: object) -> str | None:
    """What to tell an operator who asks for something that is still to come; None when it works."""
    supported = SUPPORTED_VALUES.get(pattern(path))
    if supported is None or value in supported:
        return None
    words = ", ".join(word for word in supported if isinstance(word, str))
    return f"not supported yet (supported: {words})" if words else "not supported yet; leave the key out"
