"""`python -m bench --translation`: what translating costs by itself, in this process, without sockets.

CPU time (`time.process_time`) of a request (read and written), of a whole answer, and of one event of a stream, for
pairs of dialects; beside them what a stream costs that stays in its dialect, and the floor: msgspec decoding and
encoding the same documents, which is what no gateway that looks into them can go below.
"""

from __future__ import annotations

import random
import statistics
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from itertools import permutations
from typing import Literal, TypeAlias

import msgspec
from msgspec import Struct

from bench.answers import answer, dump
from bench.conversations import HOP, TURNS, request, said
from bench.scenarios import DIALECTS, Dialect
from bench.streams import events
from busbar.protocols.body import Body
from busbar.protocols.continuity import TurnCollector, keys_of, restore
from busbar.protocols.crossing import Crossing
from busbar.protocols.protocol import Protocol, StreamPipe
from busbar.protocols.receipt import Receipt
from busbar.protocols.registry import PROTOCOLS
from busbar.protocols.translate import StreamTranslator, translate_response

Pair: TypeAlias = tuple[Dialect, Dialect]
"""(the caller's dialect, the provider's)"""

Kind: TypeAlias = Literal["translated", "tap", "floor"]

PAIRS: tuple[Pair, ...] = (("openai", "anthropic"), ("openai", "gemini"), ("anthropic", "bedrock"))
ALL_PAIRS: tuple[Pair, ...] = tuple(permutations(DIALECTS, 2))

REPEATS = 9
REPEAT_SECS = 0.015
PIECE_BYTES = 4096

REQUESTS = {size: f"request {size}" for size in TURNS}
ANSWER, EVENT, EVENT_IN_PIECES = "answer", "event", "event, 4 KiB at a time"
COLUMNS = (*REQUESTS.values(), ANSWER, EVENT, EVENT_IN_PIECES)

_decode = msgspec.json.decode
_encode = msgspec.json.encode


class Work(Struct, frozen=True, kw_only=True):
    """Something whose CPU time is taken; it is divided by `units`. `caller` and `provider` are the same where nothing
    is translated."""

    kind: Kind
    caller: Dialect
    provider: Dialect
    column: str
    run: Callable[[], object]
    units: int = 1


class Cost(Struct, frozen=True, kw_only=True):
    """CPU time of one request, answer or event: the best repeat, and the median of all."""

    kind: Kind
    caller: Dialect
    provider: Dialect
    column: str
    best_us: float
    median_us: float


def measure_translation(
    pairs: Sequence[Pair], seed: int, repeats: int = REPEATS, repeat_secs: float = REPEAT_SECS
) -> list[Cost]:
    """Every repeat does everything once, in an order drawn from `seed`, so that a slow moment hits nobody alone."""
    works = [work for pair in pairs for work in translated(*pair)]
    works += [work for dialect in DIALECTS for work in (*tapped(dialect), *floors(dialect))]
    loops = [loops_of(work, repeat_secs) for work in works]
    taken: list[list[float]] = [[] for _ in works]
    order = list(range(len(works)))
    rng = random.Random(seed)
    for _ in range(repeats):
        rng.shuffle(order)
        for at in order:
            taken[at].append(_run_secs(works[at], loops[at]) / loops[at] / works[at].units)
    return [
        Cost(
            kind=work.kind,
            caller=work.caller,
            provider=work.provider,
            column=work.column,
            best_us=min(secs) * 1e6,
            median_us=statistics.median(secs) * 1e6,
        )
        for work, secs in zip(works, taken, strict=True)
    ]


def loops_of(work: Work, repeat_secs: float) -> int:
    """How often it is run in one repeat. The first runs warm it up."""
    loops = 1
    while (taken := _run_secs(work, loops)) < repeat_secs / 4:
        loops *= 2
    return max(1, round(loops * repeat_secs / taken))


