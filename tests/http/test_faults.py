"""The way to providers with faults in it: what each fault does to what is sent, and that nothing else is touched."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

import pytest
from msgspec.structs import replace

from busbar.actors.faults import Fault, FaultBoard, FaultKind
from busbar.http.bodies import read_whole
from busbar.http.faults import FaultyUpstream
from busbar.http.ports import Sink, UpstreamBroken, UpstreamRequest
from busbar.protocols.failures import ErrorRules, FailureClass, classify
from busbar.protocols.registry import PROTOCOLS
from busbar.testing import VirtualClock

REQUEST = UpstreamRequest("http://provider/", {}, b"{}", model="m")
SSE = "text/event-stream; charset=utf-8"


def delta(text: str) -> bytes:
    return b'data: {"choices":[{"index":0,"delta":{"content":"%b"}}]}\n\n' % text.encode()


PREAMBLE = b'data: {"choices":[{"index":0,"delta":{"role":"assistant","content":""}}]}\n\n'
WORDS = b"".join(delta(f"word{number} ") for number in range(20))
END = b'data: {"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\ndata: [DONE]\n\n'


class CannedAnswer:
    """Gives its chunks, and then ends as a body does."""

    status = 200

    def __init__(self, content_type: str, chunks: list[bytes]) -> None:
        self.headers: Mapping[str, str] = {"content-type": content_type}
        self._chunks = chunks
        self.closed = False

    async def stream(self, sink: Sink) -> None:
        for data in self._chunks:
            waiting = sink(data)
            if waiting is not None:
                await waiting

    def close(self) -> None:
        self.closed = True


class CannedUpstream:
    """Answers every request alike."""

    def __init__(self, content_type: str = "application/json", *chunks: bytes) -> None:
        self.answer = CannedAnswer(content_type, list(chunks))
        self.sent: list[UpstreamRequest] = []
        self.closed = False

    async def send(self, request: UpstreamRequest) -> CannedAnswer:
        self.sent.append(request)
        return self.answer

    async def close(self) -> None:
        self.closed = True


class Wire:
    """A way to one member, `m`, of a dialect."""

    def __init__(self, real: CannedUpstream, dialect: str = "openai") -> None:
        self.clock = VirtualClock()
        self.board = FaultBoard()
        self.way = FaultyUpstream(real, self.board, {"m": PROTOCOLS[dialect]}, self.clock)

    def put(self, kind: FaultKind, secs: float = 60, member: str = "m") -> None:
        self.board.put(Fault(member=member, kind=kind, secs=secs, ends_at=self.clock.now() + secs, by="admin"))


async def heard(wire: Wire) -> tuple[bytes, str]:
    """What of the answer came, and by what it ended."""
    answer = await wire.way.send(REQUEST)
    came: list[bytes] = []
    try:
        await answer.stream(came.append)
    except UpstreamBroken as broken:
        return b"".join(came), f"{broken.kind.value}: {broken}"
    finally:
        answer.close()
    return b"".join(came), "whole"


async def test_without_a_fault_the_real_answer_comes_as_it_is() -> None:
    real = CannedUpstream("application/json", b"{}")
    wire = Wire(real)
    assert await wire.way.send(REQUEST) is real.answer
    wire.put("500", member="another")
    assert await wire.way.send(REQUEST) is real.answer
    assert real.sent == [REQUEST, REQUEST]
    await wire.way.close()
    assert real.closed


@pytest.mark.parametrize("dialect", sorted(PROTOCOLS))
@pytest.mark.parametrize(
    ("kind", "status", "means", "secs", "wait"),
    [
        ("429", 429, FailureClass.RATE_LIMIT, 60, 5.0),
        ("429", 429, FailureClass.RATE_LIMIT, 2.5, 3.0),
        ("500", 500, FailureClass.SERVER_ERROR, 60, None),
    ],
)
async def test_a_refusal_is_the_providers_own_in_its_dialect(
    dialect: str, kind: FaultKind, status: int, means: FailureClass, secs: float, wait: float | None
) -> None:
    real = CannedUpstream()
    wire, protocol = Wire(real, dialect), PROTOCOLS[dialect]
    wire.put(kind, secs)
    answer = await wire.way.send(REQUEST)
    signal = protocol.read_error(answer.status, answer.headers, await read_whole(answer, 10_000), 0.0)
    assert classify(signal, protocol.knowledge, ErrorRules()) is means
    assert (signal.status, signal.retry_after_secs) == (status, wait)
    assert "injected on purpose" in signal.message
    assert answer.headers["content-type"] == "application/json"
    assert real.sent == []


@pytest.mark.parametrize("dialect", sorted(PROTOCOLS))
async def test_each_refusal_has_an_id_of_its_own(dialect: str) -> None:
    wire = Wire(CannedUpstream(), dialect)
    wire.put("500")
    first, second = [(await wire.way.send(REQUEST)).headers for _ in range(2)]
    assert first != second


async def test_a_freeze_holds_until_it_is_over_and_prolonging_it_frees_nobody() -> None:
    real = CannedUpstream()
    wire = Wire(real)
    wire.put("freeze")
    waiting = asyncio.ensure_future(wire.way.send(REQUEST))
    for _ in range(2):
        await asyncio.sleep(0)
        wire.put("freeze")
    for _ in range(5):
        await asyncio.sleep(0)
    assert not waiting.done()
    wire.board.remove("m")
    with pytest.raises(UpstreamBroken) as broken:
        await asyncio.wait_for(waiting, 1)
    assert broken.value.kind is FailureClass.NETWORK
    assert real.sent == []


async def test_another_fault_ends_a_freeze() -> None:
    wire = Wire(CannedUpstream())
    wire.put("freeze")
    waiting = asyncio.ensure_future(wire.way.send(REQUEST))
    await asyncio.sleep(0)
    wire.put("429")
    with pytest.raises(UpstreamBroken):
        await asyncio.wait_for(waiting, 1)


async def test_a_frozen_request_can_be_given_up_and_the_others_wait_on() -> None:
    wire = Wire(CannedUpstream())
    wire.put("freeze")
    impatient, patient = [asyncio.ensure_future(wire.way.send(REQUEST)) for _ in range(2)]
    await asyncio.sleep(0)
    impatient.cancel()
    await asyncio.wait([impatient], timeout=1)
    assert (impatient.cancelled(), patient.done()) == (True, False)
    wire.board.remove("m")
    await asyncio.wait([patient], timeout=1)
    assert patient.exception() is not None


@pytest.mark.parametrize(
    "chunks",
    [
        pytest.param([PREAMBLE + WORDS + END], id="all in one chunk"),
        pytest.param([PREAMBLE, *[WORDS[at : at + 40] for at in range(0, len(WORDS), 40)], END], id="in many"),
    ],
)
async def test_a_stream_is_cut_some_words_after_its_first(chunks: list[bytes]) -> None:
    wire = Wire(CannedUpstream(SSE, *chunks))
    wire.put("cut")
    came, ended = await heard(wire)
    assert ended == "network: cut on purpose"
    assert (PREAMBLE + WORDS).startswith(came)
    assert b"word0" in came
    assert b"word10" not in came


@pytest.mark.parametrize("chunks", [[PREAMBLE + delta("Hi") + END], [PREAMBLE, delta("Hi"), END]])
async def test_a_stream_of_one_word_does_not_come_to_its_end_either(chunks: list[bytes]) -> None:
    wire = Wire(CannedUpstream(SSE, *chunks))
    wire.put("cut")
    came, ended = await heard(wire)
    assert ended == "network: cut on purpose"
    assert b"[DONE]\n\n" not in came


async def test_a_slow_caller_has_what_was_before_the_cut_when_the_stream_breaks() -> None:
    wire = Wire(CannedUpstream(SSE, PREAMBLE + WORDS + END))
    wire.put("cut")
    answer = await wire.way.send(REQUEST)
    taken: list[bytes] = []

    async def take(data: bytes) -> None:
        await asyncio.sleep(0)
        taken.append(data)

    with pytest.raises(UpstreamBroken):
        await answer.stream(take)
    assert len(taken) == 1


@pytest.mark.parametrize(("chunks", "came"), [([b"0123456789"], b"01234"), ([b"0123", b"4567"], b"01"), ([], b"")])
async def test_a_whole_answer_is_cut_in_the_middle(chunks: list[bytes], came: bytes) -> None:
    real = CannedUpstream("application/json", *chunks)
    wire = Wire(real)
    wire.put("cut")
    assert await heard(wire) == (came, "network: cut on purpose")
    assert real.answer.closed


async def test_only_the_members_own_requests_meet_its_fault() -> None:
    real = CannedUpstream()
    wire = Wire(real)
    wire.put("freeze")
    other = replace(REQUEST, model="another")
    assert await asyncio.wait_for(wire.way.send(other), 1) is real.answer
