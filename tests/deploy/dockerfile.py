"""As much of a Dockerfile as a test needs: its stages, and the instructions of each.

Source: https://docs.docker.com/reference/dockerfile/
"""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

from msgspec import Struct


class Instruction(Struct, frozen=True):
    word: str
    text: str

    @property
    def words(self) -> list[str]:
        """The exec form's, or what a shell would make of the rest."""
        return json.loads(self.text) if self.text.startswith("[") else shlex.split(self.text)

    @property
    def flags(self) -> dict[str, str]:
        return dict(re.findall(r"--([\w-]+)=(\S+)", self.text))

    @property
    def operands(self) -> list[str]:
        return [word for word in self.words if not word.startswith("--")]


class Stage(Struct, frozen=True):
    image: str
    name: str | None
    instructions: list[Instruction]

    def all(self, word: str) -> list[Instruction]:
        return [each for each in self.instructions if each.word == word]

    def one(self, word: str) -> Instruction:
        (only,) = self.all(word)
        return only

    @property
    def env(self) -> dict[str, str]:
        return dict(pair.split("=", 1) for each in self.all("ENV") for pair in each.words)


def stages(path: Path) -> list[Stage]:
    """In their order, with the defaults of ARG filled in."""
    text = re.sub(r"^\s*#.*\n", "", path.read_text(), flags=re.M)
    arguments: dict[str, str] = {}
    found: list[Stage] = []
    for line in re.sub(r"\\\n", " ", text).splitlines():
        if not line.strip():
            continue
        word, _, rest = line.strip().partition(" ")
        rest = re.sub(r"\$\{(\w+)\}", lambda match: arguments.get(match[1], match[0]), rest.strip())
        if word == "ARG" and not found:
            arguments.update([rest.split("=", 1)])
        elif word == "FROM":
            image, _, name = rest.partition(" AS ")
            found.append(Stage(image, name or None, []))
        else:
            found[-1].instructions.append(Instruction(word, rest))
    return found
