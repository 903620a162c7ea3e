"""The Ray cluster of a notebook, from inside: how large it is, and how large it is to be.

A notebook with ``cluster.maxNodes`` above 0 has one right at the API server: to ask for another number of
nodes for itself. What it asks for passes the pool's queue node by node.
"""

from __future__ import annotations

import json
import os
import ssl
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

from mlpools.contract.reports import Activity
from mlpools.contract.tasks import Notebook
from mlpools.contract.wiring import NOTEBOOK_ENV, STATUS_PORT, STATUS_PORT_ENV
from mlpools.errors import InvalidSpec, JobError, StartTimeout
from mlpools.supervisor.status import ask
from mlpools.train.launchers import ray_cluster

_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
_TIMEOUT_SECONDS = 30.0
_POLL_SECONDS = 1.0


def scale_cluster(
    expected_cluster_size: int, *, is_async: bool = False, rollback_after_seconds: float = 720
) -> bool:
    """Ask for another number of nodes, and wait until they have joined or left.

    The number stays when the notebook stops: at its next start it has as many again.

    Args:
        expected_cluster_size: nodes in all, the notebook's own among them.
        is_async: do not wait; then nothing is taken back either.
        rollback_after_seconds: if they have not all joined by then, the number from before holds again.

    Returns:
        True: it has so many nodes, or with ``is_async`` they were asked for.

    Raises:
        InvalidSpec: this is no notebook with a cluster, or it may not have so many nodes.
        StartTimeout: not all joined in time.
        JobError: the API server does not answer.
    """
    if expected_cluster_size < 1:
        raise InvalidSpec("A cluster has at least 1 node, which is the notebook's own.")
    before = int(_scale("GET")["spec"].get("replicas", 0))
    _scale("PATCH", expected_cluster_size - 1)
    if is_async or _reaches(expected_cluster_size, rollback_after_seconds):
        return True
    there = len(ray_cluster.nodes())
    _scale("PATCH", before)
    name = _notebook().name
    raise StartTimeout(
        f"Of {expected_cluster_size} nodes {there} were there after {rollback_after_seconds:g} s, so "
        f"{before + 1} are asked for again, as before. `kubectl get nb {name} -o yaml` tells why, in "
        "status.cluster.message."
    )


def get_nodes() -> list[dict[str, Any]]:
    """Return the nodes that are there now, each as ``{"name", "cpus", "gpus"}``."""
    return [
        {"name": node.address, "cpus": int(node.has.get("CPU", 0)), "gpus": int(node.has.get("GPU", 0))}
        for node in ray_cluster.nodes()
    ]


def get_ray_dashboard_url() -> str | None:
    """Return where the dashboard of the cluster is, from inside the notebook; None if there is none.

    Raises:
        JobError: this is no notebook.
    """
    _notebook()
    port = int(os.environ.get(STATUS_PORT_ENV, STATUS_PORT))
    try:
        return Activity.from_json(ask("127.0.0.1", port, "GET", "/status", timeout=10.0)).dashboard or None
    except OSError as error:
        raise JobError("The notebook's supervisor does not answer: try again in a moment.") from error


def _reaches(size: int, seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while len(ray_cluster.nodes()) != size:
        if time.monotonic() >= deadline:
            return False
        time.sleep(_POLL_SECONDS)
    return True


def _notebook() -> Notebook:
    text = os.environ.get(NOTEBOOK_ENV)
    if text is None:
        raise InvalidSpec("Only a notebook has a cluster that can be scaled; a job's size is in its spec.")
    return Notebook.from_json(text)


def _scale(method: str, replicas: int | None = None) -> dict[str, Any]:
    """Read the notebook's scale, or ask for another one."""
    task = _notebook()
    if not task.cluster:
        raise InvalidSpec(
            f"Notebook {task.name} was started without a cluster: set spec.cluster.maxNodes, stop it and "
            "start it again."
        )
    host, port = os.environ["KUBERNETES_SERVICE_HOST"], os.environ["KUBERNETES_SERVICE_PORT"]
    host = f"[{host}]" if ":" in host else host
    place = f"namespaces/{task.namespace}/notebookruntimes/{task.name}/scale"
    token = (_ACCOUNT / "token").read_text(encoding="utf-8").strip()  # it is replaced every hour
    request = urllib.request.Request(
        f"https://{host}:{port}/apis/mlpools.dev/v1alpha1/{place}",
        data=None if replicas is None else json.dumps({"spec": {"replicas": replicas}}).encode(),
        headers={"Authorization": f"Bearer {token}", "Content-Type": "application/merge-patch+json"},
        method=method,
    )
    trusted = ssl.create_default_context(cafile=str(_ACCOUNT / "ca.crt"))
    try:
        with urllib.request.urlopen(request, timeout=_TIMEOUT_SECONDS, context=trusted) as answer:  # noqa: S310
            found: dict[str, Any] = json.load(answer)
            return found
    except urllib.error.HTTPError as error:
        raise InvalidSpec(f"The cluster was not scaled: {_words(error)}") from error
    except OSError as error:
        raise JobError(f"The API server does not answer: {error}.") from error


def _words(error: urllib.error.HTTPError) -> str:
    """Return the API server's own sentence."""
    try:
        return str(json.load(error)["message"])
    except (ValueError, KeyError, TypeError):
        return str(error.reason)
