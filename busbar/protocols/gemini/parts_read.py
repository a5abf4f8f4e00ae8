"""Reading a turn's parts: text and thoughts, media, calls of functions and their results; the rest stays whole."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from typing import Any

import msgspec
from msgspec import Struct

from busbar.protocols.gemini.media import read_file, read_inline
from busbar.protocols.gemini.spelling import PLAIN, Level, Marks
from busbar.protocols.gemini.words import DIALECT, TOOL_CALL_ID
from busbar.protocols.ids import mint_id
from busbar.protocols.ir import Opaque, Part, Text, Thinking, ToolResult, ToolUse
from busbar.protocols.native import Native

_encode = msgspec.json.Encoder().encode

_RESULT_KEYS = ("output", "error", "result", "content", "return_value", "return_error")
"""The one key of a response under which functions and SDKs put their text; `output` and `error` are documented."""
ERROR_KEYS = frozenset({"error", "return_error"})


class CallForm(Struct, frozen=True, kw_only=True):
    """How a function's call or its result was spelled."""

    outer: Marks = PLAIN
    inner: Marks = PLAIN
    stated_id: bool = True
    """Not stated: the id was made from the call's place, so that its result finds it."""
    args: bool = True
    """A call without arguments may lack them."""
    name: str | None = None
    """The name that a result gives for its function (a call has it in the IR)."""
    key: str | None = None
    """The response's only key, under which its text stood; None: the text is the whole response as JSON."""
    is_json: bool = False
    """What stood under `key` was no text: the IR has it as JSON."""
    parts: bool = False


class Calls:
    """The calls of one conversation, so that results without an id find theirs: same-named ones in their order."""

    __slots__ = ("_made", "_open")

    def __init__(self) -> None:
        self._made: dict[str, int] = {}
        self._open: dict[str, deque[str]] = {}

    def called(self, name: str, call_id: str | None) -> str:
        ordinal = self._made[name] = self._made.get(name, -1) + 1
        known = call_id or mint_id(TOOL_CALL_ID, name, ordinal)
        self._open.setdefault(name, deque()).append(known)
        return known

    def answered(self, name: str, call_id: str | None) -> str:
        waiting = self._open.get(name)
        if call_id:
            if waiting and call_id in waiting:
                waiting.remove(call_id)
            return call_id
        return waiting.popleft() if waiting else name


def read_parts(values: list[Any], path: str, calls: Calls | None = None) -> list[Part]:
    """`calls` is the conversation's; None for an answer, whose calls keep an empty id where they have none."""
    return [read_part(value, f"{path}[{at}]", calls) for at, value in enumerate(values)]


def read_part(value: Any, path: str, calls: Calls | None = None) -> Part:
    """One part. What is not understood stays whole. Raises `InvalidRequest` for what is no object."""
    level = Level(value, path)
    part: Part | None = None
    if isinstance(level.left.get("text"), str):
        part = _read_text(level)
    elif level.get("functionCall") is not None:
        part = _read_call(level, calls)
    elif level.get("functionResponse") is not None:
        part = _read_result(level, calls)
    elif level.get("inlineData") is not None:
        inner = level.object("inlineData")
        part = read_inline(inner, level.left, f"{path}.inlineData", level.marks)
    elif level.get("fileData") is not None:
        inner = level.object("fileData")
        part = read_file(inner, level.left, f"{path}.fileData", level.marks)
    return part if part is not None else Opaque(dialect=DIALECT, kind=_kind(value), value=value)


def _kind(value: dict[str, Any]) -> str:
    return next((key for key in value if key not in ("thoughtSignature", "thought_signature", "thought")), "part")


def _read_text(level: Level) -> Text | Thinking:
    text = level.left.pop("text")
    thought = level.left.get("thought")
    signature = level.text("thoughtSignature")
    signer = None if signature is None else DIALECT
    if thought is True:
        del level.left["thought"]
        native = Native(DIALECT, level.left, level.marks)
        return Thinking(text=text, signature=signature, signer=signer, native=native)
    if thought is False:
        del level.left["thought"]
        level.mark("not a thought")
    return Text(text=text, signature=signature, signer=signer, native=Native(DIALECT, level.left, level.marks))


def _read_call(level: Level, calls: Calls | None) -> ToolUse | None:
    call = Level(level.object("functionCall"), f"{level.path}.functionCall")
    name = call.text("name")
    if not name:
        return None
    args, call_id = call.object("args"), call.text("id")
    signature = level.text("thoughtSignature")
    form = CallForm(outer=level.marks, inner=call.marks, stated_id=call_id is not None, args=args is not None)
    level.put_back("functionCall", call.left)
    return ToolUse(
        id=(call_id or "") if calls is None else calls.called(name, call_id),
        name=name,
        arguments="{}" if not args else _encode(args).decode(),
        signature=signature,
        signer=None if signature is None else DIALECT,
        native=Native(DIALECT, level.left, form),
    )


def _read_result(level: Level, calls: Calls | None) -> ToolResult | None:
    path = f"{level.path}.functionResponse"
    result = Level(level.object("functionResponse"), path)
    name, call_id = result.text("name") or "", result.text("id")
    response = result.object("response")
    media = result.items("parts")
    text, form = _read_response(response)
    content: list[Part] = [] if text is None else [Text(text=text)]
    content += read_parts(media or [], f"{path}.parts")
    form = msgspec.structs.replace(
        form, outer=level.marks, inner=result.marks, stated_id=call_id is not None, name=name, parts=media is not None
    )
    level.put_back("functionResponse", result.left)
    return ToolResult(
        tool_use_id=call_id or name if calls is None else calls.answered(name, call_id),
        content=content,
        is_error=True if form.key in ERROR_KEYS else None,
        native=Native(DIALECT, level.left, form),
    )


def _read_response(response: Mapping[str, Any] | None) -> tuple[str | None, CallForm]:
    """What a function answered, as text, and how it stood there."""
    if response is None:
        return None, CallForm()
    if len(response) == 1:
        ((key, value),) = response.items()
        if key in _RESULT_KEYS:
            is_text = isinstance(value, str)
            return value if is_text else _encode(value).decode(), CallForm(key=key, is_json=not is_text)
    return _encode(response).decode(), CallForm()
