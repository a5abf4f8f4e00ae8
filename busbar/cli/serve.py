"""`busbar serve`: the gateway in the foreground, until it is told to stop."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import gc
import logging
import sys
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import msgspec

from busbar.actors.governance.batch import StoreUnusable
from busbar.cli import sd_notify
from busbar.cli.options import Commands, add_files, run
from busbar.cli.workers import number_of_this, parent_gone, serve_with_workers
from busbar.config import Config, ConfigErrors, load, parse_listen
from busbar.config.shares import share_of
from busbar.gateway import BusbarGateway
from busbar.http.config_admin import NotReloaded
from busbar.platforms import this_platform
from busbar.protocols.signing import MalformedCredential
from busbar.supervision import complaints
from busbar.telemetry.audit_log import AuditLogUnusable
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
    try:
        config = _load(arguments)
    except ConfigErrors as errors:
        print(errors, file=sys.stderr)
        return 1
    except ValueError as error:
        print(error, file=sys.stderr)
        return 2
    _configure_log(arguments, config)
    for note in config.notes:
        logger.info("note: %s", note)
    if config.workers > 1 and config.worker is None:
        if this_platform().reuse_port:
            return run(serve_with_workers(config, arguments))
        logger.warning("workers: this system cannot share an address among processes; one process has it all")
    return run(_serve(config, arguments))


def _load(arguments: argparse.Namespace) -> Config:
    """The files as they are now. Raises ConfigErrors, and ValueError for a bad `--listen`."""
    config = load(arguments.config, arguments.providers, check_pools=complaints)
    worker = number_of_this()
    if worker is not None and 1 <= worker <= config.workers:
        config = share_of(config, worker)
    if arguments.listen is None:
        return config
    address = parse_listen(arguments.listen)
    if address is None:
        raise ValueError(f"--listen: expected HOST:PORT, not {arguments.listen!r}")
    return msgspec.structs.replace(config, listen_host=address[0], listen_port=address[1])


def _configure_log(arguments: argparse.Namespace, config: Config) -> None:
    configure(arguments.log_level, config.observability.log_format, secrets_in(config))


async def _serve(config: Config, arguments: argparse.Namespace) -> int:
    try:
        gateway = BusbarGateway(config, load=lambda: _load(arguments))
        await gateway.start()
    except MalformedCredential as error:
        logger.error("a provider's key is malformed: %s", error)
        return 1
    except StoreUnusable as error:
        logger.error("governance.db_path: %s", error)
        return 1
    except AuditLogUnusable as error:
        logger.error("%s", error)
        return 1
    except OSError as error:
        logger.error("cannot listen on %s:%d: %s", config.listen_host, config.listen_port, error.strerror or error)
        return 3

    # Threads that export, write or render take turns with the loop; it must not wait 5 ms for one of them.
    sys.setswitchinterval(SWITCH_SECS)
    gateway.reloader.on_reloaded = partial(_configure_log, arguments)

    def listening() -> None:
        # What is here now stays: each later collection would look at all of it again, for some 20 ms.
        gc.collect()
        gc.freeze()
        logger.info("listening on %s (%d models, %d pools)", gateway.url, len(config.models), len(config.pools))

    with reloads_by_signal(gateway):
        failed = await until_told_to_stop(gateway, listening)
    logger.info("draining")
    await gateway.stop()
    logger.info("stopped")
    return 4 if failed else 0


@contextlib.contextmanager
def reloads_by_signal(gateway: BusbarGateway) -> Iterator[None]:
    """Meanwhile SIGHUP, where there is one, has the files read again."""
    here, tasks = this_platform(), set[asyncio.Task[None]]()
    number = here.reload_signal
    if number is None:
        yield
        return

    def begin() -> None:
        task = asyncio.ensure_future(_reload(gateway))
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    here.add_signal_handler(number, begin)
    try:
        yield
    finally:
        here.remove_signal_handler(number)
        for task in tasks:
            task.cancel()


async def _reload(gateway: BusbarGateway) -> None:
    """What is wrong, the reloader has said."""
    sd_notify.reloading()
    try:
        with contextlib.suppress(NotReloaded):
            await gateway.reloader.reload("signal")
    finally:
        sd_notify.ready()


async def until_told_to_stop(gateway: BusbarGateway, ready: Callable[[], None]) -> bool:
    """Waits for SIGTERM or SIGINT, and calls `ready` once it does. True when the gateway's actors failed instead. A
    second signal has its usual, immediate effect."""
    here, told = this_platform(), asyncio.Event()

    def stop() -> None:
        for number in here.stop_signals:
            here.remove_signal_handler(number)
        told.set()

    for number in here.stop_signals:
        here.add_signal_handler(number, stop)
    ready()
    sd_notify.ready()
    waiting = asyncio.ensure_future(told.wait())
    failing = asyncio.ensure_future(_failure(gateway))
    awaited: set[asyncio.Future[Any]] = {waiting, failing}
    if gateway.config.worker is not None:
        awaited.add(asyncio.ensure_future(parent_gone()))
    done, pending = await asyncio.wait(awaited, return_when=asyncio.FIRST_COMPLETED)
    for task in pending:
        task.cancel()
    sd_notify.stopping()
    return failing in done


async def _failure(gateway: BusbarGateway) -> None:
    """Returns when the root of the actors has failed for good."""
    try:
        await gateway.system.terminated
    except Exception:
        logger.exception("the actors failed for good")
