"""Pairs look like AWS's, secrets come from the seed alone, the seed's file is never half there nor overwritten."""

from __future__ import annotations

import os
import re
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from busbar.governance.aws_pair import (
    SeedError,
    create_seed,
    new_access_key_id,
    read_seed,
    secret_access_key,
    seed_path,
)
from busbar.protocols.signing import make_signer
from busbar.protocols.signing.sigv4_verify import claim_of, verify

SEED = bytes(range(32))
KEY_ID = "AKBBABCDEFGHIJKLMNOP"


def test_an_id_has_the_shape_of_aws_s_and_never_comes_again() -> None:
    ids = {new_access_key_id() for _ in range(1000)}
    assert len(ids) == 1000
    assert all(re.fullmatch(r"AKBB[A-Z2-7]{16}", access_key_id) for access_key_id in ids)
    assert {character for access_key_id in ids for character in access_key_id[4:]} == set(
        "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"
    )


def test_the_secret_of_a_pair_stays_what_it_is() -> None:
    """Pairs that were given out must work in all versions to come."""
    assert secret_access_key(SEED, KEY_ID) == "q2kdJktmkEU+rb6gNlD0i9bxlRDYfTpXw4arJ/FA"


@given(st.binary(min_size=32, max_size=32), st.text("ABCDEFGHIJKLMNOPQRSTUVWXYZ234567", min_size=1, max_size=30))
def test_a_secret_has_the_shape_of_aws_s_and_hangs_on_seed_and_id(seed: bytes, access_key_id: str) -> None:
    secret = secret_access_key(seed, access_key_id)
    assert re.fullmatch(r"[A-Za-z0-9+/]{40}", secret)
    other = bytes([seed[0] ^ 1]) + seed[1:]
    assert len({secret, secret_access_key(other, access_key_id), secret_access_key(seed, access_key_id + "A")}) == 3


def test_what_is_signed_with_a_pair_is_verified_with_its_secret() -> None:
    access_key_id = new_access_key_id()
    secret = secret_access_key(SEED, access_key_id)
    signer = make_signer("sigv4", f"{access_key_id}:{secret}::us-east-1")
    headers = {"host": "gateway.example", "content-type": "application/json"}
    added = signer.sign("POST", "https://gateway.example/model/a%3A0/converse", headers, b"{}", 1_700_000_000.0)
    claim = claim_of(added["authorization"])
    assert claim is not None
    assert claim.access_key_id == access_key_id
    verify(
        claim,
        secret=secret_access_key(SEED, claim.access_key_id),
        method="POST",
        raw_path="/model/a%3A0/converse",
        query="",
        headers={**headers, **added},
        body=b"{}",
        now=1_700_000_060.0,
    )


def test_the_seed_lies_beside_the_database() -> None:
    assert seed_path(Path("/data/busbar.db")) == Path("/data/busbar.db.seed")


def test_a_seed_is_read_as_it_was_made(tmp_path: Path) -> None:
    path = tmp_path / "busbar.db.seed"
    assert read_seed(path) is None
    seed = create_seed(path)
    assert len(seed) == 32
    assert read_seed(path) == seed
    assert path.read_bytes() == b"busbar-seed-1:" + seed.hex().encode() + b"\n"
    assert os.listdir(tmp_path) == [path.name]
    assert create_seed(tmp_path / "another") != seed


@pytest.mark.skipif(os.name != "posix", reason="there are no modes")
def test_only_its_owner_may_read_a_seed(tmp_path: Path) -> None:
    path = tmp_path / "seed"
    before = os.umask(0)
    try:
        create_seed(path)
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_seed_that_is_there_is_not_made_again(tmp_path: Path) -> None:
    path = tmp_path / "seed"
    seed = create_seed(path)
    with pytest.raises(SeedError, match="seed is there already"):
        create_seed(path)
    assert read_seed(path) == seed
    assert os.listdir(tmp_path) == [path.name]


LINE = b"busbar-seed-1:" + b"0a" * 32 + b"\n"


@pytest.mark.parametrize(
    "content",
    [
        b"",
        bytes(32),
        LINE[:-1],
        LINE[:-2],
        LINE + b"\n",
        LINE * 2,
        LINE.upper(),
        LINE.replace(b"\n", b"\r\n"),
        LINE.replace(b"-1:", b"-2:"),
        LINE.replace(b"0a", b"0g", 1),
        b"\xff" * 79,
    ],
)
def test_a_damaged_seed_is_told_and_left_as_it_is(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "seed"
    path.write_bytes(content)
    with pytest.raises(SeedError, match="seed is damaged") as told:
        read_seed(path)
    assert "0a0a" not in str(told.value)
    with pytest.raises(SeedError, match="is there already"):
        create_seed(path)
    assert path.read_bytes() == content


def test_what_is_no_file_is_no_seed(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    with pytest.raises(SeedError, match="is not a file"):
        read_seed(tmp_path / "folder")
    (tmp_path / "file").touch()
    with pytest.raises(SeedError, match="cannot be read: Not a directory"):
        read_seed(tmp_path / "file" / "seed")


def test_a_pipe_in_the_seed_s_place_does_not_hang(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(SeedError, match="is not a file"):
        read_seed(tmp_path / "pipe")


def test_a_seed_behind_a_link_is_read(tmp_path: Path) -> None:
    """As mounted secrets are."""
    seed = create_seed(tmp_path / "real")
    (tmp_path / "link").symlink_to(tmp_path / "real")
    assert read_seed(tmp_path / "link") == seed


def test_where_nothing_can_be_made_it_is_said(tmp_path: Path) -> None:
    with pytest.raises(SeedError, match="cannot be made: No such file or directory"):
        create_seed(tmp_path / "nowhere" / "seed")


def test_a_seed_that_did_not_reach_the_disk_is_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(SeedError, match="cannot be made: No space left on device"):
        create_seed(tmp_path / "seed")
    assert os.listdir(tmp_path) == []


def test_whoever_is_killed_while_making_it_leaves_no_half_of_a_seed(tmp_path: Path) -> None:
    """Killed at the moment at which the content is written, before it is on disk."""
    script = (
        "import os, pathlib, signal, sys\n"
        "from busbar.governance.aws_pair import create_seed\n"
        "os.fsync = lambda _: os.kill(os.getpid(), signal.SIGKILL)\n"
        "create_seed(pathlib.Path(sys.argv[1]))\n"
    )
    path = tmp_path / "seed"
    killed = subprocess.run([sys.executable, "-c", script, str(path)], check=False, cwd=Path(__file__).parents[2])
    assert killed.returncode == -9
    assert read_seed(path) is None
    assert len(create_seed(path)) == 32
