"""What holds for the recorded traffic of every dialect: read and written by the same dialect it comes back equal,
and nothing is normalised but framing. Each dialect's `test_identity.py` runs these checks on its recordings, and
names those that are exceptions.
"""

from __future__ import annotations

import copy
import random
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import msgspec
import pytest

from busbar.protocols.errors import ErrorKind, ErrorReport
from busbar.protocols.framing.sse import SseDecoder
from busbar.protocols.ir import (
    ArgumentsDelta,
    BlockStart,
    BlockStop,
    Chunk,
    CitationDelta,
    Ended,
    Errored,
    Event,
    RefusalDelta,
    SignatureDelta,
    Started,
    Stopped,
    TextDelta,
    ThinkingDelta,
    UsageSeen,
)
from busbar.protocols.native import Native
from busbar.protocols.protocol import Hop, InvalidRequest, Protocol, StreamPipe
from busbar.protocols.receipt import Receipt
from busbar.protocols.usage import Usage, merged
from tests.recordings import Recording

SEEDS = range(3)
"""Each gives every stream another split."""

DELTAS = (TextDelta, ThinkingDelta, ArgumentsDelta, CitationDelta, RefusalDelta, SignatureDelta)


def check_request(protocol: Protocol, recording: Recording, refused: Mapping[int, str] = {}) -> None:
    """`refused`: the path that is named, by the number of a recorded request that is none."""
    document = recording.request.body
    before = copy.deepcopy(document)
    if recording.number in refused:
        with pytest.raises(InvalidRequest) as refusal:
            protocol.read_request(document)
        assert refusal.value.path == refused[recording.number]
        return
    receipt = Receipt()
    assert protocol.write_request(protocol.read_request(document), Hop(), receipt) == before
    assert document == before
    assert not receipt.entries


def check_response(protocol: Protocol, recording: Recording) -> None:
    document = recording.response.body
    before = copy.deepcopy(document)
    response = protocol.read_response(document)
    receipt = Receipt()
    assert protocol.write_response(response, Hop(), receipt) == before
    assert document == before
    assert not receipt.entries
    inspection = protocol.inspect_response(recording.response.wire)
    assert inspection.error is None
    assert counts(inspection.usage) == counts(response.usage)


def counts(usage: Usage | None) -> Usage | None:
    return None if usage is None else msgspec.structs.replace(usage, native=None)


def check_splits(protocol: Protocol, wire: bytes) -> None:
    at_once = read(protocol, [wire])
    for seed in SEEDS:
        assert read(protocol, split_at_random(wire, seed)) == at_once


def check_byte_by_byte(protocol: Protocol, wire: bytes) -> None:
    assert read(protocol, [wire[at : at + 1] for at in range(len(wire))]) == read(protocol, [wire])


def check_balance(events: list[Event], *, whole: bool = True) -> None:
    """Blocks are counted from 0, spoken of while they are open, and closed before their choice stops; the end comes
    once and last. Not `whole`: the stream was cut off, and nothing is known of its end."""
    begun: dict[int, int] = defaultdict(int)
    open_blocks: set[tuple[int, int]] = set()
    stopped: set[int] = set()
    for event in events:
        match event:
            case BlockStart():
                assert event.choice not in stopped
                assert event.index == begun[event.choice]
                begun[event.choice] += 1
                open_blocks.add((event.choice, event.index))
            case BlockStop():
                open_blocks.remove((event.choice, event.index))
            case Stopped():
                assert event.choice not in stopped
                assert not any(choice == event.choice for choice, _ in open_blocks)
                stopped.add(event.choice)
            case _ if isinstance(event, DELTAS):
                assert (event.choice, event.index) in open_blocks
    assert [event for event in events if isinstance(event, Ended | Errored)] == events[-1:] * whole
    assert not open_blocks or not whole or isinstance(events[-1], Errored)
    assert not any(isinstance(event, Started) for event in events[1:])


def check_tap(
    protocol: Protocol, wire: bytes, *, content: bool, passes: Callable[[bytes], bool] | None = None
) -> list[StreamPipe]:
    """The tap passes `wire` on (or what `passes` allows) and notes what the reader reads; a provider's own error
    passes when the stream is broken off, and nothing after it. Gives the taps."""
    events = events_of(read(protocol, [wire]))
    taps = []
    for seed in SEEDS:
        tap = protocol.stream_tap()
        passed = b"".join([tap.feed(piece) for piece in split_at_random(wire, seed)]) + tap.close()
        if tap.error is not None:
            passed += tap.break_off(ErrorReport(kind=ErrorKind.UPSTREAM, message="another"))
            passed += wire[len(passed) :] if wire.startswith(passed) else b""
        assert passed == wire if passes is None else passes(passed)
        assert tap.ended == any(isinstance(event, Ended) for event in events)
        assert [tap.error] == ([event.signal for event in events if isinstance(event, Errored)] or [None])
        assert tap.usage == usage_of(events)
        assert tap.content == content
        taps.append(tap)
    return taps


def leftovers_of_request(protocol: Protocol, recording: Recording) -> list[str]:
    """Paths of what was kept beside the IR and says something: dots between keys, `[]` for any item."""
    return list(_leftovers(protocol.read_request(recording.request.body)))


def _leftovers(node: Any) -> Iterable[str]:
    if isinstance(node, Native):
        yield from _said(node.fields, "")
    elif isinstance(node, list):
        for each in node:
            yield from _leftovers(each)
    elif isinstance(node, msgspec.Struct):
        for field in node.__struct_fields__:
            yield from _leftovers(getattr(node, field))


def _said(value: Any, path: str) -> Iterable[str]:
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _said(inner, f"{path}.{key}" if path else key)
    elif isinstance(value, list):
        for inner in value:
            yield from _said(inner, f"{path}[]")
    elif value not in (None, ""):
        yield path


def read(protocol: Protocol, pieces: list[bytes]) -> list[Chunk]:
    reader = protocol.stream_reader()
    chunks = [chunk for piece in pieces for chunk in reader.feed(piece)] + reader.close()
    assert reader.malformed == 0
    return chunks


def write(protocol: Protocol, chunks: list[Chunk], framing: str = "") -> bytes:
    receipt = Receipt()
    writer = protocol.stream_writer(Hop(framing=framing), receipt)
    wire = b"".join([writer.write(chunk) for chunk in chunks])
    assert not receipt.entries
    return wire


def events_of(chunks: list[Chunk]) -> list[Event]:
    return [event for chunk in chunks for event in chunk.events]


def wire_events(wire: bytes) -> list[tuple[str, Any]]:
    """Server-sent events: name and value."""
    decoder = SseDecoder()
    events = decoder.feed(wire) + decoder.close()
    return [(each.event, "[DONE]" if each.data == b"[DONE]" else msgspec.json.decode(each.data)) for each in events]


def split_at_random(wire: bytes, seed: int) -> list[bytes]:
    chance = random.Random(seed)
    cuts = sorted(chance.randrange(len(wire) + 1) for _ in range(chance.choice((2, 9, 60))))
    return [wire[start:end] for start, end in zip([0, *cuts], [*cuts, len(wire)], strict=True)]


def usage_of(events: list[Event]) -> Usage | None:
    usage: Usage | None = None
    for event in events:
        if isinstance(event, Started | UsageSeen):
            usage = merged(usage, event.usage)
    return usage
