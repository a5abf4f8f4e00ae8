"""Usual heads are read without llhttp; whatever an answer is, the same is made of it as by llhttp alone.

Each case is a connection's answers, well or badly framed, cut into pieces anywhere. A failing case prints its seed
and its bytes.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence

import pytest

from busbar.http.bodies import read_whole
from busbar.http.lean import connection as lean_connection
from busbar.http.lean.pool import ConnectionPool
from busbar.http.lean.usual import CHUNKED, NAMES_MAX, UsualHead, _names, read_usual
from busbar.http.ports import UpstreamBroken
from tests.http.test_lean_differential import Served, cut, one_answer, one_case, spoiled
from tests.http.test_lean_pool import HERE, Wires, ask, turns

BATCHES, CASES = 8, 250

ODD_LINES = (
    *(
        b"Content-Length: 2",
        b"content-length : 2",
        b"Content-Length:\t2",
        b"Content-Length: 2, 2",
        b"Content-Length: 02",
    ),
    *(b"Content-Length:", b"Content-Length: 0x2", b"Content-Length: 2 ", b"Content-Length: 999999999999999999"),
    *(b"Transfer-Encoding: chunked", b"Transfer-Encoding:  chunked ", b"Transfer-Encoding: Chunked", b"TE: chunked"),
    *(b"Transfer-Encoding: identity", b"Transfer-Encoding: chunked, chunked", b"Transfer-Encoding:"),
    *(b"Connection: Keep-Alive", b"Connection: close", b"connection: close, x", b"Connection:", b"Upgrade: h2c"),
    *(b"Proxy-Connection: close", b"Connection: upgrade", b"Keep-Alive: timeout=1", b"Trailer: x", b"X-A: b\rX-C: d"),
    *(b" folded: a", b"\tfolded: a", b"a b: c", b"a:b:c", b":", b"=", b"X-\x7f: a", b"X-Del: \x7f", b"X-Bell: \x07"),
    *(b"Content-Encoding: gzip", b"Content-Encoding: br", b"Content-Encoding: identity", b"X-A: b\nX-C: d"),
)


def odd(raw: bytes, rng: random.Random) -> bytes:
    """With another line or two in its head."""
    for _ in range(rng.choice((1, 1, 2))):
        place = raw.find(b"\r\n", rng.randrange(max(1, raw.find(b"\r\n\r\n"))))
        raw = raw[:place] + b"\r\n" + rng.choice(ODD_LINES) + raw[place:] if place >= 0 else raw
    return raw


def one_odd_case(rng: random.Random) -> tuple[Served, ...]:
    if rng.random() < 0.4:
        return one_case(rng)
    answers = []
    for _ in range(rng.choice((1, 2, 3))):
        raw, closes = one_answer(rng)
        raw = odd(raw, rng) if rng.random() < 0.6 else spoiled(raw, rng)
        answers.append(Served(cut(raw, rng), closes or rng.random() < 0.5))
    return tuple(answers)


async def made_of(case: Sequence[Served]) -> list[object]:
    """What a connection makes of the answers, and whether it is kept after each."""
    wires = Wires()
    pool = ConnectionPool(wires, 1)
    made: list[object] = []
    for served in case:
        connection = pool.take(HERE) or await pool.open(HERE)
        wire = wires.made[-1][1]
        asked = ask(connection)
        for piece in served.pieces:
            if not wire.closed:
                connection.data_received(piece)
        if served.close and not wire.closed:
            connection.eof_received()
        made.append((await outcome(asked), wire.closed, repr(pool)))
        if "idle=1" not in repr(pool):
            connection.abort()
    pool.close()
    return made


async def outcome(asked: asyncio.Future[lean_connection.Answer]) -> object:
    if not asked.done():
        return "waits"
    try:
        answer = asked.result()
        reading = asyncio.ensure_future(read_whole(answer, 1 << 20))
        await turns()
        if not reading.done():
            reading.cancel()
            await asyncio.wait([reading])
            return ("half", answer.status, dict(answer.headers))
        return ("whole", answer.status, dict(answer.headers), reading.result())
    except UpstreamBroken as broken:
        return ("broken", broken.kind)


@pytest.mark.parametrize("batch", range(BATCHES))
async def test_the_same_is_made_of_any_answer_as_by_llhttp_alone(batch: int, monkeypatch: pytest.MonkeyPatch) -> None:
    usual = 0

    def counted(data: bytes) -> UsualHead | None:
        nonlocal usual
        head = read_usual(data)
        usual += head is not None
        return head

    cases = [one_odd_case(random.Random(f"usual {batch}/{number}")) for number in range(CASES)]
    monkeypatch.setattr(lean_connection, "read_usual", counted)
    ours = [await made_of(case) for case in cases]
    monkeypatch.setattr(lean_connection, "read_usual", lambda data: None)
    theirs = [await made_of(case) for case in cases]
    different = [
        f"seed {batch}/{number}:\n  {[served.pieces for served in case]}\n  {by_llhttp}\n  {by_us}"
        for number, (case, by_llhttp, by_us) in enumerate(zip(cases, theirs, ours, strict=True))
        if by_llhttp != by_us
    ]
    assert not different, "\n".join(different)
    assert usual > CASES / 4, "or nothing was compared"


@pytest.mark.parametrize(
    ("framing", "length"),
    [(b"Content-Length: 12", 12), (b"content-length:0", 0), (b"Transfer-Encoding: chunked", CHUNKED)],
)
def test_a_usual_head_is_read(framing: bytes, length: int) -> None:
    head = b"HTTP/1.1 200 OK\r\nX-Twice: a\r\nX-Twice:  b \r\n" + framing + b"\r\nX-Empty:\r\n\r\n"
    read = read_usual(head + b"body")
    assert read is not None
    assert (read.status, read.length, read.fields, read.end) == (200, length, 4, len(head))
    name, _, value = framing.decode().lower().partition(":")
    assert list(read.headers.items()) == [("x-twice", "b"), (name, value.strip()), ("x-empty", "")]


@pytest.mark.parametrize(
    "head",
    [
        b"HTTP/1.0 200 OK\r\ncontent-length: 1",
        b"HTTP/1.1 204 No Content\r\ncontent-length: 0",
        b"HTTP/1.1 100 Continue\r\ncontent-length: 0",
        b"HTTP/1.1 200\r\ncontent-length: 1",
        b"HTTP/1.1 200 OK",
        b"HTTP/1.1 200 OK\r\nx: y",
        b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 1",
        b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\ntransfer-encoding: chunked",
        b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\nconnection: close",
        b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\nconnection: close\r\nconnection: keep-alive",
        b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\nx-a: \xfc",
        b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\nx-a: b\r\n c",
        b"HTTP/1.1 200 OK\r\ncontent-length : 1",
        b"HTTP/1.1 200 OK\r\ncontent-length: 1" + b"\r\nx-a: b" * 128,
    ],
)
def test_in_doubt_a_head_is_not_usual(head: bytes) -> None:
    assert read_usual(head + b"\r\n\r\n") is None
    assert read_usual(head) is None


def test_no_more_names_are_remembered_than_may_be() -> None:
    for number in range(NAMES_MAX + 10):
        assert read_usual(b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\nX-%d: a\r\n\r\n" % number) is not None
    assert len(_names) <= NAMES_MAX
