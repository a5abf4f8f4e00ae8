"""Several processes behind one address. This one starts them, passes signals on, and replaces one that dies.

Each is `busbar serve` with the same arguments and its number in the environment. It serves the common address by
SO_REUSEPORT: the kernel spreads new connections over all who listen. Its standard input is a socket to this process:
there it says that it is ready, at the start and after each reload; and when that ends, this process is gone, and the
worker stops. Only this process speaks to systemd.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import logging
import os
import signal
import socket
import sys
from collections.abc import Mapping

from busbar.cli import sd_notify
from busbar.config import Config
from busbar.platforms import this_platform

logger = logging.getLogger("busbar")

WORKER = "BUSBAR_WORKER"
"""The environment variable that holds a worker's number, and that of the process that started it: `2:4711`."""

NOTIFY_SOCKET = "NOTIFY_SOCKET"
"""systemd's, which workers do not get: it hears the process that it started."""

READY = b"R"

RESTART_SECS = 1.0
"""Between a worker's death and the start of the next one in its place."""

YOUNG_SECS = 10.0
YOUNG_DEATHS_MAX = 3
"""A worker that dies so young so often in a row would not do better the next time. Then all stop; but when all have
served once, something else has become wrong, and those that still serve go on."""

LATER_SECS = 10.0
"""Until such a worker is tried again."""


def number_of_this(env: Mapping[str, str] = os.environ, parent: int | None = None) -> int | None:
    """Which worker this process is; None: it is none. Raises ValueError when the variable is there by accident."""
    if WORKER not in env:
        return None
    number, _, starter = env[WORKER].partition(":")
    if starter != str(os.getppid() if parent is None else parent) or not (number.isascii() and number.isdigit()):
        raise ValueError(f"{WORKER} is only for processes that `busbar serve` starts: leave it unset")
    return int(number)


async def serve_with_workers(config: Config, arguments: argparse.Namespace) -> int:
    """Until it is told to stop, or no worker can be kept alive. Gives the exit code."""
    try:
        door = _reserve(config)
    except OSError as error:
        logger.error("cannot listen on %s:%d: %s", config.listen_host, config.listen_port, error.strerror or error)
        return 3
    with door:
        host, port = door.getsockname()[:2]
        listen = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        return await _Workers(config.workers, arguments, listen).run()


def _reserve(config: Config) -> socket.socket:
    """A socket that is bound and does not listen: the address is ours, a port 0 has become one, and no connection
    ends up here."""
    family = socket.AF_INET6 if ":" in config.listen_host else socket.AF_INET
    info = socket.getaddrinfo(config.listen_host, config.listen_port, family, socket.SOCK_STREAM)[0]
    door = socket.socket(family, socket.SOCK_STREAM)
    try:
        if family == socket.AF_INET6:
            door.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)  # as those who listen do
        door.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        door.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        door.bind(info[4])
    except OSError:
        door.close()
        raise
    return door


