"""The audit log's file, whatever becomes of the disk under it."""

from __future__ import annotations

import json
import logging
import os
import resource
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from busbar.actors.audit import record
from busbar.telemetry.audit_log import AuditLog, AuditLogUnusable


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    audit = logging.getLogger("busbar.audit")
    before = audit.level
    audit.setLevel(logging.NOTSET)  # whatever ran before
    yield
    assert audit.handlers == [], "a log that is closed leaves nothing behind"
    assert audit.level == logging.NOTSET
    audit.setLevel(before)


def lines(path: Path) -> list[Any]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def written(log: AuditLog) -> None:
    """Until what was recorded is."""
    log._behind.flush()


def test_records_are_in_order_and_none_is_lost_at_the_end(tmp_path: Path) -> None:
    log = AuditLog(str(tmp_path / "audit.jsonl"))
    for number in range(2_000):
        record("admin", "create", id=f"vk_{number}")
    log.close()
    assert [line["id"] for line in lines(tmp_path / "audit.jsonl")] == [f"vk_{number}" for number in range(2_000)]


def test_a_name_with_a_line_break_is_no_second_record(tmp_path: Path) -> None:
    log = AuditLog(str(tmp_path / "audit.jsonl"))
    name = 'x\n{"who": "admin", "action": "forged"}\r\u2028'
    record("admin", "inject", member=name)
    log.close()
    (line,) = lines(tmp_path / "audit.jsonl")
    assert (line["action"], line["member"]) == ("inject", name)


def test_a_file_that_was_moved_away_is_opened_anew(tmp_path: Path) -> None:
    path, aside = tmp_path / "audit.jsonl", tmp_path / "audit.jsonl.1"
    log = AuditLog(str(path))
    record("admin", "create", id="one")
    written(log)
    path.rename(aside)
    record("admin", "create", id="two")
    log.close()
    assert ([line["id"] for line in lines(aside)], [line["id"] for line in lines(path)]) == (["one"], ["two"])


def test_a_folder_that_goes_away_and_comes_back_costs_what_came_meanwhile_and_no_more(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = tmp_path / "logs"
    folder.mkdir()
    path = folder / "audit.jsonl"
    log = AuditLog(str(path))
    record("admin", "create", id="one")
    written(log)
    folder.rename(tmp_path / "old")
    record("admin", "create", id="two")
    record("admin", "create", id="three")
    written(log)
    folder.mkdir()
    record("admin", "create", id="four")
    log.close()
    assert [line["id"] for line in lines(path)] == ["four"]
    said = [it.getMessage() for it in caplog.records if it.name == "busbar"]
    assert said == [f"observability.audit_log_file: {path}: No such file or directory"], "said once"


@pytest.mark.skipif(not hasattr(signal, "SIGXFSZ"), reason="needs a limit on the size of files")
def test_a_disk_that_is_full_is_said_once_and_written_to_again_when_it_is_not(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "audit.jsonl"
    log = AuditLog(str(path))
    record("admin", "create", id="one")
    written(log)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (os.path.getsize(path), before[1]))
        record("admin", "create", id="two")
        record("admin", "create", id="three")
        written(log)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, ignored)
    record("admin", "create", id="four")
    log.close()
    assert [line["id"] for line in lines(path)] == ["one", "four"]
    said = [it.getMessage() for it in caplog.records if it.name == "busbar"]
    assert said == [f"observability.audit_log_file: {path}: File too large"]
    assert "Traceback" not in capfd.readouterr().err


def test_a_file_that_cannot_be_opened_at_the_start_is_refused(tmp_path: Path) -> None:
    with pytest.raises(AuditLogUnusable, match="No such file or directory"):
        AuditLog(str(tmp_path / "nowhere" / "audit.jsonl"))
