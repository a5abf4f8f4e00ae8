"""State that a dialect has no place for, kept aside for the next turn.

Some providers sign what their models think and call, and refuse the next turn when the signature is missing or
altered (Anthropic's thinking blocks, Gemini 3's function calls), or cannot go on from their own reasoning without it
(OpenAI's encrypted reasoning). When such state goes to a caller whose dialect cannot carry it, it is kept here, and
put back when the caller sends the turn again:

    answer  ──► TurnCollector ──► entries: key → Kept          (to the Continuity actor)
    request ──► keys_of(request) ──► recalled ──► restore(request, recalled, provider's dialect)

A turn is known by the ids of its tool calls, as the caller sees them; where the dialect's ids have room, the state is
inside them as well (`seal`), and outlives a restart. A turn without calls is known by a hash of
what was asked and what was answered. State goes back only to the dialect that issued it: a foreign signature is never
sent.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from busbar.protocols.ids import TOOL_CALL_PREFIXES, IdStyle, translate_id
from busbar.protocols.ir import (
    BlockStart,
    Event,
    Message,
    Part,
    RedactedThinking,
    Request,
    SignatureDelta,
    Text,
    TextDelta,
    Thinking,
    ThinkingDelta,
    ToolResult,
    ToolUse,
)
from busbar.protocols.native import native
from busbar.protocols.seal import opened, sealed

THINKING_CHARS_MAX = 1 << 20
"""Of one turn's thinking; a longer one is not kept (and then not put back: half a thought has no valid signature)."""


UNHASHED_CHARS_MAX = 4096
"""Most turns are short, and have nothing to be kept: then what was asked and said is never hashed. Of a longer one it
is, from time to time, as long prompts are not kept while an answer is waited for."""

_NOTHING = hashlib.sha256()


class Kept(Struct, frozen=True, kw_only=True):
    """The opaque state of one assistant turn."""

    signer: str
    """Who issued it (`Protocol.signer`), and the only one that gets it back."""
    thinking: tuple[Thinking | RedactedThinking, ...] = ()
    """In order, each with its signature; they stand before everything else in the turn."""
    calls: Mapping[str, str] = {}
    """Signatures of tool calls, by the call's id as the caller sees it."""
    text: str | None = None
    """The signature of the turn's text."""

    @property
    def weight_bytes(self) -> int:
        """About what it holds in memory."""
        thinking = sum(len(_opaque(block)) for block in self.thinking)
        return thinking + sum(map(len, self.calls.values())) + len(self.text or "") + 256


class _Packed(Struct, frozen=True, array_like=True):
    """A `Kept` as it travels inside of one call's id."""

    signer: str
    thoughts: list[tuple[str, str | None, dict[str, Any]]]
    """(text, signature, leftovers); without a signature it is redacted and the text is its data."""
    signature: str | None
    """Of this call."""


_decode_packed = msgspec.msgpack.Decoder(_Packed).decode


