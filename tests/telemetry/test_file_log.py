"""The request log's file: every line once, whatever becomes of the file and the disk meanwhile."""

from __future__ import annotations

import asyncio
import logging
import os
import resource
import signal
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from busbar.actors.request_log import Batch, Failed, Result, Sent
from busbar.telemetry.file_log import FileLog, LogFile


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "requests.jsonl"


def log_file(path: Path, max_bytes: int = 1 << 20, files_kept: int = 3) -> LogFile:
    return LogFile(path, max_bytes=max_bytes, files_kept=files_kept)


def batch(name: str, *records: str) -> Batch:
    return Batch(name, tuple(record.encode() for record in records))


def contents(folder: Path) -> dict[str, str]:
    return {path.name: path.read_text() for path in sorted(folder.iterdir())}


@contextmanager
def files_no_larger_than(size_bytes: int) -> Iterator[None]:
    """As a full disk: what is written beyond fails, after the part that fits."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size_bytes, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)


def test_records_are_lines_that_nobody_else_reads(path: Path) -> None:
    file = log_file(path)
    file.write(batch("1", "a", "b"))
    file.write(batch("2", "c"))
    assert path.read_text() == "a\nb\nc\n"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_an_existing_file_is_gone_on_with_and_half_a_line_is_ended(path: Path) -> None:
    path.write_text("old\nhalf")
    log_file(path).write(batch("1", "a"))
    assert path.read_text() == "old\nhalf\na\n"


def test_a_file_that_would_become_larger_is_put_aside_and_the_oldest_go(path: Path) -> None:
    file = log_file(path, max_bytes=6, files_kept=2)
    for number, record in enumerate("abcdefgh"):
        file.write(batch(str(number), record * 2))
    assert contents(path.parent) == {
        "requests.jsonl": "gg\nhh\n",
        "requests.jsonl.1": "ee\nff\n",
        "requests.jsonl.2": "cc\ndd\n",
    }
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_batch_is_spread_over_files_and_a_large_record_has_one_of_its_own(path: Path) -> None:
    log_file(path, max_bytes=6).write(batch("1", "aa", "bb", "cc", "a large one", "dd"))
    assert contents(path.parent) == {
        "requests.jsonl": "dd\n",
        "requests.jsonl.1": "a large one\n",
        "requests.jsonl.2": "cc\n",
        "requests.jsonl.3": "aa\nbb\n",
    }


def test_none_may_be_kept(path: Path) -> None:
    file = log_file(path, max_bytes=6, files_kept=0)
    file.write(batch("1", "aa", "bb", "cc"))
    assert contents(path.parent) == {"requests.jsonl": "cc\n"}


def test_when_fewer_are_kept_than_before_those_over_it_go_and_no_others(path: Path) -> None:
    for suffix in ("1", "2", "7", "bak", "20260101", "01"):
        path.with_name(f"{path.name}.{suffix}").write_text(suffix)
    log_file(path, max_bytes=6, files_kept=2).write(batch("1", "aa", "bb", "cc"))
    assert contents(path.parent) == {
        "requests.jsonl": "cc\n",
        "requests.jsonl.1": "aa\nbb\n",
        "requests.jsonl.2": "1",
        "requests.jsonl.01": "01",
        "requests.jsonl.20260101": "20260101",
        "requests.jsonl.bak": "bak",
    }


def test_a_file_that_was_moved_away_is_made_anew(path: Path) -> None:
    file = log_file(path)
    file.write(batch("1", "a"))
    path.rename(path.with_name("moved"))
    file.write(batch("2", "b"))
    path.unlink()
    file.write(batch("3", "c"))
    assert contents(path.parent) == {"moved": "a\n", "requests.jsonl": "c\n"}


def test_a_file_that_was_cut_is_gone_on_with(path: Path) -> None:
    file = log_file(path)
    file.write(batch("1", "a"))
    os.truncate(path, 0)
    file.write(batch("2", "b"))
    assert path.read_text() == "b\n"


def test_a_full_disk_leaves_no_half_line_and_the_batch_can_be_tried_again(path: Path) -> None:
    file = log_file(path)
    file.write(batch("1", "aaaa"))
    with files_no_larger_than(8):
        with pytest.raises(OSError, match="File too large"):
            file.write(batch("2", "bbbb"))
        assert path.read_text() == "aaaa\n"
    file.write(batch("2", "bbbb"))
    assert path.read_text() == "aaaa\nbbbb\n"


def test_a_batch_that_failed_half_way_goes_on_from_there(path: Path) -> None:
    file = log_file(path, max_bytes=6)
    with files_no_larger_than(8), pytest.raises(OSError, match="File too large"):
        file.write(batch("1", "aa", "bb", "a large one", "cc"))
    file.write(batch("1", "aa", "bb", "a large one", "cc"))
    assert contents(path.parent) == {
        "requests.jsonl": "cc\n",
        "requests.jsonl.1": "a large one\n",
        "requests.jsonl.2": "aa\nbb\n",
    }


def test_a_pipe_is_written_to_and_never_put_aside(path: Path) -> None:
    os.mkfifo(path)
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    file = log_file(path, max_bytes=6)
    file.write(batch("1", "a large one", "bb"))
    assert os.read(reader, 100) == b"a large one\nbb\n"
    os.close(reader)
    file.close()
    assert [each.name for each in path.parent.iterdir()] == [path.name]


# --- the thread


async def written(log: FileLog, batch: Batch) -> Result:
    heard: asyncio.Future[Result] = asyncio.get_running_loop().create_future()
    log.submit(batch, heard.set_result)
    return await heard


async def test_the_thread_writes_what_is_submitted_and_says_so(path: Path) -> None:
    log = FileLog(path, max_bytes=1 << 20, files_kept=1)
    assert await written(log, batch("1", "a")) == Sent()
    assert path.read_text() == "a\n"
    log.close(2.0)
    assert await written(log, batch("2", "b")) == Failed("it is closed")
    assert path.read_text() == "a\n"


async def test_what_was_submitted_before_the_close_is_written(path: Path) -> None:
    log = FileLog(path, max_bytes=1 << 20, files_kept=1)
    heard: list[Result] = []
    for number in range(50):
        log.submit(batch(str(number), str(number)), heard.append)
    await asyncio.to_thread(log.close, 2.0)
    await asyncio.sleep(0)
    assert path.read_text().split() == [str(number) for number in range(50)]
    assert heard == [Sent()] * 50


async def test_a_folder_that_is_missing_is_told_at_the_start_and_may_come_later(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "later" / "requests.jsonl"
    log = FileLog(path, max_bytes=1 << 20, files_kept=1)
    assert await written(log, batch("1", "a")) == Failed("No such file or directory")
    path.parent.mkdir()
    assert await written(log, batch("1", "a")) == Sent()
    log.close(2.0)
    assert path.read_text() == "a\n"
    assert [record.getMessage() for record in caplog.records if record.levelno == logging.ERROR] == [
        f"the request log to {path} cannot be opened: No such file or directory"
    ]


async def test_a_disk_that_hangs_holds_up_the_close_no_longer_than_its_time(path: Path) -> None:
    os.mkfifo(path)  # that nobody reads: to open it takes for ever
    log = FileLog(path, max_bytes=1 << 20, files_kept=1)
    log.submit(batch("1", "a"), lambda _: None)
    began = time.monotonic()
    log.close(0.1)
    assert 0.05 < time.monotonic() - began < 1.0
    os.close(os.open(path, os.O_RDONLY | os.O_NONBLOCK))  # lets the thread go
