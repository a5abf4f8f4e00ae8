"""What several commands share: the two configuration files, and the loop."""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import Coroutine
from typing import Any, TypeAlias, TypeVar

from busbar.config import Config, ConfigErrors, load
from busbar.platforms import this_platform
from busbar.supervision import complaints

Commands: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"

T = TypeVar("T")


def add_files(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--config",
        metavar="FILE",
        help="the configuration (default: $BUSBAR_CONFIG, ./config.yaml, /etc/busbar/config.yaml)",
    )
    command.add_argument(
        "--providers",
        metavar="FILE",
        help="the provider catalog (default: $BUSBAR_PROVIDERS, /etc/busbar/providers.yaml, the packaged one)",
    )


def load_config(arguments: argparse.Namespace) -> Config | None:
    """The configuration, or None after all of its errors were printed."""
    try:
        return load(arguments.config, arguments.providers, check_pools=complaints)
    except ConfigErrors as errors:
        print(errors, file=sys.stderr)
        return None


def run(main: Coroutine[Any, Any, T]) -> T:
    """Runs it on the best loop that there is. Ends the program, as wrong usage does, when `BUSBAR_WITHOUT` cannot be
    understood."""
    try:
        here = this_platform()
    except ValueError as error:
        main.close()
        print(error, file=sys.stderr)
        raise SystemExit(2) from None
    with asyncio.Runner(loop_factory=here.loop_factory()) as runner:
        return runner.run(main)