class TurnCollector:
    """Watches one answer, and gives what has to be kept of it.

    `asked` is what the answer answers (see `asked_text`), `style` how the caller's dialect calls tool calls,
    `own_signer` whose state it can carry itself: that needs no keeping.
    """

    def __init__(self, asked: str, style: IdStyle, own_signer: str) -> None:
        self._style = style
        self._own = own_signer
        self._texts = [asked, "\0"]
        """What was asked and said, as far as it is not hashed yet."""
        self._texts_chars = len(asked)
        self._said = _NOTHING
        if len(asked) > UNHASHED_CHARS_MAX:
            self._hash()
        self._blocks: dict[int, Thinking | RedactedThinking] = {}
        self._thoughts: dict[int, list[str]] = {}
        self._calls: dict[int, str] = {}
        self._signatures: dict[int, str] = {}
        self._signer = ""
        self._chars = 0
        self._parts = 0

    def sealed(self, call: ToolUse) -> str:
        """The id under which the caller gets `call`, asked before the call is seen: with the turn's state so far
        inside, where there is some and it fits. (Thinking comes before calls, and is whole by then.)"""
        calls = {call.id: call.signature} if call.signature else {}
        signer = self._signer or (call.signer if calls else "") or ""
        if not signer or signer == self._own or self._chars > THINKING_CHARS_MAX:
            return call.id
        kept = Kept(signer=signer, thinking=tuple(self._signed_thoughts()), calls=calls)
        return sealed(call.id, _packed(kept), self._style)

    def see(self, event: Event) -> None:
        """Takes an event of the first choice."""
        match event:
            case TextDelta(choice=0, text=text):
                self.say(text)
            case ThinkingDelta(choice=0, index=index, text=text):
                self._think(index, text)
            case SignatureDelta(choice=0, index=index, signature=signature, signer=signer):
                self._sign(index, signature, signer)
            case BlockStart(choice=0, index=index, part=part):
                self._open(index, part)
            case _:
                pass

    def see_part(self, part: Part) -> None:
        """Takes the next part of a whole answer."""
        self._open(self._parts, part)

    def entries(self) -> dict[str, Kept]:
        """What is to be kept, under every key that the turn may be asked for by; nothing when nothing was signed."""
        if not self._signer or self._signer == self._own or self._chars > THINKING_CHARS_MAX:
            return {}
        kept = Kept(
            signer=self._signer,
            thinking=tuple(self._signed_thoughts()),
            calls={
                call: signature
                for at, call in self._calls.items()
                if (signature := self._signatures.get(at)) is not None
            },
            text=next(
                (s for at, s in self._signatures.items() if at not in self._calls and at not in self._blocks), None
            ),
        )
        keys = [_call_key(call) for call in self._calls.values()] or [f"turn:{self._hash().hexdigest()}"]
        return dict.fromkeys(keys, kept)

    def _open(self, index: int, part: Part) -> None:
        self._parts += 1
        match part:
            case Thinking():
                self._blocks[index] = part
                self._think(index, part.text)
                self._sign(index, part.signature, part.signer)
            case RedactedThinking():
                self._blocks[index] = part
                self._signer = part.signer or self._signer
            case ToolUse():
                self._calls[index] = translate_id(part.id, self._style, TOOL_CALL_PREFIXES)
                self._sign(index, part.signature, part.signer)
            case Text():
                self.say(part.text)
                self._sign(index, part.signature, part.signer)
            case _:
                pass

    def say(self, text: str) -> None:
        """Takes the next piece of text of the first choice."""
        self._texts.append(text)
        self._texts_chars += len(text) + 1
        if self._texts_chars > UNHASHED_CHARS_MAX:
            self._hash()

    def _hash(self) -> hashlib._Hash:
        """Of what was asked and said until now."""
        if self._said is _NOTHING:
            self._said = _NOTHING.copy()
        self._said.update("".join(self._texts).encode("utf-8", "surrogatepass"))
        self._texts.clear()
        self._texts_chars = 0
        return self._said

    def _think(self, index: int, text: str) -> None:
        self._chars += len(text)
        if self._chars <= THINKING_CHARS_MAX:
            self._thoughts.setdefault(index, []).append(text)

    def _sign(self, index: int, signature: str | None, signer: str | None) -> None:
        if signature and signer:
            self._signatures[index] = self._signatures.get(index, "") + signature
            self._signer = signer

    def _signed_thoughts(self) -> list[Thinking | RedactedThinking]:
        """The thinking that can be sent back: what has no signature would be refused."""
        signed: list[Thinking | RedactedThinking] = []
        for index, block in sorted(self._blocks.items()):
            if isinstance(block, RedactedThinking):
                signed.append(block)
            elif (signature := self._signatures.get(index)) is not None:
                text = "".join(self._thoughts.get(index, ()))
                signed.append(replace(block, text=text, signature=signature, signer=self._signer))
        return signed


def keys_of(request: Request) -> tuple[str, ...]:
    """Every key under which state of the request's assistant turns may have been kept."""
    keys: list[str] = []
    for at, message in enumerate(request.messages):
        if message.role == "assistant":
            keys.extend(_keys(request.messages, at, message))
    return tuple(dict.fromkeys(keys))


