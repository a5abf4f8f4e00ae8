"""The command line. Exit codes: 0 all well · 1 the answer is no (configuration errors, a check that does not hold) ·
2 wrong usage or an unreadable file · 3 the address cannot be listened on · 4 the gateway failed while running."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from busbar import __version__
from busbar.cli import check, demo, serve, translate

EXIT_CODES = """exit codes:
  0  all well
  1  the answer is no: configuration errors, or a check that does not hold
  2  wrong usage, or a file that cannot be read
  3  the address cannot be listened on
  4  the gateway failed while it ran
"""


def parser() -> argparse.ArgumentParser:
    """The whole command line, with its help."""
    root = argparse.ArgumentParser(
        prog="busbar",
        description="A self-hosted LLM gateway: one feed in, many breakered circuits out.",
        epilog=EXIT_CODES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    root.add_argument("--version", action="version", version=f"busbar {__version__}")
    commands = root.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for module in (serve, check, demo, translate):
        module.register(commands)
    version = commands.add_parser("version", help="print the version")
    version.set_defaults(run=_version)
    return root


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command; gives its exit code."""
    arguments = parser().parse_args(argv)
    code: int = arguments.run(arguments)
    return code


def _version(_arguments: argparse.Namespace) -> int:
    print(f"busbar {__version__}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
