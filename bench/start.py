"""From a notebook's manifest to its page: how long, whose time that is, and beside a plain JupyterLab.

    python -m bench.start            # on a real kubelet, image present (some four minutes)
    python -m bench.start --print    # writes no file

Times of the API server are taken from its audit log, those of the pod's processes and their CPU-seconds from
the kernel, and the page is asked for from this machine until it is there. All have one clock. The peer is
what a person would write without us: a StatefulSet of the same image, with the same resources and a volume
of its own, whose command is `jupyter lab`. They take turns.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
from collections.abc import Iterator, Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

from bench.launch import installed
from bench.starting import PORT, SPACE, Started, Starts
from mlpools_operator.domain import naming
from tests.support.waiting import wait_for
from tools.cluster.instance import Instance
from tools.kubectl import Kubectl
from tools.record import Row, write

STARTS, FILES = 3, 200_000
TARGET = 10.0
#: Of a notebook, less than the whole of a node of two cores.
NODE = {"cpu": "1500m", "memory": "2Gi"}
PEER = "`jupyter lab` by hand, in a StatefulSet"
#: What leads to each moment, in their order, and whose time it is.
STAGES = {
    "StatefulSet created": "asked for → StatefulSet created (ours: queue, admission)",
    "pod created": "→ pod created (Kubernetes)",
    "container": "→ container runs (Kubernetes: volume, scheduler, kubelet)",
    "server": "→ server's process starts (ours: the supervisor's checks)",
    "page": "→ page is there (Jupyter's own start)",
}


def by_hand(starts: Starts, name: str, image: str) -> Started:
    """Start JupyterLab as it would be without us, and take it away again."""
    token, labels = "as-simple-as-can-be", {"app": name}
    options = ("ServerApp.ip=0.0.0.0", f"ServerApp.port={PORT}", "ServerApp.root_dir=/workspace")
    command = [
        "python",
        "-m",
        "jupyterlab",
        *(f"--{it}" for it in (*options, f"IdentityProvider.token={token}")),
    ]
    container = {
        "name": "main",
        "image": image,
        "imagePullPolicy": "IfNotPresent",
        "command": command,
        "env": [{"name": "HOME", "value": "/workspace"}],
        "resources": {"requests": NODE, "limits": NODE},
        "volumeMounts": [{"name": "workspace", "mountPath": "/workspace"}],
    }
    user = {"runAsUser": 1000, "fsGroup": 1000, "fsGroupChangePolicy": "OnRootMismatch"}
    size = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}
    manifest = {
        "apiVersion": "apps/v1",
        "kind": "StatefulSet",
        "metadata": {"name": name},
        "spec": {
            "serviceName": name,
            "selector": {"matchLabels": labels},
            "template": {
                "metadata": {"labels": labels},
                "spec": {"containers": [container], "securityContext": user},
            },
            "volumeClaimTemplates": [{"metadata": {"name": "workspace"}, "spec": size}],
        },
    }
    started = starts.start(lambda: starts.kube.create(manifest, SPACE), name, labels, lambda: token)
    starts.kube.delete("StatefulSet", name, SPACE)
    wait_for(f"end of {name}", lambda: not starts.kube.list("Pod", SPACE, f"app={name}"), every=0.2)
    return started


def old_volume(cluster: Kubectl, instance: Instance, name: str) -> None:
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
        cluster.apply(json.dumps(manifest), namespace=SPACE)


def _spans(moments: Mapping[str, float]) -> dict[str, float]:
    ends = [0.0, *(moments[stage] for stage in STAGES)]
    return {stage: after - before for stage, (before, after) in zip(STAGES, pairwise(ends), strict=True)}


def rows_of(what: str, seen: list[Started], peers: list[Started]) -> Iterator[Row]:
    """Yield the rows of one kind of start: each figure the median, beside that of the same by hand."""
    number = f", median of {len(seen)}" if len(seen) > 1 else ""
    whole = [it.moments["page"] for it in seen]
    # What starts again has its volume already, and is no peer of what is made.
    yield Row(f"{what}: asked for → page is there{number}", statistics.median(whole), "s", target=TARGET)
    if len(seen) > 1:
        yield Row(f"{what}: the slowest", max(whole), "s", target=TARGET)
    spans = [_spans(it.moments) for it in seen]
    for stage, words in STAGES.items():
        yield Row(f"{what}: {words}", statistics.median(it[stage] for it in spans), "s")
    server = statistics.median(it.server for it in seen)
    beside = statistics.median(it.server for it in peers)
    yield Row(f"{what}: CPU of JupyterLab to its page", server, "CPU-s", PEER, server / beside)
    supervisor = statistics.median(it.supervisor for it in seen)
    yield Row(f"{what}: CPU of the supervisor (ours)", supervisor, "CPU-s")


def peer_rows(first: list[Started], peers: list[Started]) -> Iterator[Row]:
    """Yield the rows of JupyterLab by hand, and how ours compares."""
    ours = statistics.median(it.moments["page"] for it in first)
    theirs = statistics.median(it.moments["page"] for it in peers)
    what = f"asked for → page is there, median of {len(peers)}"
    yield Row(f"{PEER}: {what}", theirs, "s")
    yield Row("a new notebook: the same, ours by that", ours / theirs, "times", PEER, ours / theirs)
    alone = [_spans(it.moments) for it in peers]
    yield Row(f"{PEER}: {STAGES['page']}", statistics.median(it["page"] for it in alone), "s")
    yield Row(f"{PEER}: CPU to its page", statistics.median(it.server for it in peers), "CPU-s")


def measure(number: int) -> list[Row]:
    """Run it all; return what was found."""
    with tempfile.TemporaryDirectory() as folder, installed(Path(folder)) as (instance, cluster, image):
        starts = Starts(instance, cluster)
        pool: dict[str, Any] = {"instance": NODE, "maxNodes": 1}
        made = {
            "apiVersion": "mlpools.dev/v1alpha1",
            "kind": "ComputePool",
            "metadata": {"name": "notebooks"},
        }
        starts.kube.create({**made, "spec": pool})
        first, again, peers, old = [], [], [], []
        for it in range(number):
            first.append(starts.notebook(f"new-{it}"))
            starts.rest(f"new-{it}")
            peers.append(by_hand(starts, f"hand-{it}", image))
        for _ in range(number):
            again.append(starts.notebook("new-0"))
            starts.rest("new-0")
        old_volume(cluster, instance, "old")
        for _ in range(2):
            old.append(starts.notebook("old", {"storage": {"size": "1Gi"}}))
            starts.rest("old")
    filled = f"a volume of root's with {FILES:,} files"
    return [
        *rows_of("a new notebook", first, peers),
        *peer_rows(first, peers),
        *rows_of("a start after a stop", again, peers),
        *rows_of(f"{filled}, for the first time", old[:1], peers),
        *rows_of(f"{filled}, again", old[1:], peers),
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
        print("\n".join(f"{row.value:8.3f} {row.unit:6} {row.what}" for row in rows))
    else:
        write("start", rows)
    return 0


if __name__ == "__main__":
    sys.exit(main())
