"""Families of machines before a real API server and a real scheduler."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.support.autoscaler import Autoscaler
from tests.support.bench import Bench
from tests.support.instances import CATALOGUE
from tests.support.kube import Object
from tests.support.kubelet import succeeded
from tests.support.machines import Machines
from tests.support.operator import Operator
from tests.support.waiting import wait_for

pytestmark = pytest.mark.integration

Scheduled = tuple[Bench, Machines]
KILLED = 137


def start(bench: Bench, catalogue: dict[str, Any] = CATALOGUE) -> Operator:
    file = bench.folder / "instance-families.json"
    file.write_text(json.dumps(catalogue))
    return bench.operator(instance_families=str(file)).wait_ready()


def offer(bench: Bench, first: str, *backups: str) -> None:
    spec = {"instance": None, "instanceFamily": first, "backupInstanceFamilies": list(backups)}
    bench.kube.patch("ComputePool", bench.pool, {"spec": {**spec, "capacityTimeoutSeconds": 10}})


def submit(bench: Bench, nodes: int) -> None:
    """Submit a job without a claim, for which the scheduler would wait."""
    bench.submit("flights", nodes=nodes, volumes=[{"name": "data", "emptyDir": {}}])


def pool_status(bench: Bench) -> Object:
    found: Object = bench.kube.get("ComputePool", bench.pool).get("status", {})
    return found


def pool_condition(bench: Bench, name: str, status: str) -> Object:
    """Wait for a condition of the pool, and return it."""

    def look() -> Object | None:
        conditions = pool_status(bench).get("conditions", ())
        return next((it for it in conditions if (it["type"], it["status"]) == (name, status)), None)

    return wait_for(f"{name}={status} of the pool", look)


def placed(bench: Bench, job: str, attempt: int, nodes: int = 1) -> list[Object]:
    """Wait until the scheduler has found machines for that many pods of an attempt."""

    def look() -> list[Object] | None:
        there = [pod for pod in bench.kubelet.there(job, attempt) if pod["spec"].get("nodeName")]
        return there if len(there) >= nodes else None

    return wait_for(f"machines for {nodes} pods of {job}, attempt {attempt}", look)


def attempt(bench: Bench, name: str, number: int) -> Object:
    """Wait until a job has got its nodes for an attempt."""

    def look() -> Object | None:
        job = bench.job(name)
        return job if job.get("status", {}).get("attempt") == number else None

    return wait_for(f"attempt {number} of {name}", look)


def test_a_gang_without_machines_goes_to_the_backup_when_some_appear(scheduled: Scheduled) -> None:
    bench, machines = scheduled
    start(bench)
    offer(bench, "large", "larger")
    machines.add("large-0", "2", "4Gi", machine="large")
    submit(bench, nodes=2)
    (half,) = placed(bench, "flights", 1)
    assert half["spec"]["nodeName"] == "large-0"
    lacking = pool_condition(bench, "CapacityAvailable", "False")
    assert lacking["message"].startswith("There were not enough machines of family large: 0/1 nodes")
    assert pool_status(bench)["instanceFamily"] == "larger"
    told = bench.job("flights")["status"]
    assert (told["instanceFamily"], told["lackedCapacity"]["instanceFamily"]) == ("larger", "large")
    wait_for("half a gang that goes", lambda: not bench.kubelet.there("flights", 1))
    bench.kubelet.collect()

    machines.add("larger-0", "8", "32Gi", machine="larger")
    pods = placed(bench, "flights", attempt(bench, "flights", 2)["status"]["attempt"], nodes=2)
    assert {pod["spec"]["nodeName"] for pod in pods} == {"larger-0"}
    assert pods[0]["spec"]["containers"][0]["resources"]["requests"] == {"cpu": "4", "memory": "8Gi"}
    bench.kubelet.run(pods)
    running = bench.phase("flights", "Running")["status"]
    assert (running["instanceFamily"], running["restarts"]) == ("larger", 0)
    assert "lackedCapacity" not in running
    pool_condition(bench, "CapacityAvailable", "True")
    assert pool_status(bench)["shape"] == "larger: 4 CPU, 8Gi"
    bench.kubelet.finish(pods, succeeded())
    bench.phase("flights", "Succeeded")


def test_an_autoscaler_that_has_no_machines_of_the_first_family_brings_some_of_the_backup(
    scheduled: Scheduled,
) -> None:
    bench, machines = scheduled
    scaler = Autoscaler(bench.kube, machines, cpu="4", memory="8Gi", machine="larger")
    start(bench)
    offer(bench, "large", "larger")
    submit(bench, nodes=2)

    def phase(wanted: str) -> Object:
        scaler.until(
            f"{wanted} of the job", lambda: bench.job("flights").get("status", {}).get("phase") == wanted
        )
        status: Object = bench.job("flights")["status"]
        return status

    running = phase("Running")
    assert (running["instanceFamily"], running["attempt"], running["restarts"]) == ("larger", 2, 0)
    assert scaler.most == 2, "one for each pod that asks for such machines, none for those that do not"
    bench.kubelet.finish(bench.kubelet.pods("flights", 2, 2), succeeded())
    phase("Succeeded")
    scaler.until("no machines", lambda: scaler.machines == [])


def test_warm_nodes_go_to_the_backup_by_themselves(scheduled: Scheduled) -> None:
    bench, machines = scheduled
    start(bench)
    offer(bench, "large", "larger")
    bench.kube.patch("ComputePool", bench.pool, {"spec": {"minNodes": 1}})
    lacking = pool_condition(bench, "CapacityAvailable", "False")
    assert lacking["message"].startswith("There were not enough machines of family large: ")
    assert lacking["message"].endswith("Next comes family larger.")
    machines.add("larger-0", "8", "32Gi", machine="larger")
    pool_condition(bench, "CapacityAvailable", "True")
    (warm,) = bench.kube.list("Pod", "mlpools-system", f"mlpools.dev/pool={bench.pool}")
    assert (warm["spec"]["nodeName"], pool_status(bench)["instanceFamily"]) == ("larger-0", "larger")


def test_a_machine_that_failed_a_job_twice_is_avoided_by_the_name_of_its_node(scheduled: Scheduled) -> None:
    bench, machines = scheduled
    start(bench)
    machines.add("bad")
    submit(bench, nodes=1)
    for number in (1, 2):
        pods = placed(bench, "flights", number)
        bench.kubelet.run(pods)
        bench.phase("flights", "Running")
        bench.kubelet.finish(pods, code=KILLED)
        bench.phase("flights", "Restarting", "Queued", "Starting")
    attempt(bench, "flights", 3)
    assert bench.job("flights")["status"]["suspectNodes"] == [{"node": "bad", "failures": 2}]

    def told() -> str:
        conditions = bench.job("flights")["status"]["conditions"]
        return next((it["message"] for it in conditions if it["reason"] == "Unschedulable"), "")

    said = wait_for("words about the lack of machines", told)
    assert "node affinity/selector; it avoids bad, which failed this job." in said
    machines.add("good")
    pods = placed(bench, "flights", 3)
    assert [pod["spec"]["nodeName"] for pod in pods] == ["good"]
    bench.kubelet.run(pods)
    bench.phase("flights", "Running")
    bench.kubelet.finish(pods, succeeded())
    bench.phase("flights", "Succeeded")


def test_a_pool_of_an_unknown_family_is_healed_by_another_catalogue(bench: Bench) -> None:
    first = start(bench, {})
    offer(bench, "large", "small")
    bench.submit("flights")
    refused = pool_condition(bench, "Ready", "False")
    assert refused["reason"] == "InvalidSpec"
    assert refused["message"].startswith("spec.instanceFamily: There is no instance family large.")
    queued = bench.phase("flights", "Queued")["status"]
    assert (queued["reason"], queued.get("attempt", 0)) == ("PoolNotFound", 0)
    assert first.stop() == 0

    second = start(bench)
    smaller = wait_for(
        "a refusal of the backup",
        lambda: "gives less cpu and memory" in pool_condition(bench, "Ready", "False")["message"],
    )
    assert smaller
    assert second.stop() == 0

    start(bench, {**CATALOGUE, "small": CATALOGUE["larger"]})
    pool_condition(bench, "Ready", "True")
    pods = bench.kubelet.pods("flights", 1, 2)
    assert pods[0]["spec"]["nodeSelector"] == {"machine": "large"}
    bench.kubelet.run(pods)
    assert bench.phase("flights", "Running")["status"]["instanceFamily"] == "large"
