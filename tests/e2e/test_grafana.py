"""The dashboard and the alert rules in `deploy/grafana`: each metric, label and label value that they name is one
that a gateway really shows."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client import Metric
from prometheus_client.parser import text_string_to_metric_families

from .governed import ADMIN, GovernedWorld

FOLDER = Path(__file__).parents[2] / "deploy" / "grafana"

SELECTOR = re.compile(r"\b(busbar_\w+)(?:\{([^}]*)\})?")
MATCHER = re.compile(r'(\w+)\s*(=~|!~|!=|=)\s*"([^"]*)"')
GROUPING = re.compile(r"\bby\s*\(([^)]*)\)")
LEGEND = re.compile(r"\{\{\s*(?:\$labels\.)?(\w+)\s*\}\}")
VARIABLES = {"$pool": ".*", "$lane": ".*"}

Series = dict[str, list[dict[str, str]]]
"""By the name of a series the labels of each of its samples."""


def dashboard() -> dict[str, Any]:
    document: dict[str, Any] = json.loads((FOLDER / "dashboard.json").read_text())
    return document


def rules() -> list[dict[str, Any]]:
    document = yaml.safe_load((FOLDER / "alerts.yaml").read_text())
    return [rule for group in document["groups"] for rule in group["rules"]]


def targets() -> Iterator[tuple[str, str, str]]:
    """(panel, expression, legend)"""
    for panel in dashboard()["panels"]:
        for target in panel.get("targets", ()):
            yield panel["title"], target["expr"], target["legendFormat"]


@pytest.fixture
async def series(tmp_path: Path) -> Series:
    config = "pools: {pool: {members: [{target: gpt}, {target: claude}]}}"
    async with GovernedWorld(tmp_path, config=config) as world, world.http.get("/metrics", headers=ADMIN) as response:
        families: list[Metric] = list(text_string_to_metric_families(await response.text()))
    found: Series = {}
    for family in families:
        for sample in family.samples:
            found.setdefault(sample.name, []).append(sample.labels)
    return found


def fits(labels: dict[str, str], selector: str) -> bool:
    for label, operator, wanted in MATCHER.findall(selector):
        pattern = VARIABLES.get(wanted, wanted) if "~" in operator else re.escape(wanted)
        if bool(re.fullmatch(pattern, labels[label])) == operator.startswith("!"):
            return False
    return True


def check(expression: str, series: Series) -> set[str]:
    """That each selector finds something, and each grouping is by labels that are there; gives what is grouped by."""
    assert expression.count("(") == expression.count(")")
    used = SELECTOR.findall(expression)
    assert used, expression
    groups = {label.strip() for labels in GROUPING.findall(expression) for label in labels.split(",")}
    for name, selector in used:
        assert name in series, name
        assert MATCHER.sub("", selector).strip(", ") == "", selector
        assert [labels for labels in series[name] if fits(labels, selector)], (name, selector)
        assert groups <= series[name][0].keys(), (name, groups)
    return groups


async def test_the_dashboard_shows_what_there_is(series: Series) -> None:
    for title, expression, legend in targets():
        groups = check(expression, series)
        assert set(LEGEND.findall(legend)) <= groups, title


async def test_the_dashboard_shows_all_there_is(series: Series) -> None:
    shown = {name for _, expression, _ in targets() for name, _ in SELECTOR.findall(expression)}
    families = {re.sub(r"_(bucket|sum|count)$", "", name) for name in series}
    assert families - {re.sub(r"_bucket$", "", name) for name in shown} == {"busbar_build_info"}


async def test_the_dashboards_variables_can_be_filled(series: Series) -> None:
    known = {variable["name"]: variable for variable in dashboard()["templating"]["list"]}
    assert known.keys() == {"datasource", "pool", "lane"}
    assert known["datasource"]["type"] == "datasource"
    for name in ("pool", "lane"):
        found = re.fullmatch(r"label_values\((\w+), (\w+)\)", known[name]["query"]["query"])
        assert found is not None
        assert found[2] in series[found[1]][0]
    used = set(re.findall(r"\$\{?(\w+)", json.dumps(dashboard())))
    assert used <= {*known, "__rate_interval", "__all"}


async def test_the_alerts_watch_what_there_is(series: Series) -> None:
    assert len({rule["alert"] for rule in rules()}) == len(rules())
    for rule in rules():
        groups = check(rule["expr"], series)
        told = rule["annotations"]
        assert rule["labels"]["severity"] in ("warning", "critical")
        assert set(LEGEND.findall(told["summary"] + told["description"])) - {"value"} <= groups, rule["alert"]


def test_panels_do_not_lie_on_each_other() -> None:
    taken: set[tuple[int, int]] = set()
    panels = dashboard()["panels"]
    for panel in panels:
        place = panel["gridPos"]
        cells = {
            (place["x"] + across, place["y"] + down) for across in range(place["w"]) for down in range(place["h"])
        }
        assert not cells & taken, panel["title"]
        assert place["x"] + place["w"] <= 24
        taken |= cells
    assert len({panel["id"] for panel in panels}) == len(panels)
