"""From one dialect to another: a reader, the IR, a writer.

Nothing here knows any dialect. The receipt of a hop names what was dropped, changed or clamped on the way.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import cache, partial
from types import MappingProxyType

import msgspec
from msgspec import Struct

from busbar.protocols.body import Body, changed
from busbar.protocols.continuity import TurnCollector
from busbar.protocols.errors import ErrorReport
from busbar.protocols.failures import FailureSignal
from busbar.protocols.ids import IdStyle, mint_id
from busbar.protocols.ir import (
    ArgumentsDelta,
    BlockStart,
    Chunk,
    Ended,
    Errored,
    Event,
    OpaqueEvent,
    RedactedThinking,
    RefusalDelta,
    Request,
    Started,
    TextDelta,
    Thinking,
    ThinkingDelta,
    ToolUse,
    UsageSeen,
)
from busbar.protocols.protocol import Document, Hop, InvalidRequest, Protocol
from busbar.protocols.receipt import Receipt
from busbar.protocols.seal import without_seals
from busbar.protocols.usage import Usage, merged

_decode = msgspec.json.Decoder().decode
_encode = msgspec.json.Encoder().encode

_CALL = IdStyle("call_")
"""For calls that came without an id; the caller's dialect makes its own of it."""


class Unreadable(Exception):
    """A provider's answer that is no document of its dialect."""


class TranslatedRequest(Struct, frozen=True, kw_only=True):
    """A request in the target's dialect."""

    body: bytes
    receipt: Receipt
    stream_usage: bool
    """The caller asked for usage at the end of its stream."""


def translate_request(source: Protocol, target: Protocol, document: Document, hop: Hop) -> TranslatedRequest:
    """The caller's request as the target's. Raises `InvalidRequest` when it is not one of the source's."""
    return write_request(source, target, source.read_request(document), hop)


def write_request(source: Protocol, target: Protocol, request: Request, hop: Hop) -> TranslatedRequest:
    """A request that was read from `source`, as the target's."""
    receipt = Receipt(spell=partial(source.spell, request))
    body = _encode(changed(target.write_request(request, hop, receipt), hop.changes))
    return TranslatedRequest(body=body, receipt=receipt, stream_usage=bool(request.stream_usage))


def own_request(
    protocol: Protocol,
    body: Body,
    model: str,
    receipt: Receipt,
    changes: Mapping[str, object] = MappingProxyType({}),
) -> bytes:
    """The caller's request for a provider of its own dialect: as it came, but for the model's name, what the provider
    wants otherwise (`changes`), and what an earlier hop may have left in it."""
    if protocol.model_in == "body":
        changes = {"model": model, **changes} if changes else {"model": model}
    if protocol.hop_traces and _finder(protocol.hop_traces)(body.raw) is not None:
        mended = protocol.mend_request(body.document(), receipt)
        if mended is not None:
            return without_seals(_encode(changed(mended, changes)))
    return without_seals(body.with_changes(changes) if changes else body.raw)


@cache
def _finder(traces: tuple[bytes, ...]) -> Callable[[bytes], re.Match[bytes] | None]:
    """Finds the first of them in one pass; what they begin with alike is compared only once."""
    return re.compile(b"|".join(map(re.escape, traces))).search


