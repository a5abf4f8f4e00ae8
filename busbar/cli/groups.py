"""`busbar groups`: groups of virtual keys, which share a budget and limits."""

from __future__ import annotations

import argparse

from busbar.cli.administering import Call, administer, ways
from busbar.cli.options import Commands
from busbar.cli.scope_options import add_group_fields, add_limits, day, given
from busbar.cli.scope_tables import details, groups_table
from busbar.cli.scope_verbs import FIELDS, change, delete, list_all, show, tell, usage, verb

GROUPS = "/admin/groups"
GROUP_FIELDS = (*FIELDS, "parent")


def register(commands: Commands) -> None:
    command = commands.add_parser(
        "groups",
        help="administer groups of virtual keys",
        description="Makes, shows and changes groups, in a running gateway or, with it off, in its database. What "
        "the keys and groups of a group spend is spent of its budget as well.",
    )
    verbs = command.add_subparsers(dest="verb", metavar="VERB", required=True)
    where = ways()
    create = verb(verbs, where, "create", "make a group", _create)
    add_limits(create, required_name=True)
    add_group_fields(create)
    verb(verbs, where, "list", "show all groups", _list)
    verb(verbs, where, "show", "show one group", _show, "ID")
    update = verb(verbs, where, "update", "change what is given, and nothing else", _update, "ID")
    add_limits(update, required_name=False)
    add_group_fields(update)
    verb(verbs, where, "delete", "remove it, when nothing belongs to it; its usage stays", _delete, "ID")
    spent = verb(verbs, where, "usage", "show what was used, and what it cost", _usage, "ID")
    spent.add_argument("--since", metavar="DAY", type=day, help="2026-01-31, or 30d")


def _create(arguments: argparse.Namespace) -> int:
    async def work(call: Call) -> None:
        tell(arguments, await call("POST", GROUPS, body=given(arguments, GROUP_FIELDS)), details)

    return administer(arguments, work)


def _list(arguments: argparse.Namespace) -> int:
    return list_all(arguments, GROUPS, "groups", groups_table, {})


def _show(arguments: argparse.Namespace) -> int:
    return show(arguments, GROUPS)


def _update(arguments: argparse.Namespace) -> int:
    return change(arguments, GROUPS, given(arguments, GROUP_FIELDS))


def _delete(arguments: argparse.Namespace) -> int:
    return delete(arguments, GROUPS)


def _usage(arguments: argparse.Namespace) -> int:
    return usage(arguments, GROUPS)
