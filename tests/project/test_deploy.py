"""Alert rules and dashboard: their metrics exist, and each alert has a section in the runbook."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from plugins import metrics
from stacflask.testing import Plug

ROOT = Path(__file__).parents[2]
RULES = yaml.safe_load((ROOT / "deploy/prometheus/alerts.yaml").read_text())["groups"][0]["rules"]
PANELS = json.loads((ROOT / "deploy/grafana/stacflask.json").read_text())["panels"]
ALERTS = {rule["alert"]: rule["expr"] for rule in RULES}
QUERIES = {f"{panel['title']} {one['refId']}": one["expr"] for panel in PANELS for one in panel.get("targets", ())}
EXPRESSIONS = {**ALERTS, **QUERIES}

SELECTOR = re.compile(r"(stacflask_\w+)(?:\{([^}]*)\})?")
MATCHER = re.compile(r'(\w+)=(~?)"([^"]*)"')
LABELS = re.compile(r"\bby \(([^)]*)\)")


@pytest.fixture
def series(plug: Plug) -> dict[str, list[dict[str, str]]]:
    """Return the labels of all series by metric, as `/metrics` returns them, and of metrics without a series."""
    plugin = metrics.create_plugin({metrics.NETWORKS: "127.0.0.0/8"})
    client = plug(plugin)
    client.get("/collections")
    plugin.series.observe("store_seconds", 1, {"store": "main"})
    plugin.series.decisions.labels("refused", "plugin", "", "Forbidden")
    for counter in (plugin.series.deliveries, plugin.series.granted):
        counter.labels("stream")
    plugin.series.streams.labels("cut")
    found: dict[str, list[dict[str, str]]] = {}
    for name, labels in re.findall(r"^(stacflask_\w+)(?:\{(.*)\})? ", client.get("/metrics").text, re.MULTILINE):
        found.setdefault(name, []).append(dict(re.findall(r'(\w+)="([^"]*)"', labels)))
    return found


@pytest.mark.parametrize("name", EXPRESSIONS)
def test_an_expression_uses_exported_metrics(name: str, series: dict[str, list[dict[str, str]]]) -> None:
    """Each metric is exported, and has the labels by which the expression groups and selects."""
    expression = EXPRESSIONS[name]
    selectors = SELECTOR.findall(expression)
    assert selectors or name == "StacflaskDown"
    for metric, matchers in selectors:
        labels = {label for one in series[metric] for label in one}
        grouped = {label.strip() for group in LABELS.findall(expression) for label in group.split(",")}
        assert grouped <= labels
        for label, _, value in MATCHER.findall(matchers):
            assert label in labels
            if label == "share":
                assert any(re.fullmatch(value, one[label]) for one in series[metric])


def test_each_alert_has_a_section_in_the_runbook() -> None:
    """The runbook has one section for each alert, in the order of the rules."""
    sections = re.findall(r"^## (\w+)$", (ROOT / "docs/runbook.md").read_text(), re.MULTILINE)
    assert sections == list(ALERTS)


@pytest.mark.parametrize("rule", RULES, ids=ALERTS)
def test_an_alert_has_a_severity_and_a_summary(rule: dict[str, Any]) -> None:
    """An alert states how urgent it is and what happens, so that it can be routed and read."""
    assert rule["labels"]["severity"] in ("page", "ticket")
    assert rule["annotations"]["summary"]
