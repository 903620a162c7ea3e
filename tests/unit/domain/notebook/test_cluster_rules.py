"""The cluster of a notebook, rule by rule: how many nodes it has, what it says, what is made and goes."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from mlpools_operator.api.v1alpha1 import ClusterStatus, NotebookRuntimeSpec, NotebookRuntimeStatus, parse
from mlpools_operator.domain import naming
from mlpools_operator.domain.attempt import starting, stopping
from mlpools_operator.domain.notebook import cluster
from mlpools_operator.domain.notebook.idle import Look
from mlpools_operator.domain.observed import JobChild, PodChild
from mlpools_operator.domain.pool.ledger import Verdict
from tests.support.domain_values import NOW, a_job_child, a_pod
from tests.support.manifests import spec as spec_of

START, GENERATION = 3, 7
LATER = NOW + 1_000


def spec(nodes: int, most: int = 5, **fields: Any) -> NotebookRuntimeSpec:
    asked = {"cluster": {"nodes": nodes, "maxNodes": most}, **fields}
    return parse("NotebookRuntime", spec_of("NotebookRuntime", asked))


def before(nodes: int, **told: Any) -> NotebookRuntimeStatus:
    """Return the status of one that has so many further nodes."""
    return NotebookRuntimeStatus(attempt=START, cluster=ClusterStatus(nodes=nodes, **told))


def the_set(*, head: bool = True) -> JobChild:
    """Return the StatefulSet of a notebook that was started with a cluster, or without one."""
    made = a_job_child(START, 1, kind="StatefulSet")
    annotations = {naming.CLUSTER: "true"} if head else {}
    return replace(made, meta=replace(made.meta, annotations=annotations))


def the_job(nodes: int = 2, attempt: int = START, **changes: Any) -> JobChild:
    return replace(a_job_child(attempt, nodes, replaces=True), **changes)


def going(child: JobChild) -> JobChild:
    return replace(child, meta=replace(child.meta, deleting=True))


def node(rank: int, **changes: Any) -> PodChild:
    return a_pod(rank, START, job=the_job().meta.uid, **changes)


def verdict(nodes: int, size: int, **changes: Any) -> Verdict:
    """Return admission's answer to one that told of ``size`` nodes, its own among them."""
    given = Verdict(True, nodes=nodes, size=size, attempt=START, generation=GENERATION)
    return replace(given, **changes)


def size(asked: int, has: int, said: Verdict | None, made: JobChild | None = None, **fields: Any) -> int:
    return cluster.size(spec(asked, **fields), before(has), made or the_set(), said, GENERATION)


@pytest.mark.parametrize(
    ("asked", "has", "said", "then"),
    [
        (3, 1, verdict(3, size=2), 2),
        (3, 1, verdict(6, size=2), 3),  # what was offered before it asked for fewer
        (3, 1, verdict(1, size=2), 1),  # it is never asked to give nodes back
        (3, 1, None, 1),
        (3, 2, verdict(4, size=2), 2),  # an answer to what it was before it grew
        (3, 1, verdict(4, size=2, attempt=START - 1), 1),
        (3, 1, verdict(4, size=2, generation=GENERATION - 1), 1),
        (1, 3, verdict(4, size=4), 1),
        (0, 2, None, 0),
    ],
)
def test_it_has_what_it_asks_for_and_was_given(asked: int, has: int, said: Verdict | None, then: int) -> None:
    assert size(asked, has, said) == then


def test_nothing_is_asked_for_before_its_pod_is_made_as_a_head() -> None:
    assert cluster.wanted(spec(2), None) == 0
    assert cluster.wanted(spec(2), the_set(head=False)) == 0
    assert cluster.wanted(spec(2), the_set()) == 2
    assert cluster.size(spec(2), before(0), None, verdict(3, size=1), GENERATION) == 0


def test_what_is_in_the_way_of_a_cluster_is_said() -> None:
    foreign = {"runtime": {"image": "somebody/else:1"}}
    own, started = "name spec.command", "was started without a cluster"
    assert cluster.obstacle(spec(2), None) == ""
    assert cluster.obstacle(spec(2, **foreign), the_set()) == ""
    assert started in cluster.obstacle(spec(2), the_set(head=False))
    assert own in cluster.obstacle(spec(2, **foreign), the_set(head=False))
    assert started in cluster.obstacle(spec(2, command=["serve"], **foreign), the_set(head=False))


def told(
    asked: int,
    had: NotebookRuntimeStatus,
    *pods: PodChild,
    made: JobChild | None = None,
    said: Verdict | None = None,
    look: Look | None = None,
    now: float = NOW,
    most: int = 5,
) -> ClusterStatus | None:
    has = cluster.held(had)
    job = the_job(has) if has else None
    return cluster.told(spec(asked, most), had, made or the_set(), job, pods, said, look, now)


