"""Reading items: the flat list that a request's `input` and an answer's `output` are.

    message                 its content parts; its role decides whose turn it is
    reasoning               a thinking part; without any visible text one that only its provider can read
    function_call           a tool call
    function_call_output    a tool's result, a turn of its own
    anything else           an opaque part

The items that an assistant made one after another are one turn in the IR. `TurnForm` remembers where each item began
and what it said of itself (id, status), so that the same items can be made again.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Literal

from msgspec import Struct

from busbar.protocols.fields import as_object, take_text
from busbar.protocols.ir import Message, Opaque, Part, RedactedThinking, Role, Text, Thinking, ToolResult, ToolUse
from busbar.protocols.native import Native
from busbar.protocols.protocol import InvalidRequest
from busbar.protocols.responses.content_read import read_parts
from busbar.protocols.responses.words import DIALECT, flat_name

THOUGHT_SEPARATOR = "\n\n"
"""Stands between the summaries of one reasoning item, which are one thinking part."""

_TAGS = frozenset({"type", "id", "status"})
"""What an item says of itself: nobody misses it in another dialect."""
_ROLES: Mapping[Any, Role] = {
    "user": "user",
    "assistant": "assistant",
    "system": "system",
    "developer": "developer",
}
_OF_ASSISTANTS = frozenset({"reasoning", "mcp_list_tools", "mcp_approval_request", "compaction", "program"})


class ItemForm(Struct, frozen=True, kw_only=True):
    """How an item spelled what it carries, in as many `parts`."""

    content: Literal["text", "parts"] | None = None
    """Of a message's content or a result's output: as one string, or as a list. None: the item is one part."""
    parts: int = 1
    tags: dict[str, Any] = {}
    names: tuple[str, ...] = ()
    """The leftovers of its turn that are this item's."""


class TurnForm(Struct, frozen=True, kw_only=True):
    """A turn's items, of which the first was the one at `at`."""

    at: int
    items: tuple[ItemForm, ...]


class PartForm(Struct, frozen=True, kw_only=True):
    """How an item that is one part spelled it. `summary` and `content` are the lengths of a thought's pieces."""

    tags: dict[str, Any] = {}
    namespace: bool = False
    summary: tuple[int, ...] | None = None
    content: tuple[int, ...] | None = None


class Turn:
    """The turn that is being read: consecutive items of one speaker."""

    def __init__(self, role: Role, at: int) -> None:
        self.role = role
        self.at = at
        self.parts: list[Part] = []
        self._items: list[ItemForm] = []
        self._left: dict[str, Any] = {}

    @property
    def native(self) -> Native:
        return Native(DIALECT, self._left, TurnForm(at=self.at, items=tuple(self._items)))

    def message(self) -> Message:
        return Message(role=self.role, parts=self.parts, native=self.native)

    def add_part(self, part: Part) -> None:
        self.parts.append(part)
        self._items.append(ItemForm())

    def add_message(self, left: dict[str, Any], path: str) -> None:
        before = len(self.parts)
        spelled = _read_content(left, "content", self.parts, path)
        self._add_item(left, spelled, len(self.parts) - before)

    def add_result(self, left: dict[str, Any], path: str) -> None:
        call_id = take_text(left, "call_id", path)
        if call_id is None:
            raise InvalidRequest(f"{path}.call_id", "expected a string")
        content: list[Part] = []
        spelled = _read_content(left, "output", content, path)
        self.parts.append(ToolResult(tool_use_id=call_id, content=content))
        self._add_item(left, spelled, 1)

    def _add_item(self, left: dict[str, Any], content: Literal["text", "parts"], parts: int) -> None:
        tags = {key: value for key, value in left.items() if key in _TAGS or key in self._left}
        names = tuple(key for key in left if key not in tags)
        self._left.update((key, left[key]) for key in names)
        self._items.append(ItemForm(content=content, parts=parts, tags=tags, names=names))


def read_input(items: list[Any]) -> list[Message]:
    """A request's items as turns. Raises `InvalidRequest`."""
    turns: list[Turn] = []
    for at, value in enumerate(items):
        path = f"input[{at}]"
        left = as_object(value, path)
        kind = _kind(left)
        role = _speaker(left, kind, path)
        if role != "assistant" or not turns or turns[-1].role != "assistant":
            turns.append(Turn(role, at))
        _READERS.get(kind, _read_opaque)(turns[-1], left, path)
    return [turn.message() for turn in turns]


def read_output(items: list[Any]) -> Turn:
    """An answer's items as one turn. Lenient: an item that is not as it should be stays whole."""
    turn = Turn("assistant", 0)
    for value in items:
        if not isinstance(value, dict):
            turn.add_part(Opaque(dialect=DIALECT, kind="item", value=value))
            continue
        left = dict(value)
        try:
            _READERS.get(_kind(left), _read_opaque)(turn, left, "output")
        except InvalidRequest:
            turn.add_part(Opaque(dialect=DIALECT, kind=_kind(left), value=value))
    return turn


