"""The gateway under governance: a virtual key whose budget and limits refuse nothing, in a group that has its own."""

from __future__ import annotations

import http.client
import json
import subprocess
import sys
from collections.abc import Iterable, Mapping
from typing import ClassVar

from bench.contenders import ADMIN_TOKEN, ROOT, Busbar, NotStarted

BUDGET_CENTS = 10**9
PER_MINUTE_MAX = 10**9
"""Requests, and tokens: as much as a limit may be, and more than one process can do."""
PRICE = {"input": 2.5, "output": 10.0, "cache_read": 1.25}

_LIMITS = ("--name", "bench", "--budget-cents", str(BUDGET_CENTS), "--period", "monthly")
_KEY_LIMITS = ("--rpm", str(PER_MINUTE_MAX), "--tpm", str(PER_MINUTE_MAX))


class Governed(Busbar):
    """`Busbar` with all that a request may have to pass: a key with a budget and both limits, a group with a budget,
    and prices for every model. The database is in the contender's folder."""

    durability: ClassVar[str]

    def more_config(self, models: Iterable[str]) -> dict[str, object]:
        governance = {
            "enabled": True,
            "admin_token": "${BENCH_ADMIN_TOKEN}",
            "db_path": str(self._folder / "governance.db"),
            "durability": self.durability,
            "prices": dict.fromkeys(models, PRICE),
        }
        return {"governance": governance}

    def prepare(self, environment: Mapping[str, str]) -> None:
        group = self._made(environment, "groups", *_LIMITS)["id"]
        self.key = self._made(environment, "keys", *_LIMITS, *_KEY_LIMITS, "--group", group)["secret"]

    def commits(self) -> int:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=5)
        try:
            connection.request("GET", "/stats", headers={"x-admin-token": ADMIN_TOKEN})
            commits: int = json.load(connection.getresponse())["ledger"]["commits"]
            return commits
        finally:
            connection.close()

    def _made(self, environment: Mapping[str, str], kind: str, *options: str) -> dict[str, str]:
        """A key, or a group, made in the database as an operator would: by the command line."""
        command = [sys.executable, "-m", "busbar", kind, "create", "--config", str(self._folder / "config"), "--json"]
        done = subprocess.run([*command, *options], cwd=ROOT, env=environment, capture_output=True, check=False)
        if done.returncode != 0:
            raise NotStarted(f"{self.name}: {kind} could not be made:\n{done.stderr.decode(errors='replace')}")
        document: dict[str, str] = json.loads(done.stdout)
        return document


class Strict(Governed):
    """An answer's last byte waits until what it cost is on disk."""

    name = "strict"
    durability = "strict"


class Relaxed(Governed):
    """It does not; 100 ms may be lost."""

    name = "relaxed"
    durability = "relaxed"


GOVERNED: tuple[type[Governed], ...] = (Relaxed, Strict)
