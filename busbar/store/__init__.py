"""What lasts: SQLite, in a thread of its own, behind the port `Store` of `busbar.actors.governance.batch`."""

from busbar.store.sqlite import SqliteStore

__all__ = ["SqliteStore"]
