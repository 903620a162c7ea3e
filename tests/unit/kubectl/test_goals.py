"""What a wait waits for, and when it has come or never will."""

from __future__ import annotations

from typing import Any

import pytest

from mlpools_kubectl.cluster import Object
from mlpools_kubectl.goals import Goal, Verdict, goal, judge
from mlpools_kubectl.kinds import NOTEBOOK, POOL

JOB = "TrainingJob"
STOPPED_AT = "2026-01-01T00:00:00Z"


def that(kind: str = JOB, *true: str, spec: Any = None, wish: str = "", **status: Any) -> Object:
    conditions = [{"type": it, "status": "True", "message": f"{it}, it says."} for it in true]
    metadata = {"name": "it", "generation": 2, "annotations": {"mlpools.dev/start-requested-at": wish}}
    base = {"observedGeneration": 2, "phase": "Running", "conditions": conditions}
    return {"kind": kind, "metadata": metadata, "spec": spec or {}, "status": {**base, **status}}


def verdict(text: str | None, it: Object | None, kind: str = JOB) -> Verdict:
    return judge(goal(text, kind), it)[0]


@pytest.mark.parametrize(
    ("text", "kind", "meant"),
    [
        (None, JOB, Goal("condition", "Complete")),
        (None, NOTEBOOK, Goal("condition", "Serving")),
        (None, POOL, Goal("condition", "Ready")),
        ("podsReady", JOB, Goal("condition", "PodsReady")),
        ("Ready=false", JOB, Goal("condition", "Ready", "False")),
        ("phase=Running", JOB, Goal("phase", "phase", "Running")),
        ("phase=Active", POOL, Goal("phase", "state", "Active")),
        ("deleted", JOB, Goal("deleted")),
    ],
)
def test_what_is_waited_for(text: str | None, kind: str, meant: Goal) -> None:
    assert goal(text, kind) == meant


@pytest.mark.parametrize("text", ["Ready=maybe", "phase=", "=True", ""])
def test_what_cannot_be_waited_for(text: str) -> None:
    if text:
        with pytest.raises(ValueError, match="none of CONDITION"):
            goal(text, JOB)
    else:
        assert goal(text, JOB) == goal(None, JOB)


def test_a_job_is_waited_for_until_its_end_and_no_longer() -> None:
    assert verdict(None, that()) is Verdict.NOT_YET
    assert verdict(None, that(JOB, "Complete")) is Verdict.REACHED
    assert verdict(None, that(JOB, "Failed")) is Verdict.NEVER
    assert verdict("phase=Running", that(JOB, "Complete", phase="Succeeded")) is Verdict.NEVER
    assert verdict("Failed", that(JOB, "Failed")) is Verdict.REACHED
    assert verdict(None, None) is Verdict.NEVER
    assert verdict("deleted", None) is Verdict.REACHED
    assert verdict("deleted", that()) is Verdict.NOT_YET


def test_what_speaks_of_an_older_spec_says_nothing_yet() -> None:
    assert verdict("Suspended", that(JOB, "Suspended", observedGeneration=1)) is Verdict.NOT_YET
    assert verdict("Suspended", that(JOB, "Suspended")) is Verdict.REACHED
    new = {"kind": JOB, "metadata": {"name": "it", "generation": 1}, "spec": {}}
    assert judge(goal(None, JOB), new) == (
        Verdict.NOT_YET,
        "TrainingJob it has no status yet: the operator has not seen it.",
    )


def test_a_template_of_a_schedule_never_completes() -> None:
    assert verdict(None, that(JOB, "Scheduled", phase="Scheduled")) is Verdict.NEVER


@pytest.mark.parametrize(
    ("spec", "wish", "reason", "expected"),
    [
        ({}, "", "Idle", Verdict.NEVER),
        ({}, STOPPED_AT, "Idle", Verdict.NEVER),
        ({}, "no time", "Idle", Verdict.NEVER),
        ({}, "2026-01-01T00:00:01Z", "Idle", Verdict.NOT_YET),
        ({"suspend": True}, "2026-01-01T00:00:01Z", "Suspended", Verdict.NEVER),
        ({"suspend": False}, "", "Suspended", Verdict.NOT_YET),
    ],
)
def test_a_notebook_that_rests_serves_only_once_somebody_wants_it_to(
    spec: Object, wish: str, reason: str, expected: Verdict
) -> None:
    rests = that(NOTEBOOK, "Stopped", spec=spec, wish=wish, reason=reason, stoppedAt=STOPPED_AT)
    assert verdict(None, rests, NOTEBOOK) is expected


def test_the_sentence_is_the_one_that_tells_most() -> None:
    failed = that(JOB, "Failed", phase="Failed", reason="OutOfMemory")
    assert judge(goal(None, JOB), failed)[1] == "TrainingJob it is Failed (OutOfMemory): Failed, it says."
    queue = {"message": "Two jobs are before it."}
    waits = that(phase="Queued", reason="BehindInQueue", queue=queue)
    assert judge(goal(None, JOB), waits)[1] == (
        "TrainingJob it is Queued (BehindInQueue): Two jobs are before it."
    )
