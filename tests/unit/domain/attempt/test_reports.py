from __future__ import annotations

import json
import math
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from mlpools.contract import Exit, Final, Report
from mlpools_operator.domain.attempt import reports


def test_a_report_is_progress() -> None:
    report = Report("Working", step=61, total_steps=100, rows_per_second=1e6, eta_seconds=40.2)
    progress = reports.progress(
        Report(**{**vars(report), "metrics": {"train-rmse": 16.1, "eval-rmse": 17.93}})
    )
    assert progress is not None
    assert (progress.step, progress.percent, progress.eta_seconds) == (61, 61.0, 40.2)
    assert progress.summary == "61% eval-rmse 17.93 40s"


def test_what_does_not_train_has_no_time_left() -> None:
    report = Report("Working", step=61, total_steps=100, eta_seconds=40.2, metrics={"eval-rmse": 17.93})
    halted = reports.halted(reports.progress(report))
    assert halted is not None
    assert (halted.step, halted.eta_seconds, halted.summary) == (61, None, "61% eval-rmse 17.93")
    assert reports.halted(halted) == halted
    assert reports.halted(None) is None


def test_before_the_first_step_there_is_none() -> None:
    assert reports.progress(Report("Data", total_steps=100)) is None


def test_what_json_cannot_hold_is_left_out() -> None:
    assert reports.metrics({"a": math.nan, "b": math.inf, "c": "1", "d": True, "e": 1}) == {"e": 1.0}


def test_early_stopping_is_done_all_the_same() -> None:
    before = reports.progress(Report("Working", step=61, total_steps=100, metrics={"eval-rmse": 17.9}))
    done = reports.finished(before, Final(code=Exit.DONE, rank=0, step=64))
    assert (done.step, done.total_steps, done.percent, done.summary) == (
        64,
        100,
        100.0,
        "100% eval-rmse 17.9",
    )


_junk: st.SearchStrategy[Any] = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=20),
    st.lists(st.integers(), max_size=2),
    st.dictionaries(
        st.text(max_size=99), st.one_of(st.floats(), st.text(max_size=5), st.none()), max_size=40
    ),
)


@given(
    st.fixed_dictionaries(
        {"step": _junk, "totalSteps": _junk, "rowsPerSecond": _junk, "etaSeconds": _junk, "metrics": _junk}
    )
)
def test_whatever_a_pod_reports_becomes_valid_progress_or_none(raw: dict[str, Any]) -> None:
    progress = reports.progress(Report.from_dict({"phase": "Working", **raw}))
    assert progress is None or (progress.step > 0 and len(progress.metrics) <= 16)


_leavings = dict.fromkeys(("message", "step", "metrics", "outputs", "checkpointStep"), _junk)


@given(st.fixed_dictionaries({"code": st.just(0), "rank": st.just(0), **_leavings}))
def test_whatever_a_pod_leaves_becomes_a_report_or_none(raw: dict[str, Any]) -> None:
    final = reports.read_final(json.dumps(raw))
    assert final is not None
    assert isinstance(final.message, str)
    assert final.step >= 0
    assert all(isinstance(value, str) for value in final.outputs.values())


def test_half_a_url_is_none() -> None:
    assert reports.url("/data/model.ubj") == "/data/model.ubj"
    assert reports.url("/" + "x" * 2000) == ""
