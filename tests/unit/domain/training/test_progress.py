from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from mlpools.contract.ends import Exit, Final
from mlpools.contract.reports import Report
from mlpools_operator.domain.training import progress
from tests.support.junk import JUNK


def test_a_report_is_progress() -> None:
    report = Report("Working", step=61, total_steps=100, rows_per_second=1e6, eta_seconds=40.2)
    found = progress.of(Report(**{**vars(report), "metrics": {"train-rmse": 16.1, "eval-rmse": 17.93}}))
    assert found is not None
    assert (found.step, found.percent, found.eta_seconds) == (61, 61.0, 40.2)
    assert found.summary == "61% eval-rmse 17.93 40s"


def test_what_does_not_train_has_no_time_left() -> None:
    report = Report("Working", step=61, total_steps=100, eta_seconds=40.2, metrics={"eval-rmse": 17.93})
    halted = progress.halted(progress.of(report))
    assert halted is not None
    assert (halted.step, halted.eta_seconds, halted.summary) == (61, None, "61% eval-rmse 17.93")
    assert progress.halted(halted) == halted
    assert progress.halted(None) is None


def test_before_the_first_step_there_is_none() -> None:
    assert progress.of(Report("Data", total_steps=100)) is None


def test_early_stopping_is_done_all_the_same() -> None:
    before = progress.of(Report("Working", step=61, total_steps=100, metrics={"eval-rmse": 17.9}))
    done = progress.finished(before, Final(code=Exit.DONE, rank=0, step=64))
    assert (done.step, done.total_steps, done.percent, done.summary) == (
        64,
        100,
        100.0,
        "100% eval-rmse 17.9",
    )


@given(
    st.fixed_dictionaries(
        {"step": JUNK, "totalSteps": JUNK, "rowsPerSecond": JUNK, "etaSeconds": JUNK, "metrics": JUNK}
    )
)
def test_whatever_a_pod_reports_becomes_valid_progress_or_none(raw: dict[str, Any]) -> None:
    found = progress.of(Report.from_dict({"phase": "Working", **raw}))
    assert found is None or (found.step > 0 and len(found.metrics) <= 16)
