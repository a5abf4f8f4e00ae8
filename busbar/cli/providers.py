"""`busbar providers`: the catalog, listed and explained."""

from __future__ import annotations

import argparse
import os
import sys

import msgspec

from busbar.cli.catalog_pages import listing, markdown, page
from busbar.cli.described import described
from busbar.cli.options import Commands
from busbar.config import SUPPORTED_PROTOCOLS, ConfigErrors
from busbar.config.known import known_providers
from busbar.config.problems import did_you_mean, shown


def register(commands: Commands) -> None:
    command = commands.add_parser(
        "providers",
        help="list the providers that Busbar knows, or explain one",
        description="Lists the catalog: what each provider is called in config.yaml, the dialect that is spoken, how "
        "its key is sent, and whether the key's variable is set (its value is not looked at). With NAME, explains "
        "one, with a snippet of config.yaml that works. No network.",
    )
    command.add_argument("name", nargs="?", metavar="NAME", help="as in the list")
    command.add_argument("--protocol", choices=SUPPORTED_PROTOCOLS, help="only those that speak this dialect")
    form = command.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="as JSON")
    form.add_argument("--markdown", action="store_true", help="the list as a table of Markdown")
    command.add_argument(
        "--providers",
        metavar="FILE",
        help="the provider catalog (default: $BUSBAR_PROVIDERS, /etc/busbar/providers.yaml, the packaged one)",
    )
    command.set_defaults(run=providers)


def providers(arguments: argparse.Namespace) -> int:
    try:
        everything = known_providers(arguments.providers)
    except ConfigErrors as errors:
        print(errors, file=sys.stderr)
        return 1
    wanted = arguments.protocol
    chosen = {name: entry for name, entry in everything.items() if wanted in (None, entry.protocol)}
    if arguments.name is None:
        many = [described(entry, everything, os.environ) for entry in chosen.values()]
        print(_json(many) if arguments.json else markdown(many) if arguments.markdown else listing(many))
        return 0
    if arguments.name not in chosen:
        speaking = f" that speaks {wanted}" if wanted else ""
        hint = did_you_mean(arguments.name, list(chosen))
        print(f"there is no provider {shown(arguments.name)}{speaking} in the catalog{hint}", file=sys.stderr)
        return 2
    one = described(chosen[arguments.name], everything, os.environ)
    print(_json(one) if arguments.json else markdown([one]) if arguments.markdown else page(one))
    return 0


def _json(value: object) -> str:
    return msgspec.json.format(msgspec.json.encode(value), indent=2).decode()
