"""The audit log as a file: one JSON record a line, appended. Rotating it is the system's business: a file that was
moved away is opened anew."""

from __future__ import annotations

import contextlib
import json
import logging
from logging.handlers import WatchedFileHandler

from busbar.actors.audit import FIELDS, audit
from busbar.telemetry.process_log import Behind
from busbar.telemetry.records import timestamp

logger = logging.getLogger("busbar")


class AuditLogUnusable(Exception):
    """The file cannot be written."""


class AuditLog:
    """Open while the gateway runs. Written by a thread of its own. What cannot be written (no space, no folder) is
    lost here, and is in the process's log; that it is so is said once, until something can be written again."""

    def __init__(self, path: str) -> None:
        """Raises `AuditLogUnusable`."""
        try:
            stream = _File(path, encoding="utf-8")
        except OSError as error:
            raise AuditLogUnusable(f"observability.audit_log_file: {path}: {error.strerror}") from None
        stream.setFormatter(_Lines())
        self._behind = Behind(stream)
        self._stream = stream
        self._level = audit.level
        audit.addHandler(self._behind)
        if not audit.isEnabledFor(logging.INFO):  # a record is one, however little else is logged
            audit.setLevel(logging.INFO)

    def close(self) -> None:
        """What was recorded is written. Blocks for a second at the most."""
        audit.removeHandler(self._behind)
        audit.setLevel(self._level)
        self._behind.close()
        self._stream.close()


def open_audit_log(path: str | None) -> AuditLog | None:
    """None: there is to be none. Raises `AuditLogUnusable`."""
    return None if path is None else AuditLog(path)


class _File(WatchedFileHandler):
    """The library's own lets the thread die that cannot open the file anew, and prints tracebacks."""

    _failing = False

    def emit(self, record: logging.LogRecord) -> None:
        try:
            self.reopenIfNeeded()
            if self.stream is None:
                self.stream = self._open()
                self._statstream()
            self.stream.write(self.format(record) + self.terminator)
            self.stream.flush()
        except OSError as error:
            self._fail(error)
        else:
            self._failing = False

    def _fail(self, error: OSError) -> None:
        # What could not be flushed is still in the stream, and would come with the next record: half of it, perhaps.
        stream, self.stream = self.stream, None
        if stream is not None:
            with contextlib.suppress(OSError):
                stream.close()
        if not self._failing:
            self._failing = True
            logger.error("observability.audit_log_file: %s: %s", self.baseFilename, error.strerror)


class _Lines(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        fields = getattr(record, FIELDS, None) or {"message": record.getMessage()}
        return json.dumps({"ts": timestamp(record.created), **fields}, default=str)
