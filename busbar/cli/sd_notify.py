"""Tells systemd how far the service is: `Type=notify`. Anywhere else it says nothing to nobody.

Source: sd_notify(3), https://www.freedesktop.org/software/systemd/man/latest/sd_notify.html
"""

from __future__ import annotations

import os
import socket
import time


def ready() -> bool:
    """It serves; also at the end of a reload."""
    return notify("READY=1")


def reloading() -> bool:
    """It reads its configuration again; `ready` must follow, also when nothing came of it."""
    return notify(f"RELOADING=1\nMONOTONIC_USEC={time.monotonic_ns() // 1000}")


def stopping() -> bool:
    """It drains."""
    return notify("STOPPING=1")


def notify(state: str) -> bool:
    """Sends `state` to the socket in $NOTIFY_SOCKET. False when there is none, or nobody reads it: a service that
    cannot tell how it does still does it."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address.startswith(("/", "@")):
        return False
    if address.startswith("@"):  # in Linux's abstract namespace
        address = f"\0{address[1:]}"
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as there:
            there.setblocking(False)
            there.sendto(state.encode(), address)
    except OSError:
        return False
    return True
