"""The audit log as a file: one JSON record a line, appended. Rotating it is the system's business: a file that was
moved away is opened anew."""

from __future__ import annotations

import json
import logging
from logging.handlers import WatchedFileHandler

from busbar.actors.audit import FIELDS, audit
from busbar.telemetry.process_log import Behind
from busbar.telemetry.records import timestamp


class AuditLogUnusable(Exception):
    """The file cannot be written."""


class AuditLog:
    """Open while the gateway runs. Written by a thread of its own."""

    def __init__(self, path: str) -> None:
        """Raises `AuditLogUnusable`."""
        try:
            stream = WatchedFileHandler(path, encoding="utf-8")
        except OSError as error:
            raise AuditLogUnusable(f"observability.audit_log_file: {path}: {error.strerror}") from None
        stream.setFormatter(_Lines())
        self._behind = Behind(stream)
        self._stream = stream
        audit.addHandler(self._behind)
        if not audit.isEnabledFor(logging.INFO):  # a record is one, however little else is logged
            audit.setLevel(logging.INFO)

    def close(self) -> None:
        """What was recorded is written. Blocks for a second at the most."""
        audit.removeHandler(self._behind)
        self._behind.close()
        self._stream.close()


def open_audit_log(path: str | None) -> AuditLog | None:
    """None: there is to be none. Raises `AuditLogUnusable`."""
    return None if path is None else AuditLog(path)


class _Lines(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        fields = getattr(record, FIELDS, None) or {"message": record.getMessage()}
        return json.dumps({"ts": timestamp(record.created), **fields}, default=str)
