"""From a notebook's manifest to its page: how long, and whose time that is.

    python -m bench.start            # on a real kubelet, image present (some five minutes)
    python -m bench.start --print    # writes no file

Times of the API server are taken from its audit log, those of the pod's processes from the kernel, and the
page is asked for from this machine until it is there. All have one clock.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

from bench.launch import entries, moment, warm_cluster
from mlpools_operator.domain import naming
from tests.support.notebooks import PORT, Notebooks
from tests.support.relay import relayed
from tests.support.waiting import wait_for
from tools.cluster.instance import Instance
from tools.kubectl import Kubectl
from tools.record import Row, write

STARTS, FILES = 5, 200_000
TARGET = 10.0
_TICKS = os.sysconf("SC_CLK_TCK")
#: What leads to each moment, in their order, and whose time it is.
STAGES = {
    "StatefulSet created": "asked for → StatefulSet created (ours: queue, admission)",
    "pod created": "→ pod created (Kubernetes)",
    "container": "→ container runs (Kubernetes: volume, scheduler, kubelet)",
    "server": "→ server's process starts (ours: the supervisor's checks)",
    "page": "→ page is there (Jupyter's own start)",
}


def start(notebooks: Notebooks, name: str, ask: Callable[[], None]) -> dict[str, float]:
    """Ask for a start and return when each stage was over, in seconds since it was asked for."""
    attempt = int(notebooks.status(name).get("attempt", 0)) if _is_there(notebooks, name) else 0
    asked = time.time()
    ask()
    pod = wait_for(f"pod of {name}", lambda: _running(notebooks, name, attempt + 1), 300, every=0.05)
    with relayed(notebooks.instance, pod["status"]["podIP"], PORT) as url:
        wait_for(f"page of {name}", lambda: _answers(url, notebooks, name), 300, every=0.02)
    page = time.time()
    began = _processes(notebooks.cluster, pod["metadata"]["name"])
    log = [it for it in entries(notebooks.instance) if moment(it) >= asked]
    found = {
        "StatefulSet created": _created(log, "statefulsets", naming.notebook(name)),
        "pod created": _created(log, "pods", pod["metadata"]["name"]),
        **began,
        "page": page,
    }
    notebooks.starts(name)
    return {what: at - asked for what, at in found.items()}


def _is_there(notebooks: Notebooks, name: str) -> bool:
    return notebooks.cluster.get("nb", name) is not None


def _running(notebooks: Notebooks, name: str, attempt: int) -> dict[str, Any] | None:
    found = notebooks.pods(name, attempt=attempt)
    return next(
        (it for it in found if it["status"].get("podIP") and it["status"]["phase"] == "Running"), None
    )


def _answers(url: str, notebooks: Notebooks, name: str) -> bool:
    request = urllib.request.Request(f"{url}/lab")
    request.add_header("Authorization", f"token {notebooks.token(name)}")
    try:
        with urllib.request.urlopen(request, timeout=5) as answer:
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError):
        return False


def _created(log: list[dict[str, Any]], resource: str, name: str) -> float:
    """When the API server had made an object; by server-side apply it is patched into being."""
    for entry in log:
        reference = entry.get("objectRef", {})
        made = entry.get("responseStatus", {}).get("code") == 201
        # The name of a pod that a controller makes stands in the answer only, which the log does not keep.
        if made and reference.get("resource") == resource and reference.get("name", name) == name:
            return moment(entry)
    raise LookupError(f"the audit log knows of no {resource} {name}")


def _processes(cluster: Kubectl, pod: str) -> dict[str, float]:
    """When the container's first process began, and the server that it started."""
    code = "from pathlib import Path; [print(end=it.read_text()) for it in Path('/proc').glob('[0-9]*/stat')]"
    lines = cluster.run("exec", pod, "--", "python", "-c", code).splitlines()
    boot = time.time() - time.clock_gettime(time.CLOCK_BOOTTIME)
    begun, children = {}, []
    for line in lines:
        fields = line[line.rindex(")") + 2 :].split()
        pid, parent, at = int(line.split()[0]), int(fields[1]), boot + int(fields[19]) / _TICKS
        begun[pid] = at
        if parent == 1:
            children.append(at)
    return {"container": begun[1], "server": min(children)}


def median(seen: list[dict[str, float]]) -> Iterator[tuple[str, float]]:
    """Yield the seconds of each stage, the median of several starts."""
    spans = [_spans(it) for it in seen]
    for stage in STAGES:
        yield STAGES[stage], statistics.median(it[stage] for it in spans)


