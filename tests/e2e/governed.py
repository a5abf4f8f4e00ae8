"""A world with governance, a database on disk, and an operator who makes keys.

async with GovernedWorld(tmp_path) as world:
    key = await world.key(max_budget_cents=100)
    async with speak("openai", world, key=key.secret) as speaker: ...
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from msgspec import Struct

from .world import World

ADMIN_TOKEN = "the-operators-own"
ADMIN = {"authorization": f"Bearer {ADMIN_TOKEN}"}

PRICES = "{input: 1, output: 2, cache_read: 0.1, cache_write: 1.25, reasoning: 4}"
"""Of every model, in dollars for a million tokens."""


class Key(Struct, frozen=True):
    """As the operator was shown it, once."""

    id: str
    secret: str
    document: dict[str, Any]

    def shown_by(self, ingress: str) -> str:
        """What that dialect's SDK is given: boto3 signs with the pair, all others send the secret."""
        if ingress != "bedrock":
            return self.secret
        return f"{self.document['aws_access_key_id']}:{self.document['aws_secret_access_key']}"


class GovernedWorld(World):
    """`governance`: more keys of that section, as flow YAML without its braces."""

    def __init__(
        self,
        folder: Path,
        models: Mapping[str, str] | None = None,
        config: str = "",
        governance: str = "",
        env: Mapping[str, str] | None = None,
        **more: Any,
    ) -> None:
        models = models if models is not None else {"claude": "anthropic:demo", "gpt": "openai:demo"}
        self.database = folder / "governance.db"
        prices = ", ".join(f"{model}: {PRICES}" for model in models)
        own = f"enabled: true, db_path: '{self.database}', admin_token: '${{ADMIN}}'"
        if "prices:" not in governance:
            own += f", prices: {{{prices}}}"
        section = f"governance: {{{own}{', ' if governance else ''}{governance}}}"
        super().__init__(models, f"{config}\n{section}", env={"ADMIN": ADMIN_TOKEN, **(env or {})}, **more)

    async def key(self, name: str = "dev", **fields: Any) -> Key:
        answer = await self.post("/admin/keys", {"name": name, "issue_aws_credential": True, **fields}, ADMIN)
        assert answer.status == 201, answer
        document = answer.json()
        return Key(document["id"], document["secret"], document)

    async def group(self, name: str, **fields: Any) -> str:
        answer = await self.post("/admin/groups", {"name": name, **fields}, ADMIN)
        assert answer.status == 201, answer
        group_id: str = answer.json()["id"]
        return group_id

    async def change(self, key: Key, **fields: Any) -> None:
        async with self.http.patch(f"/admin/keys/{key.id}", json=fields, headers=ADMIN) as response:
            assert response.status == 200, await response.text()

    async def usage(self, key: Key | str) -> dict[str, Any]:
        """As the ledger has it."""
        place = f"keys/{key.id}" if isinstance(key, Key) else f"groups/{key}"
        async with self.http.get(f"/admin/{place}/usage", headers=ADMIN) as response:
            assert response.status == 200, await response.text()
            usage: dict[str, Any] = await response.json()
            return usage

    async def tokens(self, key: Key | str) -> tuple[int, int, int, int]:
        """(requests, input, output, of all of them estimated requests)"""
        usage = await self.usage(key)
        return usage["requests"], usage["input_tokens"], usage["output_tokens"], usage["estimated_requests"]

    async def stats(self) -> dict[str, Any]:
        async with self.http.get("/stats", headers=ADMIN) as response:
            stats: dict[str, Any] = await response.json()
            return stats
