"""The operator is killed at every write of a job; the next one goes on, and nobody can tell afterwards."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support.bench import Bench
from tests.support.kube import Object, wait_for
from tests.support.kubelet import succeeded
from tests.support.operator import Operator
from tests.support.proxy import GO_ON, HANG_UP, Call, Proxy

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

    def is_it(self, call: Call) -> bool:
        return call.method == self.method and self.part in call.path and call.number == self.number


WRITES = (
    Write("admission", "PUT", "/trainingjobs/killed/status", 1),
    Write("Service", "PATCH", "/services/"),
    Write("policy", "PATCH", "/networkpolicies/"),
    Write("Job", "POST", "/jobs"),
    Write("running", "PUT", "/trainingjobs/killed/status", 2),
    Write("final", "PUT", "/trainingjobs/killed/status", 3),
    Write("event", "POST", "/events"),
)


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("write", WRITES, ids=lambda write: write.name)
def test_killed(bench: Bench, proxy: Proxy, through_proxy: Path, write: Write, when: str) -> None:
    first = bench.operator(through_proxy).wait_ready()

    def kill(call: Call) -> int:
        if not write.is_it(call) or first.process.poll() is not None:
            return GO_ON
        first.kill()
        return HANG_UP

    setattr(proxy, when, kill)
    bench.submit("killed", nodes=2)
    second = _play(bench, first, through_proxy)

    second.wait_ready()
    status = bench.phase("killed", "Succeeded")["status"]
    assert (status["attempt"], status["restarts"]) == (1, 0)
    assert status["metrics"] == {"eval-rmse": 17.9}
    for kind in ("Job", "Service", "NetworkPolicy"):
        assert len(bench.kube.list(kind, bench.namespace)) == 1
    about = [event for event in bench.kube.list("Event", bench.namespace) if _is_ours(event)]
    assert len(about) <= 1


def _play(bench: Bench, first: Operator, kubeconfig: Path) -> Operator:
    """Be the cluster until the job is done; a second operator starts when the first has died."""
    seconds: list[Operator] = []

    def step() -> Operator | None:
        if not seconds and first.process.poll() is not None:
            seconds.append(bench.operator(kubeconfig))
        pods = bench.kubelet.there("killed", 1)
        phases = {pod["status"]["phase"] for pod in pods} if len(pods) == 2 else set()
        phase = bench.job("killed").get("status", {}).get("phase")
        if phases == {"Pending"}:
            bench.kubelet.run(pods)
        elif phases == {"Running"} and phase == "Running":
            bench.kubelet.finish(pods, succeeded())
        return seconds[0] if seconds and phase == "Succeeded" else None

    return wait_for("end of the job, and of the operator at that write", step, 40)


def _is_ours(event: Object) -> bool:
    return bool(event["involvedObject"]["kind"] == "TrainingJob")
