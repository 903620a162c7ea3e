"""The nodes that a notebook with a cluster keeps from others, as admission counts them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from mlpools_operator.domain import naming, times
from mlpools_operator.domain.defaults import Defaults
from mlpools_operator.domain.notebook import asking
from mlpools_operator.domain.observed import JobChild, Meta, PodChild, Resource
from mlpools_operator.domain.pool.ledger import Candidate
from tests.support.domain_values import NOW, UID, a_job_child, a_pod
from tests.support.manifests import spec

START = 3


def the_set(attempt: int = START) -> JobChild:
    made = a_job_child(attempt, 1, kind="StatefulSet")
    return replace(made, meta=replace(made.meta, uid=f"set-{attempt}", annotations={naming.CLUSTER: "true"}))


def the_job(nodes: int, attempt: int = START, *, deleting: bool = False) -> JobChild:
    made = a_job_child(attempt, nodes, replaces=True)
    return replace(made, meta=replace(made.meta, deleting=deleting))


def server(attempt: int = START) -> PodChild:
    return _pod(0, attempt, f"set-{attempt}", naming.SERVER)


def nodes(count: int, attempt: int = START) -> list[PodChild]:
    return [_pod(rank, attempt, the_job(1, attempt).meta.uid, naming.NODE) for rank in range(count)]


def _pod(rank: int, attempt: int, owner: str, part: str) -> PodChild:
    pod = a_pod(rank, attempt, job=owner)
    return replace(pod, meta=replace(pod.meta, labels={**pod.meta.labels, naming.PART: part}))


def asks(
    has: int, owned: list[JobChild], pods: list[PodChild], asked: int = 5, **annotations: str
) -> Candidate:
    admitted = {
        "type": "Admitted",
        "status": "True",
        "reason": "Admitted",
        "message": "",
        "lastTransitionTime": times.stamp(NOW),
    }
    status: dict[str, Any] = {"attempt": START, "cluster": {"nodes": has}, "conditions": [admitted]}
    fields = spec("NotebookRuntime", {"cluster": {"nodes": asked, "maxNodes": 5}})
    paused = {f"mlpools.dev/{name}": value for name, value in annotations.items()}
    notebook = Resource(Meta("alice", UID, namespace="team-a", annotations=paused), fields, status)
    found = asking.candidate(notebook, owned, pods, NOW, Defaults("runtime:1", "mlpools", {}))
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("has", "owned", "pods", "held"),
    [
        pytest.param(2, [], [], 3, id="nothing of it is made yet"),
        pytest.param(2, [the_set()], [server()], 3, id="its Job is not made yet"),
        pytest.param(2, [the_set(), the_job(2)], [server()], 3, id="the Job's pods are not made yet"),
        pytest.param(3, [the_set(), the_job(2)], [server(), *nodes(2)], 4, id="its Job does not follow yet"),
        pytest.param(2, [the_set(), the_job(2)], [server(), *nodes(2)], 3, id="all is there"),
        pytest.param(1, [the_set(), the_job(1)], [server(), *nodes(2)], 3, id="one that it gave up ends"),
        pytest.param(
            2,
            [the_set(), the_job(2, deleting=True)],
            [server(), *nodes(2)],
            5,
            id="those of a Job that goes, and those that come after them",
        ),
        pytest.param(
            2, [the_set()], [server(), *nodes(1, START - 1)], 4, id="what an earlier start left, besides"
        ),
        pytest.param(
            2,
            [the_set(), the_job(1, START - 1)],
            [server(), *nodes(1, START - 1)],
            4,
            id="an earlier start's Job, besides",
        ),
        pytest.param(0, [the_set()], [server(START - 1)], 2, id="its pod of before, besides"),
    ],
)
def test_it_keeps_what_it_has_and_what_it_was_promised(
    has: int, owned: list[JobChild], pods: list[PodChild], held: int
) -> None:
    assert asks(has, owned, pods).held == held


def test_it_grows_to_what_it_asks_for_and_not_while_it_is_paused() -> None:
    whole = ([the_set(), the_job(2)], [server(), *nodes(2)])
    found = asks(2, *whole, asked=4)
    assert (found.nodes, found.size, found.most, found.keeps, found.preemptible) == (1, 3, 5, True, False)
    assert asks(2, *whole, asked=4, paused="true").most == 3
    assert asks(2, [], [], asked=4).most == 1, "its pod is not made, so nothing leads further nodes"
