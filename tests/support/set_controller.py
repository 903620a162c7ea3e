"""The StatefulSet controller of the simulated cluster, for sets of one pod."""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Mapping
from typing import Any, Protocol

from mlpools_operator.cluster.errors import AlreadyExists
from tests.support.api_server import Json, is_terminal, owner_of, place_of


class Cluster(Protocol):
    """Where it finds sets, and makes their pods."""

    def list(self, kind: str) -> list[Json]: ...
    def create(self, manifest: Mapping[str, Any]) -> Json: ...
    def delete(self, kind: str, namespace: str, name: str, uid: str = "") -> None: ...


class SetController:
    """Keeps one pod of each set, always of the same name; one that ended is deleted, and made again."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster

    def act(self) -> None:
        """Look at each set once."""
        for item in self._cluster.list("StatefulSet"):
            if "deletionTimestamp" not in item["metadata"]:
                self._keep(item)

    def _keep(self, item: Json) -> None:
        uid = item["metadata"]["uid"]
        pods = [pod for pod in self._cluster.list("Pod") if owner_of(pod) == uid]
        for pod in pods:
            if is_terminal(pod) and "deletionTimestamp" not in pod["metadata"]:
                self._cluster.delete(*place_of(pod))
        if not pods:
            # A pod of that name that belongs to an earlier set is still on its way out: later.
            with contextlib.suppress(AlreadyExists):
                self._cluster.create(_pod(item))


def _pod(item: Json) -> Json:
    template = copy.deepcopy(item["spec"]["template"])
    metadata = item["metadata"]
    owner = {"kind": "StatefulSet", "name": metadata["name"], "uid": metadata["uid"], "controller": True}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            **template["metadata"],
            "name": f"{metadata['name']}-0",
            "namespace": metadata["namespace"],
            "ownerReferences": [owner],
        },
        "spec": template["spec"],
    }
