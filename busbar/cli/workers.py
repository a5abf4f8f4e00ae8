"""Several processes behind one address. This one starts them, passes signals on, and replaces one that dies.

Each is `busbar serve` with the same arguments and its number in the environment. It serves the common address by
SO_REUSEPORT: the kernel spreads new connections over all who listen. A worker whose parent is gone stops: its
standard input, a pipe that nobody writes to, ends then.
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
"""The environment variable that holds a worker's number."""

RESTART_SECS = 1.0
"""Between a worker's death and the start of the next one in its place."""

YOUNG_SECS = 10.0
YOUNG_DEATHS_MAX = 3
"""A worker that dies so young so often in a row would not do better the next time: then all stop."""


def number_of_this(env: Mapping[str, str] = os.environ) -> int | None:
    """Which worker this process is; None: it is none."""
    text = env.get(WORKER, "")
    return int(text) if text.isascii() and text.isdigit() else None


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
        self._stopping = asyncio.Event()
        self._code = 0

    async def run(self) -> int:
        here = this_platform()
        for number in here.stop_signals:
            here.add_signal_handler(number, self._stop)
        if here.reload_signal is not None:
            here.add_signal_handler(here.reload_signal, self._reload)
        logger.info("%d workers on %s", self._count, self._listen)
        sd_notify.ready()
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
            process = await asyncio.create_subprocess_exec(
                *self._command(),
                stdin=asyncio.subprocess.PIPE,
                env={**os.environ, WORKER: str(worker)},
                start_new_session=True,  # Ctrl-C comes to us, and to them by us
            )
            self._processes[worker] = process
            if self._stopping.is_set():
                process.terminate()
            code = await process.wait()
            del self._processes[worker]
            if self._stopping.is_set():
                self._code = self._code or max(0, code)
                return
            young = young + 1 if loop.time() - born_at < YOUNG_SECS else 0
            logger.error("worker %d ended with %d", worker, code)
            if young >= YOUNG_DEATHS_MAX:
                self._code = code if code > 0 else 4
                self._stopping.set()
                return
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), RESTART_SECS)

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
        if this_platform().reload_signal is not None:
            self._tell_all(signal.SIGHUP)

    def _tell_all(self, number: signal.Signals) -> None:
        for process in self._processes.values():
            with contextlib.suppress(ProcessLookupError):
                process.send_signal(number)


async def parent_gone() -> None:
    """In a worker: returns when the process that started it is no more."""
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader()
    transport, _ = await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    try:
        await reader.read()
    finally:
        transport.close()