def _kind(left: Mapping[str, Any]) -> str:
    kind = left.get("type")
    if isinstance(kind, str):
        return kind
    return "message" if "role" in left else "item_reference"


def _speaker(left: Mapping[str, Any], kind: str, path: str) -> Role:
    if kind == "message":
        stated = left.get("role")
        role = _ROLES.get(stated) if isinstance(stated, str) else None
        if role is None:
            raise InvalidRequest(f"{path}.role", "expected user, assistant, system or developer")
        return role
    if kind == "function_call_output":
        return "tool"
    return "assistant" if kind.endswith("_call") or kind in _OF_ASSISTANTS else "user"


def _read_message(turn: Turn, left: dict[str, Any], path: str) -> None:
    left.pop("role", None)
    turn.add_message(left, path)


def _read_content(left: dict[str, Any], key: str, parts: list[Part], path: str) -> Literal["text", "parts"]:
    content = left.pop(key, None)
    if isinstance(content, str):
        parts.append(Text(text=content))
        return "text"
    if isinstance(content, list):
        parts.extend(read_parts(content, f"{path}.{key}"))
        return "parts"
    raise InvalidRequest(f"{path}.{key}", "expected a string or an array of parts")


def _read_call(turn: Turn, left: dict[str, Any], path: str) -> None:
    turn.add_part(read_call(left, path))


def read_call(left: dict[str, Any], path: str) -> ToolUse:
    """A function call; its namespace becomes part of its name. Raises `InvalidRequest`."""
    call_id, name, arguments = (take_text(left, key, path) for key in ("call_id", "name", "arguments"))
    if name is None:
        raise InvalidRequest(f"{path}.name", "expected a string")
    namespace = take_text(left, "namespace", path) if left.get("namespace") else None
    tags = {key: left.pop(key) for key in _TAGS & left.keys()}
    return ToolUse(
        id=call_id or "",
        name=name if namespace is None else flat_name(namespace, name),
        arguments=arguments or "",
        native=Native(DIALECT, left, PartForm(tags=tags, namespace=namespace is not None)),
    )


def _read_reasoning(turn: Turn, left: dict[str, Any], path: str) -> None:
    whole = dict(left)
    turn.add_part(read_reasoning(left) or Opaque(dialect=DIALECT, kind="reasoning", value=whole))


def read_reasoning(left: dict[str, Any]) -> Thinking | RedactedThinking | None:
    """A reasoning item, or None for one that says nothing: it only names what its provider has stored."""
    summary = _take_pieces(left, "summary", "summary_text")
    content = _take_pieces(left, "content", "reasoning_text")
    texts = [*(summary or ()), *(content or ())]
    encrypted = left.pop("encrypted_content") if isinstance(left.get("encrypted_content"), str) else None
    if encrypted == "":
        left["encrypted_content"] = ""
        encrypted = None
    tags = {key: left.pop(key) for key in (_TAGS | {"encrypted_content"}) & left.keys()}
    form = PartForm(tags=tags, summary=_lengths(summary), content=_lengths(content))
    kept = Native(DIALECT, left, form)
    if any(texts):
        signer = None if encrypted is None else DIALECT
        return Thinking(text=THOUGHT_SEPARATOR.join(texts), signature=encrypted, signer=signer, native=kept)
    return None if encrypted is None or texts else RedactedThinking(data=encrypted, signer=DIALECT, native=kept)


def _take_pieces(left: dict[str, Any], key: str, kind: str) -> list[str] | None:
    """The texts of a list that holds nothing else; any other list stays a leftover."""
    pieces = left.get(key)
    if not isinstance(pieces, list):
        return None
    for piece in pieces:
        if not isinstance(piece, dict) or piece.keys() != {"type", "text"} or piece["type"] != kind:
            return None
        if not isinstance(piece["text"], str):
            return None
    del left[key]
    return [piece["text"] for piece in pieces]


def _lengths(texts: list[str] | None) -> tuple[int, ...] | None:
    return None if texts is None else tuple(map(len, texts))


def _read_result(turn: Turn, left: dict[str, Any], path: str) -> None:
    turn.add_result(left, path)


def _read_opaque(turn: Turn, left: dict[str, Any], path: str) -> None:
    turn.add_part(Opaque(dialect=DIALECT, kind=_kind(left), value=left))


_READERS: Mapping[str, Callable[[Turn, dict[str, Any], str], None]] = {
    "message": _read_message,
    "function_call": _read_call,
    "reasoning": _read_reasoning,
    "function_call_output": _read_result,
}
