"""`busbar import`: another gateway's configuration → Busbar's, and a report of what is different."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from busbar.cli.options import Commands

if TYPE_CHECKING:
    from busbar.onboarding.litellm import Imported


def register(commands: Commands) -> None:
    command = commands.add_parser(
        "import",
        help="turn another gateway's configuration into Busbar's",
        description="Reads the configuration of another gateway, writes Busbar's, and reports what works "
        "differently, what has no counterpart and what is to be done. Keys that stand in the file are not copied.",
    )
    kinds = command.add_subparsers(dest="kind", metavar="KIND", required=True)
    kind = kinds.add_parser("litellm", help="a LiteLLM proxy's config.yaml")
    kind.add_argument("file", metavar="FILE", help="LiteLLM's config.yaml, or - for standard input")
    kind.add_argument(
        "--output", metavar="FILE", default="config.yaml", help="- for standard output (default: %(default)s)"
    )
    kind.add_argument(
        "--report", metavar="FILE", help="where the report goes; - for standard output (default: standard error)"
    )
    kind.add_argument("--force", action="store_true", help="write over a file that is there")
    kind.add_argument("--providers", metavar="FILE", help="the catalog, found as `busbar serve` finds it")
    kind.set_defaults(run=import_litellm_file)


def import_litellm_file(arguments: argparse.Namespace) -> int:
    from busbar.config import ConfigErrors
    from busbar.config.files import find_providers, read_text
    from busbar.config.json_schema import FILE_NAME, modeline
    from busbar.onboarding.files import Exists
    from busbar.onboarding.litellm import import_litellm
    from busbar.onboarding.litellm.source import Unreadable
    from busbar.onboarding.offers import read_catalog

    to_stdout = arguments.output == "-"
    if not to_stdout and _same_file(arguments.file, arguments.output):
        print(f"{arguments.file} is LiteLLM's own file: name another with --output", file=sys.stderr)
        return 2
    try:
        given = _given(arguments.file)
        catalog_file = find_providers(arguments.providers, os.environ)
        catalog = read_text(catalog_file)
        imported = import_litellm(
            given, read_catalog(catalog, str(catalog_file)), "" if to_stdout else modeline(f"./{FILE_NAME}")
        )
        if not imported.lists_models:
            raise Unreadable(
                "there is no model_list in it, so there is nothing to bring over (models that LiteLLM keeps in its"
                " database, and files that are included, are not read)"
            )
        problems = _problems(imported, catalog, arguments.output)
        _put(arguments, imported)
        _report(arguments, imported, problems)
    except Unreadable as error:
        print(f"{arguments.file}: {error}", file=sys.stderr)
        return 2
    except (ConfigErrors, Exists) as error:
        ways = ": --force writes over it, --output names another" if isinstance(error, Exists) else ""
        print(f"{error}{ways}", file=sys.stderr)
        return 2
    except OSError as error:
        print(f"{error.filename}: {error.strerror}", file=sys.stderr)
        return 2
    return 1 if problems or not imported.groups else 0


def _same_file(one: str, other: str) -> bool:
    try:
        return os.path.samefile(one, other)
    except OSError:
        return False


def _given(file: str) -> str:
    from busbar.config.files import read_text
    from busbar.config.source import FILE_BYTES_MAX

    if file != "-":
        return read_text(Path(file))
    try:
        return sys.stdin.buffer.read(FILE_BYTES_MAX + 1).decode("utf-8-sig")
    except UnicodeDecodeError:
        raise OSError(0, "not UTF-8 text", "standard input") from None


def _problems(imported: Imported, catalog: str, file: str) -> str:
    """What `busbar check` would find wrong with it, once its variables are set."""
    from busbar.onboarding.checking import checked

    _, problems = checked(imported.text, catalog, os.environ, imported.variables, file)
    return problems


def _put(arguments: argparse.Namespace, imported: Imported) -> None:
    from busbar.config.json_schema import FILE_NAME, schema_text
    from busbar.onboarding.files import write_whole

    if arguments.output == "-":
        sys.stdout.write(imported.text)
        return
    target = Path(arguments.output)
    write_whole(target, imported.text, force=arguments.force)
    write_whole(target.parent / FILE_NAME, schema_text(), force=True)


def _report(arguments: argparse.Namespace, imported: Imported, problems: str) -> None:
    from busbar.onboarding.files import write_whole
    from busbar.onboarding.litellm.report import text

    names = "1 name" if imported.groups == 1 else f"{imported.groups} names"
    summary = f"{arguments.file} → {arguments.output}: {names} that callers may ask for"
    report = text(imported.findings, summary)
    if unset := [name for name in imported.variables if not os.environ.get(name)]:
        report += "\nVariables that it needs and that are not set here:\n"
        report += "".join(f"  - {name}\n" for name in unset)
    if problems:
        report += f"\nIt does not hold yet; `busbar check` says:\n{problems}\n"
    if arguments.report is None:
        print(report, end="", file=sys.stderr)
    elif arguments.report == "-":
        print(report, end="")
    else:
        write_whole(Path(arguments.report), report, force=True)
