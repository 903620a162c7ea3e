"""Volumes: folders of the state folder, given out by local-path-provisioner.

Two classes, as real clusters have: `local`, the default, lies on one node (ReadWriteOnce);
`shared` is seen by all nodes (ReadWriteMany), as NFS or a cloud's file store would be.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tools.cluster.base_image import IMAGE

NAMESPACE = "local-path-storage"
PROVISIONER = "rancher.io/local-path"
CLASSES = ("local", "shared")


def config(volumes: Path) -> dict[str, Any]:
    """Where the provisioner makes volumes.

    Args:
        volumes: A folder that every node sees under the same path.
    """
    anywhere = {"node": "DEFAULT_PATH_FOR_NON_LISTED_NODES", "paths": [str(volumes / "local")]}
    classes = {
        "local": {"nodePathMap": [anywhere]},
        "shared": {"sharedFileSystemPath": str(volumes / "shared")},
    }
    return {"nodePathMap": [], "storageClassConfigs": classes}


def helper_pod() -> dict[str, Any]:
    """The pod that makes or removes a volume's folder on its node."""
    container = {"name": "helper-pod", "image": IMAGE, "imagePullPolicy": "Never"}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "helper-pod"},
        "spec": {"containers": [container]},
    }


def command(program: Path, kubeconfig: Path, config_file: Path, helper_file: Path) -> list[str | Path]:
    """The provisioner, run beside the API server."""
    return [
        program,
        "start",
        f"--config={config_file}",
        f"--helper-pod-file={helper_file}",
        f"--kubeconfig={kubeconfig}",
        f"--namespace={NAMESPACE}",
        f"--helper-image={IMAGE}",
        "--service-account-name=default",
    ]


def manifests(volumes: Path) -> list[dict[str, Any]]:
    """The classes, and what the helper pods need."""
    scripts = {
        "config.json": json.dumps(config(volumes)),
        "setup": 'mkdir -m 0777 -p "$VOL_DIR"\n',
        "teardown": 'rm -rf "$VOL_DIR"\n',
        "helperPod.yaml": json.dumps(helper_pod()),
    }
    return [
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}},
        {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": "local-path-config", "namespace": NAMESPACE},
            "data": scripts,
        },
        *(_storage_class(name, default=name == "local") for name in CLASSES),
    ]


def _storage_class(name: str, *, default: bool) -> dict[str, Any]:
    annotations = {"storageclass.kubernetes.io/is-default-class": "true"} if default else {}
    return {
        "apiVersion": "storage.k8s.io/v1",
        "kind": "StorageClass",
        "metadata": {"name": name, "annotations": annotations},
        "provisioner": PROVISIONER,
        "volumeBindingMode": "WaitForFirstConsumer" if default else "Immediate",
        "reclaimPolicy": "Delete",
    }
