"""A real receiver of OTLP over HTTP: what a collector is, as far as a test needs one.

async with OtlpReceiver() as receiver:
    ...
    spans = await receiver.spans(3)
"""

from __future__ import annotations

import asyncio
from types import TracebackType
from typing import Any

from aiohttp import web
from msgspec import Struct
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.common.v1.common_pb2 import AnyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status


class SeenEvent(Struct, frozen=True):
    name: str
    at: int
    attributes: dict[str, Any]


class Seen(Struct, frozen=True, kw_only=True):
    """A span as it arrived. Ids are in hexadecimal, times in nanoseconds."""

    name: str
    kind: str
    trace_id: str
    span_id: str
    parent_id: str
    trace_state: str
    start: int
    end: int
    error: bool
    attributes: dict[str, Any]
    events: tuple[SeenEvent, ...]
    resource: dict[str, Any]
    scope: str


class OtlpReceiver:
    """`status`: what it answers. `hanging`: it reads, and answers nothing until it is stopped."""

    def __init__(self, status: int = 200, *, hanging: bool = False) -> None:
        self.status = status
        self.hanging = hanging
        self.headers: list[dict[str, str]] = []
        """Of each export."""
        self.sizes: list[int] = []
        """Of each export that it took, in spans."""
        self.seen: list[Seen] = []
        self.url = ""
        self._arrived = asyncio.Condition()
        self._stopping = asyncio.Event()

    async def __aenter__(self) -> OtlpReceiver:
        app = web.Application(client_max_size=64 << 20)
        app.router.add_post("/v1/traces", self._export)
        self._runner = web.AppRunner(app)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}"
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stopping.set()
        await self._runner.cleanup()

    async def exports(self, count: int) -> None:
        """Waits until there were so many."""
        async with asyncio.timeout(10), self._arrived:
            await self._arrived.wait_for(lambda: len(self.headers) >= count)

    async def spans(self, count: int) -> list[Seen]:
        """Waits until there are so many, and no more; in the order in which they began."""
        async with asyncio.timeout(10), self._arrived:
            await self._arrived.wait_for(lambda: len(self.seen) >= count)
        assert len(self.seen) == count, [span.name for span in self.seen]
        return sorted(self.seen, key=lambda span: span.start)

    async def _export(self, request: web.Request) -> web.Response:
        assert request.content_type == "application/x-protobuf"
        message = ExportTraceServiceRequest.FromString(await request.read())
        async with self._arrived:
            self.headers.append(dict(request.headers))
            if self.status == 200 and not self.hanging:
                spans = _seen(message)
                self.sizes.append(len(spans))
                self.seen += spans
            self._arrived.notify_all()
        if self.hanging:
            await self._stopping.wait()
        body = ExportTraceServiceResponse().SerializeToString()
        return web.Response(status=self.status, body=body, content_type="application/x-protobuf")


def _seen(message: ExportTraceServiceRequest) -> list[Seen]:
    return [
        Seen(
            name=span.name,
            kind=Span.SpanKind.Name(span.kind).removeprefix("SPAN_KIND_"),
            trace_id=span.trace_id.hex(),
            span_id=span.span_id.hex(),
            parent_id=span.parent_span_id.hex(),
            trace_state=span.trace_state,
            start=span.start_time_unix_nano,
            end=span.end_time_unix_nano,
            error=span.status.code == Status.STATUS_CODE_ERROR,
            attributes=_attributes(span.attributes),
            events=tuple(
                SeenEvent(event.name, event.time_unix_nano, _attributes(event.attributes)) for event in span.events
            ),
            resource=_attributes(batch.resource.attributes),
            scope=scope.scope.name,
        )
        for batch in message.resource_spans
        for scope in batch.scope_spans
        for span in scope.spans
    ]


def _attributes(pairs: Any) -> dict[str, Any]:
    return {pair.key: _value(pair.value) for pair in pairs}


def _value(value: AnyValue) -> Any:
    kind = value.WhichOneof("value")
    if kind == "array_value":
        return [_value(each) for each in value.array_value.values]
    return None if kind is None else getattr(value, kind)
