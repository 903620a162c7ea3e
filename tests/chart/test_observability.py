"""Alerts and dashboard: every metric in them is one that the operator has, and every alert has its page."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

import pytest

from tests.support.promql import series_of, unknown
from tests.support.published import ROOT
from tests.unit.project.test_observability import labels_by_series

pytestmark = pytest.mark.chart

Manifest = dict[str, Any]
Render = Callable[..., list[Manifest]]
RUNBOOKS = ROOT / "docs" / "runbooks"
#: What a scrape adds to every series.
SCRAPED = {"pod", "namespace", "job", "instance", "container", "service", "endpoint"}


@pytest.fixture(scope="module")
def rule(render: Render) -> Manifest:
    (found,) = [
        each
        for each in render(
            "metrics.prometheusRule.enabled=true",
            "metrics.prometheusRule.labels.release=main",
            "metrics.prometheusRule.queueWaitSeconds=77",
            "metrics.prometheusRule.runbooks=https://example.org/runbooks",
        )
        if each["kind"] == "PrometheusRule"
    ]
    return found


@pytest.fixture(scope="module")
def alerts(rule: Manifest) -> dict[str, Manifest]:
    return {each["alert"]: each for group in rule["spec"]["groups"] for each in group["rules"]}


def test_every_alert_has_its_page_and_every_page_its_alert(alerts: dict[str, Manifest]) -> None:
    assert sorted(alerts) == sorted(page.stem for page in RUNBOOKS.glob("*.md"))
    for name, alert in alerts.items():
        assert alert["annotations"]["runbook_url"] == f"https://example.org/runbooks/{name}.md"
        page = (RUNBOOKS / f"{name}.md").read_text()
        assert page.startswith(f"# {name}\n")
        for part in ("What it means.", "How to look.", "What to do."):
            assert f"**{part}**" in page, f"{name} does not say: {part}"


def test_every_alert_is_in_the_documents_with_its_severity(alerts: dict[str, Manifest]) -> None:
    text = (ROOT / "docs" / "observability.md").read_text()
    rows = dict(re.findall(r"^\| \[(Mlpools\w+)\]\(\S+\) \| (\w+) \|", text, re.M))
    assert rows == {name: alert["labels"]["severity"] for name, alert in alerts.items()}
    assert set(rows.values()) <= {"critical", "warning", "info"}


def test_alerts_ask_for_what_there_is(alerts: dict[str, Manifest]) -> None:
    for name, alert in alerts.items():
        assert series_of(alert["expr"]), f"{name} looks at nothing"
        assert not unknown(alert["expr"], labels_by_series(), SCRAPED), name


def test_alerts_wait_and_speak(alerts: dict[str, Manifest]) -> None:
    for name, alert in alerts.items():
        # What counts over a window of its own has waited already.
        waits = re.fullmatch(r"[1-9]\d*m", alert.get("for", "")) or "increase(" in alert["expr"]
        assert waits, f"{name} fires at the first look"
        assert alert["annotations"]["summary"].rstrip().endswith(".")
        named = set(re.findall(r"\$labels\.(\w+)", alert["annotations"]["summary"]))
        series = {label for each in series_of(alert["expr"]) for label in labels_by_series()[each]}
        assert named <= series | SCRAPED, f"{name} names labels that its series have not"


def test_values_reach_the_rule(rule: Manifest, alerts: dict[str, Manifest]) -> None:
    assert rule["metadata"]["labels"]["release"] == "main"
    assert alerts["MlpoolsQueueWaitLong"]["expr"].endswith("> 77")


def test_nothing_is_installed_unasked(render: Render) -> None:
    objects = render()
    assert not [each for each in objects if each["kind"] in {"PrometheusRule", "ServiceMonitor"}]
    assert not [each for each in objects if each["metadata"]["name"].endswith("-dashboard")]


@pytest.fixture(scope="module")
def dashboard(render: Render) -> Manifest:
    objects = render("metrics.dashboard.enabled=true", "metrics.dashboard.labels.team=ml")
    (found,) = [each for each in objects if each["metadata"]["name"] == "mlpools-operator-dashboard"]
    assert found["metadata"]["labels"].items() >= {"grafana_dashboard": "1", "team": "ml"}.items()
    (text,) = found["data"].values()
    read: Manifest = json.loads(text)
    return read


def expressions(dashboard: Manifest) -> list[str]:
    panels = [panel for panel in dashboard["panels"] if panel["type"] != "row"]
    return [target["expr"] for panel in panels for target in panel["targets"]]


def test_the_choices_of_the_dashboard_are_labels_that_there_are(dashboard: Manifest) -> None:
    asked = [it["query"]["query"] for it in dashboard["templating"]["list"] if it["type"] == "query"]
    chosen = [re.fullmatch(r"label_values\((\w+), (\w+)\)", query) for query in asked]
    assert [(it[1], it[2]) for it in chosen if it] == [("mlpools_pool_nodes", "pool")]
    assert "pool" in labels_by_series()["mlpools_pool_nodes"]


def test_the_dashboard_asks_for_what_there_is(dashboard: Manifest) -> None:
    for expression in expressions(dashboard):
        assert not unknown(expression, labels_by_series(), SCRAPED), expression


def test_the_dashboard_shows_every_metric(dashboard: Manifest) -> None:
    shown = {name for expression in expressions(dashboard) for name in series_of(expression)}
    stems = {re.sub(r"_(bucket|sum|count)$", "", name) for name in labels_by_series()}
    assert stems - {re.sub(r"_(bucket|sum|count)$", "", name) for name in shown} == set()


def test_panels_lie_beside_each_other(dashboard: Manifest) -> None:
    cells = [
        (x, y)
        for panel in dashboard["panels"]
        for x in range(panel["gridPos"]["x"], panel["gridPos"]["x"] + panel["gridPos"]["w"])
        for y in range(panel["gridPos"]["y"], panel["gridPos"]["y"] + panel["gridPos"]["h"])
    ]
    assert len(cells) == len(set(cells))
    assert max(x for x, _ in cells) < 24
    assert len({panel["id"] for panel in dashboard["panels"]}) == len(dashboard["panels"])
