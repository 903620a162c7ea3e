"""The operator is killed at every write of a job; the next one goes on, and nobody can tell afterwards.

Each write is carried out once, whoever does it, and a job that waits for the same nodes goes on waiting.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

import pytest

from mlpools.contract.ends import Exit, Final
from mlpools_operator.api.v1alpha1 import KINDS
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

    def __str__(self) -> str:
        return self.name

    def is_it(self, call: Call, bench: Bench, job: str) -> bool:
        part = self.part.format(job=job, plural=KINDS[bench.kind].plural)
        return call.method == self.method and f"/namespaces/{bench.namespace}{part}" in call.path


WRITES = (
    Write("admission", "PUT", "/{plural}/{job}/status", 1),
    Write("Service", "PATCH", "/services/"),
    Write("policy", "PATCH", "/networkpolicies/"),
    Write("Job", "POST", "/jobs"),
    Write("running", "PUT", "/{plural}/{job}/status", 2),
    Write("final", "PUT", "/{plural}/{job}/status", 3),
    Write("event", "POST", "/events"),
)
#: What all kinds of jobs begin and end with is tried with one of them in each detail. The other one's status
#: may tell of its pods one by one, so that no number says which of its writes is which.
CASES = (
    *(("TrainingJob", write) for write in WRITES),
    *(("BatchInference", write) for write in WRITES if write.name in ("admission", "Job", "event")),
)
#: A status is planned from what is there, so it may be written again; these may not.
ONCE = tuple(write for write in WRITES if write.method != "PUT")


SAVED = Final(Exit.PREEMPTED, rank=0, step=40, checkpoint_step=40)


class Relay:
    """Operators one after the other: the one that follows a killed one is the next to be killed."""

    def __init__(self, bench: Bench, kubeconfig: Path) -> None:
        self.bench, self.kubeconfig = bench, kubeconfig
        self.current = bench.operator(kubeconfig)

    def replace_the_dead(self) -> None:
        if self.current.process.poll() is not None:
            self.current = self.bench.operator(self.kubeconfig)

    def idle(self) -> bool:
        """Whether the operator of now has nothing to do."""
        _, figures = self.current.get("/metrics")
        return {"mlpools_queue_depth 0.0", "mlpools_workers_busy 0.0"} <= set(figures.splitlines())


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
@pytest.mark.parametrize(("kind", "write"), CASES, ids=str)
def test_killed(gate: Proxy, relay: Relay, kind: str, write: Write, when: str) -> None:
    bench, name = relay.bench.of(kind), f"{kind[0].lower()}-{write.name.lower()}-{when}"
    victim = relay.current.wait_ready()
    kill = _killer(victim, write, bench, name)
    carried_out: Counter[str] = Counter()

    def count(call: Call) -> int:
        carried_out.update(each.name for each in ONCE if each.is_it(call, bench, name))
        return kill(call) if when == "after" else GO_ON

    gate.after = count
    gate.before = kill if when == "before" else _go_on
    bench.submit(name, nodes=2)
    _play(relay, bench, name, victim)
    relay.current.wait_ready()
    wait_for("idle operator", relay.idle)
    gate.before = gate.after = _go_on

    status = bench.phase(name, "Succeeded")["status"]
    assert (status["attempt"], status["restarts"]) == (1, 0)
    told = status["shards"]["done"] == 8 if "shards" in status else status["metrics"] == {"eval-rmse": 17.9}
    assert told, status
    mine = f"mlpools.dev/job-name={name}"
    for kind in ("Job", "Service", "NetworkPolicy"):
        assert len(bench.kube.list(kind, bench.namespace, mine)) == 1
    # An Event that was lost is not told later: the status says it too.
    lost = {"event"} if (write.name, when) in {("final", "after"), ("event", "before")} else set()
    assert carried_out == Counter(each.name for each in ONCE if each.name not in lost)


@pytest.mark.parametrize(
    "write", [it for it in WRITES if it.name in ("admission", "Job", "running")], ids=str
)
def test_nodes_stay_taken(gate: Proxy, relay: Relay, write: Write) -> None:
    bench, name, rival = relay.bench, f"holds-{write.name.lower()}", f"wants-{write.name.lower()}"
    victim = relay.current.wait_ready()
    gate.after = _killer(victim, write, bench, name)
    bench.submit(name, nodes=2)
    if write.name == "running":
        bench.kubelet.run(bench.kubelet.pods(name, 1, 2))
    wait_for("end of the operator", lambda: victim.process.poll() is not None)
    bench.submit(rival, nodes=3, priority=100)
    relay.replace_the_dead()
    bench.phase(rival, "Queued", "Starting")
    wait_for("idle operator", relay.idle)
    assert bench.job(rival)["status"]["phase"] == "Queued"
    bench.kube.delete("TrainingJob", rival, bench.namespace)
    _play(relay, bench, name, victim)


def _go_on(_: Call) -> int:
    return GO_ON


def _killer(victim: Operator, write: Write, bench: Bench, job: str) -> Callable[[Call], int]:
    """Return a hook of the proxy that kills an operator at a write, which it gets no answer to."""
    seen = 0

    def kill(call: Call) -> int:
        nonlocal seen
        seen += write.is_it(call, bench, job)
        if seen != write.number or victim.process.poll() is not None:
            return GO_ON
        victim.kill()
        return HANG_UP

    return kill


#: From the moment at which somebody wants a running job to stop.
STOPS = (
    Write("stopping", "PUT", "/{plural}/{job}/status", 1),
    Write("deletion", "DELETE", "/jobs/"),
    Write("stopped", "PUT", "/{plural}/{job}/status", 2),
)


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("write", STOPS, ids=str)
@pytest.mark.parametrize(("wish", "phase"), [("suspend", "Suspended"), ("cancel", "Cancelled")])
def test_killed_while_a_job_is_stopped(
    gate: Proxy, relay: Relay, write: Write, when: str, wish: str, phase: str
) -> None:
    bench, name = relay.bench, f"{wish}-{write.name}-{when}"
    victim = relay.current.wait_ready()
    bench.submit(name, nodes=2, maxRestarts=0)
    bench.kubelet.run(bench.kubelet.pods(name, 1, 2))
    bench.phase(name, "Running")
    setattr(gate, when, _killer(victim, write, bench, name))
    bench.kube.patch("TrainingJob", name, {"spec": {wish: True}}, bench.namespace)

    def stopped() -> bool:
        relay.replace_the_dead()
        bench.kubelet.terminate(SAVED)
        return relay.current is not victim and bench.job(name)["status"]["phase"] == phase

    wait_for("stopped job, and end of the operator at that write", stopped)
    gate.before = gate.after = _go_on
    relay.current.wait_ready()
    status = bench.job(name)["status"]
    assert (status["attempt"], status["restarts"]) == (1, 0)
    assert bench.kube.list("Job", bench.namespace, f"mlpools.dev/job-name={name}") == []
    if wish == "suspend":
        bench.kube.patch("TrainingJob", name, {"spec": {"suspend": False}}, bench.namespace)
        pods = bench.kubelet.pods(name, 2, 2)
        bench.kubelet.run(pods)
        bench.phase(name, "Running")
        bench.kubelet.finish(pods, succeeded())
        done = bench.phase(name, "Succeeded")["status"]
        assert (done["attempt"], done["restarts"]) == (2, 0)


def test_a_wish_that_is_taken_back_while_no_operator_runs_is_no_failure(gate: Proxy, relay: Relay) -> None:
    """Its Job is gone then, and only the status tells that it was meant to go."""
    bench, name = relay.bench, "thinks-better"
    victim = relay.current.wait_ready()
    bench.submit(name, nodes=2, maxRestarts=0, restartBackoffSeconds=300)
    bench.kubelet.run(bench.kubelet.pods(name, 1, 2))
    bench.phase(name, "Running")
    deletion = next(it for it in STOPS if it.name == "deletion")
    gate.after = _killer(victim, deletion, bench, name)
    bench.kube.patch("TrainingJob", name, {"spec": {"suspend": True}}, bench.namespace)
    wait_for("end of the operator at that write", lambda: victim.process.poll() is not None)
    gate.after = _go_on
    bench.kube.patch("TrainingJob", name, {"spec": {"suspend": False}}, bench.namespace)
    bench.kubelet.terminate(SAVED)
    relay.replace_the_dead()
    pods = bench.kubelet.pods(name, 2, 2)
    bench.kubelet.run(pods)
    bench.phase(name, "Running")
    told = {it["reason"] for it in bench.kube.list("Event", bench.namespace) if _is_about(it, name)}
    assert told == {"Resumed"}
    bench.kubelet.finish(pods, succeeded())
    done = bench.phase(name, "Succeeded")["status"]
    assert (done["attempt"], done["restarts"]) == (2, 0)


#: From the moment at which the number of nodes of a batch inference has to change.
CHANGES = (
    Write("size", "PUT", "/{plural}/{job}/status"),
    Write("pods", "PATCH", "/jobs/"),
)


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("write", CHANGES, ids=str)
def test_killed_while_nodes_are_lent_and_come_back(
    gate: Proxy, relay: Relay, write: Write, when: str
) -> None:
    trains, bench = relay.bench, relay.bench.of("BatchInference")
    name, rival = f"lent-{write.name}-{when}", f"rival-{write.name}-{when}"
    relay.replace_the_dead()
    relay.current.wait_ready()
    trains.submit(rival, nodes=3)
    held = trains.kubelet.pods(rival, 1, 3)
    trains.kubelet.run(held)
    trains.phase(rival, "Running")
    bench.submit(name, nodes=4)
    _resized(relay, name, 1)

    victim = relay.current
    setattr(gate, when, _killer(victim, write, bench, name))
    trains.kubelet.finish(held, succeeded())
    _resized(relay, name, 4, victim)
    victim = relay.current
    setattr(gate, when, _killer(victim, write, bench, name))
    trains.submit(f"{rival}-2", nodes=3)
    _resized(relay, name, 1, victim)
    gate.before = gate.after = _go_on
    wait_for(
        "pods in their place", lambda: _collected(bench) and len(trains.kubelet.there(f"{rival}-2", 1)) == 3
    )
    for kind, made in (("TrainingJob", f"{rival}-2"), ("BatchInference", name)):
        trains.kube.delete(kind, made, trains.namespace)
    wait_for("free nodes", lambda: _collected(bench) and not any(map(_lives, _pods(bench))))


def _resized(relay: Relay, name: str, nodes: int, victim: Operator | None = None) -> None:
    """Be the cluster until a batch inference has so many pods, and the victim has been replaced."""
    bench = relay.bench.of("BatchInference")

    def step() -> bool:
        relay.replace_the_dead()
        _collected(bench)
        pods = bench.kubelet.there(name, 1)
        bench.kubelet.run([pod for pod in pods if pod["status"]["phase"] == "Pending"])
        assert sum(map(_lives, _pods(bench))) <= 4, "More nodes are held than there are."
        stands = bench.job(name).get("status", {}).get("nodes", {})
        there = (len(pods), stands.get("granted"), stands.get("ready")) == (nodes,) * 3
        return there and relay.current is not victim

    wait_for(f"{nodes} nodes of {name}, and the operator's end", step)
    status = bench.job(name)["status"]
    assert (status["phase"], status["attempt"], status["restarts"]) == ("Running", 1, 0)


def _collected(bench: Bench) -> bool:
    bench.kubelet.collect()
    return True


def _pods(bench: Bench) -> list[Object]:
    return bench.kube.list("Pod", bench.namespace)


def _lives(pod: Object) -> bool:
    return pod["status"]["phase"] in ("Pending", "Running")


def _is_about(event: Object, job: str) -> bool:
    involved = event["involvedObject"]
    return (involved["kind"], involved["name"]) == ("TrainingJob", job)


def _play(relay: Relay, bench: Bench, name: str, victim: Operator) -> None:
    """Be the cluster until the job is done and the victim has been replaced."""

    def step() -> bool:
        relay.replace_the_dead()
        pods = bench.kubelet.there(name, 1)
        phases = {pod["status"]["phase"] for pod in pods} if len(pods) == 2 else set()
        assert len(pods) <= 2, "The attempt was made twice."
        status = bench.job(name).get("status", {})
        assert status.get("attempt", 0) <= 1, status
        phase = status.get("phase")
        if phases == {"Pending"}:
            bench.kubelet.run(pods)
        elif phases == {"Running"} and phase == "Running":
            bench.kubelet.finish(pods, bench.done())
        return relay.current is not victim and phase == "Succeeded"

    wait_for("end of the job, and of the operator at that write", step)
