"""Whether a written configuration holds: by the very pipeline that `busbar serve` starts with."""

from __future__ import annotations

from collections.abc import Mapping

from busbar.config import Config, ConfigErrors, loads

SAMPLE = "value"
"""What an unset variable stands for, while the rest is looked at."""


def checked(
    text: str, catalog: str, env: Mapping[str, str], samples: Mapping[str, str], file: str
) -> tuple[Config | None, str]:
    """The configuration, with `samples` for variables that are not set; or None, and what is wrong with it."""
    try:
        return loads(text, catalog, {**samples, **env}, config_file=file), ""
    except ConfigErrors as errors:
        return None, str(errors)
