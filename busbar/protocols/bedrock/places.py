"""Values deep inside a document: several dialects' settings hide in `additionalModelRequestFields`, as each model's
own API has them."""

from __future__ import annotations

from typing import Any, TypeAlias

from busbar.protocols.native import Rest

Place: TypeAlias = tuple[str, ...]
"""The keys on the way to a value."""

EXTRA = "additionalModelRequestFields"
TOP_K: Place = (EXTRA, "top_k")
NOVA_TOP_K: Place = (EXTRA, "inferenceConfig", "topK")


def look_at(document: dict[str, Any], place: Place) -> Any:
    """The value at `place`, or None."""
    value: Any = document
    for key in place:
        if not isinstance(value, dict):
            return None
        value = value.get(key)
    return value


def take_from(left: dict[str, Any], place: Place) -> Any:
    """Takes the value out, with the objects that hold nothing else. Objects on the way are copied, not changed."""
    key, rest = place[0], place[1:]
    if not rest:
        return left.pop(key)
    inner = dict(left[key])
    value = take_from(inner, rest)
    if inner:
        left[key] = Rest(inner)
    else:
        del left[key]
    return value


def put_at(document: dict[str, Any], place: Place, value: Any) -> None:
    """Puts a value in, making the objects on the way. These must be the writer's own: they are changed."""
    for key in place[:-1]:
        document = document.setdefault(key, {})
    document[place[-1]] = value


def merge(written: dict[str, Any], left: dict[str, Any]) -> None:
    """Puts leftovers back, object into object. Neither's inner objects are changed."""
    for key, kept in left.items():
        known = written.get(key)
        if isinstance(known, dict) and isinstance(kept, dict):
            inner = dict(known)
            merge(inner, kept)
            written[key] = inner
        else:
            written[key] = kept
