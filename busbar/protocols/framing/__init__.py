"""How streams are cut into frames: incremental, byte-exact, bounded."""

from __future__ import annotations

FRAME_BYTES_MAX = 16 * 1024 * 1024
"""A frame larger than this is refused: nothing that a model says in one event is."""


class BrokenFraming(Exception):
    """The bytes cannot be cut into frames any further: nothing that follows can be trusted."""


class FrameTooLarge(BrokenFraming):
    """A frame grew over its bound before it ended."""

    def __init__(self, bound_bytes: int = FRAME_BYTES_MAX) -> None:
        super().__init__(f"a stream frame is larger than {bound_bytes} bytes")
        self.bound_bytes = bound_bytes


class CorruptFrame(BrokenFraming):
    """A frame that is not what its checksums or its own lengths say. The text holds none of its bytes."""
