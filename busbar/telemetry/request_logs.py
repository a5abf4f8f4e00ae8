"""The request logs that are configured, as sinks for the gateway's plan, and their ends."""

from __future__ import annotations

import asyncio
from pathlib import Path

from busbar.actors.gateway import SinkPlan
from busbar.actors.request_log import RequestLog
from busbar.config.reach import Reach
from busbar.config.schema import ObservabilityConfig
from busbar.telemetry.file_log import FileLog
from busbar.telemetry.records import encode
from busbar.telemetry.webhook import Webhook

CLOSE_SECS = 2.0
"""How long the last records may take on their way out."""


class RequestLogs:
    """What is open. `sinks` are for `GatewayPlan.sinks`."""

    def __init__(self, file: FileLog | None, webhook: Webhook | None) -> None:
        self._file = file
        self._webhook = webhook
        outlets = {"request-log:file": file, "request-log:webhook": webhook}
        self.sinks = tuple(
            SinkPlan(name=name, actor=RequestLog, arguments=(outlet, encode))
            for name, outlet in outlets.items()
            if outlet is not None
        )

    async def close(self) -> None:
        """To be called when the actors have stopped. Takes at most `CLOSE_SECS`, however its receivers are."""
        file, webhook = self._file, self._webhook
        await asyncio.gather(
            *([] if file is None else [asyncio.to_thread(file.close, CLOSE_SECS)]),
            *([] if webhook is None else [webhook.close(CLOSE_SECS)]),
        )


def open_request_logs(observability: ObservabilityConfig, reach: Reach | None = None) -> RequestLogs:
    """Those that the configuration names; `reach`: whom they may call. Raises nothing: what is wrong with a file or a
    receiver is told in the log."""
    path, url = observability.request_log_file, observability.request_log_webhook_url
    return RequestLogs(
        None
        if path is None
        else FileLog(
            Path(path),
            max_bytes=observability.request_log_file_max_bytes,
            files_kept=observability.request_log_files_kept,
        ),
        None if url is None else Webhook(url, observability.request_log_webhook_secret, reach=reach),
    )
