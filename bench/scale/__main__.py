"""The operator under many pools, pods and queued jobs, before a real API server.

    python -m bench.scale                      # 1,000 pools, 5,000 pods, 10,000 queued jobs
    python -m bench.scale --pools 50 --gangs 60 --queued 500

Control plane, pods' actors, this program and the operator share the machine's cores, so times are those of
the whole; the operator's own part is its CPU seconds and its requests.
"""

from __future__ import annotations

import argparse
import functools
import statistics
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.scale import figures
from bench.scale.cluster import Cluster, cluster
from bench.scale.figures import Snapshot
from bench.scale.follow import Follow
from mlpools_operator.domain.observed import Meta, Resource
from mlpools_operator.domain.pool.ledger import Candidate, Surroundings
from mlpools_operator.domain.queue import admission
from tests.support.kube import Kube, Object
from tests.support.kubelet import Kubelet, succeeded
from tests.support.manifests import manifest, spec
from tests.support.operator import Operator
from tests.support.waiting import wait_for
from tools.record import Row, write

NAMESPACES = tuple(f"team-{number}" for number in range(20))
GANG = 5
#: Nodes of the pool before which all the others queue.
SERVED = 40
#: Jobs that leave that queue, and gangs that end, while everything else is there.
ADMISSIONS, ENDS = 120, 200
IDLE_SECONDS = 20.0
#: Ends a measurement that stands still; a busy machine is only slow.
_LONGEST = 900.0
_VOLUMES = [{"name": "data", "emptyDir": {}}]


@dataclass
class Bench:
    """One measurement.

    Attributes:
        rows: what was found so far.
    """

    cluster: Cluster
    operator: Operator
    follow: Follow
    rows: list[Row]

    def add(self, what: str, value: float, unit: str, target: float | None = None) -> None:
        """Note a figure."""
        self.rows.append(Row(what, value, unit, target=target))

    def add_requests(self, what: str, did: Snapshot, by: float) -> None:
        """Note the operator's requests by verb and resource, divided by something."""
        for (verb, resource), times in sorted(did.requests.items()):
            if times and resource != "leases":
                self.add(f"{what}: {verb} {resource}", times / by, "requests")

    @contextmanager
    def span(self) -> Iterator[list[Snapshot]]:
        """Measure what the operator does in the block: the list has it afterwards."""
        before, found = figures.snapshot(self.operator), list[Snapshot]()
        yield found
        found.append(figures.snapshot(self.operator).since(before))


def submit(kube: Kube, job: Object) -> None:
    """Create a TrainingJob."""
    job["sent"][job["name"]] = time.monotonic()
    kube.create(manifest("TrainingJob", job["name"], job["spec"]), job["namespace"])


def jobs(prefix: str, number: int, **changes: Any) -> tuple[list[Object], dict[str, float]]:
    """Return so many jobs, spread over the namespaces, and where to write down when each was sent."""
    sent: dict[str, float] = {}
    made = [
        {
            "name": f"{prefix}-{index}",
            "namespace": NAMESPACES[index % len(NAMESPACES)],
            "spec": {"volumes": _VOLUMES, **changes},
            "sent": sent,
        }
        for index in range(number)
    ]
    return made, sent


def shares(seconds: Sequence[float]) -> tuple[float, float]:
    """Return median and 99th percentile."""
    ordered = sorted(seconds)
    return statistics.median(ordered), ordered[int(0.99 * (len(ordered) - 1))]


def gangs(bench: Bench, pools: int, number: int) -> list[Object]:
    """Start gangs in many pools, and wait until all their pods run."""
    names = [f"pool-{index}" for index in range(pools)]
    made, sent = jobs("gang", number, nodes=GANG)
    for index, job in enumerate(made):
        job["spec"]["computePool"] = names[index % pools]
    with bench.span() as found:
        started = time.monotonic()
        shapes = [manifest("ComputePool", name, {"maxNodes": 2 * GANG}) for name in names]
        bench.cluster.each(lambda kube, pool: kube.create(pool), shapes)
        bench.cluster.each(submit, made)
        bench.follow.wait("Running", sent, _LONGEST)
        wall = time.monotonic() - started
    (did,) = found
    half, most = shares([bench.follow.reached["Running"][name] - at for name, at in sent.items()])
    what = f"{number} gangs of {GANG} pods in {pools} pools"
    bench.add(f"{what}: until all run", wall, "s")
    bench.add(f"{what}: submitted → Running, median", half, "s")
    bench.add(f"{what}: submitted → Running, 99th percentile", most, "s")
    bench.add(f"{what}: operator's CPU per gang", 1000 * did.cpu / number, "ms")
    written = did.count() - did.count("computepools/status")
    bench.add(f"{what}: operator's writes per gang until it runs", written / number, "requests", 6)
    bench.add(f"{what}: pools' status writes per gang", did.count("computepools/status") / number, "requests")
    bench.add_requests(f"{what}, per gang", did, number)
    for kind in ("TrainingJob", "ComputePool"):
        bench.add(f"{what}: one pass over a {kind}, median", 1000 * did.pass_seconds(kind, 0.5), "ms")
        bench.add(
            f"{what}: one pass over a {kind}, 99th percentile", 1000 * did.pass_seconds(kind, 0.99), "ms"
        )
    return made


