"""What only one dialect can say, kept beside what all of them say.

Every node of the IR carries what all six dialects can express. What is left over after a reader took that is
kept on the node as `Native`: under the dialect's name, as it came. The writer of the same dialect puts it back,
so that dialect → IR → same dialect is an identity. The writer of any other dialect reports it as dropped.
"""

from __future__ import annotations

from typing import Any

from msgspec import Struct


class Rest(dict[str, Any]):
    """A leftover object of which the reader took members: not it as a whole was left over, but each of the others."""

    __slots__ = ()


class Native(Struct, frozen=True):
    """What a node's source dialect said beyond the IR.

    `fields` are the leftovers, merged back by the same dialect's writer. `form` is how the dialect spelled what
    the node does carry (content as a text or as a list, an old field name): it never holds content, and never
    reaches the wire of another dialect.
    """

    dialect: str
    fields: dict[str, Any] = {}
    form: Any = None


class Node(Struct, kw_only=True, gc=False):
    """A node of the IR."""

    native: Native | None = None


def native(dialect: str, fields: dict[str, Any], form: Any = None) -> Native | None:
    """A `Native` when there is anything to keep, else None."""
    return Native(dialect, fields, form) if fields or form is not None else None


def is_own(node: Node, dialect: str) -> bool:
    """Whether `dialect` itself said `node`."""
    return node.native is not None and node.native.dialect == dialect


def own_fields(node: Node, dialect: str) -> dict[str, Any]:
    """The leftovers of `node` if they are `dialect`'s own, else nothing."""
    kept = node.native
    return kept.fields if kept is not None and kept.dialect == dialect else {}


def own_form(node: Node, dialect: str) -> Any:
    """How `dialect` spelled `node`, or None when another dialect did."""
    kept = node.native
    return kept.form if kept is not None and kept.dialect == dialect else None
