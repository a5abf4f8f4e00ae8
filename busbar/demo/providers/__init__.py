"""Scripted providers for `busbar demo` and for tests over real sockets. See `server.py`, `script.py`, `faults.py`."""

from .server import DemoProviders, ReceivedRequest

__all__ = ["DemoProviders", "ReceivedRequest"]
