"""Connections to providers: kept, counted, waited for in order, and closed in time."""

from __future__ import annotations

import asyncio

import pytest

from busbar.http.lean.answer import LeanAnswer
from busbar.http.lean.connection import Connection, Keeper
from busbar.http.lean.pool import KEEPALIVE_SECS, SILENCE_SECS_MAX, SWEEP_SECS, ConnectionPool
from busbar.http.lean.target import Origin
from busbar.http.lean.usual import HEAD_BYTES_MAX
from busbar.http.ports import UpstreamBroken
from busbar.protocols.failures import FailureClass

HERE = Origin(tls=False, host="here.example", port=80)
THERE = Origin(tls=False, host="there.example", port=80)
OK = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"


class Wire(asyncio.Transport):
    """A transport without a socket: what is written is kept."""

    def __init__(self) -> None:
        super().__init__()
        self.written: list[bytes] = []
        self.closed = False
        self.reading = True

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.written.append(bytes(data))

    def abort(self) -> None:
        self.closed = True

    def is_closing(self) -> bool:
        return self.closed

    def get_write_buffer_size(self) -> int:
        return 0

    def pause_reading(self) -> None:
        self.reading = False

    def resume_reading(self) -> None:
        self.reading = True


class Wires:
    """Dials without a network."""

    def __init__(self) -> None:
        self.made: list[tuple[Connection, Wire]] = []

    async def dial(self, origin: Origin, keeper: Keeper) -> Connection:
        connection, wire = Connection(origin, keeper), Wire()
        connection.connection_made(wire)
        self.made.append((connection, wire))
        return connection

    def served(self, connection: Connection) -> None: ...


def ask(connection: Connection) -> asyncio.Future[LeanAnswer]:
    """The request is out, as it is at the end of the turn."""
    asked = connection.ask(b"POST / HTTP/1.1\r\n\r\n", b"")
    connection.flush()
    return asked


async def use(connection: Connection) -> None:
    answer = ask(connection)
    connection.data_received(OK)
    await answer


async def turns() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_the_last_used_connection_is_the_first_to_be_used_again() -> None:
    pool = ConnectionPool(Wires(), 10)
    first, second = await pool.open(HERE), await pool.open(HERE)
    await use(first)
    await use(second)
    assert [pool.take(HERE), pool.take(THERE), pool.take(HERE), pool.take(HERE)] == [second, None, first, None]
    pool.close()


async def test_a_connection_that_is_closed_while_idle_leaves_at_once() -> None:
    pool = ConnectionPool(Wires(), 10)
    connection = await pool.open(HERE)
    await use(connection)
    assert repr(pool) == "ConnectionPool(taken=1, idle=1, waiting=0)"
    connection.eof_received()
    assert (repr(pool), pool.take(HERE)) == ("ConnectionPool(taken=0, idle=0, waiting=0)", None)
    pool.close()


async def test_unasked_bytes_close_an_idle_connection() -> None:
    wires = Wires()
    pool = ConnectionPool(wires, 10)
    await use(await pool.open(HERE))
    wires.made[0][0].data_received(b"HTTP/1.1 408 Too Late\r\n\r\n")
    assert (wires.made[0][1].closed, pool.take(HERE)) == (True, None)
    pool.close()


async def test_waiters_are_served_in_order() -> None:
    pool = ConnectionPool(Wires(), 1)
    held = await pool.open(HERE)
    served: list[str] = []

    async def wait(name: str) -> None:
        connection = await pool.open(HERE)
        served.append(name)
        await use(connection)

    waiting = [asyncio.ensure_future(wait(name)) for name in "abc"]
    await turns()
    assert (served, repr(pool)) == ([], "ConnectionPool(taken=1, idle=0, waiting=3)")
    await use(held)
    await asyncio.gather(*waiting)
    assert (served, repr(pool)) == (["a", "b", "c"], "ConnectionPool(taken=1, idle=1, waiting=0)")
    pool.close()


async def test_a_waiter_for_another_origin_gets_the_place_and_not_the_connection() -> None:
    wires = Wires()
    pool = ConnectionPool(wires, 1)
    held = await pool.open(HERE)
    waiting = asyncio.ensure_future(pool.open(THERE))
    await turns()
    await use(held)
    assert (await waiting).origin == THERE
    assert [wire.closed for _, wire in wires.made] == [True, False]
    assert repr(pool) == "ConnectionPool(taken=1, idle=0, waiting=0)"
    pool.close()


async def test_an_idle_connection_elsewhere_makes_room() -> None:
    wires = Wires()
    pool = ConnectionPool(wires, 2)
    first, second = await pool.open(HERE), await pool.open(HERE)
    await use(second)
    await use(first)
    assert (await pool.open(THERE)).origin == THERE
    assert [wire.closed for _, wire in wires.made] == [False, True, False]  # the one that was idle longest
    pool.close()


@pytest.mark.parametrize("given", ["before", "meanwhile"])
async def test_a_cancelled_waiter_takes_nobodys_place(given: str) -> None:
    pool = ConnectionPool(Wires(), 1)
    held = await pool.open(HERE)
    leaving, staying = (asyncio.ensure_future(pool.open(HERE)) for _ in range(2))
    await turns()
    if given == "meanwhile":
        ask(held)
        held.data_received(OK)
        leaving.cancel()
    else:
        leaving.cancel()
        await turns()
        await use(held)
    assert await staying is held
    assert leaving.cancelled()
    assert repr(pool) == "ConnectionPool(taken=1, idle=0, waiting=0)"
    pool.close()


