"""Files of older versions: nothing in them is lost on the way up, and a step that fails leaves no trace."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from busbar.actors.governance.batch import (
    Batch,
    Commit,
    Committed,
    Loaded,
    RateCount,
    RateKey,
    ReadUsage,
    StoreUnusable,
    Tokens,
    UsageRead,
)
from busbar.store import SqliteStore, schema
from busbar.store.schema import APPLICATION_ID, MIGRATIONS, VERSION, migrate, version

from .worlds import FULL_KEY, LOAD, LOW, do, sqlite, usage_key

VERSION_1_CONTENT = """
UPDATE meta SET last_number = 41;
INSERT INTO virtual_keys (id, name, max_budget_cents, budget_period, rpm_limit, tpm_limit, created_at, deleted_at,
    secret_hash, "group", allowed_pools, enabled, expires_at, aws_access_key_id)
VALUES ('vk_full', 'naïve 👋 ''; DROP TABLE usage', 123, 'monthly', 4, 5, 1767225600, NULL,
    x'000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f', 'grp_low',
    '["fast","a \\"quoted\\" one"]', 0, 1800000000, 'AKIAEXAMPLE'),
    ('vk_gone', 'gone', NULL, 'total', NULL, NULL, 1, 2, NULL, NULL, NULL, 1, NULL, NULL);
INSERT INTO groups (id, name, max_budget_cents, budget_period, rpm_limit, tpm_limit, created_at, deleted_at, parent)
VALUES ('grp_low', 'low', 0, 'daily', NULL, NULL, 2, NULL, 'grp_top');
INSERT INTO usage (scope, day, model, context_tier, estimated, requests, input, output, cache_read, cache_write,
    reasoning)
VALUES ('vk_full', 20000, 'm', 200000, 1, 1, 2, 3, 4, 5, 7);
INSERT INTO rates (second, scope, requests, tokens) VALUES (1000, 'vk_full', 1, 2);
"""
KEY_OF_1 = usage_key("vk_full", 20_000, context_tier=200_000, estimated=True)


def version_1(path: Path, content: str = VERSION_1_CONTENT) -> None:
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    connection.execute("PRAGMA journal_mode = WAL")
    migrate(connection, to=1)
    connection.executescript(content)
    assert version(connection) == 1
    connection.close()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "busbar.db"


async def test_a_file_of_version_1_keeps_what_is_in_it(path: Path) -> None:
    version_1(path)
    with sqlite(path) as store:
        assert await do(store, LOAD) == Loaded(
            last_number=41,
            keys=(FULL_KEY,),
            groups=(LOW,),
            spent={("vk_full", 20_000): 1 + 3000 + 7},
            rates={RateKey("vk_full", 1000): RateCount(1, 2)},
        )
        tokens = Tokens(requests=1, input=2, output=3, cache_read=4, cache_write=5, reasoning=7)
        assert await do(store, ReadUsage("vk_full")) == UsageRead(((KEY_OF_1, tokens),))
        more = Batch(number=42, usage={KEY_OF_1: Tokens(cache_write_1h=6)})
        assert await do(store, Commit(more)) == Committed(42)
        tokens.cache_write_1h = 6
        assert await do(store, ReadUsage("vk_full")) == UsageRead(((KEY_OF_1, tokens),))
    connection = sqlite3.connect(path)
    assert version(connection) == VERSION
    connection.close()


async def test_a_step_that_fails_leaves_the_file_at_the_version_before(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    version_1(path)
    broken = schema.Migration("stumbles", (*MIGRATIONS[1].statements, "INSERT INTO nowhere VALUES (1)"))
    with monkeypatch.context() as patch:
        patch.setattr(schema, "MIGRATIONS", (MIGRATIONS[0], broken))
        with pytest.raises(StoreUnusable, match=r"cannot be brought to the current version: no such table: nowhere"):
            SqliteStore.open(path, durable=True)
    connection = sqlite3.connect(path)
    assert version(connection) == 1
    columns = {row[1] for row in connection.execute("PRAGMA table_info(usage)")}
    assert "cache_write_1h" not in columns
    connection.close()
    with sqlite(path) as store:
        assert (await do(store, LOAD)).last_number == 41  # type: ignore[union-attr]
