"""`busbar check`: everything that `busbar serve` would find wrong before it listens; with `--live`, what the
providers say to the keys."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

from busbar.cli.options import Commands, add_files, load_config, run
from busbar.http.lanes import build_lanes
from busbar.http.tls import TlsUnusable, server_context
from busbar.protocols.signing import MalformedCredential

if TYPE_CHECKING:
    from busbar.config import Config

TIMEOUT_SECS = 20.0


def register(commands: Commands) -> None:
    command = commands.add_parser(
        "check",
        help="check the configuration; with --live, the providers too",
        description="Reads the configuration as `busbar serve` does, without any network. Prints every error, with "
        "file, line and path of keys, and exits 1; or prints a summary and exits 0. With --live each provider is "
        "then asked for one token, by the first of its models: exit code 1 when one of them does not answer.",
    )
    add_files(command)
    command.add_argument("--live", action="store_true", help="ask each provider for one token (costs a little)")
    command.add_argument(
        "--provider", action="append", metavar="NAME", help="with --live: only this one; may be given several times"
    )
    command.add_argument(
        "--timeout", type=_secs, default=TIMEOUT_SECS, metavar="SECS", help="with --live (default: %(default)g)"
    )
    command.set_defaults(run=check)


def _secs(written: str) -> float:
    try:
        secs = float(written)
    except ValueError:
        secs = 0.0
    if not 0.1 <= secs <= 600:
        raise argparse.ArgumentTypeError("expected a number of seconds from 0.1 to 600")
    return secs


def check(arguments: argparse.Namespace) -> int:
    if arguments.provider and not arguments.live:
        print("--provider goes with --live", file=sys.stderr)
        return 2
    config = load_config(arguments)
    if config is None:
        return 1
    try:
        build_lanes(config)
    except MalformedCredential as error:
        print(f"a provider's key is malformed: {error}", file=sys.stderr)
        return 1
    try:
        if config.tls is not None:
            server_context(config.tls)
    except TlsUnusable as error:
        print(error, file=sys.stderr)
        return 1
    for note in config.notes:
        print(f"note: {note}")
    print(f"ok: {len(config.providers)} providers, {len(config.models)} models, {len(config.pools)} pools")
    return _live(config, arguments.provider, arguments.timeout) if arguments.live else 0


def _live(config: Config, chosen: list[str] | None, timeout_secs: float) -> int:
    from busbar.cli.live import check_live
    from busbar.config.problems import did_you_mean, shown
    from busbar.telemetry.process_log import configure, secrets_in

    configure("error", secrets=secrets_in(config))
    for name in chosen or ():
        if name not in config.providers:
            print(f"there is no provider {shown(name)}{did_you_mean(name, list(config.providers))}", file=sys.stderr)
            return 2
    try:
        findings = run(check_live(config, list(dict.fromkeys(chosen or config.providers)), timeout_secs))
    except OSError as error:
        print(f"no gateway can be started here: {error.strerror or error}", file=sys.stderr)
        return 3
    for finding in findings:
        print(finding)
    return 0 if all(finding.ok for finding in findings) else 1
