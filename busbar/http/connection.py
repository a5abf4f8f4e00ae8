"""One caller's connection: aiohttp's protocol, guarded against callers that hold it open and send or take nothing
whole.

Plain requests (`plain.py`) it reads itself, one after the other, and aiohttp does not see them. With the first
request that is not plain the connection is aiohttp's for good.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Protocol, cast

from aiohttp import web

from busbar.config.schema import LimitsConfig
from busbar.http.outbox import Outbox
from busbar.http.plain import HEADER_FIELD_BYTES_MAX, HEADERS_MAX, Head, may_become_plain, read_head
from busbar.http.ports import CallerGone
from busbar.http.screen import answer_to_malformed
from busbar.http.write_clock import WriteClock

logger = logging.getLogger("busbar.http")

LINGERING_SECS = 1.0
"""For the rest of a body that was refused, so that the caller gets to read why before the connection closes."""

HEAD_SLACK_BYTES = 1 << 20
"""What may come besides a head before it is seen to be whole: the beginning of its body."""

OPENING_BYTES = 4096
"""Of a request that cannot be read, so much is looked at, for its path."""


OUT_BYTES_MAX = 64 << 10
"""What waits for the end of the loop's turn is sent at once when it is more than this: only then it shows whether the
caller is slow."""

PIPELINED_BYTES_MAX = 64 << 10
"""Reading pauses when more than this waits for the answer to a plain request before it."""


class Plain(Protocol):
    """A plain request that is being answered: an exchange."""

    kept: bool
    missing_bytes: int
    """Of its body."""
    task: asyncio.Task[None] | None

    def take(self, data: bytes) -> bytes:
        """More of its body. Gives back what is beyond it."""
        ...


class Door(Protocol):
    """Where plain requests are answered."""

    limits: LimitsConfig
    """Those that are in effect."""

    def begin(self, connection: Connection, head: Head, first: bytes, missing_bytes: int) -> Plain | None:
        """Begins to answer one; its task calls `Connection.plain_over` in the end. `first` is what there is of its
        body. None: it is aiohttp's after all."""
        ...


