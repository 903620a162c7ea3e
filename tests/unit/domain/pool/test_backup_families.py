"""Jobs that do not get the machines that they ask for, from beginning to end."""

from __future__ import annotations

from typing import Any

import pytest

from mlpools_operator.cluster.errors import Conflict
from tests.support.api_server import Json, is_terminal
from tests.support.domain_run import Run
from tests.support.manifests import ABSENT, spec

FAMILIES = ["large", "larger", "gpu"]


def _run(machines: dict[str, int], steps: int = 3) -> Run:
    """A cluster whose machines are called as their family."""
    run = Run(max_nodes=8, steps=steps)
    run.world.machines = machines
    run.world.labels = {name: {"machine": name} for name in FAMILIES}
    first, *backups = FAMILIES
    own = {"instance": ABSENT, "instanceFamily": first, "backupInstanceFamilies": backups, "maxNodes": 8}
    run.world.replace_spec(
        "ComputePool", "", "cpu", spec("ComputePool", {**own, "capacityTimeoutSeconds": 60})
    )
    return run


def _pool(run: Run) -> Json:
    status: Json = run.world.get("ComputePool", "", "cpu")["status"]
    return status


def _capacity(run: Run) -> Json:
    found: Json = next((it for it in _pool(run)["conditions"] if it["type"] == "CapacityAvailable"), {})
    return found


def _machines(run: Run) -> set[str]:
    return {pod["spec"]["nodeName"] for pod in run.pods("flights")}


def test_a_gang_goes_to_the_backup_and_leaves_no_half_behind() -> None:
    run = _run({"large": 1, "larger": 4}, steps=30)
    run.submit("flights", nodes=2)
    run.until("flights", "Starting")
    run.go(10)
    told = next(it for it in run.status("flights")["conditions"] if it["type"] == "PodsReady")
    assert told["message"].startswith("No machine of family large for 1 of 2 pods: 0/2 nodes are available")
    queued = run.until("flights", "Queued", rounds=100)
    assert (queued["reason"], queued["restarts"], queued["instanceFamily"]) == ("Unschedulable", 0, "larger")
    assert queued["lackedCapacity"]["instanceFamily"] == "large"
    assert "Then it asks for machines of family larger." in queued["conditions"][0]["message"]
    run.go(4)
    assert [pod for pod in run.world.list("Pod") if not is_terminal(pod)] == []
    assert _capacity(run)["status"] == "False"
    assert "not enough machines of family large: 0/2 nodes" in _capacity(run)["message"]
    assert _pool(run)["instanceFamily"] == "larger"
    running = run.until("flights", "Running")
    assert (running["instanceFamily"], running["attempt"], running["restarts"]) == ("larger", 2, 0)
    assert "lackedCapacity" not in running
    assert _machines(run) == {"larger"}
    run.go(2)
    assert (_capacity(run)["status"], _pool(run)["shape"]) == ("True", "larger: 4 CPU, 8Gi")


@pytest.mark.parametrize("restarts", [False, True])
def test_after_the_last_family_comes_the_first_again(restarts: bool) -> None:
    run = _run({}, steps=3)
    run.submit("flights", nodes=2)
    asked: list[str] = []
    for _ in range(1200):
        if restarts:
            run.operator.restart()
        run.round()
        run.clock.advance(1)
        status = run.status("flights")
        if status.get("attempt", 0) > len(asked):
            asked.append(status["instanceFamily"])
        if len(asked) == 4:
            break
    assert asked == ["large", "larger", "gpu", "large"]
    run.world.machines["large"] = 4
    run.settle()
    done = run.status("flights")
    assert (done["phase"], done["attempt"], done["restarts"]) == ("Succeeded", 4, 0)


def test_other_jobs_need_not_find_out_for_themselves_until_it_is_old_news() -> None:
    run = _run({"larger": 8}, steps=10)
    run.submit("flights", nodes=2)
    run.until("flights", "Running", rounds=200)
    run.go(2)
    run.submit("second", nodes=2)
    assert run.until("second", "Running")["instanceFamily"] == "larger"
    run.settle()
    assert run.status("second")["attempt"] == 1
    run.clock.advance(3600)
    run.go(3)
    assert _pool(run)["instanceFamily"] == "large"
    run.submit("third", nodes=2)
    assert run.until("third", "Starting")["instanceFamily"] == "large"


def test_a_claim_that_is_absent_says_nothing_about_machines() -> None:
    run = _run({})
    run.world.words = 'persistentvolumeclaim "flights" not found'
    run.submit("flights", nodes=2)
    run.until("flights", "Starting")
    queued = run.until("flights", "Queued", rounds=100)
    assert (queued["reason"], queued["instanceFamily"]) == ("Unschedulable", "large")
    assert "Make the PersistentVolumeClaim" in queued["conditions"][0]["message"]
    run.go(3)
    assert _capacity(run) == {}
    assert _pool(run)["instanceFamily"] == "large"


