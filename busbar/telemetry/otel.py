"""The port to a collector of spans: OTLP over HTTP, by OpenTelemetry's exporter, in a thread of its own.

The SDK is imported in that thread, and only where traces are wanted: it takes a tenth of a second. Nothing here is
waited for by anybody who serves requests.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from queue import SimpleQueue
from typing import TYPE_CHECKING, Final

from busbar import __version__
from busbar.actors.traces import Parcel
from busbar.config import Config
from busbar.config.reach import Reach

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import ReadableSpan
    from opentelemetry.sdk.trace.export import SpanExporter

    from busbar.telemetry.spans import Spans

logger = logging.getLogger("busbar.telemetry")

EXPORT_TIMEOUT_SECS: Final = 5.0
"""Of one export, all its tries together; a receiver that is away for longer loses what was sent meanwhile."""

SPANS_PER_EXPORT: Final = 128
"""When so many are gathered, they go. Protobuf puts them together, some 10 µs a span, and lets no other thread run
meanwhile."""

CONTENT_BYTES_PER_EXPORT: Final = 1 << 20
"""When so much of what was said is gathered, it goes: collectors refuse what is too large."""

SPANS_BETWEEN_PAUSES: Final = 16
PAUSE_SECS: Final = 0.0001
"""A span takes some 40 µs to encode, and the thread that does it takes turns with the loop's
(`sys.getswitchinterval`). The pauses hand the interpreter over between spans. A loop that is busy leaves a thread few
turns: then spans are dropped."""

FLUSH_SECS: Final = 2.0
"""How long the end waits for what is still to be exported."""

_Done = Callable[[bool], None]
_Task = tuple[Parcel, _Done, asyncio.AbstractEventLoop]

Places = Mapping[str, tuple[str, str]]
"""Of each member, the upstream model and the base URL."""


def open_traces(config: Config) -> OtlpExport | None:
    """The port to the configured collector; None: there is none. Does not block, and does not fail: a collector that
    cannot be reached only loses spans."""
    observability = config.observability
    if observability.otlp_endpoint is None:
        return None
    url = observability.otlp_endpoint.rstrip("/").removesuffix("/v1/traces") + "/v1/traces"
    headers = {name: value.reveal() for name, value in observability.otlp_headers.items()}
    return OtlpExport(url, headers, places_of(config), reach=Reach(config.security.allow_private))


def places_of(config: Config) -> Places:
    return {
        model.name: (model.upstream_model, config.providers[model.provider].base_url)
        for model in config.models.values()
    }


class OtlpExport:
    """A `SpanExport` with an OTLP receiver at the other end.

    The queue has no bound of its own: who submits knows what is on its way.
    """

    def __init__(
        self,
        url: str,
        headers: Mapping[str, str],
        places: Places,
        timeout_secs: float = EXPORT_TIMEOUT_SECS,
        reach: Reach | None = None,
    ) -> None:
        """`places`: of each member, the upstream model and the base URL. `reach`: whom it may call."""
        self._reach = reach or Reach()
        self._url = url
        self._headers = headers
        self._places = places
        self._timeout_secs = timeout_secs
        self._tasks: SimpleQueue[_Task | Places | None] = SimpleQueue()
        self._closed = False
        self._in_time = True
        """Until `close` has waited long enough."""
        self._exporter: SpanExporter | None = None
        self._lost = 0
        """Spans, since the last that arrived."""
        # A daemon: a receiver that hangs must not keep the process.
        self._thread = threading.Thread(target=self._work, name="busbar-otlp", daemon=True)
        self._thread.start()

    def __repr__(self) -> str:
        return f"<OtlpExport{', closed' if self._closed else ''}>"

    def submit(self, parcel: Parcel, done: _Done) -> None:
        """See `SpanExport.submit`. After `close` nothing is taken.

        Raises:
            RuntimeError: no loop is running.
        """
        loop = asyncio.get_running_loop()
        if self._closed:
            loop.call_soon(done, False)
        else:
            self._tasks.put((parcel, done, loop))

    def learn(self, places: Places) -> None:
        """The members are these from now on."""
        self._tasks.put(places)

    def close(self, flush_secs: float = FLUSH_SECS) -> None:
        """Export what was submitted, if that takes no longer than `flush_secs`. Blocks until then; idempotent."""
        if not self._closed:
            self._closed = True
            self._tasks.put(None)
        self._thread.join(flush_secs)
        self._in_time = False
        if self._thread.is_alive():
            logger.warning("traces: the collector does not take the last spans in time; they are lost")
            if self._exporter is not None:
                self._exporter.shutdown()

    # --- in the thread

    def _work(self) -> None:
        try:
            spans, self._exporter = self._open()
        except Exception:  # supervises: whatever the SDK dislikes, requests go on without traces
            logger.exception("traces: cannot be exported")
            while (task := self._tasks.get()) is not None:
                if isinstance(task, tuple):
                    _tell(task, taken=False)
            return
        while (task := self._tasks.get()) is not None:
            if not isinstance(task, tuple):
                spans.learn(task)
                continue
            taken = self._export(spans, self._exporter, task[0])
            self._note(taken, task[0].spans)
            _tell(task, taken=taken)
        if self._in_time:
            self._exporter.shutdown()

    def _open(self) -> tuple[Spans, SpanExporter]:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import Resource

        from busbar.telemetry.otlp_session import otlp_session
        from busbar.telemetry.spans import Spans

        # It says every failure, and ours are said once.
        logging.getLogger("opentelemetry.exporter.otlp.proto.http.trace_exporter").setLevel(logging.CRITICAL)
        resource = Resource.create(
            {
                "service.name": "busbar",
                "service.version": __version__,
                "service.instance.id": str(uuid.uuid4()),
            }
        )
        exporter = OTLPSpanExporter(
            endpoint=self._url,
            headers=dict(self._headers),
            timeout=self._timeout_secs,
            session=otlp_session(self._url, self._reach),
        )
        return Spans(resource, self._places), exporter

    def _export(self, spans: Spans, exporter: SpanExporter, parcel: Parcel) -> bool:
        """Whether all of it arrived."""
        from opentelemetry.sdk.trace.export import SpanExportResult

        try:
            return all(
                self._in_time and exporter.export(batch) is SpanExportResult.SUCCESS
                for batch in _batches(spans, parcel)
            )
        except Exception:  # supervises: a thread that dies of one parcel would export no other
            logger.exception("traces: %d spans cannot be exported", parcel.spans)
            return False

    def _note(self, taken: bool, spans: int) -> None:
        """Says when the collector stops, or begins again, to take spans."""
        if not taken:
            if not self._lost:
                logger.warning("traces: the collector does not take spans; they are lost until it does")
            self._lost += spans
        elif self._lost:
            logger.warning("traces: the collector takes spans again; %d were lost", self._lost)
            self._lost = 0


class _Unhurried(list["ReadableSpan"]):
    """Goes through its spans with pauses: whoever encodes it lets the loop's thread work meanwhile."""

    def __iter__(self) -> Iterator[ReadableSpan]:
        for number, span in enumerate(super().__iter__()):
            _pause_after(number)
            yield span


def _batches(spans: Spans, parcel: Parcel) -> Iterator[_Unhurried]:
    batch, content_bytes = _Unhurried(), 0
    for traced in parcel.traced:
        if len(batch) + traced.spans > SPANS_PER_EXPORT or content_bytes > CONTENT_BYTES_PER_EXPORT:
            yield batch
            batch, content_bytes = _Unhurried(), 0
        batch.extend(spans.of(traced))
        content_bytes += traced.content_bytes
        _pause_after(len(batch))
    yield batch


def _pause_after(spans: int) -> None:
    if spans % SPANS_BETWEEN_PAUSES == 0:
        time.sleep(PAUSE_SECS)


def _tell(task: _Task, *, taken: bool) -> None:
    _, done, loop = task
    with contextlib.suppress(RuntimeError):  # the loop is closed: nobody is left to hear it
        loop.call_soon_threadsafe(done, taken)
