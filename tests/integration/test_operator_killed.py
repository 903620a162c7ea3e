"""The operator is killed at every write of a job; the next one goes on, and nobody can tell afterwards."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support.bench import Bench
from tests.support.kube import Object
from tests.support.kubelet import succeeded
from tests.support.operator import Operator
from tests.support.proxy import GO_ON, HANG_UP, Call, Proxy
from tests.support.waiting import wait_for
from tools.cluster.controlplane import ControlPlane

pytestmark = pytest.mark.integration


@dataclass(frozen=True)
class Write:
    """One of the writes of a job.

    Attributes:
        part: of its path.
        number: the first, second, … one to that path.
    """

    name: str
    method: str
    part: str
    number: int = 1

    def is_it(self, call: Call, namespace: str, job: str) -> bool:
        part = self.part.format(job=job)
        return call.method == self.method and f"/namespaces/{namespace}{part}" in call.path


WRITES = (
    Write("admission", "PUT", "/trainingjobs/{job}/status", 1),
    Write("Service", "PATCH", "/services/"),
    Write("policy", "PATCH", "/networkpolicies/"),
    Write("Job", "POST", "/jobs"),
    Write("running", "PUT", "/trainingjobs/{job}/status", 2),
    Write("final", "PUT", "/trainingjobs/{job}/status", 3),
    Write("event", "POST", "/events"),
)


class Relay:
    """Operators one after the other: the one that follows a killed one is the next to be killed."""

    def __init__(self, bench: Bench, kubeconfig: Path) -> None:
        self.bench, self.kubeconfig = bench, kubeconfig
        self.current = bench.operator(kubeconfig)

    def replace_the_dead(self) -> None:
        if self.current.process.poll() is not None:
            self.current = self.bench.operator(self.kubeconfig)


@pytest.fixture(scope="module")
def gate(control_plane: ControlPlane) -> Iterator[Proxy]:
    proxy = Proxy(control_plane.server, control_plane.ca)
    yield proxy
    proxy.close()


@pytest.fixture(scope="module")
def relay(
    benches: Callable[[Path], AbstractContextManager[Bench]],
    gate: Proxy,
    control_plane: ControlPlane,
    service_account: str,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Relay]:
    folder = tmp_path_factory.mktemp("relay")
    kubeconfig = gate.kubeconfig(folder, control_plane.token_for(service_account, "mlpools-system"))
    with benches(folder) as bench:
        yield Relay(bench, kubeconfig)


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("write", WRITES, ids=lambda write: write.name)
def test_killed(gate: Proxy, relay: Relay, write: Write, when: str) -> None:
    bench, name = relay.bench, f"{write.name.lower()}-{when}"
    victim = relay.current.wait_ready()
    seen = 0

    def kill(call: Call) -> int:
        nonlocal seen
        seen += write.is_it(call, bench.namespace, name)
        if seen != write.number or victim.process.poll() is not None:
            return GO_ON
        victim.kill()
        return HANG_UP

    setattr(gate, when, kill)
    bench.submit(name, nodes=2)
    _play(relay, name, victim)
    setattr(gate, when, lambda call: GO_ON)

    relay.current.wait_ready()
    status = bench.phase(name, "Succeeded")["status"]
    assert (status["attempt"], status["restarts"]) == (1, 0)
    assert status["metrics"] == {"eval-rmse": 17.9}
    mine = f"mlpools.dev/job-name={name}"
    for kind in ("Job", "Service", "NetworkPolicy"):
        assert len(bench.kube.list(kind, bench.namespace, mine)) == 1
    assert len([event for event in bench.kube.list("Event", bench.namespace) if _about(event, name)]) <= 1


def _play(relay: Relay, name: str, victim: Operator) -> None:
    """Be the cluster until the job is done and the victim has been replaced."""
    bench = relay.bench

    def step() -> bool:
        relay.replace_the_dead()
        pods = bench.kubelet.there(name, 1)
        phases = {pod["status"]["phase"] for pod in pods} if len(pods) == 2 else set()
        phase = bench.job(name).get("status", {}).get("phase")
        if phases == {"Pending"}:
            bench.kubelet.run(pods)
        elif phases == {"Running"} and phase == "Running":
            bench.kubelet.finish(pods, succeeded())
        return relay.current is not victim and phase == "Succeeded"

    wait_for("end of the job, and of the operator at that write", step, 60)


def _about(event: Object, name: str) -> bool:
    involved = event["involvedObject"]
    return (involved["kind"], involved["name"]) == ("TrainingJob", name)