def queue(bench: Bench, number: int) -> None:
    """Let many jobs queue for one pool."""
    bench.cluster.kube.create(manifest("ComputePool", "busy", {"maxNodes": SERVED}))
    first, _ = jobs("served", SERVED, computePool="busy")
    waiting, sent = jobs("queued", number, computePool="busy")
    bench.cluster.each(submit, first)
    bench.follow.wait("Running", [job["name"] for job in first], _LONGEST)
    with bench.span() as found:
        started = time.monotonic()
        bench.cluster.each(submit, waiting)
        created = time.monotonic() - started
        bench.follow.wait("Queued", sent, _LONGEST)
        wall = time.monotonic() - started
    (did,) = found
    bench.add(f"{number} jobs for one pool: until all are created", created, "s")
    bench.add(f"{number} jobs for one pool: until all are told why they wait", wall, "s")
    bench.add(f"{number} jobs for one pool: operator's CPU per job", 1000 * did.cpu / number, "ms")
    bench.add(f"{number} jobs for one pool: operator's writes per job", did.count() / number, "requests", 1.5)


def admissions(bench: Bench, queued: int) -> None:
    """Let jobs leave the queue, and count what it costs to tell the others."""
    with bench.span() as found:
        ended = 0
        while ended < ADMISSIONS:
            known = set(bench.follow.reached["Running"]) - set(bench.follow.reached["Succeeded"])
            running = [name for name in known if not name.startswith("gang-")]
            finish(bench, [(name, home(name)) for name in running], 1)
            bench.follow.wait("Succeeded", running, _LONGEST)
            ended += len(running)
            wanted = len(others(bench, "Succeeded")) + SERVED
            bench.follow.wait_until(
                functools.partial(_have_run, bench, wanted), f"{wanted} that have run", _LONGEST
            )
    (did,) = found
    writes = did.count("trainingjobs/status")
    what = f"{ended} jobs end and {ended} start, {queued} queued"
    bench.add(f"{what}: status writes of jobs", writes, "requests")
    besides = "of them besides one for each end and two for each start"
    bench.add(f"{what}: {besides}", writes - 3 * ended, "requests", 400)
    bench.add(f"{what}: operator's CPU per admission", 1000 * did.cpu / ended, "ms")
    bench.add(
        f"{what}: one pass over a pool, 99th percentile", 1000 * did.pass_seconds("ComputePool", 0.99), "ms"
    )


def _have_run(bench: Bench, number: int) -> bool:
    return len(others(bench, "Running")) >= number


def others(bench: Bench, phase: str) -> list[str]:
    """Return the jobs of the busy pool that were in a phase."""
    return [name for name in tuple(bench.follow.reached[phase]) if not name.startswith("gang-")]


def home(name: str) -> str:
    """Return the namespace of a job."""
    return NAMESPACES[int(name.rpartition("-")[2]) % len(NAMESPACES)]


def finish(bench: Bench, ending: Sequence[tuple[str, str]], nodes: int) -> dict[str, float]:
    """End all pods of some jobs, rank 0 last; return when that one of each ended."""
    told: dict[str, float] = {}

    def end(kube: Kube, job: Object) -> None:
        kubelet = Kubelet(kube, job["namespace"])
        first, *rest = kubelet.pods(job["name"], 1, nodes)
        kubelet.finish(rest)
        told[job["name"]] = time.monotonic()
        kubelet.finish([first], succeeded())

    bench.cluster.each(end, [{"name": name, "namespace": space} for name, space in ending])
    return told


