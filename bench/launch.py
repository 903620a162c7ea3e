"""From a command or a manifest to the first boosting round: how long, and what it costs the API server.

    python -m bench.launch            # one job after the other, then `make run` on the warm cluster
    python -m bench.launch --cold     # and `make run` with empty caches first (some twenty minutes)

Times of the API server and the operator's requests are taken from the API server's audit log, times in the
pods from the supervisors, which count from the start of their own process.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

from tests.support.training import Training
from tools import images
from tools.cluster.instance import Instance
from tools.kubectl import Kubectl
from tools.quickstart import data, install
from tools.record import Row, write

NAME = "bench"
OPERATOR = "system:serviceaccount:mlpools-system:mlpools-operator"
JOBS = 10
WRITES = ("create", "update", "patch", "delete")


@contextmanager
def installed(state: Path) -> Iterator[tuple[Instance, Kubectl, str]]:
    """A cluster with the operator, the images and an audit log; the third is the runtime image's name."""
    built = images.build()
    instance = Instance(NAME, state, audit=True, die_with_parent=True)
    instance.up(archives=[path for archive in built.values() for path in archive.paths])
    try:
        cluster = Kubectl(instance.kubeconfig)
        references = {target: archive.reference for target, archive in built.items()}
        install.operator(cluster, references, replicas=install.LOCAL_REPLICAS)
        yield instance, cluster, references["runtime"]
    finally:
        instance.down()


@contextmanager
def warm_cluster(state: Path) -> Iterator[tuple[Instance, Kubectl]]:
    """The same with the data."""
    with installed(state) as (instance, cluster, image):
        data.make_claim(cluster)
        data.load(cluster, data.make(), image)
        yield instance, cluster


def run_jobs(cluster: Kubectl, volume: Path) -> list[dict[str, Any]]:
    """Run the jobs one after the other; return every pod's final report."""
    training = Training(cluster, volume)
    finals = []
    for number in range(JOBS):
        name = f"launch-{number}"
        training.submit(name, xgboost={"rounds": 5, "label": "arr_delay"}, checkpoint={"everyRounds": 100})
        training.ended(name)
        ended = [pod["status"]["containerStatuses"][0]["state"]["terminated"] for pod in training.pods(name)]
        finals += [json.loads(state["message"]) for state in ended]
    return finals


def entries(instance: Instance) -> list[dict[str, Any]]:
    """What was asked of the API server, in order of the answers."""
    return [json.loads(line) for line in instance.control.audit_log.read_text().splitlines()]


def moment(entry: dict[str, Any], key: str = "stageTimestamp") -> float:
    """A time of the audit log in seconds."""
    return datetime.fromisoformat(entry[key]).timestamp()


def created_to_pods(log: Iterable[dict[str, Any]]) -> list[float]:
    """Seconds from receiving each TrainingJob to having created the last pod of its gang."""
    seconds, begun, pods = [], 0.0, 0
    for entry in log:
        what = (entry["verb"], entry.get("objectRef", {}).get("resource"))
        if what == ("create", "pods") and "job-controller" in entry["user"]["username"] and begun:
            pods += 1
            if pods == 2:
                seconds.append(moment(entry) - begun)
        elif (
            what[1] == "trainingjobs"
            and entry["verb"] in ("create", "patch")
            and entry["user"]["username"] != OPERATOR
        ):
            begun, pods = moment(entry, "requestReceivedTimestamp"), 0
    return seconds


def requests_per_job(log: Iterable[dict[str, Any]]) -> dict[str, float]:
    """The operator's successful writes by verb and resource, per job."""
    counts: Counter[str] = Counter()
    for entry in log:
        if entry["user"]["username"] == OPERATOR and entry["verb"] in WRITES:
            reference = entry["objectRef"]
            sub = f"/{reference['subresource']}" if "subresource" in reference else ""
            counts[f"{entry['verb']} {reference['resource']}{sub}"] += 1
    return {what: number / JOBS for what, number in counts.items()}


def job_rows() -> list[Row]:
    """Measure single jobs on an idle cluster."""
    with tempfile.TemporaryDirectory() as folder, warm_cluster(Path(folder)) as (instance, cluster):
        volume = next(path.parent for path in (instance.state / "storage").rglob("flights") if path.is_dir())
        finals = run_jobs(cluster, volume)
        log = entries(instance)
    pods = created_to_pods(log)
    first = [final["seconds"]["FirstStep"] for final in finals]
    gang = [sum(final["seconds"][phase] for phase in ("Starting", "Data", "Rendezvous")) for final in finals]
    per_job = requests_per_job(log)
    creations = sum(
        value for what, value in per_job.items() if what.startswith("create") and "events" not in what
    )
    applied = sum(per_job.get(f"patch {kind}", 0) for kind in ("services", "networkpolicies"))
    status = sum(value for what, value in per_job.items() if "trainingjobs/status" in what)
    events = sum(value for what, value in per_job.items() if "events" in what)
    rows = [
        Row(f"TrainingJob received → both pods created, median of {len(pods)}", statistics.median(pods), "s"),
        Row(f"the same, slowest of {len(pods)}", max(pods), "s"),
        Row(
            f"supervisor start → gang formed, median of {len(gang)} pods",
            statistics.median(gang),
            "s",
            target=1.6,
        ),
        Row(
            f"supervisor start → first round (262,242 rows), median of {len(first)} pods",
            statistics.median(first),
            "s",
        ),
        Row("creations per job (Service, NetworkPolicy, Job)", creations + applied, "requests", target=3),
        Row("status writes per job, the first progress among them", status, "requests", target=4),
        Row("Events per job", events, "requests", target=1),
    ]
    rows += [Row(f"operator: {what} per job", value, "requests") for what, value in sorted(per_job.items())]
    return rows


def make_run(what: str, state: Path, environment: dict[str, str], target: float) -> list[Row]:
    """Time one `make run` by stage."""
    stages = state.parent / "stages.json"
    command = [
        sys.executable,
        "-m",
        "tools.quickstart",
        "--name",
        NAME,
        "--state",
        str(state),
        "--json",
        str(stages),
    ]
    subprocess.run(command, env={**os.environ, **environment}, check=True)
    seconds = json.loads(stages.read_text())
    total = seconds.pop("total")
    rows = [Row(f"{what} `make run`, in all", total, "s", target=target)]
    return rows + [Row(f"{what} `make run`: {stage}", value, "s") for stage, value in seconds.items()]


def run_rows(*, cold: bool) -> dict[str, list[Row]]:
    """Time a later `make run`, and with `cold` the first one; by name of the result."""
    with tempfile.TemporaryDirectory() as folder:
        state = Path(folder) / "state"
        caches = {name: f"{folder}/{name}" for name in ("XDG_CACHE_HOME", "GOCACHE", "GOMODCACHE")}
        environment = {**caches, "GOFLAGS": "-modcacherw"} if cold else {}
        try:
            first = make_run("first", state, environment, 1800)
            later = {"run-later": make_run("later", state, environment, 60)}
            return {"run-first": first, **later} if cold else later
        finally:
            Instance(NAME, state).down()


def main() -> int:
    """Measure and write `bench/results/{launch,run-later,run-first}.json`."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--cold", action="store_true", help="measure the first `make run`, too")
    arguments = parser.parse_args()
    write("launch", job_rows())
    for name, rows in run_rows(cold=arguments.cold).items():
        write(name, rows)
    return 0


if __name__ == "__main__":
    sys.exit(main())