class _Workers:
    def __init__(self, count: int, arguments: argparse.Namespace, listen: str) -> None:
        self._count = count
        self._arguments = arguments
        self._listen = listen
        self._processes: dict[int, asyncio.subprocess.Process] = {}
        self._ready: set[int] = set()
        """Those that serve."""
        self._awaited = set(range(1, count + 1))
        """Who is to say that it is ready, before systemd is told."""
        self._reload_due: set[int] = set()
        """Who was just starting when all were to read the files again."""
        self._have_served = False
        self._stopping = asyncio.Event()
        self._code = 0

    async def run(self) -> int:
        here = this_platform()
        for number in here.stop_signals:
            here.add_signal_handler(number, self._stop)
        if here.reload_signal is not None:
            here.add_signal_handler(here.reload_signal, self._reload)
        logger.info("%d workers on %s", self._count, self._listen)
        async with asyncio.TaskGroup() as keepers:
            for worker in range(1, self._count + 1):
                keepers.create_task(self._keep(worker))
            await self._stopping.wait()
            sd_notify.stopping()
            self._tell_all(signal.SIGTERM)
        logger.info("stopped")
        return self._code

    async def _keep(self, worker: int) -> None:
        """Has this worker there, until all are to stop."""
        loop, young = asyncio.get_running_loop(), 0
        while not self._stopping.is_set():
            born_at = loop.time()
            try:
                code = await self._live(worker)
            except OSError as error:  # no memory, or too many processes
                logger.error("worker %d cannot be started: %s", worker, error.strerror or type(error).__name__)
                code = 1
            if self._stopping.is_set():
                self._code = self._code or max(0, code)
                return
            young = young + 1 if loop.time() - born_at < YOUNG_SECS else 0
            logger.error("worker %d ended with %d", worker, code)
            hopeless = young >= YOUNG_DEATHS_MAX
            if hopeless and not (self._have_served and self._ready):
                self._code = code if code > 0 else 4
                self._stopping.set()
                return
            if hopeless:
                self._await_no_more(worker)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), LATER_SECS if hopeless else RESTART_SECS)

    async def _live(self, worker: int) -> int:
        """One life of this worker. Gives its exit code. Raises OSError when it cannot be started."""
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        with ours:
            with theirs:
                process = await asyncio.create_subprocess_exec(
                    *self._command(),
                    stdin=theirs.fileno(),
                    env=_environment(worker),
                    start_new_session=True,  # Ctrl-C comes to us, and to them by us
                )
            self._processes[worker] = process
            listening = asyncio.create_task(self._listen_to(worker, ours))
            try:
                if self._stopping.is_set():
                    process.terminate()
                return await process.wait()
            finally:
                listening.cancel()
                del self._processes[worker]
                self._ready.discard(worker)
                self._reload_due.discard(worker)

    async def _listen_to(self, worker: int, ours: socket.socket) -> None:
        """Until it has gone."""
        loop = asyncio.get_running_loop()
        with contextlib.suppress(OSError):
            while await loop.sock_recv(ours, 1):
                self._said_ready(worker)

    def _said_ready(self, worker: int) -> None:
        self._ready.add(worker)
        if worker in self._reload_due:
            self._reload_due.discard(worker)
            self._processes[worker].send_signal(signal.SIGHUP)
            return
        self._await_no_more(worker)

    def _await_no_more(self, worker: int) -> None:
        self._awaited.discard(worker)
        if not self._awaited and not self._stopping.is_set():
            self._have_served = True
            sd_notify.ready()

    def _command(self) -> list[str]:
        given = self._arguments
        command = [sys.executable, "-m", "busbar", "serve", "--listen", self._listen, "--log-level", given.log_level]
        for option, value in (("--config", given.config), ("--providers", given.providers)):
            command += [option, value] if value is not None else []
        return command

    def _stop(self) -> None:
        """The first time they drain; the second time they stop at once."""
        if self._stopping.is_set():
            self._tell_all(signal.SIGTERM)
        self._stopping.set()

    def _reload(self) -> None:
        """One that is just starting would die of the signal; it may have read the files already, or not."""
        if self._stopping.is_set():
            return
        sd_notify.reloading()
        self._awaited |= self._processes.keys()
        for worker, process in self._processes.items():
            if worker not in self._ready:
                self._reload_due.add(worker)
                continue
            with contextlib.suppress(ProcessLookupError):
                process.send_signal(signal.SIGHUP)

    def _tell_all(self, number: signal.Signals) -> None:
        for process in self._processes.values():
            with contextlib.suppress(ProcessLookupError):
                process.send_signal(number)


def _environment(worker: int) -> dict[str, str]:
    others = {name: value for name, value in os.environ.items() if name != NOTIFY_SOCKET}
    return {**others, WORKER: f"{worker}:{os.getpid()}"}


def tell_parent() -> None:
    """In a worker: it is ready."""
    with contextlib.suppress(OSError):  # nobody is there any more, and this one will stop
        os.write(sys.stdin.fileno(), READY)


async def parent_gone() -> None:
    """In a worker: returns when the process that started it is no more."""
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader()
    transport, _ = await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    try:
        await reader.read()
    finally:
        transport.close()
