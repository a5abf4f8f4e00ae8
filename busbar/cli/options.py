"""What several commands share: the two configuration files, and the loop."""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import Callable, Coroutine
from typing import Any, TypeAlias, TypeVar

from busbar.config import Config, ConfigErrors, load
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


def loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """uvloop's where it is installed, else asyncio's own."""
    try:
        import uvloop
    except ImportError:
        return None
    factory: Callable[[], asyncio.AbstractEventLoop] = uvloop.new_event_loop
    return factory


def run(main: Coroutine[Any, Any, T]) -> T:
    with asyncio.Runner(loop_factory=loop_factory()) as runner:
        return runner.run(main)
