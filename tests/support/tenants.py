"""A second team for the end-to-end tests: a namespace with the same data as `default`."""

from __future__ import annotations

import json
from pathlib import Path

from tools.kubectl import Kubectl
from tools.quickstart import data


def make(cluster: Kubectl, volume: Path, name: str) -> str:
    """Make a namespace with a claim `flights`, and return its name.

    The claim's volume is the folder of the one in `default`, so outputs of both lie side by side.

    Args:
        cluster: where to.
        volume: the folder, which both nodes have at the same path.
        name: of the namespace.
    """
    modes, size = ["ReadWriteMany"], {"storage": "1Gi"}
    folder = {
        "apiVersion": "v1",
        "kind": "PersistentVolume",
        "metadata": {"name": name},
        "spec": {
            "accessModes": modes,
            "capacity": size,
            "hostPath": {"path": str(volume), "type": "Directory"},
            "persistentVolumeReclaimPolicy": "Retain",
            "claimRef": {"namespace": name, "name": data.CLAIM},
            "storageClassName": "",
        },
    }
    claim = {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": data.CLAIM},
        "spec": {
            "accessModes": modes,
            "storageClassName": "",
            "volumeName": name,
            "resources": {"requests": size},
        },
    }
    cluster.apply(json.dumps({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}))
    cluster.apply(json.dumps(folder))
    cluster.apply(json.dumps(claim), namespace=name)
    return name
