"""The cluster of a notebook in a simulated cluster: it grows node by node, shrinks, rests, and comes back."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlpools_operator.domain import naming
from tests.support.api_server import Json, condition
from tests.support.domain_run import NAMESPACE, Run
from tests.support.operator_sim import Died, Fuse

KIND = "NotebookRuntime"
OWN_RIGHTS = ("ServiceAccount", "Role", "RoleBinding")


def started(max_nodes: int = 4, nodes: int = 2, most: int = 3, **fields: Any) -> Run:
    run = Run(max_nodes=max_nodes)
    run.submit("alice", KIND, cluster={"nodes": nodes, "maxNodes": most}, **fields)
    run.until("alice", "Running")
    run.go(8)
    return run


def cluster(run: Run) -> Json:
    found: Json = run.status("alice").get("cluster", {})
    return found


def scale(run: Run, nodes: int, most: int = 3) -> None:
    run.change("alice", cluster={"nodes": nodes, "maxNodes": most})


def parts(run: Run, part: str) -> list[Json]:
    return [pod for pod in run.pods("alice") if pod["metadata"]["labels"][naming.PART] == part]


def has(run: Run, nodes: int) -> None:
    """See that so many further nodes are there, and are told of."""
    assert len(parts(run, naming.NODE)) == nodes
    assert (cluster(run).get("nodes", 0), cluster(run).get("ready", 0)) == (nodes, nodes)


def names(run: Run, kind: str) -> list[str]:
    return sorted(item["metadata"]["name"] for item in run.world.list(kind))


def test_it_grows_to_what_it_asks_for_and_runs_meanwhile() -> None:
    run = started(nodes=0)
    (server,) = run.pods("alice")
    scale(run, 2)
    run.go(8)
    has(run, 2)
    assert not cluster(run).get("message")
    assert [pod["metadata"]["uid"] for pod in parts(run, naming.SERVER)] == [server["metadata"]["uid"]]
    service = run.world.get("Service", NAMESPACE, "nb-alice")
    assert service["spec"]["selector"][naming.PART] == naming.SERVER
    assert run.world.get("ComputePool", "", "cpu")["status"]["nodes"]["active"] == 3
    assert run.status("alice")["attempt"] == 1
    assert not condition({"status": run.status("alice")}, "Outdated")


def test_its_one_right_is_to_scale_itself() -> None:
    run = started()
    role = run.world.get("Role", NAMESPACE, "nb-alice")
    assert role["rules"] == [
        {
            "apiGroups": ["mlpools.dev"],
            "resources": ["notebookruntimes/scale"],
            "resourceNames": ["alice"],
            "verbs": ["get", "patch"],
        }
    ]
    bound = run.world.get("RoleBinding", NAMESPACE, "nb-alice")
    assert bound["subjects"] == [{"kind": "ServiceAccount", "name": "nb-alice", "namespace": NAMESPACE}]
    (server,) = parts(run, naming.SERVER)
    assert server["spec"]["serviceAccountName"] == "nb-alice"
    assert server["spec"]["automountServiceAccountToken"] is True
    for node in parts(run, naming.NODE):
        assert node["spec"]["automountServiceAccountToken"] is False
        assert "serviceAccountName" not in node["spec"]
        assert not any("persistentVolumeClaim" in volume for volume in node["spec"]["volumes"])
    scale(run, 0, most=0)
    run.go(8)
    for kind in OWN_RIGHTS:
        assert run.world.list(kind) == []


def test_without_a_cluster_it_has_no_right_at_all() -> None:
    run = started(nodes=0, most=0)
    for kind in OWN_RIGHTS:
        assert run.world.list(kind) == []
    (server,) = run.pods("alice")
    assert server["spec"]["automountServiceAccountToken"] is False
    assert "cluster" not in run.status("alice")
    assert names(run, "Service") == ["nb-alice"]


def test_an_account_of_its_own_gets_the_right() -> None:
    run = started(serviceAccountName="reader")
    assert run.world.list("ServiceAccount") == []
    bound = run.world.get("RoleBinding", NAMESPACE, "nb-alice")
    assert bound["subjects"][0]["name"] == "reader"


def test_a_full_pool_is_told_and_a_node_that_comes_free_is_taken() -> None:
    run = Run(max_nodes=3, steps=15)
    run.submit("other", nodes=1)
    run.until("other", "Running")
    run.submit("alice", KIND, cluster={"nodes": 2, "maxNodes": 3})
    run.go(8)
    has(run, 1)
    assert cluster(run)["message"] == ("It asks for 3 nodes of pool cpu in all, of which none is free now.")
    run.until("other", "Succeeded")
    run.go(8)
    has(run, 2)
    assert "message" not in cluster(run) or not cluster(run)["message"]


def test_more_than_the_pool_has_is_said() -> None:
    run = started(max_nodes=2, nodes=3)
    has(run, 1)
    assert cluster(run)["message"] == "It asks for 4 nodes of pool cpu in all, which has at most 2."


def test_who_waits_comes_first_and_nobody_takes_what_it_has() -> None:
    run = Run(max_nodes=4, steps=1000, queue={"preemption": "LowerPriority"})
    run.submit("alice", KIND, cluster={"nodes": 1, "maxNodes": 3})
    run.until("alice", "Running")
    run.go(8)
    run.submit("urgent", nodes=3, priority=5)
    run.go(8)
    scale(run, 2)
    run.go(20)
    has(run, 1)
    assert run.status("urgent")["phase"] == "Queued"
    assert cluster(run)["message"] == (
        "It asks for 3 nodes of pool cpu in all; others wait for nodes there, and come first."
    )
    scale(run, 0)
    run.until("urgent", "Running")
    has(run, 0)


def test_a_limit_of_its_namespace_is_told() -> None:
    limits = [{"namespaces": {}, "maxNodes": 2}]
    run = Run(max_nodes=4, queue={"limits": limits})
    run.submit("alice", KIND, cluster={"nodes": 3, "maxNodes": 3})
    run.until("alice", "Running")
    run.go(8)
    has(run, 1)
    assert "hold at most 2 together" in cluster(run)["message"]


def test_it_gives_nodes_back_and_takes_them_again() -> None:
    run = started(nodes=3)
    has(run, 3)
    for nodes in (1, 0, 2):
        scale(run, nodes)
        run.go(10)
        has(run, nodes)
    assert len(run.world.list("Job")) == 1


def test_all_of_it_goes_when_it_stops_and_it_starts_again_at_its_size() -> None:
    run = started()
    run.change("alice", suspend=True)
    run.until("alice", "Stopped")
    assert run.pods("alice") == []
    assert run.world.list("Job") == []
    assert "cluster" not in run.status("alice")
    run.go(1)
    assert run.world.get("ComputePool", "", "cpu")["status"]["nodes"]["active"] == 0
    run.change("alice", suspend=False)
    run.until("alice", "Running")
    run.go(8)
    has(run, 2)
    assert names(run, "Job") == ["nbc-alice-2"]


def test_a_lost_node_is_replaced_and_the_notebook_does_not_notice() -> None:
    run = started(nodes=2)
    (server,) = parts(run, naming.SERVER)
    lost = parts(run, naming.NODE)[0]
    run.world.kill(lost)
    run.go(20)
    has(run, 2)
    assert lost["metadata"]["uid"] not in {pod["metadata"]["uid"] for pod in parts(run, naming.NODE)}
    assert parts(run, naming.SERVER)[0]["metadata"]["uid"] == server["metadata"]["uid"]
    assert run.status("alice")["phase"] == "Running"
    assert run.status("alice")["attempt"] == 1


def test_one_that_was_started_without_a_cluster_has_to_be_started_again() -> None:
    run = started(nodes=0, most=0)
    scale(run, 2)
    run.go(8)
    has(run, 0)
    assert cluster(run)["message"].startswith("It was started without a cluster")
    run.change("alice", suspend=True)
    run.until("alice", "Stopped")
    run.change("alice", suspend=False)
    run.until("alice", "Running")
    run.go(8)
    has(run, 2)


def test_an_image_of_which_nothing_is_known_cannot_lead() -> None:
    run = started(runtime={"image": "somebody/else:1"})
    has(run, 0)
    assert "name spec.command" in cluster(run)["message"]


def test_the_job_of_somebody_else_is_left_alone() -> None:
    run = Run(max_nodes=4, steps=1000)
    run.submit("nbc-alice", nodes=1)
    run.until("nbc-alice", "Running")
    job = run.world.get("Job", NAMESPACE, "nbc-alice-1")
    run.submit("alice", KIND, cluster={"nodes": 1, "maxNodes": 3})
    run.go(20)
    assert run.status("alice")["reason"] == "NameConflict"
    assert run.world.get("Job", NAMESPACE, "nbc-alice-1")["metadata"]["uid"] == job["metadata"]["uid"]
    assert run.status("nbc-alice")["phase"] == "Running"


@pytest.mark.parametrize("nodes", [0, 2])
def test_a_crash_while_it_is_scaled_gives_no_node_twice(nodes: int) -> None:
    for left in range(4):
        run = started(max_nodes=3, nodes=2 - nodes, most=2)
        run.change("alice", cluster={"nodes": nodes, "maxNodes": 2})
        run.operator.fuse = Fuse(left)
        for _ in range(3):
            try:
                run.round()
            except Died:
                run.operator.restart()
            run.clock.advance(1)
        run.operator.restart()
        run.go(10)
        has(run, nodes)


_ACTS = st.sampled_from(
    ["round", "wait", "0", "1", "3", "suspend", "resume", "restart", "die", "kill", "job", "pause", "go on"]
)


def do(run: Run, act: str, left: int) -> None:
    """Let somebody do something to the cluster, its pods, or the operator."""
    match act:
        case "0" | "1" | "3":
            scale(run, int(act))
        case "wait":
            run.clock.advance(100)
        case "suspend" | "resume":
            run.change("alice", suspend=act == "suspend")
        case "restart":
            run.operator.restart()
        case "die":
            run.operator.fuse = Fuse(left)
        case "kill":
            for pod in parts(run, naming.NODE)[:1]:
                run.world.kill(pod)
        case "job":
            run.submit(f"job-{left}-{run.clock():.0f}", nodes=1 + left % 2)
        case "pause" | "go on":
            run.annotate("alice", "mlpools.dev/paused", "true" if act == "pause" else None, KIND)


@settings(max_examples=25)
@given(acts=st.lists(_ACTS, max_size=20), left=st.integers(0, 4))
def test_whatever_happens_no_node_is_given_twice_and_in_the_end_it_has_what_it_asks_for(
    acts: list[str], left: int
) -> None:
    run = started(nodes=1, idleSeconds=0)
    for act in acts:
        do(run, act, left)
        try:
            run.round()
        except Died:
            run.operator.restart()
        run.clock.advance(1)
    run.operator.restart()
    run.annotate("alice", "mlpools.dev/paused", None, KIND)
    run.change("alice", suspend=False, cluster={"nodes": 3, "maxNodes": 3})
    run.go(120, 3.0)
    has(run, 3)
