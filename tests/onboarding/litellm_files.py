"""For the tests of the import: a file in, what came of it out, held to what every import has to be."""

from __future__ import annotations

from typing import Any

from msgspec import Struct

from busbar.config import Config, loads
from busbar.config.files import packaged_providers, read_text
from busbar.config.problems import Report
from busbar.config.source import parse
from busbar.onboarding.litellm import import_litellm
from busbar.onboarding.litellm.report import Finding, Kind
from busbar.onboarding.offers import plain, read_catalog

CATALOG = read_catalog(read_text(packaged_providers()), "providers.yaml")


class Result(Struct):
    document: dict[str, Any]
    """What was written, as it stands there."""
    config: Config
    """The same, loaded."""
    findings: tuple[Finding, ...]
    variables: dict[str, str]
    text: str

    def told(self, kind: Kind) -> dict[str, str]:
        return {finding.key: finding.advice for finding in self.findings if finding.kind is kind}

    @property
    def keys(self) -> set[str]:
        """Everything that the report speaks of."""
        return {finding.key for finding in self.findings}

    @property
    def provider(self) -> dict[str, Any]:
        """The only one."""
        (entry,) = self.document["providers"].values()
        return {**entry, "name": next(iter(self.document["providers"]))}


def imported(text: str) -> Result:
    """Imports `text`; the result loads, with samples for its variables, and is the same each time."""
    result = import_litellm(text, CATALOG)
    assert import_litellm(text, CATALOG) == result
    report = Report()
    document = parse(result.text, "config.yaml", report)
    assert document is not None, report.problems
    config = loads(result.text, env=dict(result.variables))
    written = plain(document)
    assert isinstance(written, dict)
    return Result(written, config, result.findings, dict(result.variables), result.text)


def deployment(params: str, *, model_info: str = "{}", rest: str = "") -> Result:
    """A file with one deployment, called `m`."""
    return imported(
        f"model_list:\n  - model_name: m\n    litellm_params: {params}\n    model_info: {model_info}\n{rest}"
    )