class Connection(web.RequestHandler):
    """Closes itself when a request's header is not complete in time: the clock runs from the connection's start, and
    from the first byte after an answer. A body has its own clock (see `AiohttpExchange.body`). A connection on which
    nothing is asked is closed after `idle_timeout_secs`; one whose caller does not take what it was sent, after
    `write_timeout_secs`.

    `has_room` says whether one more connection is within the bound; else it is closed as soon as it is made.
    """

    __slots__ = (
        *("_guard", "_has_room", "_head_bytes", "_limits", "_opening", "_serving", "_slow", "_untaken", "_wire"),
        *("_aiohttps", "_door", "_head", "_held", "_idle", "_idle_since", "_linger", "_out", "_outbox", "_plain"),
        *("_out_bytes", "_rest", "_writers", "leaving"),
    )

    def __init__(
        self,
        server: web.Server,
        loop: asyncio.AbstractEventLoop,
        *,
        limits: LimitsConfig,
        has_room: Callable[[], bool],
        door: Door,
        outbox: Outbox,
    ) -> None:
        super().__init__(
            server,
            loop=loop,
            access_log=None,  # type: ignore[arg-type]  # None is documented as: no access log
            keepalive_timeout=limits.idle_timeout_secs,
            lingering_time=LINGERING_SECS,
            max_headers=HEADERS_MAX,
            max_line_size=HEADER_FIELD_BYTES_MAX,
            max_field_size=HEADER_FIELD_BYTES_MAX,
            auto_decompress=False,  # a kilobyte may be a gigabyte
        )
        self._limits = limits
        self._has_room = has_room
        self._guard: asyncio.TimerHandle | None = None
        self._untaken: WriteClock | None = None
        """None: there is no transport yet, or any more."""
        self._serving = False
        self._head_bytes = 0
        self._opening = b""
        self._wire: asyncio.Transport | None = None
        """The transport until it is lost; aiohttp forgets it when it begins to close."""
        self._slow = False
        """The caller takes no more for now."""
        self._writers: list[asyncio.Future[None]] = []
        """Wait until what was written has gone out, as far as the transport wants it to."""
        self._outbox = outbox
        self._out: list[bytes] = []
        """To be sent at the end of the loop's turn."""
        self._out_bytes = 0
        self._door = door
        self._aiohttps = False
        """Something was not plain."""
        self._head: Head | None = None
        """Of the last plain request."""
        self._held = b""
        """The first part of what may become a plain head."""
        self._plain: Plain | None = None
        """The one that is being answered, and, while it is, what came after it."""
        self._rest = b""
        self._linger = 0
        """Bytes that are still to come of a body that was refused."""
        self._idle: asyncio.TimerHandle | None = None
        self._idle_since = 0.0
        self.leaving = False
        """Whether the connection ends with the plain request that is being answered."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._wire = wire = cast(asyncio.Transport, transport)  # uvloop's are of no class of asyncio's
        self._untaken = WriteClock(wire, self._outbox.loop, self._limits.write_timeout_secs)
        super().connection_made(transport)
        if self._has_room():
            self.keep_alive(False)  # aiohttp's clock runs from the first request that it answers
            self._watch()
        else:
            self.force_close()

    def data_received(self, data: bytes) -> None:
        if not self._aiohttps:
            if self._plain is None:
                data = self._read_plain(data)
            else:
                self._go_on(self._plain, data)
                return
            if not data:
                return
            self._aiohttps = True
            self._head = None
        if not self._serving:
            if self._guard is None:
                self._watch()
            if not self._head_bytes:
                self._opening = data[:OPENING_BYTES]
            self._head_bytes += len(data)
            if self._head_bytes > self._limits.headers_max_bytes + HEAD_SLACK_BYTES:
                self.force_close()
                return
        super().data_received(data)

    def connection_lost(self, exc: BaseException | None) -> None:
        if self._plain is not None and self._plain.task is not None:
            self._plain.task.cancel()
        if self._idle is not None:
            self._idle.cancel()
            self._idle = None
        self._unwatch()
        if self._untaken is not None:
            self._untaken.stop()
        self._untaken = self._wire = None
        self._out.clear()
        self._wake_writers()
        super().connection_lost(exc)

    def send(self, *pieces: bytes) -> Awaitable[None] | None:
        """Sends them at the end of the loop's turn, or now, if much waits already. An awaitable means: wait, the
        caller is slow. Raises `CallerGone`."""
        transport = self.transport
        if transport is None or transport.is_closing():
            raise CallerGone
        out = self._out
        if not out:
            self._outbox.add(self)
            self._out_bytes = 0
        for piece in pieces:
            out.append(piece)
            self._out_bytes += len(piece)
        if self._out_bytes > OUT_BYTES_MAX:
            self.flush()
        return self.drained() if self._slow else None

    def flush(self) -> None:
        """Sends now what waits for the end of the turn."""
        out, transport = self._out, self.transport
        if not out:
            return
        pieces = tuple(out) if self._out_bytes > OUT_BYTES_MAX else (b"".join(out),)  # large ones are not copied
        out.clear()
        if transport is not None and not transport.is_closing():
            for piece in pieces:
                transport.write(piece)
            if self._plain is None and not self._serving and self._untaken is not None:
                self._untaken.look()

    def eof_received(self) -> None:
        self.flush()  # the transport closes itself now

    def pause_writing(self) -> None:
        super().pause_writing()
        self._slow = True
        if self._untaken is not None:
            self._untaken.stop()  # what was left of another answer is another matter
            self._untaken.run()

    def resume_writing(self) -> None:
        super().resume_writing()
        self._slow = False
        if self._untaken is not None:
            self._untaken.stop()
        self._wake_writers()

    async def drained(self) -> None:
        """Until more may be written: who reads slowly slows down whoever writes to it. Raises `CallerGone`."""
        while self._slow and self.transport is not None:
            waiter = self._outbox.loop.create_future()
            self._writers.append(waiter)
            await waiter
        if self.transport is None:
            raise CallerGone

    def close(self) -> None:
        if self._plain is not None:
            self.leaving = True
        else:
            super().close()

    def force_close(self) -> None:
        self.flush()
        super().force_close()  # what was written is still to go out
        if self._untaken is not None:
            self._untaken.run()

    async def shutdown(self, timeout: float | None = 15.0) -> None:  # noqa: ASYNC109  # aiohttp's signature
        plain = self._plain
        if plain is not None and plain.task is not None:
            await asyncio.wait([plain.task], timeout=timeout)
            plain.task.cancel()
            await asyncio.wait([plain.task], timeout=timeout)
        await super().shutdown(timeout)

    def plain_over(self, plain: Plain) -> None:
        """The plain request is answered, or nobody is left to answer it."""
        self._plain = None
        transport = self.transport
        if transport is None:
            return
        if plain.missing_bytes:
            self._linger = plain.missing_bytes
            self._guard = self._outbox.loop.call_later(LINGERING_SECS, self.force_close)
        elif self.leaving or not plain.kept:
            self.force_close()
        else:
            if not self._out and self._untaken is not None:
                self._untaken.look()
            self._rests()

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """For aiohttp: the answer to what is no HTTP, or to a control page that failed. The connection ends."""
        if status >= 500:
            logger.error("a request failed unexpectedly", exc_info=exc)
        if request.writer.output_size > 0:
            raise ConnectionError("an answer has begun")
        return answer_to_malformed(exc, status, self._opening or f"{request.method} {request.raw_path}".encode())

    def request_began(self) -> None:
        """A request's header is complete."""
        self._serving = True
        if self._untaken is not None:
            self._untaken.look()
        self._head_bytes = 0
        self._opening = b""
        self._unwatch()

    def request_ended(self) -> None:
        self._serving = False
        self.flush()  # before aiohttp goes on, and perhaps closes the connection
        if self._untaken is not None:
            self._untaken.look()

    # --- plain requests

    def _read_plain(self, data: bytes) -> bytes:
        """Begins with the one that `data` begins with. Gives back what is aiohttp's to read: nothing, or all."""
        if self._linger:
            self._linger -= len(data)
            if self._linger <= 0:
                self.force_close()
            return b""
        data = self._held + data if self._held else data
        head, size, length = self._head, 0, 0
        if head is not None:
            size, length = head.measure(data)
        if not size or head is None:
            head = self._head = read_head(data, self._door.limits.headers_max_bytes)
            if head is None:
                return self._not_plain(data)
            size, length = head.measure(data)
        end = size + length
        plain = self._door.begin(self, head, data[size:end], max(0, end - len(data)))
        if plain is None:
            return self._not_plain(data)
        self._plain = plain
        self._held = b""
        if self._guard is not None:
            self._unwatch()
        if self._untaken is not None and self._untaken.timer is not None:
            self._untaken.look()
        if len(data) > end:
            self._go_on(plain, data[end:])
        return b""

    def _not_plain(self, data: bytes) -> bytes:
        """What aiohttp gets of it: a head that came in two pieces is looked at once more."""
        if self._held or not may_become_plain(data):
            self._held = b""
            return data
        self._held = data
        if self._guard is None:
            self._watch()
        return b""

    def _go_on(self, plain: Plain, data: bytes) -> None:
        rest = plain.take(data) if plain.missing_bytes else data
        if rest:
            self._rest += rest
            if len(self._rest) > PIPELINED_BYTES_MAX and self._wire is not None:
                self._wire.pause_reading()

    def _rests(self) -> None:
        """Nothing is being answered: on with what came meanwhile, if anything did."""
        loop = self._outbox.loop
        self._idle_since = loop.time()
        if self._idle is None:
            self._idle = loop.call_later(self._limits.idle_timeout_secs, self._look_whether_idle)
        if self._rest:
            rest, self._rest = self._rest, b""
            if len(rest) > PIPELINED_BYTES_MAX and self._wire is not None:
                self._wire.resume_reading()
            self.data_received(rest)

    def _look_whether_idle(self) -> None:
        """The clock is set once, not for every request; from the first that is not plain it is aiohttp's."""
        self._idle = None
        if self._aiohttps or self.transport is None:
            return
        loop = self._outbox.loop
        since = loop.time() if self._plain is not None else self._idle_since
        left_secs = since + self._limits.idle_timeout_secs - loop.time()
        if left_secs > 0:
            self._idle = loop.call_later(left_secs, self._look_whether_idle)
        else:
            self.force_close()

    # --- the clocks

    def _wake_writers(self) -> None:
        while self._writers:
            waiter = self._writers.pop()
            if not waiter.done():
                waiter.set_result(None)

    def _watch(self) -> None:
        loop = self._outbox.loop
        self._guard = loop.call_later(self._limits.header_timeout_secs, self.force_close)

    def _unwatch(self) -> None:
        if self._guard is not None:
            self._guard.cancel()
            self._guard = None
