"""What dialects say alike of the sources of images and documents."""

from __future__ import annotations

from busbar.protocols.ir import Base64Data, Source


class NoPlace(Exception):
    """A part, or what it is made of, has no place in the target's dialect. `why` is for the receipt."""

    def __init__(self, why: str) -> None:
        super().__init__(why)
        self.why = why


def is_image(source: Source) -> bool:
    return isinstance(source, Base64Data) and source.media_type.startswith("image/")


def bare_media_type(stated: str) -> str:
    """JPEG by its right name, and no parameters: Gemini's "Unsupported MIME type: text/plain; charset=utf-8"."""
    bare = stated.partition(";")[0].strip().lower()
    return "image/jpeg" if bare == "image/jpg" else bare
