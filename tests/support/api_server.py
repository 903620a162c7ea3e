"""The API server as far as its answers matter to a controller: a simulation in memory.

Kept are: UIDs and resourceVersions, generations, the status subresource with its optimistic lock, names
that are taken, preconditions of deletions, graceful deletion of pods, finalizers, and server-side apply by
one manager. It answers with the errors that the operator's own client raises.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from mlpools_operator.cluster.errors import AlreadyExists, Conflict, NotFound
from mlpools_operator.domain import times

Json = dict[str, Any]
Place = tuple[str, str, str]

#: The resourceVersion of an apply that must create the object.
NEVER = "1"


class Clock:
    """Seconds since the epoch, moved by hand."""

    def __init__(self, now: float = 1_800_000_000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now

    def advance(self, seconds: float) -> None:
        self.now += seconds


class ApiServer:
    """Objects by kind, namespace and name, as plain JSON; what comes out is a copy."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self.clock = clock
        self._objects: dict[Place, Json] = {}
        self._version = 1
        self._uids = 0

    @property
    def version(self) -> int:
        """The newest resourceVersion: it moves with every change."""
        return self._version

    def get(self, kind: str, namespace: str, name: str) -> Json:
        return copy.deepcopy(self._find(kind, namespace, name))

    def list(self, kind: str) -> list[Json]:
        return [copy.deepcopy(item) for item in self._all(kind)]

    def create(self, manifest: Mapping[str, Any]) -> Json:
        place = _place(manifest)
        if place in self._objects:
            raise AlreadyExists(f"{place[0]} {place[2]} already exists", 409)
        made = copy.deepcopy(dict(manifest))
        made.pop("status", None)
        self._uids += 1
        made["metadata"] |= {
            "uid": f"uid-{self._uids:05d}",
            "generation": 1,
            "creationTimestamp": times.stamp(self.clock()),
        }
        self._objects[place] = made
        self._bump(made)
        return copy.deepcopy(made)

    def apply(self, manifest: Mapping[str, Any], resource_version: str = NEVER) -> Json:
        """Server-side apply by one manager; ``resource_version`` as in the operator's client."""
        place = _place(manifest)
        there = self._objects.get(place)
        if there is None:
            if resource_version != NEVER:
                raise Conflict(f"{place[0]} {place[2]} is not there", 409)
            return self.create(manifest)
        if there["metadata"]["resourceVersion"] != resource_version:
            raise Conflict(f"{place[0]} {place[2]} is another version", 409)
        wanted = copy.deepcopy(dict(manifest))
        for field in ("labels", "annotations", "ownerReferences"):
            if field in wanted["metadata"]:
                self._change(there["metadata"], field, wanted["metadata"][field], there)
        if self._change(there, "spec", wanted.get("spec"), there):
            there["metadata"]["generation"] += 1
        return copy.deepcopy(there)

    def replace_spec(self, kind: str, namespace: str, name: str, spec: Mapping[str, Any]) -> Json:
        there = self._find(kind, namespace, name)
        if self._change(there, "spec", copy.deepcopy(dict(spec)), there):
            there["metadata"]["generation"] += 1
        return copy.deepcopy(there)

    def replace_status(
        self, kind: str, namespace: str, name: str, status: Mapping[str, Any], resource_version: str = ""
    ) -> Json:
        """Write the status subresource; with a resourceVersion only onto that version."""
        there = self._find(kind, namespace, name)
        if resource_version and there["metadata"]["resourceVersion"] != resource_version:
            raise Conflict(f"{kind} {name} was changed meanwhile", 409)
        self._change(there, "status", copy.deepcopy(dict(status)), there)
        return copy.deepcopy(there)

    def patch(self, kind: str, namespace: str, name: str, change: Callable[[Json], None]) -> Json:
        """Change an object in place, whatever the version: how the simulated controllers write."""
        there = self._find(kind, namespace, name)
        before = copy.deepcopy(there)
        change(there)
        if there != before:
            self._bump(there)
        return copy.deepcopy(there)

    def delete(self, kind: str, namespace: str, name: str, uid: str = "") -> None:
        """Delete; a pod that has a machine, and whatever has a finalizer, goes only when they let go."""
        there = self._find(kind, namespace, name)
        metadata = there["metadata"]
        if uid and metadata["uid"] != uid:
            raise Conflict(f"{kind} {name} has another UID", 409)
        graceful = kind == "Pod" and "nodeName" in there["spec"] and not is_terminal(there)
        if "deletionTimestamp" not in metadata:
            metadata["deletionTimestamp"] = times.stamp(self.clock())
            self._bump(there)
        if not graceful:
            self.release(kind, namespace, name)

    def release(self, kind: str, namespace: str, name: str) -> None:
        """Remove an object that is being deleted, unless a finalizer holds it."""
        there = self._find(kind, namespace, name)
        if "deletionTimestamp" in there["metadata"] and not there["metadata"].get("finalizers"):
            del self._objects[(kind, namespace, name)]
            self._version += 1

    def _find(self, kind: str, namespace: str, name: str) -> Json:
        try:
            return self._objects[(kind, namespace, name)]
        except KeyError:
            raise NotFound(f"{kind} {name} not found", 404) from None

    def _all(self, kind: str) -> Iterator[Json]:
        return (item for place, item in sorted(self._objects.items()) if place[0] == kind)

    def _change(self, parent: Json, field: str, value: Any, owner: Json) -> bool:
        if parent.get(field) == value:
            return False
        parent[field] = value
        self._bump(owner)
        return True

    def _bump(self, item: Json) -> None:
        self._version += 1
        item["metadata"]["resourceVersion"] = str(self._version)


def is_terminal(pod: Mapping[str, Any]) -> bool:
    """Whether a pod has ended."""
    return pod.get("status", {}).get("phase") in ("Succeeded", "Failed")


def condition(item: Mapping[str, Any], name: str) -> Json:
    """Return a true condition of an object, or nothing."""
    conditions = item.get("status", {}).get("conditions", ())
    return next((dict(it) for it in conditions if it["type"] == name and it["status"] == "True"), {})


def _place(manifest: Mapping[str, Any]) -> Place:
    metadata = manifest["metadata"]
    return (manifest["kind"], metadata.get("namespace", ""), metadata["name"])
