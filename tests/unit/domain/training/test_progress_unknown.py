"""A job of which nobody can say how far it is says so in a condition, and why."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from mlpools.contract.reports import Report
from mlpools_operator.domain.observed import Resource, Unheard
from mlpools_operator.domain.pool.ledger import Verdict
from tests.support import trainingjob
from tests.support.domain_values import NOW, a_job, a_job_child, a_pod, a_pool
from tests.support.manifests import ABSENT
from tests.support.operator_sim import DEFAULTS

BARE: dict[str, Any] = {
    "xgboost": ABSENT,
    "data": ABSENT,
    "script": {"command": ["./train"]},
    "runtime": {"image": "busybox:1"},
}


def run(job: Resource, **observed: Any) -> Resource:
    """Return the job after a pass in which its only pod runs; before that it is admitted."""
    around = trainingjob.Observed(a_pool(), Verdict(True), jobs=(a_job_child(nodes=1),), pods=(a_pod(0),))
    if not job.status:
        around = replace(around, jobs=(), pods=())
    plan = trainingjob.plan(job, replace(around, **observed), NOW, DEFAULTS)
    return job if plan.status is None else replace(job, status=json.loads(json.dumps(plan.status)))


def shown(job: Resource) -> dict[str, str]:
    found = (it for it in job.status["conditions"] if it["type"] == "ProgressUnknown")
    return dict(next(found, {}))


@pytest.mark.parametrize(
    ("changes", "why", "reason", "words"),
    [
        (BARE, Unheard.REFUSED, "RunsBare", "The image has no Python 3.9 or newer"),
        (BARE, Unheard.SILENT, "ReportUnreachable", "does not answer the operator at port 8470"),
        ({}, Unheard.REFUSED, "ReportUnreachable", "Port 8470 of rank 0's pod refuses the operator"),
        ({}, Unheard.UNREADABLE, "ReportUnreachable", "is no report of mlpools"),
        # It takes Python: its supervisor would have said that there is none.
        (
            {**BARE, "script": {"file": "train.py"}},
            Unheard.REFUSED,
            "ReportUnreachable",
            "refuses the operator",
        ),
    ],
)
def test_why_its_progress_is_unknown(changes: dict[str, Any], why: Unheard, reason: str, words: str) -> None:
    job = run(run(a_job(nodes=1, **changes)), unheard=why)
    told = shown(job)
    assert (job.status["phase"], told["status"], told["reason"]) == ("Running", "True", reason)
    assert words in told["message"]


def test_it_holds_until_something_is_heard_even_for_an_operator_that_has_just_begun() -> None:
    running = run(run(a_job(nodes=1, **BARE)))
    assert shown(running) == {}
    told = run(running, unheard=Unheard.REFUSED)
    assert shown(run(told)) == shown(told) != {}
    assert shown(run(told, report=Report("Working", step=1))) == {}
