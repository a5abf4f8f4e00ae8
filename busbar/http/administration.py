"""Administration of virtual keys and groups, as documents: what is asked of Governance, and what its answers mean.

POST   /admin/keys                 a new key: its document, and this once its secret
GET    /admin/keys                 ?limit=&after=&group=: {"keys": [...], "next": id or null}
GET    /admin/keys/<id>
PATCH  /admin/keys/<id>            only the fields that are given change
DELETE /admin/keys/<id>
POST   /admin/keys/<id>/rotate     another secret, and the old one is worth nothing from then on
GET    /admin/keys/<id>/usage      ?since=2026-01-31

and the same for /admin/groups, but for `rotate`. It knows no HTTP library: pages and the command line both use it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Mapping
from typing import Any, TypeAlias

import pykka
from msgspec import Struct

from busbar.actors.audit import record
from busbar.actors.governance.batch import UsageRead
from busbar.actors.governance.keyring import secret_hash
from busbar.actors.governance.messages import (
    ChangeGroup,
    ChangeKey,
    CreateGroup,
    CreateKey,
    DeleteGroup,
    DeleteKey,
    ListGroups,
    ListKeys,
    NotDone,
    NotRecorded,
    Page,
    Show,
    Standing,
    UsageOf,
    Wrong,
)
from busbar.actors.governance.money import Tariff
from busbar.actors.governance.scopes import SCOPES_MAX, Group, VirtualKey
from busbar.actors.runtime import Clock, LoopRef, MailboxFull
from busbar.governance.aws_pair import SeedError
from busbar.governance.minting import IdPrefix, NoEntropy, mint_id, mint_secret
from busbar.governance.pairs import AwsPairs
from busbar.http.administration_bodies import (
    GroupPatch,
    KeyPatch,
    NewGroup,
    NewKey,
    Refusal,
    Rotation,
    check_name,
    check_pools,
    decoded,
    page_size,
    read_query,
    since_day,
)
from busbar.http.administration_documents import Document, document_of, usage_document

_STATUS = {Wrong.NOT_FOUND: 404, Wrong.CONFLICT: 409, Wrong.INVALID: 400, Wrong.UNAVAILABLE: 503}


class Answer(Struct, frozen=True, kw_only=True):
    status: int
    document: Document | None = None
    """None: there is nothing to say."""
    allow: tuple[str, ...] = ()
    """With 405: the methods that there are."""

    def __repr__(self) -> str:
        """Without the document, which may hold a secret."""
        return f"Answer({self.status})"


class Kind(Struct, frozen=True, kw_only=True):
    """What differs between keys and groups."""

    word: str
    plural: str
    prefix: IdPrefix
    patch: type[KeyPatch | GroupPatch]
    change: type[ChangeKey | ChangeGroup]
    delete: type[DeleteKey | DeleteGroup]


KEYS = Kind(word="key", plural="keys", prefix="vk", patch=KeyPatch, change=ChangeKey, delete=DeleteKey)
GROUPS = Kind(word="group", plural="groups", prefix="grp", patch=GroupPatch, change=ChangeGroup, delete=DeleteGroup)

Action: TypeAlias = Callable[[Mapping[str, str], bytes], Awaitable[Answer]]


class Administration:
    """Asks Governance. Each change that holds is logged, once, by `busbar.audit`."""

    def __init__(
        self,
        governance: LoopRef,
        tariff: Tariff,
        clock: Clock,
        pairs: AwsPairs,
        names: Collection[str] | None,
    ) -> None:
        """`names`: of all pools and models, which keys may be allowed; None: they are not known, and any will do."""
        self._governance = governance
        self._tariff = tariff
        self._clock = clock
        self._pairs = pairs
        self._names = names

    async def call(self, method: str, path: str, query: Mapping[str, str], body: bytes) -> Answer:
        """`path` as it came, from `/admin/` on."""
        try:
            actions = self._actions(path)
            action = actions.get(method)
            if action is None:
                raise Refusal(405, f"{method} is not allowed here.", tuple(actions))
            return await action(query, body)
        except Refusal as refusal:
            document = {"error": {"message": str(refusal)}}
            return Answer(status=refusal.status, document=document, allow=refusal.allow)
        except (NoEntropy, SeedError) as error:
            return Answer(status=503, document={"error": {"message": f"Nothing was changed: {error}."}})

    def _actions(self, path: str) -> Mapping[str, Action]:
        """What can be done at `path`, by method. Raises `Refusal`."""
        match path.split("/"):
            case ["", "admin", "keys"]:
                return {"GET": self._list_keys, "POST": self._create_key}
            case ["", "admin", "groups"]:
                return {"GET": self._list_groups, "POST": self._create_group}
            case ["", "admin", "keys", scope_id] if scope_id:
                return self._actions_of(KEYS, scope_id)
            case ["", "admin", "groups", scope_id] if scope_id:
                return self._actions_of(GROUPS, scope_id)
            case ["", "admin", "keys", scope_id, "rotate"]:
                return {"POST": lambda query, body: self._rotate(scope_id, query, body)}
            case ["", "admin", "keys", scope_id, "usage"]:
                return {"GET": lambda query, _body: self._usage(KEYS, scope_id, query)}
            case ["", "admin", "groups", scope_id, "usage"]:
                return {"GET": lambda query, _body: self._usage(GROUPS, scope_id, query)}
            case _:
                raise Refusal(404, "There is nothing at this path.")

    def _actions_of(self, kind: Kind, scope_id: str) -> Mapping[str, Action]:
        return {
            "GET": lambda query, _body: self._show(kind, scope_id, query),
            "PATCH": lambda query, body: self._change(kind, scope_id, query, body),
            "DELETE": lambda query, _body: self._delete(kind, scope_id, query),
        }

    # --- making

    async def _create_key(self, query: Mapping[str, str], body: bytes) -> Answer:
        read_query(query, ())
        new = decoded(body, NewKey)
        check_name(new.name)
        check_pools(new.allowed_pools, self._names)
        now = self._clock.time()
        if new.expires_at is not None and new.expires_at <= now:
            raise Refusal(400, "expires_at: Unix seconds in the future, or null: never.")
        secret, aws = mint_secret(), await self._pair() if new.issue_aws_credential else None
        key = VirtualKey(
            id=mint_id("vk"),
            name=new.name,
            secret_hash=secret_hash(secret),
            group=new.group,
            allowed_pools=None if new.allowed_pools is None else tuple(dict.fromkeys(new.allowed_pools)),
            max_budget_cents=new.max_budget_cents,
            budget_period=new.budget_period,
            rpm_limit=new.rpm_limit,
            tpm_limit=new.tpm_limit,
            enabled=new.enabled,
            expires_at=new.expires_at,
            created_at=int(now),
            aws_access_key_id=None if aws is None else aws[0],
        )
        try:
            made = await self._ask(CreateKey(key))
        except (Refusal, asyncio.CancelledError):
            # Whoever did not get the secret must not leave a key behind.
            self._governance.tell(DeleteKey(key.id))
            raise
        if isinstance(made, NotRecorded):
            self._governance.tell(DeleteKey(key.id))
            raise Refusal(503, "The key could not be recorded in time and was taken back: there is no new key.")
        _log("create", key.id)
        return _told_once(201, made, secret, aws)

    async def _create_group(self, query: Mapping[str, str], body: bytes) -> Answer:
        read_query(query, ())
        new = decoded(body, NewGroup)
        check_name(new.name)
        group = Group(
            id=mint_id("grp"),
            name=new.name,
            parent=new.parent,
            max_budget_cents=new.max_budget_cents,
            budget_period=new.budget_period,
            rpm_limit=new.rpm_limit,
            tpm_limit=new.tpm_limit,
            created_at=int(self._clock.time()),
        )
        made = await self._changed("create", GROUPS, group.id, CreateGroup(group))
        return Answer(status=201, document=document_of(made))

    async def _rotate(self, key_id: str, query: Mapping[str, str], body: bytes) -> Answer:
        read_query(query, ())
        wanted = (decoded(body, Rotation) if body.strip() else Rotation()).issue_aws_credential
        key = (await self._standing(KEYS, key_id)).scope
        assert isinstance(key, VirtualKey), "keys were looked among"
        paired = key.aws_access_key_id is not None if wanted is None else wanted
        secret, aws = mint_secret(), await self._pair() if paired else None
        changes = {"secret_hash": secret_hash(secret), "aws_access_key_id": None if aws is None else aws[0]}
        changed = await self._changed(
            "rotate",
            KEYS,
            key_id,
            ChangeKey(key_id, changes),
            "The old secret is worth nothing any more, and the new one is not given out: rotate again.",
        )
        return _told_once(200, changed, secret, aws)

    async def _pair(self) -> tuple[str, str]:
        """Raises `Refusal`, `SeedError`, `NoEntropy`."""
        exist = False
        if not self._pairs.seeded:
            keys: Page = await self._ask(ListKeys(limit=SCOPES_MAX))
            exist = any(isinstance(key, VirtualKey) and key.aws_access_key_id is not None for key in keys.items)
        return self._pairs.issue(pairs_exist=exist)

    # --- changing

    async def _change(self, kind: Kind, scope_id: str, query: Mapping[str, str], body: bytes) -> Answer:
        read_query(query, ())
        patch = decoded(body, kind.patch)
        check_name(patch.name)
        changes = patch.changes()
        if isinstance(patch, KeyPatch):
            check_pools(patch.allowed_pools, self._names)
        if changes.get("allowed_pools") is not None:
            changes["allowed_pools"] = tuple(dict.fromkeys(changes["allowed_pools"]))
        if not changes:
            return await self._show(kind, scope_id, {})
        changed = await self._changed("change", kind, scope_id, kind.change(scope_id, changes), fields=tuple(changes))
        return Answer(status=200, document=document_of(changed))

    async def _delete(self, kind: Kind, scope_id: str, query: Mapping[str, str]) -> Answer:
        read_query(query, ())
        await self._changed("delete", kind, scope_id, kind.delete(scope_id))
        return Answer(status=204)

    async def _changed(
        self, action: str, kind: Kind, scope_id: str, message: Any, moreover: str = "", fields: tuple[str, ...] = ()
    ) -> Any:
        """Raises `Refusal`; with 503, it says what holds now."""
        try:
            changed = await self._ask(message)
        except asyncio.CancelledError:
            _log(action, scope_id, fields, "unanswered")
            raise
        if isinstance(changed, NotRecorded):
            _log(action, scope_id, fields, "unrecorded")
            raise Refusal(
                503,
                f"The {kind.word} {scope_id} is {action}d, but the store did not record it in time. It will be"
                f" recorded as soon as the store works; a restart before that would undo it. {moreover}".rstrip(),
            )
        _log(action, scope_id, fields)
        return changed

    # --- looking

    async def _list_keys(self, query: Mapping[str, str], _body: bytes) -> Answer:
        read_query(query, ("limit", "after", "group"))
        after = await self._cursor(KEYS, query)
        return await self._page(KEYS, ListKeys(after=after, limit=page_size(query), group=query.get("group")))

    async def _list_groups(self, query: Mapping[str, str], _body: bytes) -> Answer:
        read_query(query, ("limit", "after"))
        after = await self._cursor(GROUPS, query)
        return await self._page(GROUPS, ListGroups(after=after, limit=page_size(query)))

    async def _cursor(self, kind: Kind, query: Mapping[str, str]) -> str | None:
        """After one that is not there any more, a page would begin anew, and whoever turns pages would not end."""
        after = query.get("after")
        if after is not None and await self._standing_or_none(kind, after) is None:
            raise Refusal(400, f"after: there is no such {kind.word}, or not any more: begin with the first page.")
        return after

    async def _page(self, kind: Kind, message: ListKeys | ListGroups) -> Answer:
        page: Page = await self._ask(message)
        document = {
            kind.plural: [document_of(scope) for scope in page.items],
            "next": page.items[-1].id if page.more else None,
        }
        return Answer(status=200, document=document)

    async def _show(self, kind: Kind, scope_id: str, query: Mapping[str, str]) -> Answer:
        read_query(query, ())
        return Answer(status=200, document=document_of((await self._standing(kind, scope_id)).scope))

    async def _usage(self, kind: Kind, scope_id: str, query: Mapping[str, str]) -> Answer:
        """Also of what was deleted, if it was ever used."""
        first = since_day(read_query(query, ("since",)))
        standing = await self._standing_or_none(kind, scope_id)
        if standing is None and not scope_id.startswith(f"{kind.prefix}_"):
            raise _none_such(kind)
        # Of what is not there, any use shows that it was.
        reply: UsageRead | NotRecorded = await self._ask(UsageOf(scope_id, 0 if standing is None else first))
        if isinstance(reply, NotRecorded):
            raise Refusal(503, "Usage cannot be read at the moment: the store does not answer.")
        if standing is None and not reply.rows:
            raise _none_such(kind)
        rows = [row for row in reply.rows if row[0].day >= first]
        return Answer(status=200, document=usage_document(scope_id, rows, self._tariff, standing))

    async def _standing(self, kind: Kind, scope_id: str) -> Standing:
        """Raises `Refusal`."""
        standing = await self._standing_or_none(kind, scope_id)
        if standing is None:
            raise _none_such(kind)
        return standing

    async def _standing_or_none(self, kind: Kind, scope_id: str) -> Standing | None:
        """None also for a key where a group was asked for, and the other way round."""
        try:
            standing: Standing = await self._ask(Show(scope_id))
        except Refusal as refusal:
            if refusal.status == 404:
                return None
            raise
        return standing if standing.scope.id.startswith(f"{kind.prefix}_") else None

    async def _ask(self, message: Any) -> Any:
        """Raises `Refusal`."""
        try:
            reply = await self._governance.ask(message)
        except (pykka.ActorDeadError, MailboxFull):
            raise Refusal(503, "It is not known whether it was done, as governance starts anew: look.") from None
        if isinstance(reply, NotDone):
            raise Refusal(_STATUS[reply.why], reply.text)
        return reply


def _none_such(kind: Kind) -> Refusal:
    return Refusal(404, f"There is no such {kind.word}.")


def _told_once(status: int, key: VirtualKey, secret: str, aws: tuple[str, str] | None) -> Answer:
    pair = {} if aws is None else {"aws_access_key_id": aws[0], "aws_secret_access_key": aws[1]}
    return Answer(status=status, document={**document_of(key), "secret": secret, **pair})


def _log(action: str, scope_id: str, fields: tuple[str, ...] = (), state: str = "done") -> None:
    named = {"fields": ",".join(fields)} if fields else {}
    record("admin", action, state, id=scope_id, **named)
