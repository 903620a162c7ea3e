"""Several operators: one decides, and whatever happens to it, no job starts twice and no pool overflows.

The lease is the one that ships: fifteen seconds.
"""

from __future__ import annotations

import signal
import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import datetime
from pathlib import Path

import pytest

from tests.support.bench import Bench
from tests.support.kube import Object
from tests.support.kubelet import succeeded
from tests.support.operator import Operator
from tests.support.proxy import GO_ON, HANG_UP, Call, Proxy
from tests.support.waiting import PATIENCE, wait_for

pytestmark = pytest.mark.integration

SYSTEM, LEASE = "mlpools-system", "mlpools-operator"
MAX_NODES = 4
LOST = 3


@pytest.fixture(autouse=True)
def audited(bench: Bench) -> Iterator[None]:
    """Whatever a test does: every attempt was made once, and its pool's nodes sufficed at every moment."""
    jobs, pods = (bench.kube.version(kind, bench.namespace) for kind in ("Job", "Pod"))
    yield
    made = Counter(
        job["metadata"]["name"]
        for event, job in bench.kube.since(jobs, "Job", bench.namespace)
        if event == "ADDED"
    )
    assert all(number == 1 for number in made.values()), made
    running: set[str] = set()
    for event, pod in bench.kube.since(pods, "Pod", bench.namespace):
        over = event == "DELETED" or pod["status"]["phase"] in ("Succeeded", "Failed")
        running = running - {pod["metadata"]["uid"]} if over else running | {pod["metadata"]["uid"]}
        assert len(running) <= MAX_NODES
    bench.kube.delete("Lease", LEASE, SYSTEM)


def member(bench: Bench, name: str, kubeconfig: Path | None = None) -> Operator:
    """Start an operator that takes part in the election."""
    return bench.operator(kubeconfig, leader_election="true", identity=name).wait_ready()


def leader(bench: Bench, name: str, kubeconfig: Path | None = None) -> Operator:
    operator = member(bench, name, kubeconfig)
    wait_for("leader", operator.leads)
    return operator


def lease(bench: Bench) -> Object:
    spec: Object = bench.kube.get("Lease", LEASE, SYSTEM)["spec"]
    return spec


def writes(operator: Operator) -> set[tuple[str, str]]:
    return {(verb, what) for verb, what, _ in operator.requests() if verb not in ("get", "list")}


def run(bench: Bench, name: str, nodes: int) -> list[Object]:
    bench.phase(name, "Starting")
    pods = bench.kubelet.pods(name, 1, nodes)
    bench.kubelet.run(pods)
    return pods


def end(bench: Bench, name: str, pods: list[Object]) -> None:
    bench.kubelet.finish(pods, succeeded())
    status = bench.phase(name, "Succeeded")["status"]
    assert (status["attempt"], status["restarts"]) == (1, 0)


def test_a_killed_leader_is_followed_while_jobs_go_on(bench: Bench) -> None:
    first, second = leader(bench, "first"), member(bench, "second")
    bench.submit("running", nodes=2)
    pods = run(bench, "running", nodes=2)
    bench.phase("running", "Running")
    bench.submit("waiting", nodes=4)
    bench.phase("waiting", "Queued")
    assert (writes(second), second.leads()) == (set(), False)
    assert "mlpools_probes_total{" not in second.get("/metrics")[1]
    assert second.get("/healthz")[0] == second.get("/readyz")[0] == 200

    first.kill()
    end(bench, "running", pods)
    assert (lease(bench)["holderIdentity"], lease(bench)["leaseTransitions"]) == ("second", 1)
    end(bench, "waiting", run(bench, "waiting", nodes=4))


def test_a_leader_that_stops_hands_over_at_once(bench: Bench) -> None:
    first, second = leader(bench, "first"), member(bench, "second")
    bench.submit("running", nodes=2)
    pods = run(bench, "running", nodes=2)
    assert first.stop() == 0
    assert lease(bench).get("holderIdentity") != "first", "It has given the lease back before it ended."
    wait_for("second leader", second.leads)
    end(bench, "running", pods)


