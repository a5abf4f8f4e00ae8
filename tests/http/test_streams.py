"""A stream between a canned provider and a recording caller: the relay's two ports, without sockets."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping

import pytest

from busbar.actors.continuity import Continuity
from busbar.actors.runtime import ActorSystem, LoopClock
from busbar.config.schema import LimitsConfig
from busbar.http.attempt import Attempt
from busbar.http.auth import Caller
from busbar.http.call import Call, Failed
from busbar.http.lanes import Lane
from busbar.http.ports import Sink, UpstreamBroken, UpstreamRequest
from busbar.protocols.body import Body
from busbar.protocols.failures import ErrorRules, FailureClass
from busbar.protocols.framing import FRAME_BYTES_MAX
from busbar.protocols.registry import PROTOCOLS
from busbar.protocols.signing import make_signer

OPENAI, ANTHROPIC = PROTOCOLS["openai"], PROTOCOLS["anthropic"]


def chunk(delta: str, finish: str = "null") -> bytes:
    head = '"id":"c","object":"chat.completion.chunk","created":1,"model":"m"'
    return f'data: {{{head},"choices":[{{"index":0,"delta":{{{delta}}},"finish_reason":{finish}}}]}}\n\n'.encode()


ROLE = chunk('"role":"assistant","content":""')
HELLO = chunk('"content":"Hello"')
FINISH = chunk("", '"stop"')
DONE = b"data: [DONE]\n\n"
ERROR = b'data: {"error":{"message":"busy","type":"server_error","param":null,"code":null}}\n\n'


class CannedUpstream:
    """Answers every request with the same chunks; an exception among them is raised, None waits for ever."""

    def __init__(self, *chunks: bytes | Exception | None, status: int = 200, content_type: str = "text/event-stream"):
        self._chunks = chunks
        self.status = status
        self.headers: Mapping[str, str] = {"content-type": content_type}
        self.requests: list[UpstreamRequest] = []
        self.closed = 0

    async def send(self, request: UpstreamRequest) -> CannedUpstream:
        self.requests.append(request)
        return self

    async def stream(self, sink: Sink) -> None:
        import asyncio

        for chunk in self._chunks:
            if isinstance(chunk, Exception):
                raise chunk
            if chunk is None:
                await asyncio.Event().wait()
            else:
                waiting = sink(chunk)
                if waiting is not None:
                    await waiting

    def close(self) -> None:
        self.closed += 1


class RecordingExchange:
    """Writes down what the caller would see."""

    method = "POST"
    path = "/"
    query: Mapping[str, str] = {}
    headers: Mapping[str, str] = {}

    def __init__(self) -> None:
        self.log: list[object] = []

    async def body(self) -> bytes:
        raise AssertionError("read before the attempt")

    async def send(self, status: int, headers: Mapping[str, str], body: bytes) -> None:
        self.log.append(("send", status, body))

    async def start(self, status: int, headers: Mapping[str, str]) -> None:
        self.log.append(("start", status))

    def write(self, data: bytes) -> None:
        self.log.append(data)

    async def end(self, *, close: bool = False) -> None:
        self.log.append("closed" if close else "ended")


async def run(
    upstream: CannedUpstream, *, stream: bool = True, timeout_secs: float = 5, hold_secs: float = 0
) -> tuple[Failed | None, list[object]]:
    exchange = RecordingExchange()
    call = Call(
        request_id="req_1",
        exchange=exchange,
        ingress=OPENAI,
        body=Body(b'{"model":"m","messages":[]}'),
        stream=stream,
        framing="",
        operation="chat",
        caller=Caller(),
        own_headers={},
        hold_secs=hold_secs,
    )
    lane = Lane(
        model="m",
        provider="p",
        protocol=OPENAI,
        upstream_model="up",
        base_url="http://provider",
        path=None,
        auth_style="bearer",
        signer=make_signer("bearer", "k"),
        headers={},
        rules=ErrorRules(),
        default_max_tokens=100,
    )
    system = ActorSystem(register=False)
    attempt = Attempt(
        call,
        lane,
        upstream=upstream,
        continuity=system.spawn(Continuity, name="continuity"),
        clock=LoopClock(),
        limits=LimitsConfig(),
    )
    failed = await attempt.run(timeout_secs)
    assert upstream.closed == 1, "every answer is closed, whatever happens"
    return failed, exchange.log


async def test_preamble_is_held_until_there_is_content() -> None:
    failed, log = await run(CannedUpstream(ROLE, HELLO, FINISH, DONE))
    assert failed is None
    assert log == [("start", 200), ROLE + HELLO, FINISH, DONE, "ended"]


@pytest.mark.parametrize("chunks", [(ROLE, ERROR), (ERROR,), (ROLE + HELLO + ERROR,), (ROLE, ERROR + HELLO)])
async def test_an_error_before_anything_was_written_comes_back_to_be_tried_elsewhere(
    chunks: tuple[bytes, ...],
) -> None:
    failed, log = await run(CannedUpstream(*chunks))
    assert failed is not None
    assert (failed.failure.kind, failed.refund) == (FailureClass.SERVER_ERROR, True)
    assert log == []


async def test_an_error_after_content_is_passed_on_once_and_closes() -> None:
    failed, log = await run(CannedUpstream(ROLE + HELLO, ERROR, HELLO, DONE))
    assert failed is None
    assert log == [("start", 200), ROLE + HELLO, ERROR, "closed"]


@pytest.mark.parametrize("ending", [(), (UpstreamBroken(FailureClass.NETWORK, "reset"),), (HELLO[:-5],)])
async def test_a_broken_tail_never_reaches_the_caller(ending: tuple[bytes | Exception, ...]) -> None:
    failed, log = await run(CannedUpstream(ROLE + HELLO, HELLO[:40], *ending))
    assert failed is None
    assert log[:2] == [("start", 200), ROLE + HELLO]
    assert isinstance(log[2], bytes)
    assert log[2].startswith(b'data: {"error":')
    assert log[3:] == ["closed"]


async def test_nothing_at_all_comes_back_to_be_tried_elsewhere() -> None:
    failed, log = await run(CannedUpstream())
    assert failed is not None
    assert (failed.failure.kind, failed.refund, log) == (FailureClass.NETWORK, True, [])


async def test_after_the_terminal_event_the_provider_is_waited_for_only_shortly(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("busbar.http.patience.LINGER_SECS", 0.01)
    failed, log = await run(CannedUpstream(ROLE + HELLO + FINISH + DONE, None))
    assert failed is None
    assert log == [("start", 200), ROLE + HELLO + FINISH + DONE, "ended"]


async def test_what_comes_after_the_terminal_event_is_nobodys_business() -> None:
    failed, log = await run(CannedUpstream(ROLE + HELLO + DONE, ERROR, UpstreamBroken(FailureClass.NETWORK, "late")))
    assert failed is None
    assert log == [("start", 200), ROLE + HELLO + DONE, "ended"]


async def test_the_time_before_the_first_byte_is_bounded_and_afterwards_it_is_not() -> None:
    failed, log = await run(CannedUpstream(ROLE, None), timeout_secs=0.01)
    assert failed is not None
    assert (failed.failure.kind, log) == (FailureClass.TIMEOUT, [])


async def test_a_hold_and_a_limit_that_end_in_the_same_turn_make_no_second_beginning() -> None:
    """Either the caller has seen nothing and another member may be tried, or it has and is told of the break."""
    asyncio.get_running_loop().call_later(0.04, time.sleep, 0.03)  # a turn that is too long
    failed, log = await run(CannedUpstream(ROLE + HELLO, None), timeout_secs=0.06, hold_secs=0.05)
    assert (failed is None) == (("start", 200) in log)
    assert log == [] or log[-1] == "closed"


async def test_a_frame_without_end_breaks_the_stream_instead_of_growing() -> None:
    huge = b"data: " + b"x" * (FRAME_BYTES_MAX + 1)
    failed, log = await run(CannedUpstream(ROLE + HELLO, huge))
    assert failed is None
    assert isinstance(log[2], bytes)
    assert log[2].startswith(b'data: {"error":')


async def test_a_complete_answer_without_its_terminal_event_is_complete() -> None:
    """Some providers of this dialect omit `[DONE]`."""
    failed, log = await run(CannedUpstream(ROLE + HELLO, FINISH))
    assert failed is None
    assert [entry for entry in log if isinstance(entry, str)] == ["ended"]


async def test_a_whole_answer_that_is_no_json_is_a_failure() -> None:
    failed, log = await run(CannedUpstream(b"<html>", content_type="text/html"), stream=False)
    assert failed is not None
    assert (failed.failure.kind, log) == (FailureClass.SERVER_ERROR, [])


async def test_a_json_error_where_a_stream_was_asked_for_is_judged() -> None:
    body = b'{"error":{"message":"slow down","type":"x","code":429}}'
    failed, log = await run(CannedUpstream(body, content_type="application/json"))
    assert failed is not None
    assert (failed.failure.kind, log) == (FailureClass.RATE_LIMIT, [])
