"""One table of LiteLLM's file, while it is gone through: what nobody has looked at in the end is told."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any

from busbar.config.problems import shown
from busbar.onboarding.litellm.source import Values
from busbar.onboarding.yaml_text import Variable

_REFERENCE = re.compile(r"os\.environ/([A-Za-z0-9_]{1,128})\Z")
_NOT_A_NAME = re.compile(r"[^A-Z0-9]+")

_TRUE = frozenset({"true", "yes", "on", "1"})
_OFF_SAYS = frozenset({"ssl_verify"})
"""What is on where nothing is said."""


class Params:
    """`values`, which are to be taken one by one. `place` says where it stands, for the report."""

    def __init__(self, values: Values, place: str) -> None:
        self._values = {key: value for key, value in values.items() if value is not None}
        self._taken: set[str] = set()
        self.place = place

    def has(self, key: str) -> bool:
        return key in self._values

    def take(self, key: str) -> Any:
        """The value as it stands; None: there is none."""
        self._taken.add(key)
        return self._values.get(key)

    def text(self, key: str) -> str | Variable | None:
        """A text, or the variable that holds it. Numbers are texts here."""
        value = self.take(key)
        if isinstance(value, str):
            return reference(value) or value.strip() or None
        return str(value) if isinstance(value, int | float) and not isinstance(value, bool) else None

    def number(self, key: str) -> float | None:
        """A number that is not negative, whether it stands as a number or as text."""
        value = self.take(key)
        if isinstance(value, str):
            try:
                value = float(value)
            except ValueError:
                return None
        if isinstance(value, bool) or not isinstance(value, int | float):
            return None
        return float(value) if math.isfinite(value) and value >= 0 else None

    def whole(self, key: str) -> int | None:
        number = self.number(key)
        return None if number is None else int(number)

    def flag(self, key: str) -> bool:
        value = self.take(key)
        return value is True or (isinstance(value, str) and value.lower() in _TRUE)

    def table(self, key: str) -> Values:
        value = self.take(key)
        return value if isinstance(value, dict) else {}

    def items(self, key: str) -> list[Any]:
        """A list; one value is a list of one."""
        value = self.take(key)
        return value if isinstance(value, list) else [] if value is None else [value]

    def left(self) -> list[str]:
        """Keys that nobody took, and that say something."""
        return [key for key, value in self._values.items() if key not in self._taken and _says(key, value)]


def _says(key: str, value: Any) -> bool:
    """An empty list says nothing, and `false` mostly that something is left as it is; 0 is a number like others."""
    return key in _OFF_SAYS if value is False else value not in ([], {})


def reference(value: str) -> Variable | None:
    """`os.environ/NAME` as the variable NAME."""
    found = _REFERENCE.match(value.strip())
    return Variable(found[1]) if found else None


def variable_name(*words: str) -> str:
    """A name for a variable that has none yet: `OPENAI_API_KEY_2`."""
    name = _NOT_A_NAME.sub("_", "_".join(words).upper()).strip("_")
    return name[:128] or "VALUE"


def named(value: object) -> str:
    """A name of the file's for the report: bounded, on one line. What is no text may hold anything, and is not."""
    return shown(value).strip("`") if isinstance(value, str) else "…"


def texts(value: object) -> Mapping[str, str]:
    """A table's texts."""
    if not isinstance(value, dict):
        return {}
    return {str(key): str(item) for key, item in value.items() if isinstance(item, str | int | float)}
