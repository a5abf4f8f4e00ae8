"""How `busbar keys` and `busbar groups` reach what they administer: a running gateway by its pages, or the database
of one that is off, by the very same `Administration`."""

from __future__ import annotations

import argparse
import os
import re
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import msgspec

from busbar.cli.options import load_config, run

if TYPE_CHECKING:
    from busbar.config import Config
    from busbar.store import SqliteStore

URL = "http://127.0.0.1:8080"
TIMEOUT_SECS = 30.0

Document: TypeAlias = dict[str, Any]
Call: TypeAlias = Callable[..., Awaitable[Document]]
"""`call(method, path, query=None, body=None)`. Raises `Refused`."""

Caller: TypeAlias = Callable[[str, str, Mapping[str, str], bytes], Awaitable[tuple[int, Document | None]]]


class Refused(Exception):
    """The answer is no; the text says why."""


class WrongUsage(Exception):
    """It was asked for in a way that cannot be; the text says how it can."""


def ways() -> argparse.ArgumentParser:
    """The options of every verb that say where to ask."""
    parser = argparse.ArgumentParser(add_help=False)
    where = parser.add_argument_group("where", "a running gateway, unless --db or --config is given")
    where.add_argument("--url", help=f"the running gateway (default: $BUSBAR_URL, {URL})")
    where.add_argument("--admin-token", metavar="TOKEN", help="its governance.admin_token ($BUSBAR_ADMIN_TOKEN)")
    where.add_argument("--db", metavar="FILE", help="the database of one that is off (default: the one of --config)")
    where.add_argument("--config", metavar="FILE", help="the configuration of one that is off")
    where.add_argument("--providers", metavar="FILE", help="its provider catalog, found as `busbar serve` does")
    parser.add_argument("--json", action="store_true", help="print the documents as they are")
    return parser


def administer(arguments: argparse.Namespace, work: Callable[[Call], Awaitable[None]]) -> int:
    """Runs `work` with a way to ask; gives the exit code."""
    try:
        run(_administer(arguments, work))
    except WrongUsage as wrong:
        print(wrong, file=sys.stderr)
        return 2
    except Refused as refused:
        print(refused, file=sys.stderr)
        return 1
    return 0


async def _administer(arguments: argparse.Namespace, work: Callable[[Call], Awaitable[None]]) -> None:
    at_rest = arguments.db is not None or arguments.config is not None
    if at_rest and arguments.url is not None:
        raise WrongUsage("either --url, for a running gateway, or --db and --config, for one that is off")
    if any(_has_stray_bytes(value) for value in vars(arguments).values()):
        raise WrongUsage("the arguments hold bytes that are no text (UTF-8)")
    async with _at_rest(arguments) if at_rest else _running(arguments) as caller:

        async def call(
            method: str, path: str, query: Mapping[str, str] | None = None, body: Document | None = None
        ) -> Document:
            text = b"" if body is None else msgspec.json.encode(body)
            status, document = await caller(method, path, query or {}, text)
            if status >= 300:
                raise Refused(_message(status, document))
            return document or {}

        await work(call)


def _has_stray_bytes(argument: object) -> bool:
    """Python keeps what is no UTF-8 as surrogates, which no document can hold."""
    texts = argument if isinstance(argument, list) else [argument]
    return any(isinstance(text, str) and re.search("[\ud800-\udfff]", text) for text in texts)


def _message(status: int, document: Document | None) -> str:
    error = (document or {}).get("error")
    text = error.get("message") if isinstance(error, dict) else None
    return text if isinstance(text, str) else f"the answer is {status}, and does not say why"


# --- a running gateway


