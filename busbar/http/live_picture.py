"""The picture that the live page draws, put together from what the actors say. Its shape is told in `live`."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

from busbar import __version__
from busbar.actors.faults import FaultBoard
from busbar.actors.governance.messages import ListKeys, Page, Show, Standing
from busbar.actors.governance.money import cents
from busbar.actors.governance.scopes import VirtualKey
from busbar.actors.journal import REQUESTS_KEPT
from busbar.actors.messages import Directory, Refusal, Snapshot
from busbar.actors.runtime import ActorSystem, LoopRef
from busbar.actors.telemetry import Recent, RequestDone
from busbar.http import traces
from busbar.http.destinations import Destinations
from busbar.http.live_patch import KEPT, Picture
from busbar.http.live_rates import Rates

KEYS_SHOWN = 50
GOVERNANCE_SECS = 1.0
"""Between two looks at the keys, which cost a question each."""

_QUESTIONS = frozenset({"Snapshot", "Recent", "ListKeys", "Show"})

Document: TypeAlias = dict[str, Any]


class Painter:
    """Asks everybody once for each picture. Raises what asking an actor raises, once the actors have stopped."""

    def __init__(
        self,
        *,
        system: ActorSystem,
        gateway: LoopRef,
        directory: Directory,
        destinations: Destinations,
        faults: FaultBoard | None = None,
    ) -> None:
        self._system = system
        self._gateway = gateway
        self._directory = directory
        self._destinations = destinations
        self._faults = faults
        self._epoch = system.clock.time() - system.clock.now()
        """Unix seconds at which the clock of the messages began. Taken once: a message keeps its time."""
        self._asked: Counter[str] = Counter()
        """Our own questions, by actor: they are no traffic."""
        self._rates = Rates()
        self._governance: Document | None = None
        self._governance_due = -math.inf

    async def paint(self) -> Picture:
        directory, now = self._directory, self._system.clock.time()
        members = {name: await self._ask(ref, Snapshot()) for name, ref in directory.members.items()}
        pools = {name: await self._ask(ref, Snapshot()) for name, ref in directory.pools.items()}
        requests: list[RequestDone] = await self._ask(directory.metrics, Recent(REQUESTS_KEPT)) or []
        self._asked["journal"] += 1  # Metrics hands the question on
        self._rates.see(requests, now)
        gateway = await self._gateway.ask(Snapshot())
        self._asked[self._gateway.name] += 1
        return {
            "now": round(now, 3),
            "gateway": {"draining": gateway["draining"], "version": __version__},
            "pools": [
                self._pool(name, snapshot, members) for name, snapshot in pools.items() if snapshot is not None
            ],
            "members": [self._member(name, snapshot) for name, snapshot in members.items()],
            "actors": self._actors(),
            "requests": [traces.brief(request) for request in requests[: KEPT["requests"]]],
            "messages": self._messages(),
            "rates": self._rates.shown(now),
            "governance": await self._keys(requests),
        }

    async def _ask(self, ref: LoopRef, question: object) -> Any:
        """None: it is dead."""
        if not ref.is_alive():
            return None
        self._asked[ref.name] += 1
        return await ref.ask(question)

    def _pool(self, name: str, pool: Document, members: Mapping[str, Document | None]) -> Document:
        listing = self._destinations.pools[name].listing
        return {
            "name": name,
            "strategy": pool["strategy"],
            "waiting": pool["waiting"],
            "members": [
                {
                    "model": line.member,
                    "weight": pool["weights"][line.member],
                    "excluded": line.excluded,
                    "cell": _cell(members[line.member], name, pool["availability"][line.member]),
                    "availability": pool["availability"][line.member],
                    "picks": pool["picks"][line.member],
                }
                for line in listing.lines
            ],
        }

    def _member(self, name: str, member: Document | None) -> Document:
        faults = self._faults_of(name)
        if member is None:
            return {**_DEAD, "model": name, "faults": faults}
        direct = f"{name} (direct)" if name in self._directory.pools else name
        return {
            "model": name,
            "provider": member["provider"],
            "protocol": member["protocol"],
            "slots": member["max_concurrent"],
            "busy": member["inflight"],
            "ok": member["ok"],
            "err": member["err"],
            "client_fault": member["client_fault"],
            "availability": member["availability"],
            "cell": _cell(member, direct, member["availability"]),
            "faults": faults,
        }

    def _faults_of(self, member: str) -> list[Document]:
        fault = None if self._faults is None else self._faults.in_force.get(member)
        if fault is None:
            return []
        remaining_s = math.ceil(max(0.0, fault.ends_at - self._system.clock.now()))
        return [{"kind": fault.kind, "secs": fault.secs, "remaining_s": remaining_s, "by": fault.by}]

    def _actors(self) -> list[Document]:
        parents = self._parents()
        return [
            {
                "name": actor.name,
                "kind": actor.kind,
                "parent": parents.get(actor.name),
                "mailbox": actor.mailbox,
                "processed": max(0, actor.processed - self._asked[actor.name]),
                "restarts": actor.restarts,
                "dropped": actor.dropped,
                "alive": actor.alive,
            }
            for actor in self._system.snapshot()
        ]

    def _parents(self) -> dict[str, str]:
        found: dict[str, str] = {}
        to_visit = self._system.children()
        while to_visit:
            parent = to_visit.pop()
            below = self._system.children(parent)
            found |= {child.name: parent.name for child in below}
            to_visit += below
        return found

    def _messages(self) -> list[Document]:
        epoch = self._epoch
        told = [
            {"at": round(entry.at + epoch, 3), "actor": entry.actor, "type": entry.type}
            for entry in reversed(self._system.tap.entries())
            if entry.type not in _QUESTIONS
        ]
        return told[: KEPT["messages"]]

    # --- governance

    async def _keys(self, requests: Sequence[RequestDone]) -> Document | None:
        governance, now = self._directory.governance.get("governance"), self._system.clock.now()
        if governance is None or not governance.is_alive():
            return None
        if now >= self._governance_due:
            self._governance_due = now + GOVERNANCE_SECS
            self._governance = await self._standings(governance, requests)
        return self._governance

    async def _standings(self, governance: LoopRef, requests: Sequence[RequestDone]) -> Document:
        """Those whose keys made most of the latest requests, then those that are the oldest."""
        page = await self._ask(governance, ListKeys(limit=KEYS_SHOWN))
        if not isinstance(page, Page):
            return {"ready": False, "keys": []}
        busy = Counter(request.key_id for request in requests if request.key_id is not None)
        names = dict.fromkeys([*(name for name, _ in busy.most_common(KEYS_SHOWN)), *(key.id for key in page.items)])
        standings = [await self._ask(governance, Show(name)) for name in list(names)[:KEYS_SHOWN]]
        # One that is not there any more may still be among the latest requests.
        return {"ready": True, "keys": [_key(it) for it in standings if isinstance(it, Standing)]}


_DEAD: Document = {
    "model": "",
    "provider": None,
    "protocol": None,
    "slots": 0,
    "busy": 0,
    "ok": 0,
    "err": 0,
    "client_fault": 0,
    "availability": Refusal.DEAD.value,
    "cell": None,
}


def _cell(member: Document | None, pool: str, availability: str) -> Document | None:
    """A member that has just been restarted has not been joined by its pools yet."""
    cell = None if member is None else member["cells"].get(pool)
    if cell is None:
        return None
    return {
        "state": cell["state"],
        "streak": cell["streak"],
        "cooldown_remaining_s": math.ceil(cell["cooldown_remaining_s"]),
        "probe_in_flight": cell["state"] != "closed" and availability == Refusal.PROBE_IN_FLIGHT.value,
    }


def _key(standing: Standing) -> Document:
    key = standing.scope
    return {
        "id": key.id,
        "name": key.name,
        "enabled": not isinstance(key, VirtualKey) or key.enabled,
        "spent_cents": cents(standing.spent),
        "reserved_cents": cents(standing.reserved),
        "limit_cents": key.max_budget_cents,
        "period": key.budget_period,
        "resets_at": standing.resets_at,
        "rpm_used": None if key.rpm_limit is None else standing.requests,
        "rpm_limit": key.rpm_limit,
        "tpm_used": None if key.tpm_limit is None else standing.tokens,
        "tpm_limit": key.tpm_limit,
    }
