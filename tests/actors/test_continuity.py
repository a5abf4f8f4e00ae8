"""The keeper of what callers cannot carry: bounded, expiring, and never in the way."""

from __future__ import annotations

import pytest

from busbar.actors import continuity
from busbar.actors.continuity import KEPT_SECS, Continuity
from busbar.actors.messages import Keep, Recall, Snapshot
from busbar.testing import Kit


def keep(*keys: str, state: object = "state", weight: int = 10) -> Keep:
    return Keep(keys=keys, state=state, weight_bytes=weight)


def test_a_state_is_recalled_by_any_of_its_keys_and_more_than_once() -> None:
    with Kit() as kit:
        ref = kit.spawn(Continuity, name="continuity")
        ref.tell(keep("a", "b"))
        kit.run()
        for _ in range(2):
            assert kit.ask(ref, Recall(("b", "unknown"))) == {"b": "state"}


def test_a_newer_state_replaces_an_older_one_of_the_same_key() -> None:
    with Kit() as kit:
        ref = kit.spawn(Continuity, name="continuity")
        ref.tell(keep("a", weight=100))
        ref.tell(keep("a", state="newer", weight=7))
        kit.run()
        assert kit.ask(ref, Recall(("a",))) == {"a": "newer"}
        assert kit.ask(ref, Snapshot())["bytes"] == 7


def test_a_state_expires() -> None:
    with Kit() as kit:
        ref = kit.spawn(Continuity, name="continuity")
        ref.tell(keep("old"))
        kit.run()
        kit.advance(KEPT_SECS - 1)
        assert kit.ask(ref, Recall(("old",))) == {"old": "state"}
        kit.advance(1)
        assert kit.ask(ref, Recall(("old",))) == {}
        ref.tell(keep("new"))
        kit.run()
        assert kit.ask(ref, Snapshot()) == {"entries": 1, "bytes": 10, "kept": 2, "recalled": 1, "missed": 1}


def test_the_oldest_go_first_when_there_are_too_many_or_they_weigh_too_much(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(continuity, "ENTRIES_MAX", 3)
    monkeypatch.setattr(continuity, "WEIGHT_BYTES_MAX", 100)
    with Kit() as kit:
        ref = kit.spawn(Continuity, name="continuity")
        for key in "abcd":
            ref.tell(keep(key))
        kit.run()
        assert set(kit.ask(ref, Recall(tuple("abcd")))) == set("bcd")
        ref.tell(keep("heavy", weight=85))
        kit.run()
        assert set(kit.ask(ref, Recall(("b", "c", "d", "heavy")))) == {"d", "heavy"}