def translate_response(
    source: Protocol,
    target: Protocol,
    body: bytes,
    hop: Hop,
    receipt: Receipt,
    own_names: Mapping[str, str] = MappingProxyType({}),
    turn: TurnCollector | None = None,
) -> tuple[bytes, Usage | None]:
    """A provider's whole answer in the caller's dialect, and the usage it states. Raises `Unreadable`.

    `own_names`: tools that go back under another name than the provider knows them by. `turn` is shown what the
    answer is made of.
    """
    try:
        document = _decode(body)
        if not isinstance(document, dict):
            raise Unreadable("the answer is not a JSON object")
        response = source.read_response(document)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, InvalidRequest) as error:
        raise Unreadable(f"the answer is no {source.name} answer: {type(error).__name__}") from None
    receipt.spell = partial(source.spell, response)
    calls = [part for choice in response.choices for part in choice.parts if isinstance(part, ToolUse)]
    for ordinal, call in enumerate(calls):
        call.id = call.id or mint_id(_CALL, hop.nonce, ordinal)
        call.name = own_names.get(call.name, call.name)
    if turn is not None and response.choices:
        for part in response.choices[0].parts:
            if isinstance(part, ToolUse):
                part.id = turn.sealed(part)
            turn.see_part(part)
    return _encode(target.write_response(response, hop, receipt)), response.usage


class StreamTranslator:
    """A `StreamPipe` between two dialects: events are translated one by one, as they come, never buffered whole.

    `own_names` and `turn` as for `translate_response`. `on_whole` is called when the answer is whole, before its end
    is written. `observe`, where it is set, is called with the chunks that were written, and
    with what they came to.
    """

    __slots__ = (
        *("_calls", "_nonce", "_on_whole", "_own_names", "_reader", "_turn", "_writer", "observe"),
        *("content", "ended", "error", "usage"),
    )

    def __init__(
        self,
        source: Protocol,
        target: Protocol,
        hop: Hop,
        receipt: Receipt,
        own_names: Mapping[str, str] = MappingProxyType({}),
        turn: TurnCollector | None = None,
        on_whole: Callable[[], None] = lambda: None,
    ) -> None:
        receipt.spell = partial(source.spell, None)
        self._reader = source.stream_reader()
        self._writer = target.stream_writer(hop, receipt)
        self._nonce = hop.nonce
        self._calls = 0
        self._own_names = own_names
        self._turn = turn
        self._on_whole = on_whole
        self.observe: Callable[[list[Chunk], bytes], None] | None = None
        self.content = False
        self.ended = False
        self.usage: Usage | None = None
        self.error: FailureSignal | None = None

    @property
    def malformed(self) -> int:
        """Frames of the provider's that could not be read and were skipped."""
        return self._reader.malformed

    def feed(self, data: bytes) -> bytes:
        return self._pass(self._reader.feed(data))

    def close(self) -> bytes:
        return self._pass(self._reader.close())

    def break_off(self, report: ErrorReport) -> bytes:
        return self._writer.error(report)

    def _pass(self, chunks: list[Chunk]) -> bytes:
        """Notes what matters and writes. An error event is not written: the caller is told by `break_off`."""
        out = []
        for chunk in chunks:
            for event in chunk.events:
                if type(event) is TextDelta and self.content:
                    if self._turn is not None and event.choice == 0:
                        self._turn.say(event.text)
                    continue
                self._note(event)
                if self._turn is not None:
                    self._turn.see(event)
            if self.error is not None:
                break
            out.append(self._writer.write(chunk))
        wire = b"".join(out)
        if self.observe is not None:
            self.observe(chunks[: len(out)], wire)
        return wire

    def _note(self, event: Event) -> None:
        match event:
            case TextDelta(text=said) | ThinkingDelta(text=said) | RefusalDelta(text=said):
                self.content = self.content or said != ""
            case ArgumentsDelta():
                self.content = True
            case BlockStart(part=ToolUse() as call):
                self.content = True
                call.id = call.id or mint_id(_CALL, self._nonce, self._calls)
                call.name = self._own_names.get(call.name, call.name)
                if self._turn is not None:
                    call.id = self._turn.sealed(call)
                self._calls += 1
            case BlockStart(part=Thinking() | RedactedThinking()) | OpaqueEvent():
                self.content = True
            case Started(usage=Usage() as usage) | UsageSeen(usage=usage):
                self.usage = merged(self.usage, usage)
            case Ended():
                self.ended = True
                self._on_whole()
            case Errored(signal=signal):
                self.error = signal
            case _:
                pass
