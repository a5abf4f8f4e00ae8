"""A gateway's AWS-shaped pairs, and the seed that they hang on."""

from __future__ import annotations

from pathlib import Path

import pytest

from busbar.governance.aws_pair import SeedError, read_seed, secret_access_key, seed_path
from busbar.governance.pairs import AwsPairs


@pytest.fixture
def database(tmp_path: Path) -> Path:
    return tmp_path / "governance.db"


def test_without_a_seed_there_are_no_secrets_and_looking_makes_none(database: Path) -> None:
    pairs = AwsPairs(database)
    assert (pairs.secret("AKBBANY"), pairs.seeded) == (None, False)
    assert not seed_path(database).exists()


def test_the_first_pair_makes_the_seed_and_all_later_ones_are_of_it(database: Path) -> None:
    pairs = AwsPairs(database)
    first, second = pairs.issue(pairs_exist=False), pairs.issue(pairs_exist=True)
    seed = read_seed(seed_path(database))
    assert seed is not None
    assert [secret for _, secret in (first, second)] == [secret_access_key(seed, pair[0]) for pair in (first, second)]
    again = AwsPairs(database)
    assert again.secret(first[0]) == first[1]
    assert again.issue(pairs_exist=True)[0] not in (first[0], second[0])


def test_a_lost_seed_is_not_replaced_while_pairs_exist_and_may_be_restored_at_any_time(database: Path) -> None:
    access_key_id, secret = AwsPairs(database).issue(pairs_exist=False)
    kept = seed_path(database).read_bytes()
    seed_path(database).unlink()
    pairs = AwsPairs(database)
    with pytest.raises(SeedError, match="is gone"):
        pairs.issue(pairs_exist=True)
    assert pairs.secret(access_key_id) is None
    assert not seed_path(database).exists()
    seed_path(database).write_bytes(kept)
    assert pairs.secret(access_key_id) == secret


def test_a_seed_that_was_read_is_kept(database: Path) -> None:
    pairs = AwsPairs(database)
    access_key_id, secret = pairs.issue(pairs_exist=False)
    seed_path(database).unlink()
    assert pairs.secret(access_key_id) == secret


def test_a_damaged_seed_is_logged_once_and_nothing_is_issued(
    database: Path, caplog: pytest.LogCaptureFixture
) -> None:
    seed_path(database).write_text("busbar-seed-1:oops\n")
    pairs = AwsPairs(database)
    assert (pairs.secret("AKBBANY"), pairs.secret("AKBBOTHER")) == (None, None)
    assert len(caplog.messages) == 1
    assert caplog.messages[0].startswith(f"signed requests cannot be verified: {seed_path(database)} is damaged")
    for exist in (False, True):
        with pytest.raises(SeedError, match="is damaged"):
            pairs.issue(pairs_exist=exist)
