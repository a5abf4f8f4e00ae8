"""`busbar serve`: the gateway in the foreground, until it is told to stop."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import gc
import logging
import os
import signal
import sys
from collections.abc import Callable
from typing import Any

import msgspec

from busbar.actors.governance.batch import StoreUnusable
from busbar.cli import sd_notify
from busbar.cli.options import Commands, add_files, run
from busbar.cli.workers import number_of_this, parent_gone, serve_with_workers, tell_parent
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
    _open_standard_streams()
    with Hangups() as hangups:
        return _begin(arguments, hangups)


def _begin(arguments: argparse.Namespace, hangups: Hangups) -> int:
    configure(arguments.log_level)
    # What strangers send to an open port is not worth a traceback each.
    logging.getLogger("aiohttp.server").setLevel(logging.CRITICAL)
    try:
        arguments.worker = number_of_this()
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
    return run(_serve(config, arguments, hangups))


def _open_standard_streams() -> None:
    """Whoever started this process may have closed them, and sockets would take their places."""
    for number in (0, 1, 2):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # the lowest that is free: this one


def _load(arguments: argparse.Namespace) -> Config:
    """The files as they are now. Raises ConfigErrors, and ValueError for a bad `--listen`, or for a worker that the
    files know no more."""
    config = load(arguments.config, arguments.providers, check_pools=complaints)
    worker: int | None = arguments.worker
    if worker is not None:
        if not 1 <= worker <= config.workers:
            raise ValueError(
                f"workers: {config.workers}: this is worker {worker}, and takes effect at a restart only"
            )
        config = share_of(config, worker)
    if arguments.listen is None:
        return config
    address = parse_listen(arguments.listen)
    if address is None:
        raise ValueError(f"--listen: expected HOST:PORT, not {arguments.listen!r}")
    return msgspec.structs.replace(config, listen_host=address[0], listen_port=address[1])


def _configure_log(arguments: argparse.Namespace, config: Config) -> None:
    configure(arguments.log_level, config.observability.log_format, secrets_in(config))


class _Hidden:
    """What the log hides: the secrets of the configuration in effect, and of the one before, whose requests are still
    under way. Making the log anew takes a moment, so it is only done for a secret that is new."""

    def __init__(self, arguments: argparse.Namespace, config: Config) -> None:
        self._arguments = arguments
        self._before = list(secrets_in(config))

    def reloaded(self, config: Config) -> None:
        secrets, before = list(secrets_in(config)), self._before
        self._before = secrets
        if any(secret not in before for secret in secrets):
            configure(self._arguments.log_level, config.observability.log_format, [*secrets, *before])


async def _serve(config: Config, arguments: argparse.Namespace, hangups: Hangups) -> int:
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
    gateway.reloader.on_reloaded = _Hidden(arguments, config).reloaded

    def listening() -> None:
        # What is here now stays: each later collection would look at all of it again, for some 20 ms.
        gc.collect()
        gc.freeze()
        logger.info("listening on %s (%d models, %d pools)", gateway.url, len(config.models), len(config.pools))

    hangups.reload(gateway)
    failed = await until_told_to_stop(gateway, listening)
    hangups.ignore()
    logger.info("draining")
    await gateway.stop()
    logger.info("stopped")
    return 4 if failed else 0


class Hangups:
    """SIGHUP, where there is one, from the first moment of the process to its last: it would end by it else. One that
    comes while it starts counts when it has, and one while it drains is nothing."""

    def __init__(self) -> None:
        self._number: signal.Signals | None = None
        with contextlib.suppress(ValueError):  # `run` says what is wrong with the variable
            self._number = this_platform().reload_signal
        self._due = False
        self._gateway: BusbarGateway | None = None
        self._task: asyncio.Task[None] | None = None

    def __enter__(self) -> Hangups:
        if self._number is not None:
            self._before = signal.signal(self._number, lambda _number, _frame: self._hung_up())
        return self

    def __exit__(self, *_: object) -> None:
        if self._number is not None:
            signal.signal(self._number, self._before)

    def reload(self, gateway: BusbarGateway) -> None:
        """From now on each has the files read again."""
        self._gateway = gateway
        if self._number is not None:
            this_platform().add_signal_handler(self._number, self._hung_up)
        if self._due:
            self._hung_up()

    def ignore(self) -> None:
        """The gateway is about to stop."""
        self._gateway = None
        if self._task is not None:
            self._task.cancel()

    def _hung_up(self) -> None:
        self._due = True
        if self._gateway is not None and self._task is None:
            self._task = asyncio.ensure_future(self._reload(self._gateway))

    async def _reload(self, gateway: BusbarGateway) -> None:
        """One after the other; however many come meanwhile make one more. What is wrong, the reloader has said."""
        try:
            while self._due:
                self._due = False
                sd_notify.reloading()
                with contextlib.suppress(NotReloaded):
                    await gateway.reloader.reload("signal")
                _tell_ready(gateway)
        finally:
            self._task = None


def _tell_ready(gateway: BusbarGateway) -> None:
    """Whoever started this process."""
    sd_notify.ready()
    if gateway.config.worker is not None:
        tell_parent()


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
    _tell_ready(gateway)
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
