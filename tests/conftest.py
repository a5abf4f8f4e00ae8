"""For all tests."""

from __future__ import annotations

import signal

# A shell has its background jobs ignore Ctrl-C, and each process that these tests start would do so, too.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