def restore(request: Request, recalled: Mapping[str, Kept], target: str) -> None:
    """Puts back, into the turns that they belong to, the states that `target` issued. Other states stay aside."""
    for at, message in enumerate(request.messages):
        if message.role == "assistant":
            keys = _keys(request.messages, at, message) if recalled else ()
            states = [state for key in keys if (state := recalled.get(key)) is not None]
            kept = _merged([state for state in (*states, *_sealed_states(message)) if state.signer == target])
            if kept is not None:
                message.parts = _restored(message.parts, kept)
    _open_ids(request)


def asked_text(messages: Sequence[Message]) -> str:
    """The text of the turns since the last assistant turn: what the next answer answers."""
    texts: list[str] = []
    for message in reversed(messages):
        if message.role == "assistant":
            break
        texts += [part.text for part in reversed(message.parts) if isinstance(part, Text)]
    return "\0".join(reversed(texts))


def _keys(messages: Sequence[Message], at: int, message: Message) -> list[str]:
    calls = [_call_key(part.id) for part in message.parts if isinstance(part, ToolUse)]
    if calls:
        return calls
    said = "".join(part.text for part in message.parts if isinstance(part, Text))
    digest = hashlib.sha256(f"{asked_text(messages[:at])}\0{said}".encode("utf-8", "surrogatepass"))
    return [f"turn:{digest.hexdigest()}"]


def _sealed_states(message: Message) -> list[Kept]:
    """The states inside of the turn's ids. What cannot be read is none: it came from a caller."""
    states = []
    for part in message.parts:
        if isinstance(part, ToolUse) and (packed := opened(part.id)[1]) is not None:
            state = _unpacked(packed, part.id)
            if state is not None:
                states.append(state)
    return states


def _merged(states: Sequence[Kept]) -> Kept | None:
    """One state of a turn from several: each call's id holds that call's own signature."""
    if not states:
        return None
    calls = {call: signature for state in reversed(states) for call, signature in state.calls.items()}
    return replace(states[0], calls=calls)


def _open_ids(request: Request) -> None:
    """Every id as its provider made it."""
    for message in request.messages:
        for part in message.parts:
            if isinstance(part, ToolUse):
                part.id = opened(part.id)[0]
            elif isinstance(part, ToolResult):
                part.tool_use_id = opened(part.tool_use_id)[0]


def _call_key(call: str) -> str:
    return f"call:{call}"


def _restored(parts: Sequence[Part], kept: Kept) -> list[Part]:
    """The turn as its provider made it: its own thinking in front in place of what the caller showed of it, and its
    signatures on calls and text."""
    replaced = Thinking | RedactedThinking if kept.thinking else ()
    rest = [_signed(part, kept) for part in parts if not isinstance(part, replaced)]
    return [*kept.thinking, *rest]


def _signed(part: Part, kept: Kept) -> Part:
    if isinstance(part, ToolUse) and (signature := kept.calls.get(part.id)) is not None:
        return replace(part, signature=signature, signer=kept.signer)
    if isinstance(part, Text) and kept.text is not None:
        return replace(part, signature=kept.text, signer=kept.signer)
    return part


def _packed(kept: Kept) -> bytes:
    thoughts = [
        (block.data, None, {})
        if isinstance(block, RedactedThinking)
        else (block.text, block.signature, block.native.fields if block.native is not None else {})
        for block in kept.thinking
    ]
    return msgspec.msgpack.encode(_Packed(kept.signer, thoughts, next(iter(kept.calls.values()), None)))


def _unpacked(packed: bytes, call: str) -> Kept | None:
    """The state inside of `call`'s id; None when it cannot be read."""
    try:
        found = _decode_packed(packed)
    except (msgspec.DecodeError, UnicodeError):
        return None
    thinking = tuple(
        RedactedThinking(data=text, signer=found.signer)
        if signature is None
        else Thinking(text=text, signature=signature, signer=found.signer, native=native(found.signer, fields))
        for text, signature, fields in found.thoughts
    )
    calls = {call: found.signature} if found.signature is not None else {}
    return Kept(signer=found.signer, thinking=thinking, calls=calls)


def _opaque(block: Thinking | RedactedThinking) -> str:
    return block.data if isinstance(block, RedactedThinking) else block.text + (block.signature or "")
