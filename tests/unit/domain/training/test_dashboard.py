"""The dashboard of a script's Ray cluster stands in the status while the script runs."""

from __future__ import annotations

from mlpools.contract.reports import Report
from mlpools_operator.api.v1alpha1 import TrainingJobStatus
from mlpools_operator.domain.training import account

URL = "http://search-1-0.search.team-a.svc.cluster.local:8265"


def test_it_is_told_once_and_goes_with_the_cluster() -> None:
    report = Report(phase="Working", attempt=1, dashboard=URL)
    before = TrainingJobStatus(attempt=1)
    assert account.reported(before, report, 0.0)["dashboard_url"] == URL
    shown = TrainingJobStatus(attempt=1, dashboard_url=URL)
    assert "dashboard_url" not in account.reported(shown, report, 0.0)
    gone = Report(phase="Finishing", attempt=1)
    assert account.reported(shown, gone, 0.0)["dashboard_url"] == ""
    assert account.reported(shown, Report(phase="Working", attempt=2), 0.0) == {}