def _warm(machines: dict[str, int], number: int = 2) -> Run:
    """A cluster as above with a pool that keeps nodes warm and has no job."""
    run = _run(machines)
    own = run.world.get("ComputePool", "", "cpu")["spec"]
    run.world.replace_spec("ComputePool", "", "cpu", {**own, "minNodes": number, "autoSuspendSeconds": 0})
    return run


def _kept_on(run: Run) -> list[str | None]:
    return [pod["spec"].get("nodeName") for pod in run.placeholders()]


class _Late:
    """Refuses every second write of a pool's status, after its pods were made and deleted."""

    def __init__(self, run: Run) -> None:
        self._write, self._turn = run.world.replace_status, 0
        run.world.replace_status = self  # type: ignore[method-assign]

    def __call__(self, kind: str, *rest: Any) -> Json:
        self._turn += kind == "ComputePool"
        if kind == "ComputePool" and self._turn % 2:
            raise Conflict("late", 409)
        return self._write(kind, *rest)


def test_warm_nodes_follow_the_status_that_is_stored() -> None:
    run = _warm({"larger": 4})
    _Late(run)
    made: set[str] = set()
    for _ in range(80):
        run.go(1)
        made |= {pod["metadata"]["uid"] for pod in run.placeholders()}
    assert _kept_on(run) == ["larger", "larger"]
    assert len(made) == 4, "two for each family, and no turning back for a family that was forgotten"


@pytest.mark.parametrize("restarts", [False, True])
def test_warm_nodes_of_an_idle_pool_walk_to_the_backup_and_say_so(restarts: bool) -> None:
    run = _warm({"large": 1, "gpu": 4})
    used: list[str] = []
    for _ in range(200):
        run.go(1)
        if restarts:
            run.operator.restart()
        if _pool(run)["instanceFamily"] not in used[-1:]:
            used.append(_pool(run)["instanceFamily"])
            lacks = _pool(run).get("lackedCapacity", {}).get("instanceFamily")
            assert lacks == (used[-2] if used[1:] else None)
            assert _capacity(run).get("status") == ("False" if used[1:] else None)
    assert used == ["large", "larger", "gpu"]
    assert _kept_on(run) == ["gpu", "gpu"]
    assert (_capacity(run)["status"], _pool(run)["nodes"]["summary"]) == ("True", "0/2/8")
    assert "lackedCapacity" not in _pool(run)
    run.submit("flights", nodes=2)
    assert run.until("flights", "Running")["instanceFamily"] == "gpu", "it need not find out for itself"


def test_warm_nodes_go_round_all_families_and_never_two_at_once() -> None:
    run = _warm({})
    walk: list[str] = []
    for _ in range(60 * 7):
        run.go(1)
        assert len(run.placeholders()) <= 4, "those that go, and those that come"
        if _pool(run)["instanceFamily"] not in walk[-1:]:
            walk.append(_pool(run)["instanceFamily"])
    assert walk[:6] == [*FAMILIES, *FAMILIES]
    assert "0/0 nodes are available" in _capacity(run)["message"]


def test_warm_nodes_of_a_pool_without_backups_only_say_what_is_lacking() -> None:
    run = Run(minNodes=2, autoSuspendSeconds=0, capacityTimeoutSeconds=60)
    run.world.machines = {"node-a": 1}
    run.go(50)
    assert _capacity(run) == {}, "they have had no minute yet"
    names = {pod["metadata"]["name"] for pod in run.placeholders()}
    run.go(20)
    assert _capacity(run)["message"] == (
        "There were not enough machines: 0/1 nodes are available: 1 Insufficient cpu."
    )
    assert {pod["metadata"]["name"] for pod in run.placeholders()} == names
    run.world.machines["node-b"] = 1
    run.go(5)
    assert _capacity(run)["message"] == "The last pods that looked for machines all got one."


def test_machines_that_a_job_just_left_are_waited_for() -> None:
    """While the job ran, a warm node waited for longer than its patience."""
    run = Run(minNodes=3, autoSuspendSeconds=0, capacityTimeoutSeconds=60, steps=150)
    run.world.machines = {"node-a": 2}
    run.submit("flights", nodes=2)
    run.until("flights", "Running")
    run.go(100)
    assert [pod["spec"].get("nodeName") for pod in run.placeholders()] == [None]
    assert _capacity(run)["status"] == "True", "only what jobs find counts while there are some"
    run.until("flights", "Succeeded", rounds=200)
    run.world.machines["node-a"] = 3
    run.go(30)
    assert _capacity(run)["status"] == "True"
    assert [bool(machine) for machine in _kept_on(run)] == [True] * 3


def test_what_a_waiting_job_lacked_is_not_denied_by_warm_nodes_that_lack_nothing() -> None:
    run = Run(minNodes=1, capacityTimeoutSeconds=60)
    run.world.machines = {"node-a": 2}
    run.submit("flights", nodes=4, restartBackoffSeconds=300)
    run.until("flights", "Starting")
    run.until("flights", "Queued", rounds=100)
    run.go(30)
    assert [bool(machine) for machine in _kept_on(run)] == [True]
    assert _capacity(run)["status"] == "False"
