"""The request log's file: JSON lines, appended by a thread of its own, put aside when it has become large."""

from __future__ import annotations

import contextlib
import logging
import os
import re
import stat
from collections.abc import Callable, Sequence
from itertools import accumulate
from pathlib import Path

from busbar.actors.request_log import Batch, Failed, Result, Sent
from busbar.worker import Worker

logger = logging.getLogger("busbar.telemetry")

MODE = 0o600
"""Of a file that it makes. Of one that it finds, the mode is left alone."""

FILES_KEPT_MAX = 1000

_AS_WRITTEN: int = getattr(os, "O_BINARY", 0)
"""Windows would make two bytes of each line's end."""

_NUMBER = re.compile(r"[1-9][0-9]{0,2}|1000")
"""Of a file that was put aside. What else there is beside the log (`.20260101`, `.bak`) is somebody else's."""


class FileLog:
    """An `Outlet` to one file. See `LogFile` for what is done to it. A disk that hangs holds up its thread only."""

    def __init__(self, path: Path, *, max_bytes: int, files_kept: int) -> None:
        """Starts the thread, which opens the file at once: what is wrong with it is seen at the start."""
        self.name = str(path)
        self._file = LogFile(path, max_bytes=max_bytes, files_kept=files_kept)
        self._worker: Worker[Batch, Result] = Worker(
            "busbar-request-log", self._write, begin=self._open, end=self._file.close
        )

    def __repr__(self) -> str:
        return f"<FileLog {self.name}{', closed' if self._worker.closed else ''}>"

    def submit(self, batch: Batch, done: Callable[[Result], None]) -> None:
        """See `Outlet.submit`. After `close`, every batch fails.

        Raises:
            RuntimeError: no loop is running.
        """
        self._worker.submit(batch, done, refusal=Failed("it is closed"))

    def close(self, timeout_secs: float) -> None:
        """Write what was submitted, and let the file go. Blocks until then, at most so long; idempotent."""
        if not self._worker.close(timeout_secs):
            logger.error("the request log to %s: the disk does not answer, the last records may be lost", self.name)

    def _open(self) -> None:
        try:
            self._file.open()
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or error
            logger.error("the request log to %s cannot be opened: %s", self.name, reason)

    def _write(self, batch: Batch) -> Result:
        try:
            self._file.write(batch)
        except OSError as error:
            return Failed(error.strerror or type(error).__name__)
        except Exception as error:  # supervises: a thread that dies of one batch would write no other
            logger.exception("the request log could not be written")
            return Failed(type(error).__name__)
        return Sent()


class LogFile:
    """Lines, in a file that may be moved, deleted or cut by others meanwhile. Not for several threads.

    A file that would become larger than `max_bytes` is put aside as `.1`, what was there before as `.2` and so on,
    up to `files_kept`; only a record that alone is larger makes a file that is. What is not a regular file (a pipe,
    a terminal) is written to, and no more.
    """

    def __init__(self, path: Path, *, max_bytes: int, files_kept: int) -> None:
        assert 0 <= files_kept <= FILES_KEPT_MAX, "as the configuration has it"
        self._path = path
        self._max_bytes = max_bytes
        self._files_kept = files_kept
        self._fd: int | None = None
        self._written = ("", 0)
        """Of the latest batch: its id, and how many of its records are in the file. So that one that failed half way
        goes on from there when it is tried again."""

    def write(self, batch: Batch) -> None:
        """Append the records. Not synced: what a crash of the machine loses here is no money.

        Raises:
            OSError: not all are written; the same batch may be tried again, and each line is written once.
        """
        self._follow()
        begin = self._written[1] if self._written[0] == batch.id else 0
        while begin < len(batch.records):
            room_bytes = self._room_bytes()
            end = begin + self._fitting(batch.records[begin:], room_bytes)
            if end == begin:
                self._put_aside()
                continue
            self._append(b"".join(record + b"\n" for record in batch.records[begin:end]))
            begin = end
            self._written = (batch.id, begin)

    def open(self) -> None:
        """Have the file, made if there is none. Raises OSError."""
        if self._fd is None:
            flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | _AS_WRITTEN
            self._fd = os.open(self._path, flags, MODE)
            try:
                self._end_torn_line(self._fd)
            except OSError:
                self.close()
                raise

    def close(self) -> None:
        """Let the file go. Idempotent."""
        if self._fd is not None:
            fd, self._fd = self._fd, None
            with contextlib.suppress(OSError):  # what a network disk says late; nobody could do anything about it
                os.close(fd)

    def _follow(self) -> None:
        """Open the path anew when another file is there, or none."""
        if self._fd is not None:
            own = os.fstat(self._fd)
            try:
                there = os.stat(self._path)
            except OSError:
                self.close()
            else:
                if (own.st_dev, own.st_ino) != (there.st_dev, there.st_ino):
                    self.close()
        self.open()

    def _room_bytes(self) -> int | None:
        """Left in the file; None: no bound. An empty one has room for a record of any size."""
        assert self._fd is not None, "it was followed"
        status = os.fstat(self._fd)
        return self._max_bytes - status.st_size if stat.S_ISREG(status.st_mode) else None

    def _fitting(self, records: Sequence[bytes], room_bytes: int | None) -> int:
        if room_bytes is None:
            return len(records)
        ends = accumulate(len(record) + 1 for record in records)
        count = sum(1 for end in ends if end <= room_bytes)
        return max(count, 1) if room_bytes == self._max_bytes else count

    def _append(self, lines: bytes) -> None:
        """All of them, or none: a full disk leaves no half line behind."""
        assert self._fd is not None, "it was followed"
        before = os.fstat(self._fd)
        written = 0
        try:
            while written < len(lines):
                written += os.write(self._fd, lines[written:])
        except OSError:
            if stat.S_ISREG(before.st_mode) and os.fstat(self._fd).st_size == before.st_size + written:
                os.ftruncate(self._fd, before.st_size)
            raise

    def _put_aside(self) -> None:
        self.close()
        for number in sorted(self._numbers(), reverse=True):
            aside = self._aside(number)
            if number >= self._files_kept:
                aside.unlink()
            else:
                aside.rename(self._aside(number + 1))
        if self._files_kept:
            self._path.rename(self._aside(1))
        else:
            self._path.unlink()
        self.open()

    def _numbers(self) -> list[int]:
        """Of the files that were put aside."""
        begin = f"{self._path.name}."
        names = (entry.name for entry in os.scandir(self._path.parent) if entry.name.startswith(begin))
        return [int(name[len(begin) :]) for name in names if _NUMBER.fullmatch(name[len(begin) :])]

    def _aside(self, number: int) -> Path:
        return self._path.with_name(f"{self._path.name}.{number}")

    def _end_torn_line(self, fd: int) -> None:
        """A process that was killed may have left half a line; the next must not be joined to it."""
        status = os.fstat(fd)
        if stat.S_ISREG(status.st_mode) and status.st_size:
            with open(self._path, "rb") as file:
                file.seek(-1, os.SEEK_END)
                if file.read(1) != b"\n":
                    os.write(fd, b"\n")
