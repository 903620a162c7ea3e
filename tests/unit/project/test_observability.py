"""The metrics that the documents and the runbooks name are those that the operator has."""

from __future__ import annotations

import functools
import re
from pathlib import Path

import pytest

from mlpools_operator.domain.job.transitions import (
    Admitted,
    Finished,
    Predicted,
    Preempted,
    Restarted,
    Rested,
    Spent,
    Switched,
)
from mlpools_operator.metrics import Metrics, PoolFigures
from tests.support.promql import series_of, unknown
from tests.support.published import ROOT

DOCUMENT = ROOT / "docs" / "observability.md"


def everything() -> Metrics:
    """Return metrics of which each series is there."""
    metrics = Metrics()
    metrics.process(leader=float, queue_depth=float, workers_busy=float, pass_age=float, watch_age=float)
    stands = PoolFigures(
        nodes={"max": 1}, jobs={"queued": 1}, notebooks={"queued": 1}, conditions={"Ready": True}
    )
    metrics.objects(lambda: {"cpu": stands}, lambda: {"Pod": 1})
    metrics.pools.there = lambda: ("cpu",)
    what = (Admitted(), Spent("Queued", 1), Restarted("X"), Preempted(), Finished("X", "X"))
    metrics.pools.count("cpu", (*what, Rested("X"), Predicted(1, 1, 1), Switched(True)))
    metrics.pools.used("cpu", {"team": 1})
    metrics.pools.usage_written("cpu", "written")
    metrics.passes.labels("X", "X").inc()
    metrics.pass_seconds.labels("X").observe(1)
    metrics.api_requests.labels("X", "X", "X").inc()
    metrics.api_seconds.labels("X").observe(1)
    metrics.probes.labels("X").inc()
    metrics.swept.labels("X").inc()
    return metrics


@functools.cache
def labels_by_series() -> dict[str, frozenset[str]]:
    """Return the labels of each series that the operator exports."""
    found: dict[str, frozenset[str]] = {}
    for family in everything().registry.collect():
        for sample in family.samples:
            if not sample.name.endswith("_created"):
                found[sample.name] = found.get(sample.name, frozenset()) | frozenset(sample.labels)
    return found


def test_the_document_has_each_metric_with_its_labels_and_no_other() -> None:
    rows = re.findall(r"^\| `(mlpools_\w+)` \| ((?:`\w+`(?:, )?)*) ?\|", DOCUMENT.read_text(), re.M)
    told = {name: set(re.findall(r"\w+", labels)) for name, labels in rows}
    assert len(told) == len(rows)
    there = {
        re.sub(r"_(bucket|sum|count)$", "", name): set(labels) - {"le"}
        for name, labels in labels_by_series().items()
    }
    assert told == there


#: Packages, and what models hold besides trees.
NO_METRICS = {"mlpools_operator", "mlpools_cli", "mlpools_kubectl", "mlpools_columns", "mlpools_data"}
PAGES = sorted([*(ROOT / "docs").rglob("*.md"), ROOT / "charts" / "mlpools" / "README.md"])


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_pages_name_metrics_that_there_are(page: Path) -> None:
    known = {*labels_by_series(), *(re.sub(r"_bucket$", "", name) for name in labels_by_series())}
    assert series_of(page.read_text()) - known - NO_METRICS == set()


@pytest.mark.parametrize(
    ("expression", "strange"),
    [
        ("sum by (pool) (mlpools_pool_nodes)", set()),
        ("mlpools_pool_nodse", {"mlpools_pool_nodse"}),
        ('mlpools_pool_nodes{pol="x"}', {"pol"}),
        ("sum by (pol) (mlpools_pool_nodes)", {"pol"}),
        ('mlpools_leader{pool="mlpools_nothing"}', {"pool"}),
        ("rate(mlpools_api_requests_total{verp=~'$v'}[$__rate_interval])", {"verp"}),
        ("mlpools_pool_nodes / on (pol) group_left (stat) mlpools_pool_jobs", {"pol", "stat"}),
    ],
)
def test_what_does_not_exist_is_found(expression: str, strange: set[str]) -> None:
    assert unknown(expression, labels_by_series(), set()) == strange


@pytest.mark.parametrize(
    "expression", ["sum(mlpools_pool_nodes", "rate(mlpools_leader)", "mlpools_leader{pool=}"]
)
def test_what_is_no_promql_is_refused(expression: str) -> None:
    with pytest.raises(ValueError, match=r"\w+"):
        unknown(expression, labels_by_series(), set())
