"""Which two files are read, and how: the search orders, and a bounded read."""

from __future__ import annotations

from collections.abc import Mapping as Environment
from importlib import resources
from pathlib import Path

from busbar.config.problems import ConfigErrors, Problem
from busbar.config.source import FILE_BYTES_MAX

SYSTEM_DIRECTORY = Path("/etc/busbar")


def find_config(
    given: str | None, env: Environment[str, str], here: Path = Path(), system: Path = SYSTEM_DIRECTORY
) -> Path:
    """The operator's file: `given`, `$BUSBAR_CONFIG`, `config.yaml` in `here`, `config.yaml` in `system`.

    A file that was named is used whether it exists or not, so that a typo is an error and not another file.
    Raises ConfigErrors when none was named and none is there.
    """
    if named := given or env.get("BUSBAR_CONFIG"):
        return Path(named)
    for candidate in (here / "config.yaml", system / "config.yaml"):
        if candidate.exists():
            return candidate
    looked = f"looked for --config, $BUSBAR_CONFIG, ./config.yaml and {system}/config.yaml"
    raise ConfigErrors([Problem("config.yaml", 0, "", f"there is no configuration ({looked})")])


def find_providers(given: str | None, env: Environment[str, str], system: Path = SYSTEM_DIRECTORY) -> Path:
    """The catalog: `given`, `$BUSBAR_PROVIDERS`, `providers.yaml` in `system`, else the packaged one."""
    if named := given or env.get("BUSBAR_PROVIDERS"):
        return Path(named)
    candidate = system / "providers.yaml"
    return candidate if candidate.exists() else packaged_providers()


def packaged_providers() -> Path:
    """`busbar/providers.yaml` of an installed wheel, or the top level's of a checkout."""
    package = Path(str(resources.files("busbar")))
    inside = package / "providers.yaml"
    return inside if inside.exists() else package.parent / "providers.yaml"


def read_text(path: Path) -> str:
    """The file's text, at most FILE_BYTES_MAX bytes of UTF-8. Raises ConfigErrors."""
    try:
        with path.open("rb") as file:
            content = file.read(FILE_BYTES_MAX + 1)
    except OSError as error:
        raise ConfigErrors([Problem(str(path), 0, "", f"cannot be read: {error.strerror}")]) from None
    if len(content) > FILE_BYTES_MAX:
        raise ConfigErrors([Problem(str(path), 0, "", f"larger than {FILE_BYTES_MAX} bytes")])
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise ConfigErrors([Problem(str(path), 0, "", "not UTF-8 text")]) from None
