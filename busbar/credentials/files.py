"""Reading small files that somebody else keeps, without ever being held up by what lies there instead."""

from __future__ import annotations

import errno
import os
import stat


def read_small(path: str, bytes_max: int) -> bytes:
    """The file's content. Raises OSError, with the reason in `strerror`, also for what is no file (a pipe would be
    waited for, a device has no end) and for one that is longer than `bytes_max`."""
    if not stat.S_ISREG(os.stat(path).st_mode):
        raise OSError(errno.EINVAL, "it is not a file")
    with open(path, "rb") as file:
        content = file.read(bytes_max + 1)
    if len(content) > bytes_max:
        raise OSError(errno.EFBIG, f"it is longer than {bytes_max} bytes")
    return content
