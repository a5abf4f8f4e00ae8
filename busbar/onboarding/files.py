"""Files that somebody would miss: written whole or not at all, and never over another by accident."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

MODE = 0o644
"""There are no secrets in what is written here."""


class Exists(Exception):
    """There is a file of this name already, or something that is none: a folder, a device."""


def write_whole(path: Path, text: str, *, force: bool) -> None:
    """Puts `text` there at once: whoever looks sees the old file or the new one. Raises `Exists` unless `force` (over
    a file; nothing else is replaced), and OSError. A file that holds `text` already stays."""
    data = text.encode()
    if path.is_file() and path.read_bytes() == data:
        return
    if os.path.lexists(path) and not (force and path.is_file()):
        raise Exists(f"{path} exists already" if path.is_file() else f"{path} is there, and is no file")
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(name, MODE)
        if force:
            os.replace(name, path)
        else:
            _link(name, path)
    finally:
        if os.path.lexists(name):
            os.unlink(name)


def _link(name: str, path: Path) -> None:
    """As `os.replace`, but never over a file that has come meanwhile."""
    try:
        os.link(name, path)
    except FileExistsError:
        raise Exists(f"{path} exists already") from None
    except OSError:  # a file system without links
        os.replace(name, path)