def ends(bench: Bench, made: Sequence[Object]) -> None:
    """Let gangs end while thousands wait elsewhere."""
    ending = [(job["name"], job["namespace"]) for job in made[:ENDS]]
    with bench.span() as found:
        told = finish(bench, ending, GANG)
        bench.follow.wait("Succeeded", told, _LONGEST)
    (did,) = found
    half, most = shares([bench.follow.reached["Succeeded"][name] - at for name, at in told.items()])
    what = f"{len(ending)} gangs end at once"
    bench.add(f"{what}: last pod's end → Succeeded, median", half, "s")
    bench.add(f"{what}: last pod's end → Succeeded, 99th percentile", most, "s")
    writes = did.count("trainingjobs/status", "events")
    bench.add(f"{what}: status writes and Events of each", writes / len(ending), "requests", 2.2)


def idle(bench: Bench) -> None:
    """Let nothing happen."""
    time.sleep(5)
    with bench.span() as found:
        time.sleep(IDLE_SECONDS)
    (did,) = found
    running = len(bench.follow.reached["Running"]) - len(bench.follow.reached["Succeeded"])
    bench.add(f"idle, {running} jobs run: operator's CPU", 100 * did.cpu / IDLE_SECONDS, "% of a core")
    bench.add_requests("idle, a minute", did, IDLE_SECONDS / 60)


def restart(bench: Bench) -> None:
    """Stop the operator, and start it over everything that there is."""
    bench.add("operator's largest memory", figures.memory(bench.operator), "MiB")
    started = time.monotonic()
    bench.operator.stop()
    bench.add("restart: SIGTERM → ended", time.monotonic() - started, "s")
    started = time.monotonic()
    bench.operator = bench.cluster.operator().wait_ready(_LONGEST)
    bench.add("restart: start → ready", time.monotonic() - started, "s")
    wait_for("leader", bench.operator.leads, _LONGEST)
    wait_for("rest", lambda: _rests(bench.operator), _LONGEST, every=0.5)
    bench.add("restart: start → looked at everything", time.monotonic() - started, "s", 60)
    did = figures.snapshot(bench.operator)
    bench.add("restart: operator's CPU by then", did.cpu, "s")
    bench.add("restart: writes by then", did.count(), "requests", 60)
    bench.add("restart: memory by then", figures.memory(bench.operator), "MiB")


def _rests(operator: Operator) -> bool:
    lines = set(operator.get("/metrics")[1].splitlines())
    return lines >= {"mlpools_queue_depth 0.0", "mlpools_workers_busy 0.0"}


def decision(number: int) -> Row:
    """Time one decision about a pool with that many that wait, without a cluster."""
    pool = Resource(Meta("busy", "uid-pool", generation=1), spec("ComputePool", {"maxNodes": SERVED}))
    line = [
        Candidate(f"uid-{it}", "TrainingJob", NAMESPACES[it % len(NAMESPACES)], f"job-{it}", 1, 0, float(it))
        for it in range(number)
    ]
    seconds = []
    for _ in range(5):
        started = time.perf_counter()
        admission.decide(pool, line, Surroundings(), 1_800_000_000.0)
        seconds.append(time.perf_counter() - started)
    return Row(
        f"one decision of admission over {number} jobs, median of 5", 1000 * statistics.median(seconds), "ms"
    )


def measure(pools: int, number: int, queued: int) -> list[Row]:
    """Run it all; return what was found."""
    began = time.monotonic()
    rows = [decision(queued)]
    with tempfile.TemporaryDirectory() as folder, cluster(Path(folder), NAMESPACES) as made:
        operator = made.operator().wait_ready()
        bench = Bench(made, operator, Follow(made.kube, operator), rows)
        try:
            started = gangs(bench, pools, number)
            queue(bench, queued)
            admissions(bench, queued)
            ends(bench, started)
            idle(bench)
            restart(bench)
        finally:
            bench.operator.kill()
    return [*rows, Row("the whole measurement", time.monotonic() - began, "s", target=480)]


def main() -> None:
    """Measure and write `bench/results/scale.json`."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--pools", type=int, default=1_000)
    parser.add_argument("--gangs", type=int, default=1_000, help=f"of {GANG} pods each")
    parser.add_argument("--queued", type=int, default=10_000)
    parser.add_argument("--print", action="store_true", help="write no file")
    chosen = parser.parse_args()
    rows = measure(chosen.pools, chosen.gangs, chosen.queued)
    if chosen.print:
        print("\n".join(f"{row.value:10.4g} {row.unit:12} {row.what}" for row in rows))
    else:
        write("scale", rows)


if __name__ == "__main__":
    main()
