"""The command line. Exit codes: 0 all well · 1 the answer is no (configuration errors, a check that does not hold) ·
2 wrong usage or an unreadable file · 3 the address cannot be listened on · 4 the gateway failed while running."""

from __future__ import annotations

import argparse
import importlib
import keyword
import os
import sys
from collections.abc import Sequence

from busbar import __version__

COMMANDS = (
    "init",
    "import",
    "serve",
    "check",
    "schema",
    "providers",
    "keys",
    "groups",
    "demo",
    "try",
    "simulate",
    "top",
    "translate",
)
"""Each is a module of this package. Only the one that is asked for is imported: they need much, and little of it is
the same."""

EXIT_CODES = """exit codes:
  0  all well
  1  the answer is no: configuration errors, or a check that does not hold
  2  wrong usage, or a file that cannot be read
  3  the address cannot be listened on
  4  the gateway failed while it ran
"""


def parser(only: str | None = None) -> argparse.ArgumentParser:
    """The whole command line, with its help; or as much of it as one command needs."""
    root = argparse.ArgumentParser(
        prog="busbar",
        description="A self-hosted LLM gateway: one feed in, many breakered circuits out.",
        epilog=EXIT_CODES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    root.add_argument("--version", action="version", version=f"busbar {__version__}")
    commands = root.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for command in (only,) if only in COMMANDS else () if only == "version" else COMMANDS:
        importlib.import_module(f"busbar.cli.{_module(command)}").register(commands)
    version = commands.add_parser("version", help="print the version")
    version.set_defaults(run=_version)
    return root


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command; gives its exit code."""
    words = sys.argv[1:] if argv is None else argv
    arguments = parser(words[0] if words else None).parse_args(words)
    try:
        code: int = arguments.run(arguments)
        sys.stdout.flush()
    except BrokenPipeError:  # `busbar providers | head`: whoever read has had enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # for what is flushed at the end
        return 0
    return code


def _module(command: str) -> str:
    """`try` and `import` are words that no module can have."""
    return f"{command}_" if keyword.iskeyword(command) else command


def _version(_arguments: argparse.Namespace) -> int:
    print(f"busbar {__version__}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
