"""Entries of one `model_name` → a model, or a pool with its members; fallbacks and aliases between them.

LiteLLM                                  Busbar
---------------------------------------  -----------------------------------------------
one entry, and nothing said of retries   a model of that name
several entries                          a pool; `weight`, else `rpm`, else `tpm`: weights
`order`                                  a pool for each order, falling back on the next
`fallbacks`                              `on_exhausted: fallback_pool:…`, the first of them
`model_group_alias`                      a pool over the same models, or the same model again
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from typing import TypeAlias

from busbar.config.checks import NAME_CHARACTERS_MAX, RESERVED_SEGMENTS
from busbar.onboarding.litellm.deployments import Deployment
from busbar.onboarding.litellm.naming import Names
from busbar.onboarding.litellm.params import named
from busbar.onboarding.litellm.report import Findings
from busbar.onboarding.litellm.routing import CAP_MAX, SAME_MEMBER_MAX, Routing
from busbar.onboarding.yaml_text import Value

WEIGHT_MAX = 1000
"""Greater ones are made smaller, together."""

Section: TypeAlias = dict[str, Value]

_NOT_IN_NAMES = re.compile(r"[\s\x00-\x1f\x7f]+")


class Groups:
    """Builds `models` and `pools`."""

    def __init__(self, routing: Routing, providers: Iterable[str], findings: Findings) -> None:
        self.models: dict[str, Section] = {}
        self.pools: dict[str, Section] = {}
        self.prices: dict[str, Mapping[str, float]] = {}
        self._routing = routing
        self._providers = set(providers)
        self._findings = findings
        self._groups: dict[str, list[Deployment]] = {}
        self._names: dict[str, str] = {}
        self._free = Names(chars_max=NAME_CHARACTERS_MAX)
        self._targets: dict[int, str] = {}
        """A deployment's place in the file → its model."""

    def build(self, deployments: Iterable[Deployment]) -> None:
        for deployment in deployments:
            self._groups.setdefault(deployment.group, []).append(deployment)
        for alias, target in self._routing.aliases.items():
            if target not in self._groups:
                self._findings.left_out("model_group_alias", f"there is no group `{named(target)}`", named(alias))
            elif alias not in self._groups:
                self._groups[alias] = self._groups[target]
        fallbacks = self._fallbacks()
        # What others fall back on has to be a pool; what falls back, too.
        pooled = {*fallbacks, *fallbacks.values()}
        for group, members in self._groups.items():
            as_pool = len(members) > 1 or group in pooled or self._says_something(members[0])
            self._names[group] = self._name(group, as_pool)
        for group, members in self._groups.items():
            if len(members) > 1 or group in pooled or self._says_something(members[0]):
                self._pools(group, members, fallbacks.get(group))
            else:
                self._model(self._names[group], members[0])

    def _says_something(self, only: Deployment) -> bool:
        """Whether a group of one needs a pool for what is said of it."""
        routing = self._routing
        retries = routing.retries if only.retries is None else only.retries
        return bool(routing.breaker or routing.deadline_secs or retries)

    # --- fallbacks

    def _fallbacks(self) -> dict[str, str]:
        """group → the one that it falls back on, without circles."""
        found: dict[str, str] = {}
        written = dict(self._routing.fallbacks)
        default = (*written.pop("*", ()), *self._routing.default_fallbacks)
        for group in written.keys() - self._groups.keys():
            self._findings.left_out("fallbacks", "there is no such group, or it was left out", named(group))
        for group in self._groups:
            same = self._routing.aliases.get(group, group)
            targets = (
                written.get(group) or written.get(same) or tuple(it for it in default if it not in (group, same))
            )
            known = [name for name in targets if name in self._groups]
            if targets and not known:
                self._findings.left_out("fallbacks", "what it falls back on was left out", named(group))
            if not known:
                continue
            if self._leads(found, known[0], group):
                self._findings.changed(
                    "fallbacks", "pools may not fall back in a circle: this one falls back on none", named(group)
                )
                continue
            found[group] = known[0]
        if found:
            self._findings.changed(
                "fallbacks",
                "a pool falls back when none of its members could be tried, not after each failure: for that, put the"
                " other models into the same pool",
            )
        return found

    @staticmethod
    def _leads(found: Mapping[str, str], start: str, goal: str) -> bool:
        at: str | None = start
        while at is not None and at != goal:
            at = found.get(at)
        return at == goal

    # --- names

    def _name(self, group: str, as_pool: bool) -> str:
        """The group's name where Busbar allows it, else one like it."""
        name = _NOT_IN_NAMES.sub("-", group)[:NAME_CHARACTERS_MAX].strip("-") or "model"
        if as_pool and (name in RESERVED_SEGMENTS or name in self._providers):
            name = f"{name}-pool"
        name = self._free.give(name)
        if name != group:
            self._findings.changed(
                "model_name", f"a name that Busbar cannot have: callers ask for `{named(name)}` now", named(group)
            )
        return name

    def _member_name(self, group: str, provider: str) -> str:
        return self._free.give(f"{self._names[group]}@{provider}")

    # --- models and pools

    def _model(self, name: str, deployment: Deployment) -> None:
        section: Section = {"provider": deployment.provider}
        if deployment.upstream_model != name:
            section["upstream_model"] = deployment.upstream_model
        section |= deployment.options
        if (timeout := self._routing.stream_timeout_ms) is not None:
            section.setdefault("first_token_timeout_ms", timeout)
            section.setdefault("stall_timeout_ms", timeout)
        self.models[name] = section
        if deployment.prices:
            self.prices[name] = deployment.prices

    def _pools(self, group: str, members: list[Deployment], fallback: str | None) -> None:
        orders = sorted({member.order for member in members})
        names = [self._names[group], *(self._free.give(f"{self._names[group]}-order-{it}") for it in orders[1:])]
        if len(orders) > 1:
            self._findings.changed(
                "order", "each order is a pool of its own, which falls back on the next", named(group)
            )
        last = None if fallback is None else self._names[fallback]
        for name, order, after in zip(names, orders, [*names[1:], last], strict=True):
            chosen = [member for member in members if member.order == order]
            self.pools[name] = self._pool(group, chosen, after)

    def _pool(self, group: str, members: list[Deployment], fallback: str | None) -> Section:
        routing = self._routing
        pool: Section = {"members": self._members(group, members)}
        if routing.strategy != "weighted" and len(members) > 1:
            pool["strategy"] = routing.strategy
        if routing.breaker:
            pool["breaker"] = routing.breaker
        failover: Section = {}
        if routing.retries is not None and len(members) > 1:
            failover["cap"] = min(routing.retries, CAP_MAX)
        if routing.deadline_secs is not None:
            failover["deadline_secs"] = routing.deadline_secs
        if failover:
            pool["failover"] = failover
        if again := self._again(members):
            pool["retry"] = {"same_member": again}
        if fallback is not None:
            pool["on_exhausted"] = f"fallback_pool:{fallback}"
        return pool

    def _again(self, members: list[Deployment]) -> int:
        """How often the same member is asked again: `max_retries`; of a group of one the router's retries, too."""
        own = [member.retries for member in members if member.retries is not None]
        if not own and len(members) == 1 and self._routing.retries is not None:
            own = [self._routing.retries]
        if len(set(own)) > 1:
            self._findings.changed(
                "max_retries", "it is the pool's here: the greatest was taken", named(members[0].group)
            )
        return min(max(own, default=0), SAME_MEMBER_MAX)

    def _members(self, group: str, members: list[Deployment]) -> list[Value]:
        written: list[Value] = []
        for member, weight in zip(members, self._weights(members), strict=True):
            name = self._target(group, member)
            section: Section = {"target": name}
            if len(members) > 1:
                section["weight"] = weight
            if member.context_max is not None:
                section["context_max"] = member.context_max
            written.append(section)
        return written

    def _target(self, group: str, member: Deployment) -> str:
        """The model of a group's member; an alias's pool shares those of its group."""
        if member.place not in self._targets:
            name = self._targets[member.place] = self._member_name(group, member.provider)
            self._model(name, member)
        return self._targets[member.place]

    def _weights(self, members: list[Deployment]) -> list[int]:
        """Whole numbers in the same proportions, as small as they can be."""
        given = [member.weight for member in members]
        if all(weight is None for weight in given):
            return [1] * len(members)
        if any(weight is None for weight in given):
            self._findings.changed(
                "weight", "members without one have 1 here; LiteLLM gives them nothing", named(members[0].group)
            )
        known = [1.0 if weight is None else weight for weight in given]
        if any(weight != int(weight) for weight in known):
            known = [weight * WEIGHT_MAX for weight in known]
        whole = [round(weight) for weight in known]
        whole = [weight // (math.gcd(*whole) or 1) for weight in whole]
        most = max(whole)
        if most > WEIGHT_MAX:
            whole = [max(1, round(weight * WEIGHT_MAX / most)) if weight else 0 for weight in whole]
        return whole