def _run_secs(work: Work, loops: int) -> float:
    run = work.run
    started = time.process_time()
    for _ in range(loops):
        run()
    return time.process_time() - started


def translated(caller: Dialect, provider: Dialect) -> Iterator[Work]:
    """A request on its way to the provider, and both kinds of answers on their way back."""
    source, target = PROTOCOLS[caller], PROTOCOLS[provider]
    here = partial(Work, kind="translated", caller=caller, provider=provider)
    for size, column in REQUESTS.items():
        yield here(column=column, run=partial(crossed, source, target, request(caller, size)))
    yield here(column=ANSWER, run=partial(answered, source, target, dump(answer(provider, said()))))

    def translator() -> StreamTranslator:
        return StreamTranslator(target, source, HOP, Receipt("response."), turn=_turn(source))

    yield from _streamed(here, provider, translator)


def tapped(dialect: Dialect) -> Iterator[Work]:
    """A stream that stays in its dialect."""
    here = partial(Work, kind="tap", caller=dialect, provider=dialect)
    yield from _streamed(here, dialect, PROTOCOLS[dialect].stream_tap)


def floors(dialect: Dialect) -> Iterator[Work]:
    """The same documents decoded and encoded by msgspec, and nothing else."""
    here = partial(Work, kind="floor", caller=dialect, provider=dialect)
    for size, column in REQUESTS.items():
        yield here(column=column, run=partial(_recoded, [request(dialect, size)]))
    yield here(column=ANSWER, run=partial(_recoded, [dump(answer(dialect, said()))]))
    documents = stream_documents(dialect)
    yield here(column=EVENT, run=partial(_recoded, documents), units=len(documents))


# --- what the relay does (`busbar/http/relay.py` and `attempt.py`), without what it waits for


def crossed(source: Protocol, target: Protocol, raw: bytes) -> Crossing:
    """A caller's body, up to the bytes that the provider gets. Nothing was kept aside for it."""
    body = Body(raw)
    if source.model_in == "body":
        assert body.model
    stream = body.stream if source.model_in == "body" else False
    read = source.read_request(body.document())
    read.stream = stream or None
    if keys_of(read):
        restore(read, {}, target.signer)
    return Crossing(source, target, read, HOP)


def answered(source: Protocol, target: Protocol, raw: bytes) -> bytes:
    """A provider's whole answer, up to the bytes that the caller gets."""
    found = target.inspect_response(raw)
    assert found.readable
    return translate_response(target, source, raw, HOP, Receipt("response."), turn=_turn(source))[0]


def passed(pipe: StreamPipe, pieces: Iterable[bytes]) -> bytes:
    """What the caller gets of a stream that arrives in `pieces`."""
    out = [pipe.feed(piece) for piece in pieces]
    out.append(pipe.close())
    return b"".join(out)


def _turn(source: Protocol) -> TurnCollector:
    return TurnCollector("", source.tool_call_ids, source.signer)


def _streamed(here: Callable[..., Work], provider: Dialect, pipe: Callable[[], StreamPipe]) -> Iterator[Work]:
    frames = events(provider, said())
    stream = b"".join(frames)
    pieces = [stream[at : at + PIECE_BYTES] for at in range(0, len(stream), PIECE_BYTES)]
    yield here(column=EVENT, run=lambda: passed(pipe(), frames), units=len(frames))
    yield here(column=EVENT_IN_PIECES, run=lambda: passed(pipe(), pieces), units=len(frames))


# --- and the floor


def stream_documents(dialect: Dialect) -> list[bytes]:
    """The JSON documents in a stream's events."""
    values = PROTOCOLS[dialect].stream_as_values(b"".join(events(dialect, said())))
    inner = [value.get("payload", value.get("data", value)) for value in values]
    return [dump(value) for value in inner if isinstance(value, dict)]


def _recoded(documents: Iterable[bytes]) -> None:
    for document in documents:
        _encode(_decode(document))
