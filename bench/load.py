"""The load generator: its own process, one job per line of standard input, one result per line of standard output.

    python -m bench.load

It is Python, and shares a core with the upstream: the requests per second of a fast contender are what these two can
drive.
"""

from __future__ import annotations

import asyncio
import gc
import random
import sys
import time
from collections import Counter, deque
from typing import cast

import msgspec
import uvloop
from msgspec import Struct

from bench.answer import AnswerReader, BrokenAnswer
from bench.figures import percentile

now = time.perf_counter  # a loop's own clock may count whole milliseconds

GRACE_SECS = 15.0
"""After the end of a job, for what is still being answered."""
RECONNECT_SECS = 0.05
HEARTBEAT_SECS = 0.05
"""How often the generator looks whether it was held up itself."""


class Job(Struct, frozen=True, kw_only=True):
    """What to send where, and what a complete answer has."""

    port: int
    path: str
    headers: dict[str, str]
    body: str
    connections: int
    ramp_secs: float
    seconds: float
    rate_per_sec: float
    at_random: bool
    word: str
    words: int
    ending: str
    stall_secs: float = 0
    """A caller who hears nothing for longer was let down, whatever comes then; 0: not looked at."""


class Result(Struct, frozen=True, kw_only=True):
    """What came of a job. Times to the first token are from the request to the first event with content."""

    answers: int
    failures: dict[str, int]
    elapsed_secs: float
    p50_us: float
    p99_us: float
    first_p50_us: float
    first_p99_us: float
    gap_max_us: float = 0
    """The longest time that a caller heard nothing; looked at with `stall_secs` only."""
    late_max_us: float = 0
    """The longest time that this process did not get to look."""


