"""A scenario file → a checked `Scenario`, by the reader that reads configurations: every mistake at once, each with
file, line and path of keys.

The gateway's configuration in it goes through the very pipeline of `busbar serve`, with one difference: an
environment variable that is not set is no mistake, because a simulated provider needs no key.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Iterator
from collections.abc import Mapping as Environment
from pathlib import Path

from msgspec.structs import replace

from busbar.config import Config, ConfigErrors, Problem, load
from busbar.config.files import find_providers, read_text
from busbar.config.load import read_documents
from busbar.config.problems import KeyPath, Report
from busbar.config.read import Reader
from busbar.config.source import Mapping, Node, Scalar, Sequence, parse
from busbar.simulation.checks import check
from busbar.simulation.scenario import DISTRIBUTIONS, Scenario, ScenarioFile
from busbar.supervision import complaints

_SHORTHANDS = dict.fromkeys(DISTRIBUTIONS, "constant")


_OWN_VARIABLES = frozenset({"BUSBAR_CONFIG", "BUSBAR_PROVIDERS"})


class SimulatedEnvironment(Environment[str, str]):
    """The real one; a variable that it does not have is `simulated`, but for those that name Busbar's own files."""

    def __init__(self, real: Environment[str, str]) -> None:
        self._real = real

    def __getitem__(self, name: str) -> str:
        if name in _OWN_VARIABLES:
            return self._real[name]
        return self._real.get(name) or "simulated"

    def __contains__(self, name: object) -> bool:
        return name not in _OWN_VARIABLES or name in self._real

    def __iter__(self) -> Iterator[str]:
        return iter(self._real)

    def __len__(self) -> int:
        return len(self._real)


def load_scenario(
    path: str | os.PathLike[str],
    config_path: str | os.PathLike[str] | None = None,
    providers_path: str | os.PathLike[str] | None = None,
    env: Environment[str, str] = os.environ,
) -> Scenario:
    """Reads the file. `config_path` comes before the configuration that the scenario names or holds.

    Raises ConfigErrors.
    """
    return loads_scenario(read_text(Path(path)), str(path), config_path, providers_path, env)


def loads_scenario(
    text: str,
    file: str = "scenario.yaml",
    config_path: str | os.PathLike[str] | None = None,
    providers_path: str | os.PathLike[str] | None = None,
    env: Environment[str, str] = os.environ,
) -> Scenario:
    """The same from a text. `file` is the name that errors show, and where `config: FILE` is looked for beside."""
    report = Report()
    root = parse(text, file, report)
    if root is None:
        raise ConfigErrors(report.problems)
    inline = root.items.get("config")
    readable = root
    if isinstance(inline, Mapping):
        word = Scalar(file=inline.file, line=inline.line, path=inline.path, text="inline")
        readable = replace(root, items={**root.items, "config": word})
    written = Reader(report, {}, _SHORTHANDS).read(readable, ScenarioFile)
    config = _config(root, written, config_path, providers_path, SimulatedEnvironment(env), report)
    if written is not None and config is not None:
        check(written, config, root, report)
    report.raise_if_any()
    assert written is not None, "or there was something to report"
    assert config is not None, "or there was something to report"
    return Scenario(
        title=written.title,
        duration_secs=written.duration_secs,
        seed=written.seed,
        config=config,
        providers=written.providers,
        models=written.models,
        traffic=written.traffic,
    )


def _config(
    root: Mapping,
    written: ScenarioFile | None,
    config_path: str | os.PathLike[str] | None,
    providers_path: str | os.PathLike[str] | None,
    env: Environment[str, str],
    report: Report,
) -> Config | None:
    """From `--config`, from the file that the scenario names, or from the scenario itself; None: reported."""
    inline = root.items.get("config")
    try:
        if config_path is not None:
            return load(config_path, providers_path, env, check_pools=complaints)
        if isinstance(inline, Mapping):
            return _inline(inline, providers_path, env)
        if written is not None and written.config is not None:
            beside = Path(root.file).parent / written.config
            return load(beside, providers_path, env, check_pools=complaints)
    except ConfigErrors as errors:
        report.problems += errors.problems
        return None
    if inline is None:
        report.add(root.file, 0, ("config",), "this key is required, or --config FILE")
    return None


def _inline(section: Mapping, providers_path: str | os.PathLike[str] | None, env: Environment[str, str]) -> Config:
    """Reads the section as if it were a file of its own. Raises ConfigErrors with paths of the scenario."""
    providers = find_providers(os.fspath(providers_path) if providers_path is not None else None, env)
    catalog = _catalog(read_text(providers), str(providers))
    report = Report()
    document = _rooted(section, len(section.path))
    assert isinstance(document, Mapping), "it was one before"
    try:
        return read_documents(document, catalog, env, report, check_pools=complaints)
    except ConfigErrors as errors:
        raise ConfigErrors([_below_config(problem, section.file) for problem in errors.problems]) from None


@functools.lru_cache(maxsize=2)
def _catalog(text: str, file: str) -> Mapping:
    """Parsed once for many scenarios. Raises ConfigErrors."""
    report = Report()
    document = parse(text, file, report)
    if document is None:
        raise ConfigErrors(report.problems)
    return document


def _rooted(node: Node, depth: int) -> Node:
    """The same tree with paths that begin `depth` steps further down."""
    path: KeyPath = node.path[depth:]
    match node:
        case Mapping(items=items):
            return replace(node, path=path, items={key: _rooted(below, depth) for key, below in items.items()})
        case Sequence(items=elements):
            return replace(node, path=path, items=tuple(_rooted(below, depth) for below in elements))
        case _:
            return replace(node, path=path)


def _below_config(problem: Problem, file: str) -> Problem:
    if problem.file != file:
        return problem
    joint = "" if problem.path.startswith("[") or not problem.path else "."
    return replace(problem, path=f"config{joint}{problem.path}")