def made(bench: Bench, names: Sequence[str]) -> dict[str, str]:
    """The Jobs that there are, and the versions of TrainingJobs that have ended."""
    jobs = {it["metadata"]["name"]: it["metadata"]["uid"] for it in bench.kube.list("Job", bench.namespace)}
    return {**jobs, **{name: bench.job(name)["metadata"]["resourceVersion"] for name in names}}


def test_a_leader_that_slept_over_its_lease_writes_nothing_more(
    bench: Bench, proxy: Proxy, through_proxy: Path
) -> None:
    answer, carried_out = threading.Event(), threading.Event()

    def withhold(call: Call) -> int:
        if call.method == "PATCH" and f"/{bench.namespace}/services/" in call.path:
            carried_out.set()
            answer.wait(PATIENCE)
        return GO_ON

    proxy.after = withhold
    first, second = leader(bench, "first", through_proxy), member(bench, "second")
    names = ("one", "two", "three", "four")
    for name in names:
        bench.submit(name, nodes=1)
    assert carried_out.wait(PATIENCE)
    first.process.send_signal(
        signal.SIGSTOP
    )  # in the middle of starting jobs, with their Jobs yet to be made
    answer.set()

    wait_for("second leader", second.leads)
    started = {name: run(bench, name, nodes=1) for name in names}
    bench.submit("waiting", nodes=4)
    for name, pods in started.items():
        end(bench, name, pods)
    pods = run(bench, "waiting", nodes=4)

    before, there = len(proxy.calls), made(bench, names)
    first.process.send_signal(signal.SIGCONT)
    assert first.process.wait(PATIENCE) == LOST
    # What had passed the fence before it was stopped may still leave: one request for each job that it was
    # at. It is refused, by the Job of that name or by the version that the status has by now.
    assert len([call for call in proxy.calls[before:] if call.method != "GET"]) <= len(names)
    assert made(bench, names) == there
    said = [line["message"] for line in first.lines() if "Lost the lease" in line["message"]]
    assert said == [
        f"Lost the lease {SYSTEM}/{LEASE}: no renewal was accepted for 10 s. Ending, to start again."
    ]
    end(bench, "waiting", pods)


def test_a_leader_that_is_cut_off_ends_and_is_followed(
    bench: Bench, proxy: Proxy, through_proxy: Path
) -> None:
    first = leader(bench, "first", through_proxy)
    member(bench, "second")
    bench.submit("running", nodes=2)
    pods = run(bench, "running", nodes=2)
    bench.phase("running", "Running")

    proxy.before = lambda call: HANG_UP
    proxy.cut_watches()
    assert first.process.wait(PATIENCE) == LOST
    end(bench, "running", pods)
    assert lease(bench)["holderIdentity"] == "second"
    ended, led = first.lines()[-1]["time"], lease(bench)["acquireTime"]
    assert datetime.fromisoformat(ended) < datetime.fromisoformat(led), "The old one ends before."


def test_nothing_is_admitted_on_what_a_standby_remembers(
    bench: Bench, proxy: Proxy, through_proxy: Path
) -> None:
    first, second = leader(bench, "first"), member(bench, "second", through_proxy)
    first.process.send_signal(signal.SIGSTOP)
    bench.submit("large", nodes=4)
    wait_for("news", lambda: 'mlpools_objects{kind="TrainingJob"} 1.0' in second.get("/metrics")[1])
    proxy.cut_watches()
    bench.kube.patch("ComputePool", bench.pool, {"spec": {"maxNodes": 2}})
    first.kill()

    wait_for("second leader", second.leads)
    wait_for("lists, or a decision", lambda: _listed(proxy) or bench.kube.list("Job", bench.namespace))
    assert not bench.kube.list("Job", bench.namespace)
    proxy.resume_watches(expired=True)
    assert bench.phase("large", "Failed")["status"]["reason"] == "TooLarge"
    assert not bench.kube.list("Job", bench.namespace)


def _listed(proxy: Proxy) -> bool:
    """Whether the pools were listed twice for other reasons than a watch: at start, and to lead."""
    pools = [call for call in proxy.calls if call.path.endswith("/computepools") and not call.watcher]
    return len(pools) > 1
