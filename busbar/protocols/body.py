"""The caller's body, parsed once.

Same-protocol traffic is split at its top level only: `model` is replaced, everything else goes on as the bytes it
came as. Only a hop to another dialect decodes the whole document.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import accumulate
from typing import Any

import msgspec

from busbar.protocols.protocol import Document, InvalidRequest

JSON_DEPTH_MAX = 128

_split = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_decode = msgspec.json.Decoder().decode
_encode = msgspec.json.Encoder().encode
_STRUCTURE = b'[]{}"'
_NOT_STRUCTURE = bytes(set(range(256)) - set(_STRUCTURE))
_NOT_SHAPE = bytes(set(range(256)) - set(_STRUCTURE + b"\\/bfnrtu"))
"""What may go while escapes still count: all but brackets, quotes, the backslash and what may follow one."""
_UP, _DOWN = b"\x01", b"\xff"  # as signed bytes: +1 and -1
_STEPS = bytes.maketrans(b"[]{}", (_UP + _DOWN) * 2)


class Body:
    """A JSON object as the caller sent it. Raises `InvalidRequest` when it is none, or is nested too deep."""

    __slots__ = ("_fields", "raw")

    def __init__(self, raw: bytes, depth_max: int = JSON_DEPTH_MAX) -> None:
        if _deeper_than(raw, depth_max):
            raise InvalidRequest("", f"The JSON is nested deeper than {depth_max} levels.")
        try:
            self._fields = _split(raw)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise InvalidRequest("", f"The body is not a JSON object: {_reason(error)}") from None
        self.raw = raw

    @property
    def model(self) -> str:
        """Raises `InvalidRequest` when the body names none."""
        value = self.field("model")
        if value is None:
            raise InvalidRequest("model", "you must provide a model parameter")
        if not isinstance(value, str) or not value:
            raise InvalidRequest("model", "expected a non-empty string")
        return value

    @property
    def stream(self) -> bool:
        value = self.field("stream")
        if value is None or isinstance(value, bool):
            return bool(value)
        raise InvalidRequest("stream", "expected true or false")

    def field(self, name: str) -> Any:
        """One field of the top level, decoded; None when there is none. Raises `InvalidRequest`."""
        raw = self._fields.get(name)
        if raw is None:
            return None
        try:
            return _decode(raw)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            raise InvalidRequest(name, "not valid JSON") from None

    def with_changes(self, changes: Mapping[str, object]) -> bytes:
        """The same body with these fields of the top level set, or removed where None. All else is the bytes that it
        came as, but for the space between top fields."""
        return _encode(changed(self._fields, changes))

    def forget(self) -> None:
        """It is needed no more, though whoever asked may wait for a long answer: long prompts are not kept for it."""
        self.raw, self._fields = b"", {}

    def document(self) -> Document:
        """The whole body, decoded; a new copy each time, so that every attempt starts from the caller's original.

        Raises `InvalidRequest` (a text may hold broken UTF-8 or escapes that the split did not look at).
        """
        try:
            document: Document = _decode(self.raw)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise InvalidRequest("", f"The body is not valid JSON: {_reason(error)}") from None
        return document


def changed(fields: Mapping[str, Any], changes: Mapping[str, object]) -> Mapping[str, Any]:
    """`fields` with `changes` made: None removes a field."""
    if not changes:
        return fields
    merged = {**fields, **changes}
    if None not in changes.values():
        return merged
    return {name: value for name, value in merged.items() if value is not None or name not in changes}


def _deeper_than(raw: bytes, depth_max: int) -> bool:
    """Whether brackets nest deeper than `depth_max`, before any parser recurses into them.

    Few brackets cannot nest deep, and most bodies have few. Else: without escapes every second piece between quotes
    is outside of strings, and the brackets there are steps up and down. (That a bracket of one kind closes one of
    the other, and that there is no such escape, is for the parser to refuse.) Linear in the length: about a second
    for 32 MiB of nothing but brackets.
    """
    if _count_up_to(raw, b"{", depth_max + 1) + _count_up_to(raw, b"[", depth_max + 1) <= depth_max:
        return False
    shape = raw.translate(None, _NOT_SHAPE)  # text goes first: each further step has only a part of the body to do
    if b"\\" in shape:
        shape = shape.replace(b"\\\\", b"").replace(b'\\"', b"")
    # Strings without brackets vanish, so that there are few pieces to split into.
    structure = shape.translate(_STEPS, _NOT_STRUCTURE).replace(b'""', b"")
    steps = b"".join(structure.split(b'"')[::2])
    if steps.count(_UP) <= depth_max:
        return False
    if _UP * (depth_max + 1) in steps:
        return True
    return max(accumulate(memoryview(steps).cast("b")), default=0) > depth_max


def _count_up_to(raw: bytes, byte: bytes, bound: int) -> int:
    """How often `byte` is there, or `bound` if it is more often. Where it is rare, `replace` leaps from one to the
    next and copies what is between; `count` would look at every byte, which takes ten times as long."""
    return len(raw) - len(raw.replace(byte, b"", bound))


def _reason(error: Exception) -> str:
    """What the parser says, without any piece of the body (it may hold secrets)."""
    text = str(error)
    return text if isinstance(error, msgspec.DecodeError) and len(text) < 120 else "it cannot be parsed"
