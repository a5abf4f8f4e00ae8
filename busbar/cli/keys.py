"""`busbar keys`: virtual keys, in a running gateway or in the database of one that is off."""

from __future__ import annotations

import argparse
import sys
from typing import Any

from busbar.cli.administering import Call, administer, ways
from busbar.cli.options import Commands
from busbar.cli.scope_options import add_key_fields, add_limits, day, given
from busbar.cli.scope_tables import details, keys_table
from busbar.cli.scope_verbs import FIELDS, change, delete, list_all, place, show, tell, usage, verb

KEYS = "/admin/keys"
KEY_FIELDS = (*FIELDS, "group", "allowed_pools", "enabled", "expires_at")

ONCE = "The secret is shown this once, and kept nowhere: take it now."


def register(commands: Commands) -> None:
    command = commands.add_parser(
        "keys",
        help="administer virtual keys",
        description="Makes, shows and changes virtual keys, in a running gateway or, with it off, in its database.",
    )
    verbs = command.add_subparsers(dest="verb", metavar="VERB", required=True)
    where = ways()
    create = verb(verbs, where, "create", "make a key; its secret is shown once", _create)
    add_limits(create, required_name=True)
    add_key_fields(create)
    create.add_argument(
        "--disabled", dest="enabled", action="store_false", default=argparse.SUPPRESS, help="of no use for now"
    )
    create.add_argument("--aws", action="store_true", help="with an AWS-shaped pair, for callers that sign")
    listing = verb(verbs, where, "list", "show all keys", _list)
    listing.add_argument("--group", metavar="ID", help="only those that belong to it")
    verb(verbs, where, "show", "show one key", _show, "ID")
    update = verb(verbs, where, "update", "change what is given, and nothing else", _update, "ID")
    add_limits(update, required_name=False)
    add_key_fields(update)
    rotate = verb(
        verbs, where, "rotate", "give it another secret; the old one is worth nothing at once", _rotate, "ID"
    )
    pair = rotate.add_mutually_exclusive_group()
    pair.add_argument("--aws", action="store_true", help="with an AWS-shaped pair (default: if it has one)")
    pair.add_argument("--no-aws", action="store_true", help="take its AWS-shaped pair away")
    verb(verbs, where, "enable", "let it be used again", _enable, "ID")
    verb(verbs, where, "disable", "let it be of no use, until it is enabled", _disable, "ID")
    verb(verbs, where, "delete", "revoke it for good; its usage stays", _delete, "ID")
    spent = verb(verbs, where, "usage", "show what was used, and what it cost", _usage, "ID")
    spent.add_argument("--since", metavar="DAY", type=day, help="2026-01-31, or 30d")


def _create(arguments: argparse.Namespace) -> int:
    async def work(call: Call) -> None:
        body = given(arguments, KEY_FIELDS)
        if arguments.aws:
            body["issue_aws_credential"] = True
        _told_once(arguments, await call("POST", KEYS, body=body))

    return administer(arguments, work)


def _rotate(arguments: argparse.Namespace) -> int:
    async def work(call: Call) -> None:
        body = {"issue_aws_credential": arguments.aws} if arguments.aws or arguments.no_aws else {}
        _told_once(arguments, await call("POST", f"{place(KEYS, arguments)}/rotate", body=body))

    return administer(arguments, work)


def _list(arguments: argparse.Namespace) -> int:
    query = {} if arguments.group is None else {"group": arguments.group}
    return list_all(arguments, KEYS, "keys", keys_table, query)


def _show(arguments: argparse.Namespace) -> int:
    return show(arguments, KEYS)


def _update(arguments: argparse.Namespace) -> int:
    return change(arguments, KEYS, given(arguments, KEY_FIELDS))


def _enable(arguments: argparse.Namespace) -> int:
    return change(arguments, KEYS, {"enabled": True})


def _disable(arguments: argparse.Namespace) -> int:
    return change(arguments, KEYS, {"enabled": False})


def _delete(arguments: argparse.Namespace) -> int:
    return delete(arguments, KEYS)


def _usage(arguments: argparse.Namespace) -> int:
    return usage(arguments, KEYS)


def _told_once(arguments: argparse.Namespace, document: dict[str, Any]) -> None:
    tell(arguments, document, details)
    print(ONCE, file=sys.stderr)
