"""Bring the flights into the cluster's volume: made here, copied through a short-lived pod."""

from __future__ import annotations

import hashlib
import io
import json
import subprocess
import sys
import tarfile
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import yaml

from tools.kubectl import Kubectl
from tools.steps import ToolError, cache_dir

EXAMPLE = Path("examples/quickstart")
MAKER = EXAMPLE / "flights.py"
CLAIM = "flights"
LOADER = "flights-loader"
#: The local cluster's StorageClass of volumes that all nodes can mount.
SHARED = "shared"
#: Annotation of the claim: which data was copied into it.
HOLDS = "quickstart.mlpools.dev/holds"


@dataclass(frozen=True)
class Flights:
    """The two sets on this machine.

    Attributes:
        folder: holds `train/` and `eval/`.
        train_rows: flights to learn from.
        eval_rows: held-out flights.
        naive_rmse: minutes; error on the held-out flights of always answering the mean of `train`.
    """

    folder: Path
    train_rows: int
    eval_rows: int
    naive_rmse: float


def make() -> Flights:
    """Write the Parquet files, if they are not there yet.

    Raises:
        ToolError: the maker failed; with its last line.
    """
    folder = cache_dir() / "flights" / hashlib.sha256(MAKER.read_bytes()).hexdigest()[:16]
    if not folder.exists():
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent) as aside:
            made = Path(aside) / "flights"
            done = subprocess.run(
                [sys.executable, str(MAKER), str(made)], capture_output=True, text=True, check=False
            )
            if done.returncode:
                raise ToolError(f"Making the flights failed: {done.stderr.strip().splitlines()[-1]}")
            made.rename(folder)
    train, held_out = (
        pq.read_table(folder / part, columns=["arr_delay"])["arr_delay"].to_numpy()
        for part in ("train", "eval")
    )
    naive = float(np.sqrt(np.mean((held_out - train.mean()) ** 2)))
    return Flights(folder, len(train), len(held_out), naive)


def make_claim(cluster: Kubectl, storage_class: str = SHARED) -> None:
    """Make the claim for data and model, unless there is one.

    Raises:
        ToolError: the cluster has no such StorageClass; with those it has.
    """
    if cluster.get("persistentvolumeclaim", CLAIM):
        return
    classes = sorted(item["metadata"]["name"] for item in cluster.list("storageclass"))
    if storage_class not in classes:
        raise ToolError(
            f"The cluster has no StorageClass {storage_class}: say with STORAGE_CLASS=name (--storage-class) "
            "which one makes ReadWriteMany volumes, that all nodes can mount; "
            f"there {'are ' + ', '.join(classes) if classes else 'is none'}."
        )
    claim = yaml.safe_load((EXAMPLE / "storage.yaml").read_text())
    claim["spec"]["storageClassName"] = storage_class
    cluster.apply(json.dumps(claim))


def load(cluster: Kubectl, flights: Flights, image: str) -> None:
    """Copy both sets to `/flights` of the claim; the claim remembers what it holds.

    Args:
        cluster: where to; it has the claim.
        flights: what to copy.
        image: any image with `tar` and `sh`; the runtime's, since it is there.

    Raises:
        ToolError: the claim was not bound, or the copy failed.
    """
    claim = cluster.get("persistentvolumeclaim", CLAIM) or {}
    if claim.get("metadata", {}).get("annotations", {}).get(HOLDS) == flights.folder.name:
        return
    cluster.delete("pod", LOADER)
    cluster.apply(json.dumps(_loader(image)))
    try:
        cluster.run("wait", f"pod/{LOADER}", "--for=condition=Ready", "--timeout=120s", seconds=130)
        unpack = "rm -rf /data/flights && mkdir /data/flights && tar -xf - -C /data/flights"
        cluster.run("exec", "-i", LOADER, "--", "sh", "-c", unpack, stdin=_archive(flights.folder))
        cluster.run("annotate", "--overwrite", "pvc", CLAIM, f"{HOLDS}={flights.folder.name}")
    finally:
        cluster.delete("pod", LOADER)


def _archive(folder: Path) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for part in ("train", "eval"):
            archive.add(folder / part, arcname=part, filter=_for_everyone)
    return buffer.getvalue()


def _for_everyone(entry: tarfile.TarInfo) -> tarfile.TarInfo:
    entry.uid = entry.gid = 1000
    entry.uname = entry.gname = ""
    return entry


def _loader(image: str) -> dict[str, object]:
    """A pod that waits while files are copied into the claim; as restricted as a job's."""
    container = {
        "name": "loader",
        "image": image,
        "imagePullPolicy": "IfNotPresent",
        "command": ["sleep", "600"],
        "resources": {"requests": {"cpu": "10m", "memory": "32Mi"}, "limits": {"memory": "256Mi"}},
        "volumeMounts": [{"name": "data", "mountPath": "/data"}],
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
    }
    spec = {
        "restartPolicy": "Never",
        "automountServiceAccountToken": False,
        "terminationGracePeriodSeconds": 0,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": 1000,
            "runAsGroup": 1000,
            "fsGroup": 1000,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": [container],
        "volumes": [{"name": "data", "persistentVolumeClaim": {"claimName": CLAIM}}],
    }
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": LOADER}, "spec": spec}
