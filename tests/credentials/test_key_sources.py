"""Keys in real files and behind real programs: read again when they change, and never in anybody's way."""

from __future__ import annotations

import asyncio
import codecs
import logging
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from busbar.actors.credentials.messages import Given, NotGiven
from busbar.config.secret import Secret
from busbar.credentials import key_sources
from busbar.credentials.key_sources import COMMAND_BYTES_MAX, FILE_BYTES_MAX, CommandKey, FileKey, _first_line
from busbar.credentials.minting import AwsKeys, Minted, MintRefused
from busbar.credentials.source import MintingSource
from busbar.protocols.failures import FailureClass

SECRET = "hunter2-hunter2"


def python(code: str, timeout_secs: float = 30.0) -> CommandKey:
    return CommandKey([sys.executable, "-I", "-S", "-c", code], timeout_secs)


def refusal(mint: Callable[[], Minted]) -> tuple[str, FailureClass]:
    with pytest.raises(MintRefused) as refused:
        mint()
    assert SECRET not in str(refused.value)
    return str(refused.value), refused.value.kind


# --- files


@pytest.mark.parametrize(
    "content", [SECRET, f"{SECRET}\n", f" {SECRET} \r\n# a remark", f"{SECRET}\n\nmore", f"\ufeff{SECRET}\r\n"]
)
def test_a_file_s_first_line_is_the_key(tmp_path: Path, content: str) -> None:
    (tmp_path / "key").write_text(content)
    assert FileKey(str(tmp_path / "key")).mint() == Minted(Secret(SECRET))


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        ("", "its first line is empty"),
        ("\nhunter2-hunter2", "its first line is empty"),
        ("hunter2-hunter2 x", "the credential contains spaces, control or non-ASCII characters"),
        ("hunter2-hunter2\x00", "the credential contains spaces, control or non-ASCII characters"),
        ("hünter2", "the credential contains spaces, control or non-ASCII characters"),
        ("a" * (FILE_BYTES_MAX + 1), f"it is longer than {FILE_BYTES_MAX} bytes"),
    ],
)
def test_what_can_be_no_key_is_refused_without_a_word_of_it(tmp_path: Path, content: str, complaint: str) -> None:
    path = tmp_path / "key"
    path.write_text(content)
    assert refusal(FileKey(str(path)).mint) == (f"{path}: {complaint}", FailureClass.AUTH)


@given(st.binary(max_size=40))
def test_any_content_is_a_key_or_is_refused(content: bytes) -> None:
    try:
        key = _first_line("file", content)
    except MintRefused as refused:
        complaint = str(refused)
        key = None
    if key is None:
        assert complaint.startswith("file: ")
    else:
        assert key.reveal().isascii()
        assert key.reveal().encode() == content.removeprefix(codecs.BOM_UTF8).split(b"\n")[0].strip()


def test_a_file_that_is_written_replaced_or_touched_is_read_again(tmp_path: Path) -> None:
    path = tmp_path / "key"
    path.write_text("first")
    source = FileKey(str(path))
    assert source.mint() == Minted(Secret("first"))
    path.write_text("other")  # as long as the first, and perhaps in the same moment
    assert source.mint() == Minted(Secret("other"))
    (tmp_path / "new").write_text("third")
    os.replace(tmp_path / "new", path)
    assert source.mint() == Minted(Secret("third"))


def test_a_secret_as_kubernetes_mounts_it_is_followed_through_its_links(tmp_path: Path) -> None:
    for version in ("v1", "v2"):
        (tmp_path / version).mkdir()
        (tmp_path / version / "key").write_text(f"key-{version}")
    (tmp_path / "..data").symlink_to("v1")
    (tmp_path / "key").symlink_to("..data/key")
    source = FileKey(str(tmp_path / "key"))
    assert source.mint() == Minted(Secret("key-v1"))
    (tmp_path / "..data_tmp").symlink_to("v2")
    os.replace(tmp_path / "..data_tmp", tmp_path / "..data")
    assert source.mint() == Minted(Secret("key-v2"))


async def settled(path: Path) -> None:
    """Until a change to it would show in its dates."""
    while time.time() - path.stat().st_ctime < 0.01:
        await asyncio.sleep(0.005)


def test_a_file_that_has_settled_is_not_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(key_sources, "_SETTLED_SECS", -1.0)
    path = tmp_path / "key"
    path.write_text("first")
    source = FileKey(str(path))
    first = source.mint().value
    assert source.mint().value is first


