"""What can be done with keys and groups alike."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable, Mapping
from typing import Any
from urllib.parse import quote

import msgspec

from busbar.cli.administering import Call, Document, administer
from busbar.cli.options import Commands
from busbar.cli.scope_tables import details, usage_text

FIELDS = ("name", "max_budget_cents", "budget_period", "rpm_limit", "tpm_limit")

PAGE = 1000


def verb(
    verbs: Commands,
    where: argparse.ArgumentParser,
    name: str,
    text: str,
    run: Callable[[argparse.Namespace], int],
    of: str | None = None,
) -> argparse.ArgumentParser:
    command = verbs.add_parser(name, help=text, description=f"{text[0].upper()}{text[1:]}.", parents=[where])
    if of is not None:
        command.add_argument("id", metavar=of)
    command.set_defaults(run=run)
    return command


def list_all(
    arguments: argparse.Namespace,
    path: str,
    plural: str,
    shown: Callable[[Iterable[Document]], str],
    query: Mapping[str, str],
) -> int:
    """All pages of it."""

    async def work(call: Call) -> None:
        page = await call("GET", path, {**query, "limit": str(PAGE)})
        found: list[Document] = page[plural]
        while page["next"] is not None:
            page = await call("GET", path, {**query, "limit": str(PAGE), "after": page["next"]})
            found += page[plural]
        tell(arguments, {plural: found}, lambda document: shown(document[plural]))

    return administer(arguments, work)


def show(arguments: argparse.Namespace, path: str) -> int:
    async def work(call: Call) -> None:
        tell(arguments, await call("GET", place(path, arguments)), details)

    return administer(arguments, work)


def change(arguments: argparse.Namespace, path: str, changes: Mapping[str, Any]) -> int:
    async def work(call: Call) -> None:
        tell(arguments, await call("PATCH", place(path, arguments), body=dict(changes)), details)

    return administer(arguments, work)


def delete(arguments: argparse.Namespace, path: str) -> int:
    async def work(call: Call) -> None:
        await call("DELETE", place(path, arguments))
        tell(arguments, {"id": arguments.id, "deleted": True}, lambda document: f"{document['id']} is deleted")

    return administer(arguments, work)


def usage(arguments: argparse.Namespace, path: str) -> int:
    async def work(call: Call) -> None:
        query = {} if arguments.since is None else {"since": arguments.since}
        tell(arguments, await call("GET", f"{place(path, arguments)}/usage", query), usage_text)

    return administer(arguments, work)


def tell(arguments: argparse.Namespace, document: Document, shown: Callable[[Document], str]) -> None:
    if arguments.json:
        print(msgspec.json.format(msgspec.json.encode(document), indent=2).decode())
    else:
        print(shown(document))


def place(path: str, arguments: argparse.Namespace) -> str:
    """Whatever was typed is an id, and nothing more."""
    return f"{path}/{quote(arguments.id, safe='')}"
