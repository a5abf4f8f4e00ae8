"""`busbar schema`: what an editor needs to complete and check a configuration."""

from __future__ import annotations

import argparse

from busbar.cli.options import Commands
from busbar.config.json_schema import FILE_NAME, modeline, schema_text


def register(commands: Commands) -> None:
    command = commands.add_parser(
        "schema",
        help="print the JSON Schema of the configuration, for editors",
        description="Prints the JSON Schema (draft 2020-12) of config.yaml. Editors that speak to "
        f"yaml-language-server find it by a first line `{modeline()}`, when it is in a file {FILE_NAME} beside "
        "the configuration.",
    )
    command.add_argument("--catalog", action="store_true", help="that of providers.yaml instead")
    command.set_defaults(run=schema)


def schema(arguments: argparse.Namespace) -> int:
    print(schema_text(catalog=arguments.catalog), end="")
    return 0