async def test_a_file_that_was_written_with_the_date_of_the_one_before_is_read_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`cp -p`, `rsync --inplace --times`, a tool that dates everything alike: as long, as old, and the same file."""
    monkeypatch.setattr(key_sources, "_SETTLED_SECS", -1.0)
    path = tmp_path / "key"
    path.write_text("first")
    source = FileKey(str(path))
    assert source.mint() == Minted(Secret("first"))
    before = path.stat()
    await settled(path)
    with path.open("r+") as file:
        file.write("other")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert (path.stat().st_mtime_ns, path.stat().st_ino) == (before.st_mtime_ns, before.st_ino)
    assert source.mint() == Minted(Secret("other"))


@pytest.mark.parametrize("there", ["nothing", "folder", "pipe"])
def test_what_is_no_file_is_refused_and_not_waited_for(tmp_path: Path, there: str) -> None:
    path = tmp_path / "key"
    if there == "folder":
        path.mkdir()
    if there == "pipe":
        os.mkfifo(path)
    text, kind = refusal(FileKey(str(path)).mint)
    assert text == f"{path}: {'No such file or directory' if there == 'nothing' else 'it is not a file'}"
    assert kind is FailureClass.AUTH


def test_a_file_that_is_gone_comes_back(tmp_path: Path) -> None:
    path = tmp_path / "key"
    path.write_text("first")
    source = FileKey(str(path))
    source.mint()
    path.unlink()
    refusal(source.mint)
    path.write_text("second")
    assert source.mint() == Minted(Secret("second"))


# --- programs


def test_a_program_s_first_line_is_the_key() -> None:
    assert python(f"print('{SECRET}'); print('more')").mint() == Minted(Secret(SECRET))


def test_there_is_no_shell_and_nothing_to_read() -> None:
    code = "import sys; print(sys.argv[1] + str(len(sys.stdin.read())))"
    command = CommandKey([sys.executable, "-I", "-S", "-c", code, "$HOME;`id`"])
    minted = command.mint()
    assert isinstance(minted.value, Secret)
    assert minted.value.reveal() == "$HOME;`id`0"


@pytest.mark.parametrize(
    ("code", "complaint", "kind"),
    [
        (f"import sys; print('{SECRET}'); sys.exit(3)", "it ended with exit code 3", FailureClass.SERVER_ERROR),
        (f"raise SystemExit('{SECRET}')", "it ended with exit code 1", FailureClass.SERVER_ERROR),
        ("", "its first line is empty", FailureClass.AUTH),
        (f"print('{SECRET} is the key')", "the credential contains spaces, control", FailureClass.AUTH),
        ("print('a' * 100_000)", f"it said more than {COMMAND_BYTES_MAX} bytes", FailureClass.AUTH),
        ("while True: print('a' * 1000)", f"it said more than {COMMAND_BYTES_MAX} bytes", FailureClass.AUTH),
    ],
)
def test_a_program_that_gives_no_key_is_told_by_its_name_and_its_exit_code(
    code: str, complaint: str, kind: FailureClass, capfd: pytest.CaptureFixture[str]
) -> None:
    text, found = refusal(python(code).mint)
    assert text.startswith(f"{Path(sys.executable).name}: {complaint}")
    assert found is kind
    assert capfd.readouterr().err == "", "what it says on standard error is for nobody"


def test_a_program_that_is_not_there_is_refused() -> None:
    assert refusal(CommandKey(["/nowhere/vault"]).mint) == ("vault: No such file or directory", FailureClass.AUTH)


@pytest.mark.parametrize("before", ["", "print('x', flush=True); ", "import os; os.close(1); "])
def test_a_program_that_hangs_is_ended_with_all_that_it_has_started(before: str, tmp_path: Path) -> None:
    started = tmp_path / "child"
    code = (
        f"{before}import subprocess, sys, time; "
        f"child = subprocess.Popen([sys.executable, '-I', '-S', '-c', 'import time; time.sleep(600)']); "
        f"open({str(started)!r}, 'w').write(str(child.pid)); time.sleep(600)"
    )
    began = time.monotonic()
    name = Path(sys.executable).name
    assert refusal(python(code, 0.7).mint) == (f"{name}: it had not ended after 0.7 s", FailureClass.TIMEOUT)
    assert time.monotonic() - began < 5
    child = int(started.read_text())
    for _ in range(200):
        if not lives(child):
            break
        time.sleep(0.01)
    else:
        raise AssertionError("its child lives")


def test_a_program_may_leave_a_child_behind_that_holds_its_output() -> None:
    """An agent that it starts, say. It is not waited for."""
    code = (
        "import subprocess, sys; "
        "subprocess.Popen([sys.executable, '-I', '-S', '-c', 'import time; time.sleep(3)']); "
        f"print('{SECRET}')"
    )
    began = time.monotonic()
    assert python(code).mint() == Minted(Secret(SECRET))
    assert time.monotonic() - began < 2.5


def lives(pid: int) -> bool:
    state = Path(f"/proc/{pid}/stat")
    return state.exists() and state.read_text().rpartition(")")[2].split()[0] != "Z"


def test_a_process_that_ends_leaves_no_program_behind(tmp_path: Path) -> None:
    """The thread that waits for it is gone then, and so is what would have ended it."""
    started = tmp_path / "pid"
    code = f"""
