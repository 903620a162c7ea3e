"""Warm nodes in the simulated cluster: kept, given to jobs, taken back, replaced."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from mlpools_operator.domain import naming
from mlpools_operator.domain.computepool import placeholders
from mlpools_operator.domain.computepool.placeholders import Warm
from mlpools_operator.domain.observed import Child, Meta, PodChild
from mlpools_operator.domain.pool import families
from mlpools_operator.domain.pool.ledger import Candidate, Pods
from tests.support.api_server import Json, is_terminal, place_of
from tests.support.domain_run import Run
from tests.support.domain_values import NOW, a_candidate, a_pool
from tests.support.manifests import spec
from tests.support.operator_sim import DEFAULTS


def pool(run: Run) -> Json:
    status: Json = run.world.get("ComputePool", "", "cpu").get("status", {})
    return status


def change(run: Run, **changes: Any) -> None:
    run.world.replace_spec("ComputePool", "", "cpu", spec("ComputePool", changes))


def test_a_placeholder_has_the_whole_shape_the_lowest_priority_and_no_rights() -> None:
    run = Run(minNodes=2, nodeSelector={"rack": "a"}, tolerations=[{"key": "ml", "operator": "Exists"}])
    run.go(1)
    first, second = run.placeholders()
    assert first["metadata"]["namespace"] == "mlpools-system"
    assert first["metadata"]["name"].rpartition("-")[0] == second["metadata"]["name"].rpartition("-")[0]
    (owner,) = first["metadata"]["ownerReferences"]
    assert (owner["kind"], owner["name"], owner["blockOwnerDeletion"]) == ("ComputePool", "cpu", False)
    body = first["spec"]
    assert (body["priorityClassName"], body["terminationGracePeriodSeconds"]) == ("mlpools-placeholder", 0)
    assert body["automountServiceAccountToken"] is False
    assert body["nodeSelector"] == {"rack": "a"}
    assert {it["key"] for it in body["tolerations"]} >= {"ml", "node.kubernetes.io/unreachable"}
    (container,) = body["containers"]
    assert container["resources"]["requests"] == container["resources"]["limits"]
    assert container["resources"]["requests"] == {"cpu": "2", "memory": "4Gi"}
    assert container["image"] == "runtime:test"


def test_warm_nodes_are_ready_before_a_job_and_again_after_it() -> None:
    run = Run(minNodes=3, autoSuspendSeconds=0)
    run.go(4)
    idle = pool(run)
    assert (idle["state"], idle["nodes"]["summary"], idle["nodes"]["target"]) == ("Idle", "0/3/4", 3)
    run.submit("flights", nodes=2)
    run.until("flights", "Running")
    run.round()
    busy = pool(run)
    assert (busy["state"], busy["nodes"]["summary"], busy["nodes"]["target"]) == ("Active", "2/1/4", 3)
    run.settle()
    assert run.status("flights")["phase"] == "Succeeded"
    assert (pool(run)["state"], pool(run)["nodes"]["summary"]) == ("Idle", "0/3/4")


def test_a_job_as_large_as_the_machines_takes_the_placeholders_room() -> None:
    run = Run(minNodes=4, autoSuspendSeconds=0)
    run.world.machines = {"node-a": 2, "node-b": 2}
    run.go(4)
    run.submit("flights", nodes=4)
    run.settle()
    done = run.status("flights")
    assert (done["phase"], done["attempt"], done["restarts"]) == ("Succeeded", 1, 0)
    assert len(run.placeholders()) == 4


def test_no_placeholder_goes_before_a_pod_that_needs_its_room_is_there() -> None:
    run = Run(minNodes=2, autoSuspendSeconds=0)
    run.world.machines = {"node-a": 2}
    run.go(4)
    run.submit("flights", nodes=2)
    for _ in range(4):  # the Job is made, and the Job controller is slow
        run.operator.pass_all()
    assert [job["metadata"]["name"] for job in run.world.list("Job")] == ["flights-1"]
    assert len(run.placeholders()) == 2
    run.world.actors["job-controller"]()
    run.operator.pass_all()
    assert run.placeholders() == []
    run.operator.pass_all()
    assert run.placeholders() == [], "none is made while a pod of the pool has no machine"
    run.settle()
    assert run.status("flights")["phase"] == "Succeeded"


def test_a_pool_that_falls_asleep_gives_its_warm_nodes_back_and_has_them_again_awake() -> None:
    run = Run(minNodes=2, autoSuspendSeconds=50)
    run.go(10)
    assert pool(run)["nodes"]["idle"] == 2
    run.go(50)
    assert run.placeholders() == []
    assert (pool(run)["state"], pool(run)["nodes"]["target"]) == ("Suspended", 0)
    run.submit("flights")
    run.until("flights", "Succeeded")
    run.go(5)
    assert (pool(run)["state"], pool(run)["nodes"]["idle"]) == ("Idle", 2)


def test_an_administrators_hold_takes_the_warm_nodes_and_leaves_the_jobs() -> None:
    run = Run(minNodes=4, steps=1000)
    run.submit("flights", nodes=2)
    run.until("flights", "Running")
    run.go(3)
    assert len(run.placeholders()) == 2
    change(run, minNodes=4, suspend=True)
    run.go(2)
    assert run.placeholders() == []
    assert (pool(run)["state"], run.status("flights")["phase"]) == ("Stopping", "Running")


def test_placeholders_of_another_shape_are_replaced_once_the_pool_is_idle() -> None:
    run = Run(minNodes=2, steps=1000, autoSuspendSeconds=0)
    run.submit("flights", nodes=1)
    run.until("flights", "Running")
    run.go(3)
    (old,) = run.placeholders()
    change(run, minNodes=2, autoSuspendSeconds=0, **{"instance.memory": "8Gi"})
    run.go(5)
    assert [it["metadata"]["uid"] for it in run.placeholders()] == [old["metadata"]["uid"]]
    run.world.steps = 3
    run.settle()
    now = run.placeholders()
    assert len(now) == 2
    shapes = {it["spec"]["containers"][0]["resources"]["requests"]["memory"] for it in now}
    assert shapes == {"8Gi"}


def test_the_number_follows_the_spec_while_jobs_run() -> None:
    run = Run(minNodes=1, steps=1000)
    run.submit("flights", nodes=1)
    run.until("flights", "Running")
    for wanted, there in ((4, 3), (2, 1), (0, 0), (3, 2)):
        change(run, minNodes=wanted)
        run.go(3)
        assert len(run.placeholders()) == there
    assert (run.status("flights")["phase"], run.status("flights")["attempt"]) == ("Running", 1)


def test_what_was_evicted_or_lost_is_made_again() -> None:
    run = Run(minNodes=2, autoSuspendSeconds=0)
    run.go(4)
    one, other = run.placeholders()
    run.world.patch(*place_of(one), lambda it: it["status"].update(phase="Failed"))
    run.world.delete(*place_of(other))
    run.go(4)
    now = run.placeholders()
    assert len(now) == 2
    assert not any(is_terminal(it) for it in now)


def test_a_pool_that_is_deleted_lets_its_job_finish_and_leaves_nothing() -> None:
    run = Run(minNodes=3, steps=1000)
    run.submit("flights", nodes=2)
    run.until("flights", "Running")
    run.world.delete("ComputePool", "", "cpu")
    run.submit("late")
    run.go(5)
    assert run.placeholders() == []
    assert (run.status("flights")["phase"], run.status("flights")["attempt"]) == ("Running", 1)
    assert run.status("late")["reason"] == "PoolNotFound"
    run.world.steps = 3
    run.until("flights", "Succeeded")


def test_a_placeholder_holds_no_node_also_when_its_pool_is_gone() -> None:
    run = Run(max_nodes=4, minNodes=4, autoSuspendSeconds=0)
    run.go(3)
    assert run.operator.ledger.candidates("cpu") == ()
    assert pool(run)["nodes"]["active"] == 0
    run.world.delete("ComputePool", "", "cpu")
    run.operator.hear("ComputePool")
    assert run.operator.ledger.candidates("cpu") == ()


def _steps(
    pods: Sequence[PodChild], *candidates: Candidate, foreign: Sequence[Child] = (), **changes: Any
) -> Warm:
    resource = a_pool(**changes)
    parsed = families.read(resource.spec, {})
    held = sum(candidate.held for candidate in candidates)
    family = families.find(parsed, "", {})
    return placeholders.steps(
        resource, parsed, family, candidates, pods, foreign, DEFAULTS, held=held, awake=True
    )


def _placeholder(name: str, **changes: Any) -> PodChild:
    shape = naming.spec_hash(_steps((), minNodes=1).create[0])
    meta = Meta(name, f"uid-{name}", "mlpools-system", created=NOW, owner="uid-pool", spec_hash=shape)
    pod = PodChild(meta, 0, 0, "uid-pool", phase="Running", node="node-a")
    return replace(pod, **changes)


def test_those_without_a_machine_go_first_and_names_of_others_are_left_to_them() -> None:
    pods = [_placeholder("a"), _placeholder("b", phase="Pending", node=""), _placeholder("c")]
    assert [it.name for it in _steps(pods, minNodes=2).delete] == ["b"]
    (taken,) = _steps((), minNodes=1).create
    stranger = Child("Pod", Meta(taken["metadata"]["name"], "uid-stranger", "mlpools-system"))
    (named,) = _steps((), minNodes=1, foreign=[stranger]).create
    assert named["metadata"]["name"] == taken["metadata"]["name"][:-1] + "1"


def test_none_is_made_while_a_pod_of_the_pool_has_no_machine() -> None:
    def holder(**pods: int) -> Candidate:
        return a_candidate("flights", 1, admitted=True, held=1, pods=Pods(**pods))

    assert _steps((), holder(), minNodes=3).create == ()
    assert _steps((), holder(unscheduled=1), minNodes=3).create == ()
    assert len(_steps((), holder(scheduled=1), minNodes=3).create) == 2


_holders = st.lists(
    st.tuples(st.integers(0, 3), st.integers(0, 3), st.integers(0, 3)).map(
        lambda it: a_candidate(
            "x", sum(it), admitted=True, held=sum(it), pods=Pods(unscheduled=it[0], scheduled=it[1])
        )
    ),
    max_size=4,
)


@given(_holders, st.integers(0, 4), st.integers(0, 8))
def test_whatever_is_held_the_number_is_right(holders: list[Candidate], least: int, there: int) -> None:
    warm = _steps([_placeholder(str(n)) for n in range(there)], *holders, minNodes=least)
    held = sum(it.held for it in holders)
    left = there - len(warm.delete)
    assert warm.target == max(0, least - held)
    assert not warm.delete or not warm.create
    pending = any(it.held > it.pods.scheduled for it in holders)
    if pending:
        assert not warm.create
        unmade = sum(it.held - it.pods.scheduled - it.pods.unscheduled for it in holders)
        assert left <= warm.target + unmade
        assert left >= min(there, warm.target)
    else:
        assert left + len(warm.create) == warm.target
