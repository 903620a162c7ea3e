"""What is left of a job after its end, and jobs and pools that are to be left alone."""

from __future__ import annotations

import pytest

from mlpools.contract.ends import Exit
from mlpools_operator.domain import paused, tracking
from mlpools_operator.domain.paused import ANNOTATION
from tests.support.api_server import Json
from tests.support.domain_run import NAMESPACE, Run
from tests.unit.domain.attempt.test_stopping import conditions, evict, message, training

CHILDREN = ("Job", "Pod", "Service", "NetworkPolicy")


def there(run: Run, kind: str = "TrainingJob") -> list[str]:
    return [item["metadata"]["name"] for item in run.world.list(kind)]


# The TTL.


@pytest.mark.parametrize("ending", ["Succeeded", "Failed", "Cancelled"])
def test_a_job_goes_with_all_its_children_once_its_ttl_is_over(ending: str) -> None:
    run = Run()
    run.submit("flights", nodes=2, ttlSecondsAfterFinished=600, cancel=ending == "Cancelled")
    if ending == "Failed":
        run.until("flights", "Running")
        run.world.kill(run.pods("flights")[1], Exit.USER_CODE)
    run.until("flights", ending)
    run.clock.advance(590)
    due = run.operator.pass_all()
    assert due is not None
    assert due <= 600
    assert there(run) == ["flights"]
    run.clock.advance(15)
    run.go(5)
    assert there(run) == []
    for kind in CHILDREN:
        assert there(run, kind) == []


def test_without_a_ttl_a_job_stays() -> None:
    run = Run()
    run.submit("flights")
    run.settle()
    run.clock.advance(10**9)
    run.go(3)
    assert there(run) == ["flights"]


def test_what_a_tool_tracks_keeps_its_object_and_says_so() -> None:
    run = Run()
    run.submit("flights", nodes=2, ttlSecondsAfterFinished=60)
    run.annotate("flights", "argocd.argoproj.io/tracking-id", "team-a:mlpools.dev/TrainingJob:team-a/flights")
    done = run.until("flights", "Succeeded")
    run.clock.advance(100)
    run.go(5)
    for kind in CHILDREN:
        assert there(run, kind) == []
    status = run.status("flights")
    assert conditions(status)["Expired"] == ("True", "TrackedByTool")
    assert "Argo CD would make it again" in message(status, "Expired")
    assert {key: status[key] for key in done if key != "conditions"} == {
        key: value for key, value in done.items() if key != "conditions"
    }
    writes = run.operator.writes.copy()
    run.go(5)
    assert run.operator.writes == writes, "It was told and done once."


@pytest.mark.parametrize(
    ("labels", "annotations", "tool"),
    [
        ({}, {"argocd.argoproj.io/tracking-id": "x"}, "Argo CD"),
        ({"argocd.argoproj.io/instance": "x"}, {}, "Argo CD"),
        ({"app.kubernetes.io/instance": "x"}, {}, "Argo CD or Helm"),
        ({"kustomize.toolkit.fluxcd.io/name": "x"}, {}, "Flux"),
        ({"helm.toolkit.fluxcd.io/name": "x", "app.kubernetes.io/instance": "x"}, {}, "Flux"),
        ({}, {"meta.helm.sh/release-name": "x"}, "Helm"),
        ({"app.kubernetes.io/name": "x"}, {"kubectl.kubernetes.io/last-applied-configuration": "x"}, ""),
        ({}, {}, ""),
    ],
)
def test_the_marks_of_tools(labels: dict[str, str], annotations: dict[str, str], tool: str) -> None:
    assert tracking.tool(labels, annotations) == tool


# Paused.


def test_nothing_is_written_to_a_paused_job_but_that_it_is_paused() -> None:
    run = training()
    run.annotate("flights", ANNOTATION, "")
    run.go(2)
    status = run.status("flights")
    assert conditions(status)[paused.CONDITION] == ("True", "Paused")
    assert status["phase"] == "Running"
    before, writes = state(run), run.operator.writes.copy()
    run.world.kill(run.pods("flights")[1])
    run.change("flights", suspend=True)
    for act in ("kubelets", "job-controller"):
        run.world.actors[act]()
    for _ in range(20):
        run.operator.pass_all()
        run.clock.advance(10)
    assert {key: n for key, n in (run.operator.writes - writes).items() if key[1] != "ComputePool"} == {}
    assert state(run) == before
    run.annotate("flights", ANNOTATION, None)
    run.settle()
    assert run.status("flights")["phase"] == "Suspended"
    assert paused.CONDITION not in conditions(run.status("flights"))


def state(run: Run) -> list[Json]:
    """Return all that the operator writes of a job."""
    return [run.status("flights"), *(run.world.list("Service")), *(run.world.list("NetworkPolicy"))]


def test_a_paused_job_holds_its_nodes_and_cannot_be_evicted() -> None:
    run = training()
    run.annotate("flights", ANNOTATION, "true")
    run.go(2)
    (candidate,) = run.operator.ledger.candidates("cpu")
    assert (candidate.held, candidate.preemptible) == (2, False)
    evict(run, "flights")
    run.go(5)
    assert len(run.pods("flights")) == 2
    assert run.status("flights")["phase"] == "Running"


def test_a_paused_job_is_not_admitted_and_holds_nobody_back() -> None:
    run = Run(max_nodes=2)
    run.submit("flights", nodes=2)
    run.annotate("flights", ANNOTATION, "true")
    run.submit("other", nodes=2)
    run.settle()
    assert conditions(run.status("flights")) == {"Paused": ("True", "Paused")}
    assert run.status("other")["phase"] == "Succeeded"
    run.annotate("flights", ANNOTATION, "false")
    run.settle()
    assert run.status("flights")["phase"] == "Succeeded"
    assert "Paused" not in conditions(run.status("flights"))


def test_a_grant_of_a_job_that_is_paused_before_it_is_used_is_void() -> None:
    run = Run(max_nodes=2)
    run.submit("flights", nodes=2)
    run.operator.hear("TrainingJob")
    run.operator.pass_pool("cpu")
    run.annotate("flights", ANNOTATION, "true")
    run.submit("other", nodes=2)
    run.go(5)
    assert run.status("other")["attempt"] == 1


def test_a_paused_job_that_has_ended_is_not_deleted() -> None:
    run = Run()
    run.submit("flights", ttlSecondsAfterFinished=0)
    run.annotate("flights", ANNOTATION, "true")
    run.world.replace_status(
        "TrainingJob",
        NAMESPACE,
        "flights",
        {
            "phase": "Succeeded",
            "completionTime": "2026-11-22T10:00:00Z",
            "conditions": [
                {
                    "type": "Complete",
                    "status": "True",
                    "reason": "Succeeded",
                    "message": "",
                    "lastTransitionTime": "2026-11-22T10:00:00Z",
                }
            ],
        },
    )
    run.go(3)
    assert there(run) == ["flights"]
    run.annotate("flights", ANNOTATION, None)
    run.go(3)
    assert there(run) == []


def test_a_paused_pool_is_not_written_and_says_so() -> None:
    run = Run()
    run.annotate("cpu", ANNOTATION, "true", kind="ComputePool")
    run.submit("flights")
    run.go(10)
    status = run.world.get("ComputePool", "", "cpu")["status"]
    assert conditions(status) == {"Paused": ("True", "Paused")}
    assert run.status("flights")["phase"] == "Succeeded"
    run.annotate("cpu", ANNOTATION, None, kind="ComputePool")
    run.go(3)
    assert conditions(run.world.get("ComputePool", "", "cpu")["status"])["Ready"] == ("True", "Accepted")
