"""What a model says that was given a prefill: on from there, as it was asked to, or all over again.

Not every model that is said to go on from a prefill does, and a caller must not read its answer twice. What is said
anew begins as the answer did; so text is kept back for as long as it could be that: mostly not for one character.
"""

from __future__ import annotations

from busbar.protocols.resume.prefix import Diverged

AGAIN_CHARS_MIN = 24
"""So many first characters of the answer, said once more, are the beginning of the answer. Fewer may be a refrain."""


class Onward:
    """Takes the text that follows a prefill, and gives what of it is new. Raises `Diverged` when the model began
    anew and then said something else."""

    __slots__ = ("_decided", "_said", "_text", "_white")

    def __init__(self, text: str, prefill: str) -> None:
        """`text` is what the caller has. It may end in white space that the prefill does not: the model may say that
        again."""
        self._text = text
        self._white = text[len(prefill) :]
        self._said = ""
        self._decided = len(text) < AGAIN_CHARS_MIN

    def take(self, said: str) -> str:
        if self._decided:
            return self._fresh(said)
        self._said += said
        text, seen = self._text, self._said
        if len(seen) < len(text) and text.startswith(seen):
            return ""
        self._decided = True
        if seen.startswith(text):
            self._white = ""
            return seen[len(text) :]
        if seen.startswith(text[:AGAIN_CHARS_MIN]):
            raise Diverged
        return self._fresh(seen)

    def rest(self) -> str:
        """The text has ended: what was kept back was no beginning."""
        if self._decided:
            return ""
        self._decided = True
        if len(self._said) >= AGAIN_CHARS_MIN:
            raise Diverged
        return self._fresh(self._said)

    def _fresh(self, said: str) -> str:
        while said and self._white:
            if said[0] != self._white[0]:
                self._white = ""
                break
            said, self._white = said[1:], self._white[1:]
        return said