class Connection(asyncio.Protocol):
    """One connection with at most one request on it."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self._reader = AnswerReader()
        self._asked_at = 0.0
        self._first_at = 0.0
        self._heard_at = 0.0
        self._gap_max_secs = 0.0
        self.busy = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)  # uvloop's does not inherit
        self._run.is_ready(self)

    def ask(self, due: float) -> None:
        """Sends the request. Its latency counts from `due`."""
        self._asked_at, self._first_at, self.busy = due, 0.0, True
        self._heard_at, self._gap_max_secs = due, 0.0
        self._reader.reset()
        self.transport.write(self._run.request)

    def data_received(self, data: bytes) -> None:
        run, reader = self._run, self._reader
        if not self.busy:
            run.failed("bytes that nobody asked for")
            self.transport.abort()
            return
        if run.stall_secs:
            heard_at = now()
            self._gap_max_secs = max(self._gap_max_secs, heard_at - self._heard_at)
            self._heard_at = heard_at
        try:
            complete = reader.feed(data)
        except BrokenAnswer as error:
            self.busy = False
            run.failed(str(error))
            self.transport.abort()
            return
        if not self._first_at and run.word in reader.body:
            self._first_at = now()
        if complete:
            self.busy = False
            run.answered(reader, self._asked_at, self._first_at, self._gap_max_secs)
            if reader.closes:
                self.transport.close()
            else:
                run.is_ready(self)

    def connection_lost(self, error: Exception | None) -> None:
        if self.busy:
            self.busy = False
            self._run.failed("connection lost")
        self._run.was_lost(self)


class Run:
    """One job, from the first connection to the last answer."""

    def __init__(self, job: Job) -> None:
        loop = asyncio.get_running_loop()
        self.word = job.word.encode()
        self.stall_secs = job.stall_secs
        headers = "".join(f"{name}: {value}\r\n" for name, value in job.headers.items())
        body = job.body.encode()
        head = f"POST {job.path} HTTP/1.1\r\nhost: 127.0.0.1:{job.port}\r\ncontent-type: application/json\r\n"
        self.request = f"{head}{headers}content-length: {len(body)}\r\n\r\n".encode() + body
        self._loop = loop
        self._job = job
        self._ending = job.ending.encode()
        self._connections: set[Connection] = set()
        self._idle: set[Connection] = set()
        self._waiting: deque[float] = deque()
        self._opening: set[asyncio.Task[None]] = set()
        self._latencies: list[float] = []
        self._first: list[float] = []
        self._gap_max_secs = 0.0
        self._late_max_secs = 0.0
        self._failures: Counter[str] = Counter()
        self._over: asyncio.Future[None] = loop.create_future()
        self._started_at = now()
        self._chance = random.Random(0)  # the same times for everybody, in every round
        self._stopping = False

    async def go(self) -> Result:
        for number in range(self._job.connections):
            self._loop.call_later(self._job.ramp_secs * number / self._job.connections, self._open)
        if self._job.rate_per_sec:
            self._tick(0.0)
        self._loop.call_later(self._job.seconds, self._stop)
        self._beat(now())
        try:
            async with asyncio.timeout(self._job.seconds + GRACE_SECS):
                await self._over
        except TimeoutError:
            self._failures["not answered"] += sum(each.busy for each in self._connections) + len(self._waiting)
        elapsed_secs = now() - self._started_at
        self._close()
        return Result(
            answers=len(self._latencies),
            failures=dict(self._failures),
            elapsed_secs=elapsed_secs,
            p50_us=percentile(self._latencies, 50) * 1e6,
            p99_us=percentile(self._latencies, 99) * 1e6,
            first_p50_us=percentile(self._first, 50) * 1e6,
            first_p99_us=percentile(self._first, 99) * 1e6,
            gap_max_us=self._gap_max_secs * 1e6,
            late_max_us=self._late_max_secs * 1e6,
        )

    # --- told by connections

    def is_ready(self, connection: Connection) -> None:
        self._connections.add(connection)
        if self._waiting:
            connection.ask(self._waiting.popleft())
        elif self._job.rate_per_sec or self._stopping:
            self._idle.add(connection)
            self._look_whether_over()
        else:
            connection.ask(now())

    def answered(self, reader: AnswerReader, asked_at: float, first_at: float, gap_max_secs: float) -> None:
        answered_at = now()
        self._gap_max_secs = max(self._gap_max_secs, gap_max_secs)
        fault = self._fault(reader)
        if fault is None and gap_max_secs - self._late_max_secs > self.stall_secs > 0:
            fault = "stalled"
        if fault is not None:
            self._failures[fault] += 1
            return
        self._latencies.append(answered_at - asked_at)
        self._first.append(first_at - asked_at)

    def failed(self, reason: str) -> None:
        self._failures[reason] += 1

    def was_lost(self, connection: Connection) -> None:
        self._connections.discard(connection)
        self._idle.discard(connection)
        if self._waiting or not self._stopping:
            self._open()
        else:
            self._look_whether_over()

    # --- the inside

    def _fault(self, reader: AnswerReader) -> str | None:
        if reader.status != 200:
            return f"status {reader.status}"
        if reader.body.count(self.word) != self._job.words:
            return "events are missing or too many"
        if not reader.body.endswith(self._ending):
            return "no end of the answer"
        return None

    def _beat(self, due_at: float) -> None:
        """What this process, or the machine, holds up is not what a contender does."""
        looked_at = now()
        self._late_max_secs = max(self._late_max_secs, looked_at - due_at)
        if not self._over.done():
            self._loop.call_later(HEARTBEAT_SECS, self._beat, looked_at + HEARTBEAT_SECS)

    def _tick(self, due_secs: float) -> None:
        """One request of an open loop, due so long after the start. Its latency counts from now: timers are exact to
        a millisecond only."""
        if self._stopping:
            return
        asked_at = now()
        if self._idle:
            self._idle.pop().ask(asked_at)
        else:
            self._waiting.append(asked_at)
        due_secs += self.until_next_secs()
        self._loop.call_later(max(0.0, self._started_at + due_secs - asked_at), self._tick, due_secs)

    def until_next_secs(self) -> float:
        """Between two requests of an open loop."""
        rate = self._job.rate_per_sec
        return self._chance.expovariate(rate) if self._job.at_random else 1 / rate

    def _open(self) -> None:
        task = self._loop.create_task(self._connect())
        self._opening.add(task)
        task.add_done_callback(self._opening.discard)

    async def _connect(self) -> None:
        while not self._over.done() and (self._waiting or not self._stopping):
            try:
                await self._loop.create_connection(lambda: Connection(self), "127.0.0.1", self._job.port)
            except OSError:
                self.failed("connection refused")
                await asyncio.sleep(RECONNECT_SECS)
            else:
                return

    def _stop(self) -> None:
        self._stopping = True
        self._look_whether_over()

    def _look_whether_over(self) -> None:
        busy = self._waiting or any(each.busy for each in self._connections)
        if self._stopping and not busy and not self._over.done():
            self._over.set_result(None)

    def _close(self) -> None:
        if not self._over.done():
            self._over.set_result(None)
        for task in self._opening:
            task.cancel()
        for connection in self._connections.copy():
            connection.busy = False
            connection.transport.abort()


async def _run(job: Job) -> Result:
    result = await Run(job).go()
    await asyncio.sleep(0)
    return result


def main() -> None:
    gc.disable()
    for line in sys.stdin:
        result = uvloop.run(_run(msgspec.json.decode(line, type=Job)))
        print(msgspec.json.encode(result).decode(), flush=True)
        gc.collect()


if __name__ == "__main__":
    main()
