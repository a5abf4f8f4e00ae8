"""Keys that somebody else keeps: in a file (a mounted secret), or behind a program (a vault's client).

Neither may hold the gateway up, and nothing of what they give gets into a log, not even when it is no key.
"""

from __future__ import annotations

import atexit
import codecs
import contextlib
import os
import selectors
import signal
import subprocess
import time
from collections.abc import Sequence
from functools import partial

from busbar.config.read import CREDENTIAL, malformed_credential
from busbar.config.secret import Secret
from busbar.credentials.files import read_small
from busbar.credentials.minting import Minted, MintRefused
from busbar.protocols.failures import FailureClass

FILE_BYTES_MAX = 64 << 10
"""A key is a line; a service account's whole document is no key."""

_SETTLED_SECS = 2.0
"""A file that was written to later than so long ago may be again without a sign: some file systems tell the time in
steps of a second or two."""

COMMAND_SECS_MAX = 30.0
COMMAND_BYTES_MAX = 64 << 10
_ENDING_SECS = 2.0
"""How long a program that was killed is waited for."""


class FileKey:
    """The first line of a file. Kept while the file is the same; read again when it is another one, was written to,
    or has been touched: what Kubernetes' mounted secrets, Docker's and a careful `mv` do."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._seen: tuple[int, ...] | None = None
        self._key: Secret | None = None

    def mint(self) -> Minted:
        """Raises `MintRefused` while there is no key in it; the one before is for the asker to go on with."""
        try:
            found = os.stat(self._path)
            # The last of these also moves when a file is written with the other's date (`cp -p`), or has its number.
            seen = (found.st_mtime_ns, found.st_dev, found.st_ino, found.st_size, found.st_ctime_ns)
            if self._key is None or seen != self._seen:
                self._key = _first_line(self._path, read_small(self._path, FILE_BYTES_MAX))
                settled = time.time() - max(found.st_mtime, found.st_ctime) > _SETTLED_SECS
                self._seen = seen if settled else None
        except OSError as error:
            raise MintRefused(f"{self._path}: {error.strerror}", FailureClass.AUTH) from None
        return Minted(self._key)

    def __repr__(self) -> str:
        return f"FileKey({self._path})"


class CommandKey:
    """The first line that a program says, run without a shell and with nothing to read. What it says on its standard
    error is for nobody: it may quote what it was to give."""

    def __init__(self, command: Sequence[str], timeout_secs: float = COMMAND_SECS_MAX) -> None:
        self._command = tuple(command)
        self._timeout_secs = timeout_secs

    def mint(self) -> Minted:
        """Runs it. Raises `MintRefused` when it fails, says too much or takes too long."""
        name = os.path.basename(self._command[0])
        try:
            running = subprocess.Popen(  # noqa: S603  # it is the operator's own
                self._command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            )
        except OSError as error:
            raise MintRefused(f"{name}: {error.strerror}", FailureClass.AUTH) from None
        ending = partial(_end, running)
        atexit.register(ending)  # a process that ends has no thread left that would
        try:
            said = self._listen(running, name)
        finally:
            ending()
            atexit.unregister(ending)
        if running.returncode != 0:
            raise MintRefused(f"{name}: it ended with exit code {running.returncode}", FailureClass.SERVER_ERROR)
        return Minted(_first_line(name, said))

    def _listen(self, running: subprocess.Popen[bytes], name: str) -> bytes:
        """Until it has said all and ended. It may have left children behind that hold its output open: its own end is
        what counts, and what was said by then."""
        assert running.stdout is not None, "it is a pipe"
        ends_at, said = time.monotonic() + self._timeout_secs, b""
        with running.stdout as output, selectors.DefaultSelector() as ready:
            os.set_blocking(output.fileno(), False)
            ready.register(output, selectors.EVENT_READ)
            while True:
                ended = running.poll() is not None
                chunk = _chunk(output.fileno())
                said += chunk or b""
                if len(said) > COMMAND_BYTES_MAX:
                    raise MintRefused(f"{name}: it said more than {COMMAND_BYTES_MAX} bytes", FailureClass.AUTH)
                if chunk == b"" or (ended and chunk is None):
                    break
                if (left := ends_at - time.monotonic()) <= 0:
                    raise _too_slow(name, self._timeout_secs)
                if chunk is None:
                    ready.select(min(left, 0.05))
        try:
            running.wait(max(0.0, ends_at - time.monotonic()))
        except subprocess.TimeoutExpired:
            raise _too_slow(name, self._timeout_secs) from None
        return said

    def __repr__(self) -> str:
        return f"CommandKey({os.path.basename(self._command[0])})"


def _chunk(descriptor: int) -> bytes | None:
    """What there is to read; empty: all was read; None: nothing now."""
    try:
        return os.read(descriptor, 8192)
    except BlockingIOError:
        return None


def _end(running: subprocess.Popen[bytes]) -> None:
    """It, and whatever it has started, unless it has ended by itself: then what it left behind is meant to stay."""
    if running.poll() is not None:
        return
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(running.pid, signal.SIGKILL)
    with contextlib.suppress(subprocess.TimeoutExpired):  # it waits for a disk, say: the system ends it when it can
        running.wait(_ENDING_SECS)


def _too_slow(name: str, secs: float) -> MintRefused:
    return MintRefused(f"{name}: it had not ended after {secs:g} s", FailureClass.TIMEOUT)


def _first_line(place: str, content: bytes) -> Secret:
    """Raises `MintRefused` for what cannot be a key, without any of it."""
    line = content.removeprefix(codecs.BOM_UTF8).split(b"\n", 1)[0].strip()
    if not line:
        raise MintRefused(f"{place}: its first line is empty", FailureClass.AUTH)
    key = line.decode("utf-8", "replace")
    if not CREDENTIAL.match(key):
        raise MintRefused(f"{place}: {malformed_credential(key)}", FailureClass.AUTH)
    return Secret(key)
