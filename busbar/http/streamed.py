"""A streamed answer of one attempt, from the provider's head to the caller's terminal event, or to where it broke."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import NoReturn

from busbar.http.answering import Answering
from busbar.http.bill import Unrecorded
from busbar.http.call import Failed
from busbar.http.denials import UNRECORDED
from busbar.http.headers import relayed
from busbar.http.ports import UpstreamAnswer, UpstreamBroken
from busbar.http.recovery import Recovery
from busbar.http.stream_relay import InBandError, StreamRelay
from busbar.protocols.errors import report_of
from busbar.protocols.failures import Failure, FailureClass, FailureSignal
from busbar.protocols.framing import BrokenFraming
from busbar.protocols.protocol import StreamPipe


class StreamedAnswer:
    """Relays one. It ends whole, or comes back as `Failed` while the caller has seen nothing that could not be gone
    on with, or is broken off."""

    __slots__ = (
        "_answering",
        "_call",
        "_spent",
    )

    def __init__(self, answering: Answering) -> None:
        self._answering = answering
        self._call = answering.call
        self._spent = answering.spent

    async def relay(self, answer: UpstreamAnswer) -> Failed | None:
        """Raises `Unrecorded`, `Diverged`, `CallerGone`."""
        it, call = self._answering, self._call
        pipe = self._pipe()
        content_type = call.ingress.framing_content_types.get(call.framing, call.ingress.stream_content_type)
        headers = relayed(answer.headers) if it.same else it.foreign_headers(content_type)
        if call.framing:
            headers["content-type"] = content_type

        async def begin() -> None:
            it.first_byte()
            if not call.resumed:
                await call.exchange.start(200, it.answer_headers({"cache-control": "no-cache", **headers}))

        relay = StreamRelay(
            pipe,
            call.exchange,
            begin=begin,
            content=it.content,
            ending=None if self._spent is None else partial(self._settle, pipe),
            finished=it.linger,
            hold_secs=call.hold_secs,
        )
        try:
            failure = await self._pump(answer, relay)
        except Unrecorded:
            await relay.stop()
            await self._withhold(relay, begun=relay.begun or call.resumed)
        finally:
            await relay.stop()
            it.usage = pipe.usage
            it.pace = relay.pace()
        if failure is None:
            return None
        if not relay.begun:
            return Failed(failure=failure, refund=True)
        if call.recovery is not None:
            return await self._recover(call.recovery, failure, relay)
        await self._break_off(failure, relay)
        return None

    def _pipe(self) -> StreamPipe:
        """What stands between the provider's stream and the caller's."""
        it, call, recovery = self._answering, self._call, self._call.recovery
        if it.crossing is None:
            tap = it.lane.protocol.stream_tap(call.framing)
            return tap if recovery is None else recovery.watch_tap(tap, it.lane.protocol, it.hop())
        if recovery is not None and recovery.begun:
            return it.crossing.resume(recovery.delivered, it.prefill, on_whole=it.keep_aside, on_heard=it.heard)
        translator = it.crossing.stream(on_whole=it.keep_aside)
        return translator if recovery is None else recovery.watch(translator, it.hop())

    async def _pump(self, answer: UpstreamAnswer, relay: StreamRelay) -> Failure | None:
        """Runs the stream to its end. None: it is whole."""
        watch = self._answering.waiting_for.watch()
        try:
            sink = relay.sink if self._spent is None else self._spent.metered(relay.sink)
            if watch is None:
                await answer.stream(sink)
            else:
                with watch:
                    await answer.stream(watch.around(sink))
            if await relay.close():
                return None
            reason, kind = "The stream ended before the answer did.", FailureClass.NETWORK
        except TimeoutError:
            reason, kind = "The stream came to a halt.", FailureClass.TIMEOUT
        except asyncio.CancelledError:
            # The limit on the time before the caller's first byte may be due in the turn in which that went out.
            if not (relay.begun and self._answering.waiting_for.ended_it):
                raise
            reason, kind = "The stream came to a halt.", FailureClass.TIMEOUT
        except InBandError as error:
            return self._answering.judge(error.signal)
        except UpstreamBroken as broken:
            reason, kind = "The connection broke in the middle of the answer.", broken.kind
        except BrokenFraming:
            reason, kind = "The stream could not be read.", FailureClass.SERVER_ERROR
        # What comes after the terminal event is the connection's affair: the caller has a whole answer.
        return None if relay.finished else Failure(kind=kind, signal=FailureSignal(message=reason))

    async def _settle(self, pipe: StreamPipe) -> None:
        """Before a stream's terminal event."""
        assert self._spent is not None, "somebody is charged"
        self._answering.waiting_for.streaming()
        self._spent.whole_stream(pipe.usage)
        await self._spent.settle()

    # --- what breaks

    async def _recover(self, recovery: Recovery, failure: Failure, relay: StreamRelay) -> Failed | None:
        """A stream that has started broke: its end is written if that is all, else another member goes on with it."""
        it = self._answering
        end = recovery.closing(self._call.ingress, it.crossing)
        if end is not None:
            it.keep_aside()
            if self._spent is not None:
                self._spent.whole_stream(it.usage)
                try:
                    await self._spent.settle()
                except Unrecorded:
                    await self._withhold(relay, begun=True)
            await relay.finish(end)
            return Failed(failure=failure, answered=True)
        it.charge_left()
        if recovery.broke(failure, relay):
            return Failed(failure=failure)
        await self._break_off(failure, relay)
        return None

    async def _withhold(self, relay: StreamRelay, *, begun: bool) -> NoReturn:
        """The end of an answer that could not be recorded. Raises `Unrecorded`."""
        if begun:
            await relay.break_off(UNRECORDED)
        raise Unrecorded(told=begun)

    async def _break_off(self, failure: Failure, relay: StreamRelay) -> None:
        self._answering.broken = failure
        self._answering.charge_left()
        await relay.break_off(report_of(failure))
