"""Small files that an operator keeps: whatever lies there instead is told, and never waited for."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from busbar.credentials.files import read_small
from busbar.credentials.minting import MintRefused
from busbar.credentials.proofs import read_document, read_proof
from busbar.protocols.failures import FailureClass


def lay(path: Path, what: str) -> None:
    match what:
        case "a pipe":
            os.mkfifo(path)
        case "a folder":
            path.mkdir()
        case "a device":
            path.symlink_to("/dev/zero")
        case "much":
            path.write_bytes(b"x" * 101)


@pytest.mark.parametrize(
    ("what", "told"),
    [
        ("a pipe", "it is not a file"),
        ("a folder", "it is not a file"),
        ("a device", "it is not a file"),
        ("much", "it is longer than 100 bytes"),
        ("nothing", "No such file or directory"),
    ],
)
def test_what_is_no_small_file_is_told(tmp_path: Path, what: str, told: str) -> None:
    path = tmp_path / "file"
    lay(path, what)
    with pytest.raises(OSError) as raised:  # what it says is looked at
        read_small(str(path), 100)
    assert raised.value.strerror == told


@pytest.mark.parametrize("what", ["a pipe", "a device"])
def test_a_proof_is_not_waited_for(tmp_path: Path, what: str) -> None:
    lay(tmp_path / "file", what)
    for read in (read_proof, read_document):
        with pytest.raises(MintRefused) as refused:
            read(str(tmp_path / "file"), "identity.x")
        assert (str(refused.value), refused.value.kind) == (
            "identity.x cannot be read: it is not a file",
            FailureClass.AUTH,
        )


@pytest.mark.parametrize("content", ["proof", "proof\n", "\n proof \r\nand more\n", "\ufeffproof\r\n"])
def test_a_proof_is_the_first_line(tmp_path: Path, content: str) -> None:
    (tmp_path / "file").write_text(content)
    assert read_proof(str(tmp_path / "file"), "x") == "proof"
