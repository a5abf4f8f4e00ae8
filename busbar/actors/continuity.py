"""Continuity: provider state that callers' dialects cannot carry, kept aside between their turns."""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

from busbar.actors.messages import Keep, Recall, Snapshot
from busbar.actors.runtime import LoopActor, Overflow, handles

ENTRIES_MAX = 20_000
"""Turns that are kept; the oldest go first."""

WEIGHT_BYTES_MAX = 64 << 20
"""… and what they may weigh together."""

KEPT_SECS = 6 * 3600.0
"""A conversation that rests longer goes on without its state."""


class Continuity(LoopActor):
    """Understands Keep, Recall, Snapshot. It does not look into what it keeps.

    Telemetry's overflow rule: under pressure it forgets rather than stand in the way. A conversation whose state is
    gone goes on as one with a foreign history does.
    """

    overflow = Overflow.DROP
    mailbox_limit = 4096

    def __init__(self) -> None:
        super().__init__()
        self._entries: OrderedDict[str, tuple[float, int, Any]] = OrderedDict()
        self._bytes = 0
        self._kept = self._recalled = self._missed = 0

    @handles(Keep)
    def keep(self, message: Keep) -> None:
        now = self.clock.now()
        for key in message.keys:
            self._forget(key)
            self._entries[key] = (now, message.weight_bytes, message.state)
            self._bytes += message.weight_bytes
        self._kept += 1
        self._shrink(now)

    @handles(Recall)
    def recall(self, message: Recall) -> dict[str, Any]:
        """The states that are still there, by key."""
        oldest = self.clock.now() - KEPT_SECS
        found = {}
        for key in message.keys:
            entry = self._entries.get(key)
            if entry is not None and entry[0] > oldest:
                found[key] = entry[2]
        self._recalled += len(found)
        self._missed += len(message.keys) - len(found)
        return found

    @handles(Snapshot)
    def snapshot(self, _message: Snapshot) -> dict[str, Any]:
        return {
            "entries": len(self._entries),
            "bytes": self._bytes,
            "kept": self._kept,
            "recalled": self._recalled,
            "missed": self._missed,
        }

    def _forget(self, key: str) -> None:
        entry = self._entries.pop(key, None)
        if entry is not None:
            self._bytes -= entry[1]

    def _shrink(self, now: float) -> None:
        # Entries stand in the order in which they were kept: the oldest first.
        entries = self._entries
        while entries:
            key, (since, _, _) = next(iter(entries.items()))
            crowded = len(entries) > ENTRIES_MAX or self._bytes > WEIGHT_BYTES_MAX
            if not crowded and since > now - KEPT_SECS:
                return
            self._forget(key)
