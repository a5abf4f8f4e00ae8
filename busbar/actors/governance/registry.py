"""Which keys and groups there are, and who stands above whom. Every change is checked here before it holds."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import dropwhile, islice
from typing import Any, TypeVar

from msgspec.structs import replace

from busbar.actors.governance.batch import RateCount, RateKey
from busbar.actors.governance.level import Level
from busbar.actors.governance.messages import NotDone, Page, Wrong
from busbar.actors.governance.scopes import GROUP_DEPTH_MAX, SCOPES_MAX, Group, Scope, VirtualKey
from busbar.actors.governance.windows import WINDOW_SECS

S = TypeVar("S", VirtualKey, Group)

Chain = tuple[Level, ...]
"""A key's level, then those of the groups above it."""


class Registry:
    """Keys and groups by id, in order of creation, with a level for each."""

    def __init__(self, keys: Iterable[VirtualKey] = (), groups: Iterable[Group] = ()) -> None:
        self.groups = {group.id: group for group in sorted(groups, key=_by_age)}
        self.keys = {key.id: key for key in sorted(keys, key=_by_age)}
        self.levels = {scope.id: Level(scope) for scope in (*self.groups.values(), *self.keys.values())}
        self._chains: dict[str, Chain] = {}

    def chain(self, key: str) -> Chain:
        """Empty for a key that does not exist."""
        if key not in self.keys:
            return ()
        known = self._chains.get(key)
        if known is None:
            known = self._chains[key] = self._walk(key)
        return known

    def close_broken(self) -> list[VirtualKey]:
        """Disables the keys whose groups do not exist or stand above themselves, which no change here leads to, and
        says which: a budget that cannot be found must not be none."""
        broken = [key for key in self.keys.values() if self._refuses_above("group", key.group) is not None]
        for key in broken:
            self._put(self.keys, replace(key, enabled=False, group=None))
        return broken

    def recall(self, rates: Mapping[RateKey, RateCount], now: float, unix_secs: float) -> None:
        """What counted before goes on counting, for as long as it would have. What is more than a minute ahead was
        told by a clock that was wrong."""
        for rate, count in sorted(rates.items(), key=lambda item: item[0].second):
            age_secs = unix_secs - rate.second
            level = self.levels.get(rate.scope)
            if level is not None and -WINDOW_SECS < age_secs < WINDOW_SECS:
                level.recall(now - max(0.0, age_secs), count)

    # --- keys

    def create_key(self, key: VirtualKey) -> VirtualKey | NotDone:
        refusal = self._refuses_one_more() or self._refuses_above("group", key.group)
        return refusal or self._put(self.keys, key)

    def change_key(self, key_id: str, changes: Mapping[str, Any]) -> VirtualKey | NotDone:
        key = self.keys.get(key_id)
        if key is None:
            return no_such("key", key_id)
        changed = replace(key, **changes)
        return self._refuses_above("group", changed.group) or self._put(self.keys, changed)

    def delete_key(self, key_id: str) -> VirtualKey | NotDone:
        key = self.keys.pop(key_id, None)
        if key is None:
            return no_such("key", key_id)
        del self.levels[key_id]
        self._chains.pop(key_id, None)
        return key

    # --- groups

    def create_group(self, group: Group) -> Group | NotDone:
        refusal = self._refuses_one_more() or self._refuses_above("parent", group.parent)
        return refusal or self._put(self.groups, group)

    def change_group(self, group_id: str, changes: Mapping[str, Any]) -> Group | NotDone:
        group = self.groups.get(group_id)
        if group is None:
            return no_such("group", group_id)
        changed = replace(group, **changes)
        refusal = self._refuses_above("parent", changed.parent, below=group_id)
        if refusal is not None:
            return refusal
        before = self._put(self.groups, changed)
        if changed.parent != group.parent and self._too_deep():
            self._put(self.groups, group)
            return _deep()
        return before

    def delete_group(self, group_id: str) -> Group | NotDone:
        if group_id not in self.groups:
            return no_such("group", group_id)
        if any(key.group == group_id for key in self.keys.values()):
            return NotDone(Wrong.CONFLICT, f"Keys belong to the group {group_id}: move or delete them first.")
        if any(group.parent == group_id for group in self.groups.values()):
            return NotDone(Wrong.CONFLICT, f"Groups belong to the group {group_id}: move or delete them first.")
        del self.levels[group_id]
        return self.groups.pop(group_id)

    # --- what there is

    def page(self, scopes: Mapping[str, S], after: str | None, limit: int, group: str | None = None) -> Page:
        """`limit` of them, those after the one with the id `after`; of keys perhaps only those of one group."""
        chosen: Iterator[S] = (
            scope for scope in scopes.values() if group is None or getattr(scope, "group", None) == group
        )
        if after is not None and after in scopes:
            chosen = islice(dropwhile(lambda scope: scope.id != after, chosen), 1, None)
        items = tuple(islice(chosen, limit + 1))
        return Page(items[:limit], len(items) > limit)

    # --- checks

    def _refuses_one_more(self) -> NotDone | None:
        if len(self.levels) < SCOPES_MAX:
            return None
        return NotDone(Wrong.CONFLICT, f"There are {SCOPES_MAX} keys and groups already, and no room for more.")

    def _refuses_above(self, field: str, group: str | None, below: str | None = None) -> NotDone | None:
        """Whether something (the group `below`, if it exists already) may belong to `group`."""
        depth = 0
        while group is not None:
            found = self.groups.get(group)
            if found is None:
                return NotDone(Wrong.INVALID, f"{field}: there is no group {group}.")
            if group == below:
                return NotDone(Wrong.INVALID, f"{field}: a group cannot be above itself.")
            depth += 1
            if depth > GROUP_DEPTH_MAX:
                return _deep()
            group = found.parent
        return _deep() if field == "parent" and depth == GROUP_DEPTH_MAX else None

    def _too_deep(self) -> bool:
        return any(self._refuses_above("parent", group.parent) for group in self.groups.values())

    def _put(self, scopes: dict[str, S], scope: S) -> S:
        scopes[scope.id] = scope
        level = self.levels.get(scope.id)
        if level is None:
            self.levels[scope.id] = Level(scope)
        else:
            level.scope = scope
        self._chains.clear()
        return scope

    def _walk(self, key: str) -> Chain:
        levels = [self.levels[key]]
        group = self.keys[key].group
        while group is not None:
            levels.append(self.levels[group])
            group = self.groups[group].parent
        return tuple(levels)


def _by_age(scope: Scope) -> tuple[int, str]:
    return scope.created_at, scope.id


def no_such(kind: str, scope_id: str) -> NotDone:
    return NotDone(Wrong.NOT_FOUND, f"There is no {kind} {scope_id}.")


def _deep() -> NotDone:
    return NotDone(Wrong.INVALID, f"Groups nest at most {GROUP_DEPTH_MAX} deep.")
