"""The tables, as the list of steps that lead to them. What was released is never changed: a change is a new step.

A database's version (`PRAGMA user_version`) is the number of steps that were taken. Columns are named like the fields
of the values in them (see `statements.py`); a deleted key or group stays as a row, so that its usage keeps a name.
"""

from __future__ import annotations

import contextlib
import sqlite3
import typing
from collections.abc import Iterator
from typing import Final

APPLICATION_ID: Final = 0x42757342
"""`BusB`, in the header of each of our files: see https://www.sqlite.org/fileformat2.html#application_id."""


class Migration(typing.NamedTuple):
    """One step from a version to the next."""

    title: str
    statements: tuple[str, ...]


SCOPE_COLUMNS: Final = """
    id TEXT PRIMARY KEY,
    name TEXT NOT NULL,
    max_budget_cents INTEGER,
    budget_period TEXT NOT NULL,
    rpm_limit INTEGER,
    tpm_limit INTEGER,
    created_at INTEGER NOT NULL,
    deleted_at INTEGER"""

MIGRATIONS: Final = (
    Migration(
        "keys, groups, usage, rates",
        (
            # Exactly one row. The store's own id tells a copy put back in its place from another database.
            "CREATE TABLE meta (only INTEGER PRIMARY KEY CHECK (only = 1), store_id BLOB NOT NULL,"
            " last_number INTEGER NOT NULL)",
            "INSERT INTO meta VALUES (1, randomblob(16), 0)",
            f"""CREATE TABLE virtual_keys ({SCOPE_COLUMNS},
                secret_hash BLOB, "group" TEXT, allowed_pools TEXT, enabled INTEGER NOT NULL, expires_at INTEGER,
                aws_access_key_id TEXT)""",
            f"CREATE TABLE groups ({SCOPE_COLUMNS}, parent TEXT)",
            # In the order in which one scope's usage is read, so that no second index has to be written.
            """CREATE TABLE usage (
                scope TEXT NOT NULL, day INTEGER NOT NULL, model TEXT NOT NULL, context_tier INTEGER NOT NULL,
                estimated INTEGER NOT NULL, requests INTEGER NOT NULL,
                input INTEGER NOT NULL, output INTEGER NOT NULL, cache_read INTEGER NOT NULL,
                cache_write INTEGER NOT NULL, reasoning INTEGER NOT NULL,
                PRIMARY KEY (scope, day, model, context_tier, estimated)) WITHOUT ROWID""",
            # By second first: what is new is at the end, what is to be forgotten at the beginning.
            """CREATE TABLE rates (
                second INTEGER NOT NULL, scope TEXT NOT NULL, requests INTEGER NOT NULL, tokens INTEGER NOT NULL,
                PRIMARY KEY (second, scope)) WITHOUT ROWID""",
        ),
    ),
    Migration(
        "what is cached for an hour has a price of its own",
        ("ALTER TABLE usage ADD COLUMN cache_write_1h INTEGER NOT NULL DEFAULT 0",),
    ),
)

VERSION: Final = len(MIGRATIONS)


def migrate(connection: sqlite3.Connection, to: int = VERSION) -> None:
    """Take the steps that are missing up to version `to`, each in a transaction together with its number.

    Raises:
        sqlite3.Error: a step failed; it left nothing behind, and those before it are taken.
    """
    for number in range(version(connection) + 1, to + 1):
        with transaction(connection):
            for statement in MIGRATIONS[number - 1].statements:
                connection.execute(statement)
            connection.execute(f"PRAGMA user_version = {number}")


def version(connection: sqlite3.Connection) -> int:
    return int(connection.execute("PRAGMA user_version").fetchone()[0])


@contextlib.contextmanager
def transaction(connection: sqlite3.Connection) -> Iterator[None]:
    """All of it, or nothing."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:  # some errors end it by themselves
            connection.execute("ROLLBACK")
        raise
