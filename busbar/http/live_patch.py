"""What became different between two pictures, and how to make the one of the other. See `live` for the format.

Nothing here changes a picture: one that was handed out stays as it is.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeAlias

Picture: TypeAlias = Mapping[str, Any]
Patch: TypeAlias = dict[str, dict[str, Any]]

NAMED_BY = {"pools": "name", "actors": "name", "members": "model"}
"""Sections whose entries are told apart by a name, and the field that has it."""

KEPT = {"requests": 50, "messages": 50}
"""Sections that are the latest of something, newest first, and how many entries they have at most."""

TIME = "now"
"""Its passing alone is no change."""


def changes(before: Picture, after: Picture) -> Patch:
    """The patch that makes `after` of `before`; empty when nothing happened but that time passed.

    The pictures have the same sections. Names within a section are unique.
    """
    patch: Patch = {}
    for section, new in after.items():
        old = before[section]
        if section != TIME and new != old:
            kind, value = _change(section, old, new)
            patch.setdefault(kind, {})[section] = value
    if patch:
        patch.setdefault("replace", {})[TIME] = after[TIME]
    return patch


def apply(picture: Picture, patch: Mapping[str, Mapping[str, Any]]) -> Picture:
    """The picture after the change. Raises KeyError when the patch is not one for this picture."""
    result = {**picture, **patch.get("replace", {})}
    for section, entries in patch.get("set", {}).items():
        name = NAMED_BY[section]
        changed = {entry[name]: entry for entry in entries}
        result[section] = [changed.get(entry[name], entry) for entry in result[section]]
    for section, entries in patch.get("prepend", {}).items():
        result[section] = [*entries, *result[section]][: KEPT[section]]
    return result


def _change(section: str, old: Any, new: Any) -> tuple[str, Any]:
    """(kind, value) of the smallest change that says it."""
    if (name := NAMED_BY.get(section)) is not None and [it[name] for it in old] == [it[name] for it in new]:
        return "set", [entry for entry, was in zip(new, old, strict=True) if entry != was]
    if (kept := KEPT.get(section)) is not None:
        for added in range(1, len(new) + 1):
            if [*new[:added], *old][:kept] == new:
                return "prepend", new[:added]
    return "replace", new
