"""`busbar serve`: the gateway in the foreground, until it is told to stop."""

from __future__ import annotations

import argparse
import asyncio
import gc
import logging
import signal
import sys
from collections.abc import Callable

import msgspec

from busbar.actors.governance.batch import StoreUnusable
from busbar.cli.options import Commands, add_files, load_config, run
from busbar.config import Config, parse_listen
from busbar.gateway import BusbarGateway
from busbar.protocols.signing import MalformedCredential
from busbar.telemetry.process_log import configure, secrets_in

logger = logging.getLogger("busbar")

SWITCH_SECS = 0.0005
"""How long a thread may keep the interpreter while another wants it."""


def register(commands: Commands) -> None:
    command = commands.add_parser(
        "serve",
        help="run the gateway",
        description="Runs the gateway in the foreground. SIGTERM or SIGINT (Ctrl-C) drains it: it accepts no more, "
        "lets running requests finish up to limits.drain_timeout_secs, and stops. A second signal stops it at once.",
    )
    add_files(command)
    command.add_argument("--listen", metavar="HOST:PORT", help="instead of the configuration's `listen`")
    command.add_argument(
        "--log-level", choices=("debug", "info", "warning", "error"), default="info", help="(default: info)"
    )
    command.set_defaults(run=serve)


def serve(arguments: argparse.Namespace) -> int:
    configure(arguments.log_level)
    # What strangers send to an open port is not worth a traceback each.
    logging.getLogger("aiohttp.server").setLevel(logging.CRITICAL)
    config = load_config(arguments)
    if config is None:
        return 1
    if arguments.listen is not None:
        address = parse_listen(arguments.listen)
        if address is None:
            print(f"--listen: expected HOST:PORT, not {arguments.listen!r}", file=sys.stderr)
            return 2
        config = msgspec.structs.replace(config, listen_host=address[0], listen_port=address[1])
    configure(arguments.log_level, config.observability.log_format, secrets_in(config))
    for note in config.notes:
        logger.info("note: %s", note)
    return run(_serve(config))


async def _serve(config: Config) -> int:
    try:
        gateway = BusbarGateway(config)
        await gateway.start()
    except MalformedCredential as error:
        logger.error("a provider's key is malformed: %s", error)
        return 1
    except StoreUnusable as error:
        logger.error("governance.db_path: %s", error)
        return 1
    except OSError as error:
        logger.error("cannot listen on %s:%d: %s", config.listen_host, config.listen_port, error.strerror or error)
        return 3

    # Threads that export, write or render take turns with the loop; it must not wait 5 ms for one of them.
    sys.setswitchinterval(SWITCH_SECS)

    def listening() -> None:
        # What is here now stays: each later collection would look at all of it again, for some 20 ms.
        gc.collect()
        gc.freeze()
        logger.info("listening on %s (%d models, %d pools)", gateway.url, len(config.models), len(config.pools))

    failed = await until_told_to_stop(gateway, listening)
    logger.info("draining")
    await gateway.stop()
    logger.info("stopped")
    return 4 if failed else 0


async def until_told_to_stop(gateway: BusbarGateway, ready: Callable[[], None]) -> bool:
    """Waits for SIGTERM or SIGINT, and calls `ready` once it does. True when the gateway's actors failed instead. A
    second signal has its usual, immediate effect."""
    loop = asyncio.get_running_loop()
    told = asyncio.Event()
    signals = (signal.SIGTERM, signal.SIGINT)

    def stop() -> None:
        for number in signals:
            loop.remove_signal_handler(number)
        told.set()

    for number in signals:
        loop.add_signal_handler(number, stop)
    ready()
    waiting = asyncio.ensure_future(told.wait())
    failing = asyncio.ensure_future(_failure(gateway))
    done, pending = await asyncio.wait({waiting, failing}, return_when=asyncio.FIRST_COMPLETED)
    for task in pending:
        task.cancel()
    return failing in done


async def _failure(gateway: BusbarGateway) -> None:
    """Returns when the root of the actors has failed for good."""
    try:
        await gateway.system.terminated
    except Exception:
        logger.exception("the actors failed for good")
