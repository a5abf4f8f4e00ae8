"""`busbar check`: everything that `busbar serve` would find wrong before it listens."""

from __future__ import annotations

import argparse
import sys

from busbar.cli.options import Commands, add_files, load_config
from busbar.http.lanes import build_lanes
from busbar.protocols.signing import MalformedCredential


def register(commands: Commands) -> None:
    command = commands.add_parser(
        "check",
        help="check the configuration, without any network",
        description="Reads the configuration as `busbar serve` does, without any network. Prints every error, with "
        "file, line and path of keys, and exits 1; or prints a summary and exits 0.",
    )
    add_files(command)
    command.set_defaults(run=check)


def check(arguments: argparse.Namespace) -> int:
    config = load_config(arguments)
    if config is None:
        return 1
    try:
        build_lanes(config)
    except MalformedCredential as error:
        print(f"a provider's key is malformed: {error}", file=sys.stderr)
        return 1
    for note in config.notes:
        print(f"note: {note}")
    print(f"ok: {len(config.providers)} providers, {len(config.models)} models, {len(config.pools)} pools")
    return 0