import sys, threading, time
from pathlib import Path
from busbar.credentials.key_sources import CommandKey
started = Path({str(started)!r})
hangs = f"import os, time; open({{str(started)!r}}, 'w').write(str(os.getpid()) + '.'); time.sleep(600)"
command = CommandKey([sys.executable, "-I", "-S", "-c", hangs])
threading.Thread(target=command.mint, daemon=True).start()
while not (started.exists() and started.read_text().endswith(".")):
    time.sleep(0.01)
"""
    began = time.monotonic()
    subprocess.run([sys.executable, "-c", code], check=True, timeout=20, capture_output=True)
    assert time.monotonic() - began < 10
    pid = int(started.read_text().removesuffix("."))
    for _ in range(200):
        if not lives(pid):
            break
        time.sleep(0.01)
    else:
        raise AssertionError("it lives")


# --- the port


class Minting:
    """A minter that does what it is told."""

    def __init__(self, *answers: Minted | Exception) -> None:
        self.answers = list(answers)
        self.threads: list[str] = []
        self.go_on = threading.Event()
        self.go_on.set()

    def mint(self) -> Minted:
        self.threads.append(threading.current_thread().name)
        self.go_on.wait(10)
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer


async def brought(source: MintingSource) -> Given | NotGiven:
    answer: asyncio.Future[Given | NotGiven] = asyncio.get_running_loop().create_future()
    source.begin(answer.set_result)
    return await answer


async def test_a_signer_is_made_once_for_each_value() -> None:
    minter = Minting(Minted(Secret("a"), 60), Minted(Secret("a"), 50), Minted(Secret("b"), 60))
    source = MintingSource("p", "bearer", minter)
    first, second, third = [await brought(source) for _ in range(3)]
    assert isinstance(first, Given) and isinstance(second, Given) and isinstance(third, Given)  # noqa: PT018
    assert (first.lifetime_secs, second.lifetime_secs) == (60, 50)
    assert first.credential is second.credential
    assert first.credential is not third.credential
    assert third.credential.sign("POST", "http://p", {}, b"", 0.0) == {"authorization": "Bearer b"}
    assert minter.threads == ["busbar-mint-p"] * 3


async def test_frozen_aws_keys_become_a_signer() -> None:
    keys = AwsKeys(access_key="AKIDMINTED", secret_key=Secret(SECRET), session_token=Secret("s"), region="sa-east-1")
    given_ = await brought(MintingSource("p", "sigv4", Minting(Minted(keys))))
    assert isinstance(given_, Given)
    signed = given_.credential.sign("POST", "http://p/model/m/converse", {"content-type": "x"}, b"", 1.7e9)
    assert "Credential=AKIDMINTED/20231114/sa-east-1/bedrock/" in signed["authorization"]
    assert signed["x-amz-security-token"] == "s"
    assert SECRET not in repr(given_)


@pytest.mark.parametrize(
    ("raised", "expected"),
    [
        (MintRefused("no", FailureClass.RATE_LIMIT, 7.0), NotGiven(FailureClass.RATE_LIMIT, "no", 7.0)),
        (ValueError(SECRET), NotGiven(FailureClass.SERVER_ERROR, "the source failed: ValueError")),
    ],
)
async def test_what_a_minter_raises_is_told_without_its_secrets(
    raised: Exception, expected: NotGiven, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG):
        assert await brought(MintingSource("p", "bearer", Minting(raised))) == expected
    assert SECRET not in caplog.text


async def test_a_key_that_cannot_be_sent_is_refused() -> None:
    answer = await brought(MintingSource("p", "sigv4", Minting(Minted(Secret(SECRET)))))
    assert isinstance(answer, NotGiven)
    assert (answer.kind, SECRET in answer.why) == (FailureClass.AUTH, False)


async def test_a_minter_that_hangs_is_given_up_and_not_joined_by_another_thread() -> None:
    minter = Minting(Minted(Secret("late")), Minted(Secret("next")))
    minter.go_on.clear()
    source = MintingSource("p", "bearer", minter, timeout_secs=0.05)
    late = NotGiven(FailureClass.TIMEOUT, "nothing came within 0.05 s")
    assert await brought(source) == late
    assert await brought(source) == NotGiven(FailureClass.TIMEOUT, "the last attempt has not ended yet")
    assert len(minter.threads) == 1
    minter.go_on.set()
    while any(thread.name == "busbar-mint-p" for thread in threading.enumerate()):
        await asyncio.sleep(0.005)
    await asyncio.sleep(0)
    answer = await brought(source)
    assert isinstance(answer, Given)
    assert answer.credential.sign("POST", "http://p", {}, b"", 0.0) == {"authorization": "Bearer next"}