async def test_a_connection_that_cannot_be_made_gives_its_place_away() -> None:
    class Nowhere(Wires):
        async def dial(self, origin: Origin, keeper: Keeper) -> Connection:
            await asyncio.sleep(0)
            if origin == THERE:
                raise UpstreamBroken(FailureClass.NETWORK, "nobody is there")
            return await super().dial(origin, keeper)

    pool = ConnectionPool(Nowhere(), 1)
    failing, waiting = asyncio.ensure_future(pool.open(THERE)), asyncio.ensure_future(pool.open(HERE))
    with pytest.raises(UpstreamBroken):
        await failing
    assert (await waiting).origin == HERE
    pool.close()


async def test_idle_connections_expire(monkeypatch: pytest.MonkeyPatch) -> None:
    loop = asyncio.get_running_loop()
    began, extra = loop.time(), [0.0]
    monkeypatch.setattr(loop, "time", lambda: began + extra[0])
    wires = Wires()
    pool = ConnectionPool(wires, 10)
    await use(await pool.open(HERE))
    extra[0] = KEEPALIVE_SECS - 1
    taken = pool.take(HERE)
    assert taken is not None
    await use(taken)
    extra[0] += KEEPALIVE_SECS
    assert (pool.take(HERE), wires.made[0][1].closed) == (None, True)
    await use(await pool.open(HERE))
    extra[0] += KEEPALIVE_SECS + SWEEP_SECS
    await turns()
    assert (wires.made[1][1].closed, repr(pool)) == (True, "ConnectionPool(taken=0, idle=0, waiting=0)")
    pool.close()


async def test_a_silent_provider_is_given_up_but_not_a_slow_caller(monkeypatch: pytest.MonkeyPatch) -> None:
    loop = asyncio.get_running_loop()
    began, extra = loop.time(), [0.0]
    monkeypatch.setattr(loop, "time", lambda: began + extra[0])
    pool = ConnectionPool(Wires(), 10)
    silent, slow = await pool.open(HERE), await pool.open(HERE)
    unanswered, answered = ask(silent), ask(slow)
    slow.data_received(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n")
    slow.pause()
    for _ in range(int(SILENCE_SECS_MAX / SWEEP_SECS) + 2):
        extra[0] += SWEEP_SECS
        await turns()
    with pytest.raises(UpstreamBroken) as broken:
        await unanswered
    assert (broken.value.kind, answered.exception(), slow.open) == (FailureClass.TIMEOUT, None, True)
    pool.close()


async def test_closing_the_pool_closes_all_and_tells_who_waits() -> None:
    wires = Wires()
    pool = ConnectionPool(wires, 1)
    unanswered = ask(await pool.open(HERE))
    waiting = asyncio.ensure_future(pool.open(HERE))
    await turns()
    pool.close()
    results = await asyncio.gather(unanswered, waiting, return_exceptions=True)
    assert [type(result) for result in results] == [UpstreamBroken, UpstreamBroken]
    assert wires.made[0][1].closed


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\n" + b"x-a: b\r\n" * 200,
        b"HTTP/1.1 200 OK\r\nx-a: " + b"b" * (HEAD_BYTES_MAX + 1),
        b"HTTP/1.1 200 OK\r\nx-a: " + b"b" * (HEAD_BYTES_MAX + 1) + b"\r\ncontent-length: 0\r\n\r\n",
        b"HTTP/1.1 100 Wait\r\n\r\n" * 4000,
    ],
    ids=["many", "endless", "large", "informational"],
)
async def test_an_answers_head_is_bounded(answer: bytes) -> None:
    pool = ConnectionPool(Wires(), 1)
    connection = await pool.open(HERE)
    asked = ask(connection)
    connection.data_received(answer)
    with pytest.raises(UpstreamBroken):
        await asked
    assert (connection.open, repr(pool)) == (False, "ConnectionPool(taken=0, idle=0, waiting=0)")
    pool.close()


async def test_trailers_are_bounded() -> None:
    pool = ConnectionPool(Wires(), 1)
    connection = await pool.open(HERE)
    asked = ask(connection)
    connection.data_received(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nx-a: ")
    answer = await asked
    for _ in range(5):
        connection.data_received(b"b" * (HEAD_BYTES_MAX // 4))
    with pytest.raises(UpstreamBroken):
        await answer.stream(lambda _: None)
    pool.close()


async def test_a_connection_whose_request_is_not_out_yet_serves_no_other() -> None:
    wires = Wires()
    pool = ConnectionPool(wires, 1)
    connection = await pool.open(HERE)
    wire = wires.made[-1][1]
    answered = connection.ask(b"POST / HTTP/1.1\r\n\r\n", b"x" * 70_000)
    connection.data_received(OK)  # before the body has left
    await answered
    assert wire.closed
    assert pool.take(HERE) is None
    await turns()
    assert b"x" not in b"".join(wire.written)


async def test_an_answer_that_comes_before_the_request_is_out_is_not_believed() -> None:
    wires = Wires()
    pool = ConnectionPool(wires, 1)
    connection = await pool.open(HERE)
    await use(connection)
    assert pool.take(HERE) is connection
    stolen = connection.ask(b"POST /secret HTTP/1.1\r\n\r\n", b"")
    connection.data_received(OK)
    with pytest.raises(UpstreamBroken):
        await stolen
    assert not connection.answered, "so that the request is sent once more, on another connection"
    assert b"secret" not in b"".join(wires.made[-1][1].written)