@asynccontextmanager
async def _running(arguments: argparse.Namespace) -> AsyncIterator[Caller]:
    import aiohttp

    url = (arguments.url or os.environ.get("BUSBAR_URL") or URL).rstrip("/")
    token = arguments.admin_token or os.environ.get("BUSBAR_ADMIN_TOKEN") or ""
    if not re.match(r"https?://[^/]", url):
        raise WrongUsage(f"--url: expected something like {URL}, not {url!r}")
    if not re.fullmatch(r"[\x21-\x7e]+", token):
        raise WrongUsage(
            "the admin token is missing or cannot be one: --admin-token, or better $BUSBAR_ADMIN_TOKEN;"
            " for a gateway that is off: --db or --config"
        )
    timeout = aiohttp.ClientTimeout(total=TIMEOUT_SECS)
    async with aiohttp.ClientSession(headers={"x-admin-token": token}, timeout=timeout) as http:

        async def call(method: str, path: str, query: Mapping[str, str], body: bytes) -> tuple[int, Document | None]:
            try:
                # The token goes where it was meant to go, and nowhere else.
                sent = http.request(method, url + path, params=query, data=body or None, allow_redirects=False)
                async with sent as answer:
                    text = await answer.read()
            except (aiohttp.ClientError, TimeoutError) as error:
                raise Refused(f"{url} does not answer: {error or 'it takes too long'}") from None
            if answer.status == 404 and path.count("/") == 2:
                raise Refused(f"{url} has no such pages: governance is off there, or it is no gateway")
            return answer.status, _document(text, url)

        yield call


def _document(text: bytes, url: str) -> Document | None:
    if not text:
        return None
    try:
        return msgspec.json.decode(text, type=dict[str, Any])
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise Refused(f"{url} answers, but not as a gateway does") from None


# --- one that is off


@asynccontextmanager
async def _at_rest(arguments: argparse.Namespace) -> AsyncIterator[Caller]:
    config = _config(arguments)
    database = _database(arguments, config)
    store = _store(database)
    try:
        async with _actors(store, database, config) as caller:
            yield caller
    finally:
        store.close()


def _config(arguments: argparse.Namespace) -> Config | None:
    """None where only a database is named. Raises `Refused` after the errors were printed."""
    if arguments.config is None:
        return None
    config = load_config(arguments)
    if config is None:
        raise Refused("the configuration cannot be used")
    return config


def _database(arguments: argparse.Namespace, config: Config | None) -> Path:
    """Raises `WrongUsage`."""
    if config is None and arguments.verb == "usage":
        raise WrongUsage("usage is priced by the configuration: name it with --config")
    assert arguments.db is not None or config is not None, "one of the two was given"
    database = Path(arguments.db if config is None or arguments.db is not None else config.governance.db_path)
    if arguments.verb != "create" and not database.exists():
        raise WrongUsage(f"{database} does not exist")
    return database


def _store(database: Path) -> SqliteStore:
    """Raises `WrongUsage`."""
    from busbar.actors.governance.batch import StoreInUse, StoreUnusable
    from busbar.store import SqliteStore

    try:
        return SqliteStore.open(database, durable=True)
    except StoreInUse as error:
        raise WrongUsage(f"{error}: ask the gateway that runs on it, with --url") from None
    except StoreUnusable as error:
        raise WrongUsage(str(error)) from None


@asynccontextmanager
async def _actors(store: SqliteStore, database: Path, config: Config | None) -> AsyncIterator[Caller]:
    """As much of a gateway as keeps keys."""
    from busbar.actors.governance.desk import Desk
    from busbar.actors.governance.governance import Governance
    from busbar.actors.governance.keyring import Keyring
    from busbar.actors.governance.ledger import Ledger
    from busbar.actors.governance.messages import NotRecorded, UsageOf
    from busbar.actors.governance.money import Rates, Tariff
    from busbar.actors.governance.outbox import Outbox
    from busbar.actors.runtime import ActorSystem
    from busbar.actors.supervision import EscalatePolicy
    from busbar.governance.pairs import AwsPairs
    from busbar.governance.tariff import tariff_of
    from busbar.http.administration import Administration

    tariff = Tariff({}, Rates()) if config is None else tariff_of(config)
    names = None if config is None else {*config.pools, *config.models}
    system = ActorSystem(policy=EscalatePolicy())
    try:
        ledger = system.spawn(Ledger, store, Outbox(), name="ledger")
        governance = system.spawn(Governance, ledger, tariff, Keyring(), Desk(), strict=True, name="governance")
        # Answered only after everything was loaded.
        if isinstance(await governance.ask(UsageOf("")), NotRecorded):
            raise Refused(f"{database} cannot be read")
        administration = Administration(governance, tariff, system.clock, AwsPairs(database), names)

        async def call(method: str, path: str, query: Mapping[str, str], body: bytes) -> tuple[int, Document | None]:
            answer = await administration.call(method, path, query, body)
            return answer.status, answer.document

        yield call
    finally:
        await system.stop()
