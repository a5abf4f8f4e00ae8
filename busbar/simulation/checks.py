"""What no single value of a scenario shows: names that must exist, keys that only make sense together."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from msgspec import Struct

from busbar.config import Config
from busbar.config.problems import KeyPath, Report, did_you_mean
from busbar.config.read import place
from busbar.config.source import Mapping
from busbar.simulation.scenario import Distribution, Fault, Phase, ScenarioFile

_FAMILIES = (("constant",), ("low", "high"), ("median", "p95"), ("mean",))


def check(scenario: ScenarioFile, config: Config, root: Mapping, report: Report) -> None:
    """Reports every problem at its place below `root`."""
    for path, message in _complaints(scenario, config):
        report.add(*place(root, path), path, message)


def _complaints(scenario: ScenarioFile, config: Config) -> Iterator[tuple[KeyPath, str]]:
    for provider in scenario.providers:
        yield from _refers(("providers", provider), provider, config.providers, "provider")
    for model in scenario.models:
        yield from _refers(("models", model), model, config.models, "model")
    for position, traffic in enumerate(scenario.traffic):
        path = ("traffic", position)
        yield from _refers((*path, "to"), traffic.to, [*config.pools, *config.models], "pool or model")
        yield from _range(path, traffic.from_secs, traffic.until_secs)
        yield from _phases((*path, "phases"), traffic.phases)
    for found, value in _walk((), scenario):
        if isinstance(value, Distribution):
            yield from _distribution(found, value)
        elif isinstance(value, Fault):
            yield from _fault(found, value)


def _refers(path: KeyPath, name: str, known: Collection[str], kind: str) -> Iterator[tuple[KeyPath, str]]:
    if name not in known:
        yield path, f"the configuration has no {kind} of this name{did_you_mean(name, list(known))}"


def _range(path: KeyPath, since: float, until: float | None) -> Iterator[tuple[KeyPath, str]]:
    if until is not None and until <= since:
        yield (*path, "until_secs"), f"expected a time after from_secs ({since:g})"


def _phases(path: KeyPath, phases: tuple[Phase, ...]) -> Iterator[tuple[KeyPath, str]]:
    ended_at: float | None = 0.0
    for position, phase in enumerate(phases):
        yield from _range((*path, position), phase.from_secs, phase.until_secs)
        if ended_at is None or phase.from_secs < ended_at:
            yield (*path, position, "from_secs"), "begins before the phase above it ends"
        ended_at = phase.until_secs


def _distribution(path: KeyPath, distribution: Distribution) -> Iterator[tuple[KeyPath, str]]:
    given = [key for family in _FAMILIES for key in family if getattr(distribution, key) is not None]
    if tuple(given) not in _FAMILIES:
        expected = "a number, {low, high}, {median, p95} or {mean}"
        yield path, f"expected {expected}" + (f", got {', '.join(given)}" if given else "")
    low, high = distribution.low, distribution.high
    if low is not None and high is not None and high < low:
        yield (*path, "high"), f"below low ({low:g})"
    median, p95 = distribution.median, distribution.p95
    if median is not None and p95 is not None and p95 < median:
        yield (*path, "p95"), f"below median ({median:g})"


def _fault(path: KeyPath, fault: Fault) -> Iterator[tuple[KeyPath, str]]:
    yield from _range(path, fault.from_secs, fault.until_secs)
    said = [key for key in ("failure", "status") if getattr(fault, key) is not None]
    if fault.kind == "error" and len(said) != 1:
        yield path, "an error needs one of failure and status" if not said else "keep one of failure and status"
    if fault.kind != "error" and said:
        yield (*path, said[0]), f"only a fault of kind error has it, this one is {fault.kind}"


def _walk(path: KeyPath, value: object) -> Iterator[tuple[KeyPath, object]]:
    yield path, value
    match value:
        case Struct():
            for field in value.__struct_fields__:
                yield from _walk((*path, field), getattr(value, field))
        case dict():
            for key, below in value.items():
                yield from _walk((*path, key), below)
        case tuple():
            for position, below in enumerate(value):
                yield from _walk((*path, position), below)