def _spans(moments: Mapping[str, float]) -> dict[str, float]:
    ends = [0.0, *(moments[stage] for stage in STAGES)]
    return {stage: after - before for stage, (before, after) in zip(STAGES, pairwise(ends), strict=True)}


def rows_of(what: str, seen: list[dict[str, float]]) -> list[Row]:
    """Return the rows of one kind of start."""
    whole = [it["page"] for it in seen]
    number = f", median of {len(seen)}" if len(seen) > 1 else ""
    rows = [Row(f"{what}: asked for → page is there{number}", statistics.median(whole), "s", target=TARGET)]
    if len(seen) > 1:
        rows.append(Row(f"{what}: the slowest", max(whole), "s", target=TARGET))
    return rows + [Row(f"{what}: {stage}", seconds, "s") for stage, seconds in median(seen)]


def old_volume(notebooks: Notebooks, instance: Instance, name: str) -> None:
    """Make the workspace of a notebook on a volume that is root's, full of files of root's."""
    folder = instance.state / "storage" / name
    for number in range(FILES // 1000):
        part = folder / f"part-{number}"
        part.mkdir(parents=True)
        for file in range(1000):
            (part / f"{file}.txt").touch()
    size, claim = {"storage": "1Gi"}, naming.workspace(name)
    nodes = {"key": "kubernetes.io/os", "operator": "In", "values": ["linux"]}
    spec = {"accessModes": ["ReadWriteOnce"], "storageClassName": ""}
    anywhere = {"required": {"nodeSelectorTerms": [{"matchExpressions": [nodes]}]}}
    volume = {
        "apiVersion": "v1",
        "kind": "PersistentVolume",
        "metadata": {"name": name},
        "spec": {**spec, "capacity": size, "local": {"path": str(folder)}, "nodeAffinity": anywhere},
    }
    labels = {naming.MANAGED_BY: naming.MANAGER, naming.NOTEBOOK: naming.label_value(name)}
    wanted = {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": claim, "labels": labels},
        "spec": {**spec, "volumeName": name, "resources": {"requests": size}},
    }
    for manifest in (volume, wanted):
        notebooks.cluster.apply(json.dumps(manifest))


def rest(notebooks: Notebooks, name: str) -> None:
    """Stop a notebook, and wait until it rests."""
    notebooks.change(name, suspend=True)
    notebooks.until(name, phase="Stopped")


def measure(starts: int) -> list[Row]:
    """Run it all; return what was found."""
    with tempfile.TemporaryDirectory() as folder, warm_cluster(Path(folder)) as (instance, cluster):
        volume = next(path.parent for path in (instance.state / "storage").rglob("flights") if path.is_dir())
        notebooks = Notebooks(cluster, volume, instance)
        notebooks.make_pool("notebooks", instance={"cpu": "1500m", "memory": "2Gi"}, maxNodes=1)
        first, again, old = [], [], []
        for number in range(starts):
            name = f"new-{number}"
            first.append(start(notebooks, name, lambda name=name: notebooks.submit(name)))  # type: ignore[misc]
            rest(notebooks, name)
        for _ in range(starts):
            again.append(start(notebooks, "new-0", lambda: notebooks.change("new-0", suspend=False)))
            rest(notebooks, "new-0")
        old_volume(notebooks, instance, "old")
        old.append(start(notebooks, "old", lambda: notebooks.submit("old", storage={"size": "1Gi"})))
        rest(notebooks, "old")
        old.append(start(notebooks, "old", lambda: notebooks.change("old", suspend=False)))
    filled = f"a volume of root's with {FILES:,} files"
    return [
        *rows_of("a new notebook", first),
        *rows_of("a start after a stop", again),
        *rows_of(f"{filled}, for the first time", old[:1]),
        *rows_of(f"{filled}, again", old[1:]),
    ]


def main() -> int:
    """Measure and write `bench/results/start.json`."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--starts", type=int, default=STARTS, help="of each kind")
    parser.add_argument("--print", action="store_true", help="write no file")
    chosen = parser.parse_args()
    rows = measure(chosen.starts)
    if chosen.print:
        print("\n".join(f"{row.value:8.3f} {row.unit:4} {row.what}" for row in rows))
    else:
        write("start", rows)
    return 0


if __name__ == "__main__":
    sys.exit(main())
