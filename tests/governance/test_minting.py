"""Secrets and ids are random or they are not made."""

from __future__ import annotations

import hashlib
import os
import random
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from busbar.actors.governance.keyring import secret_hash
from busbar.governance.aws_pair import create_seed, new_access_key_id
from busbar.governance.minting import NoEntropy, mint_id, mint_secret


def test_secrets_and_ids_have_their_shapes_and_never_come_again() -> None:
    secrets, keys, groups = ({make() for _ in range(500)} for make in (mint_secret, _key_id, _group_id))
    assert all(re.fullmatch(r"sk-bb-[0-9a-f]{64}", secret) for secret in secrets)
    assert all(re.fullmatch(r"vk_[0-9a-f]{16}", key) for key in keys)
    assert all(re.fullmatch(r"grp_[0-9a-f]{16}", group) for group in groups)
    assert (len(secrets), len(keys), len(groups)) == (500, 500, 500)


def _key_id() -> str:
    return mint_id("vk")


def _group_id() -> str:
    return mint_id("grp")


@given(st.text() | st.just("\ud800"))
def test_any_text_has_a_hash(text: str) -> None:
    assert secret_hash(text) == hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()


def test_the_hash_is_sha_256() -> None:
    assert secret_hash("sk-bb-").hex() == hashlib.sha256(b"sk-bb-").hexdigest()


@pytest.mark.parametrize("failure", [OSError(5, "Input/output error"), NotImplementedError("no random source")])
@pytest.mark.parametrize("make", [mint_secret, _key_id, _group_id, new_access_key_id])
def test_without_entropy_nothing_is_made(
    make: Callable[[], str], failure: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    _break_the_source(monkeypatch, failure)
    with pytest.raises(NoEntropy):
        make()


def test_without_entropy_there_is_no_seed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _break_the_source(monkeypatch, OSError())
    with pytest.raises(NoEntropy):
        create_seed(tmp_path / "seed")
    assert os.listdir(tmp_path) == []


def _break_the_source(monkeypatch: pytest.MonkeyPatch, failure: Exception) -> None:
    def broken(_: int) -> bytes:
        raise failure

    monkeypatch.setattr(os, "urandom", broken)
    monkeypatch.setattr(random, "_urandom", broken)  # what `secrets` calls: os.urandom under its imported name
