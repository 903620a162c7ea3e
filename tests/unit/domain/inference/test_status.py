"""What the status of a BatchInference says, whatever its pods tell."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlpools.contract.ends import Exit
from mlpools.contract.reports import Report
from mlpools_operator.api.v1alpha1 import BatchInferenceStatus
from mlpools_operator.domain import times
from mlpools_operator.domain.inference.kind import BATCH_INFERENCE
from mlpools_operator.domain.job import lifecycle
from mlpools_operator.domain.job.observed import Observed
from mlpools_operator.domain.observed import Resource
from mlpools_operator.domain.plan import Plan
from mlpools_operator.domain.pool.ledger import Verdict
from tests.support.domain_values import NOW, a_job, a_job_child, a_pod, a_pool
from tests.support.manifests import spec
from tests.support.operator_sim import DEFAULTS

SHARDS = {"total": 8, "done": 4, "failed": 1}
ROWS = {"total": 1000, "done": 500, "failed": 100}


def _plan(job: Resource, **observed: Any) -> Plan:
    seen = replace(Observed(a_pool(), Verdict(True, nodes=2)), **observed)
    return lifecycle.plan(BATCH_INFERENCE, job, seen, NOW, DEFAULTS)


def _after(job: Resource, plan: Plan) -> Resource:
    assert plan.status is not None
    return replace(job, status=json.loads(json.dumps(plan.status)))


def _admitted(**changes: Any) -> Resource:
    job = replace(a_job(), spec=spec("BatchInference", {"nodes": 2, **changes}))
    return _after(job, _plan(job))


def _heard(job: Resource, report: Report) -> Resource:
    return _after(job, _plan(job, jobs=(a_job_child(),), pods=(a_pod(0), a_pod(1)), report=report))


def _words(job: Resource) -> dict[str, str]:
    return {it["type"]: it["message"] for it in job.status["conditions"] if it["status"] == "True"}


def test_what_rank_0_reports_is_told_and_a_repeated_report_is_no_news() -> None:
    job = _admitted()
    assert job.status["outputURL"] == "file:///data/predictions"
    report = Report(
        "Running", attempt=1, shards=SHARDS, rows=ROWS, rows_per_second=2500.0, eta_seconds=3661.0
    )
    told = _heard(job, report)
    assert (told.status["shards"], told.status["rows"]) == (SHARDS, ROWS)
    assert told.status["progress"]["summary"] == "60% 2.5k rows/s 3661s"
    assert _plan(told, jobs=(a_job_child(),), pods=(a_pod(0), a_pod(1)), report=report).status is None
    assert "shards" not in _heard(job, replace(report, attempt=2)).status


def test_conditions_of_its_own_hold_to_the_end_with_their_sentences() -> None:
    told = _heard(_admitted(), Report("Running", attempt=1, shards=SHARDS, weak_commit="No links there."))
    assert _words(told)["WeakCommit"] == "No links there."
    final = {"code": 0, "rank": 0, "shards": SHARDS, "rows": ROWS, "partial": "100 rows lack a prediction."}
    winner = a_pod(0, phase="Succeeded", exit_code=0, termination=json.dumps(final), finished=NOW)
    done = _words(_after(told, _plan(told, jobs=(a_job_child(),), pods=(winner, a_pod(1)))))
    assert done["WeakCommit"] == "No links there."
    assert done["PartialOutput"] == "100 rows lack a prediction."
    assert done["Complete"] == (
        "Predicted 500 rows in 4 shards. 100 rows lack a prediction. Output: file:///data/predictions"
    )


@pytest.mark.parametrize(
    "strange", [{"total": "8"}, {"total": -1}, {"done": 3}, [], "8", None, {"total": 2**70}]
)
def test_what_no_worker_of_ours_says_is_not_told(strange: Any) -> None:
    told = _heard(
        _admitted(), Report("Running", attempt=1, shards=strange, rows=strange, rows_per_second=1.0)
    )
    assert ("shards" in told.status, "progress" in told.status) == (False, False)


# Whatever happens.

_ugly = st.one_of(
    st.text(max_size=1000), st.sampled_from(('"' * 5000, "\\" * 5000, "\x00" * 5000, "é" * 5000, "🚀" * 3000))
)
_URLS = ("outputURL", "manifestURL", "errorsURL", "logsURL")
_numbers = st.dictionaries(st.sampled_from(("total", "done", "failed")), st.integers(0, 2**60))


@given(_ugly, _ugly, st.just(Exit.DONE) | st.sampled_from(sorted(Exit)), _numbers, st.integers(1, 64))
def test_a_status_never_takes_more_than_32_kib(
    said: str, url: str, code: Exit, numbers: dict[str, int], nodes: int
) -> None:
    long = "n" * 253
    final = {
        "code": int(code),
        "message": said,
        "partial": said,
        "shards": numbers,
        "rows": numbers,
        "outputs": dict.fromkeys(_URLS, url),
    }
    pods = tuple(
        a_pod(
            rank,
            phase="Succeeded" if code == 0 else "Failed",
            node=long,
            exit_code=int(code),
            termination=json.dumps({**final, "rank": rank}),
            finished=NOW,
        )
        for rank in range(nodes)
    )
    job = _heard(
        _admitted(nodes=nodes, **{"output.url": "/data/" + "x" * 1000}),
        Report("Running", attempt=1, shards=SHARDS, weak_commit=said),
    )
    full = {
        "suspectNodes": [{"node": f"{rank:02d}{long}"[:253], "failures": 2} for rank in range(16)],
        "lackedCapacity": {"instanceFamily": "n" * 63, "time": times.stamp(NOW), "message": "m" * 512},
    }
    job = replace(job, status={**job.status, **full})
    plan = _plan(job, jobs=(a_job_child(nodes=nodes),), pods=pods)
    job = _after(job, plan)
    assert len(json.dumps(job.status, ensure_ascii=False).encode()) <= 32 * 1024
    assert BatchInferenceStatus.model_validate(job.status).plain() == job.status
    assert all(len(event.message.encode()) <= 1024 for event in plan.events)
