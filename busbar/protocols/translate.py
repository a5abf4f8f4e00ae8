"""From one dialect to another: a reader, the IR, a writer.

Nothing here knows any dialect. The receipt of a hop names what was dropped, changed or clamped on the way.
"""

from __future__ import annotations

from functools import partial

import msgspec
from msgspec import Struct

from busbar.protocols.body import Body
from busbar.protocols.errors import ErrorReport
from busbar.protocols.failures import FailureSignal
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
    Started,
    TextDelta,
    Thinking,
    ThinkingDelta,
    ToolUse,
    UsageSeen,
)
from busbar.protocols.protocol import Document, Hop, InvalidRequest, Protocol
from busbar.protocols.receipt import Receipt
from busbar.protocols.usage import Usage, merged

_decode = msgspec.json.Decoder().decode
_encode = msgspec.json.Encoder().encode


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
    request = source.read_request(document)
    receipt = Receipt(spell=partial(source.spell, request))
    body = _encode(target.write_request(request, hop, receipt))
    return TranslatedRequest(body=body, receipt=receipt, stream_usage=bool(request.stream_usage))


def own_request(protocol: Protocol, body: Body, model: str, receipt: Receipt) -> bytes:
    """The caller's request for a provider of its own dialect: as it came, but for the model's name, and for what an
    earlier hop may have left in it."""
    if any(trace in body.raw for trace in protocol.hop_traces):
        mended = protocol.mend_request(body.document(), receipt)
        if mended is not None:
            return _encode({**mended, "model": model} if protocol.model_in == "body" else mended)
    return body.for_model(model) if protocol.model_in == "body" else body.raw


def translate_response(
    source: Protocol, target: Protocol, body: bytes, hop: Hop, receipt: Receipt
) -> tuple[bytes, Usage | None]:
    """A provider's whole answer in the caller's dialect, and the usage it states. Raises `Unreadable`."""
    try:
        document = _decode(body)
        if not isinstance(document, dict):
            raise Unreadable("the answer is not a JSON object")
        response = source.read_response(document)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, InvalidRequest) as error:
        raise Unreadable(f"the answer is no {source.name} answer: {type(error).__name__}") from None
    receipt.spell = partial(source.spell, response)
    return _encode(target.write_response(response, hop, receipt)), response.usage


class StreamTranslator:
    """A `StreamPipe` between two dialects: events are translated one by one, as they come, never buffered whole."""

    __slots__ = ("_reader", "_writer", "content", "ended", "error", "usage")

    def __init__(self, source: Protocol, target: Protocol, hop: Hop, receipt: Receipt) -> None:
        receipt.spell = partial(source.spell, None)
        self._reader = source.stream_reader()
        self._writer = target.stream_writer(hop, receipt)
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
                self._note(event)
            if self.error is not None:
                break
            out.append(self._writer.write(chunk))
        return b"".join(out)

    def _note(self, event: Event) -> None:
        match event:
            case TextDelta(text=said) | ThinkingDelta(text=said) | RefusalDelta(text=said):
                self.content = self.content or said != ""
            case ArgumentsDelta():
                self.content = True
            case BlockStart(part=ToolUse() | Thinking() | RedactedThinking()) | OpaqueEvent():
                self.content = True
            case Started(usage=Usage() as usage) | UsageSeen(usage=usage):
                self.usage = merged(self.usage, usage)
            case Ended():
                self.ended = True
            case Errored(signal=signal):
                self.error = signal
            case _:
                pass