def test_only_nodes_that_are_its_own_and_stay_count_as_ready() -> None:
    leaves = node(1)
    leaves = replace(leaves, meta=replace(leaves.meta, deleting=True))
    found = told(3, before(3), node(0), leaves, node(2, ready=False))
    assert found is not None
    assert (found.nodes, found.ready) == (3, 1)
    found = told(1, before(1), node(0), node(1))  # the second was given up, and has not heard it yet
    assert found is not None
    assert (found.nodes, found.ready) == (1, 1)


def test_it_tells_of_a_cluster_while_it_may_have_one_or_has_nodes() -> None:
    assert told(0, before(0), most=0) is None
    assert told(0, NotebookRuntimeStatus(attempt=START), most=0) is None
    assert told(0, before(0)) == ClusterStatus()
    left = told(0, before(2), node(0), node(1), most=0)
    assert left is not None
    assert left.nodes == 2


def test_why_there_are_fewer_nodes_than_asked_for_stays_said_until_there_is_something_new() -> None:
    known = before(1, message="It waits.")

    def message(**more: Any) -> str:
        found = told(3, known, node(0), **more)
        assert found is not None
        return found.message

    assert message() == "It waits."
    assert message(said=verdict(2, size=2, message="None is free.")) == "None is free."
    assert message(said=verdict(3, size=2)) == ""
    assert "started without" in message(
        made=the_set(head=False), said=verdict(2, size=2, message="None is free.")
    )
    found = told(1, known, node(0))
    assert found is not None
    assert found.message == ""


def test_the_dashboard_stays_known_until_its_pod_tells_another() -> None:
    known = before(1, dashboard_url="http://127.0.0.1:8265")
    look = Look(NOW, START, NOW, NOW)
    urls = [
        found.dashboard_url
        for seen in (None, replace(look, dashboard="http://127.0.0.1:1"), look)
        if (found := told(1, known, node(0), look=seen))
    ]
    assert urls == ["http://127.0.0.1:8265", "http://127.0.0.1:1", ""]


def test_what_keeps_a_node_from_coming_is_told_once_it_lasts() -> None:
    waits = node(1, phase="Pending", node="", unschedulable="0/3 nodes are available", ready=False)
    shown = NOW + starting.SHOW_SECONDS

    def message(*pods: PodChild, now: float) -> str:
        found = told(2, before(2), *pods, now=now)
        assert found is not None
        return found.message

    assert message(node(0), waits, now=shown - 1) == ""
    assert message(node(0), waits, now=shown).startswith("No machine for 1 of 2 pods")
    assert message(node(0), node(1), now=LATER) == ""
    dead = node(1, phase="Failed", ready=False)  # and no other in its place
    assert message(node(0), dead, now=LATER).startswith("Not all of its 2 pods could be made.")


def test_its_job_follows_its_status_while_it_can() -> None:
    job = the_job(2)
    (scale,) = cluster.scaled(job, 3)
    assert (scale.name, scale.uid, scale.pods) == (job.meta.name, job.meta.uid, 3)
    assert cluster.scaled(job, 2) == ()
    assert cluster.scaled(job, 0) == ()  # it is deleted: one of no pods would be complete
    assert cluster.scaled(None, 3) == ()
    assert cluster.scaled(going(job), 3) == ()
    assert cluster.scaled(replace(job, ended="Failed"), 3) == ()


def test_jobs_go_that_make_no_nodes_for_it() -> None:
    job, earlier = the_job(), the_job(attempt=START - 1)
    assert cluster.surplus([job], job, 2) == ()
    assert [it.uid for it in cluster.surplus([earlier, job], job, 2)] == [earlier.meta.uid]
    assert [it.uid for it in cluster.surplus([job], job, 0)] == [job.meta.uid]
    over = replace(job, ended="Complete")
    assert [it.uid for it in cluster.surplus([over], over, 2)] == [job.meta.uid]
    assert cluster.surplus([going(earlier), going(job)], None, 0) == ()


def test_as_it_stops_a_job_goes_once_all_its_pods_are_known() -> None:
    job, server = the_job(2), a_pod(2, START, job="uid-set")
    assert cluster.ends([job], [node(0), server], NOW) == ()
    assert [it.uid for it in cluster.ends([job], [node(0), node(1)], NOW)] == [job.meta.uid]
    late = NOW + stopping.NEWS_SECONDS
    assert [it.uid for it in cluster.ends([job], [node(0), server], late)] == [job.meta.uid]
    assert cluster.ends([going(job)], [node(0), node(1)], late) == ()
