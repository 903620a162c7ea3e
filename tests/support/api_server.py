"""The API server as far as its answers matter to a controller: a simulation in memory.

Kept are: UIDs and resourceVersions, generations, the status subresource with its optimistic lock, names
that are taken, preconditions of deletions, graceful deletion of pods, finalizers, and server-side apply by
one manager. It answers with the errors that the operator's own client raises.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from typing import Any

from mlpools_operator.cluster.errors import AlreadyExists, Conflict, NotFound
from mlpools_operator.domain import times

Json = dict[str, Any]
Place = tuple[str, str, str]

#: The resourceVersion of an apply that must create the object.
NEVER = "1"
_APPLIED = ("labels", "annotations", "ownerReferences")


class Clock:
    """Seconds since the epoch, moved by hand."""

    def __init__(self, now: float = 1_800_000_000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now

    def advance(self, seconds: float) -> None:
        self.now += seconds


class ApiServer:
    """Objects by kind, namespace and name, as plain JSON.

    What comes out is the stored snapshot and must not be changed: a write replaces it by another.
    """

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
        try:
            return self._objects[(kind, namespace, name)]
        except KeyError:
            raise NotFound(f"{kind} {name} not found", 404) from None

    def list(self, kind: str) -> list[Json]:
        return [item for place, item in sorted(self._objects.items()) if place[0] == kind]

    def create(self, manifest: Mapping[str, Any]) -> Json:
        place = place_of(manifest)
        if place in self._objects:
            raise AlreadyExists(f"{place[0]} {place[2]} already exists", 409)
        self._uids += 1
        identity = {
            "uid": f"uid-{self._uids:05d}",
            "generation": 1,
            "creationTimestamp": times.stamp(self.clock()),
        }
        made = copy.deepcopy({key: value for key, value in manifest.items() if key != "status"})
        if place[0] == "Pod":
            made["status"] = {"phase": "Pending"}
        return self._put({**made, "metadata": {**made["metadata"], **identity}})

    def apply(self, manifest: Mapping[str, Any], resource_version: str = NEVER) -> Json:
        """Server-side apply by one manager; ``resource_version`` as in the operator's client.

        Where there is no object, one is made whatever the version: that is what API servers do.
        """
        place = place_of(manifest)
        there = self._objects.get(place)
        if there is None:
            return self.create(manifest)
        if there["metadata"]["resourceVersion"] != resource_version:
            raise Conflict(f"{place[0]} {place[2]} is another version", 409)
        wanted = copy.deepcopy(dict(manifest))
        owned = {field: wanted["metadata"][field] for field in _APPLIED if field in wanted["metadata"]}
        merged = {**there, **wanted, "metadata": {**there["metadata"], **owned}}
        return self._change(there, merged)

    def replace_spec(self, kind: str, namespace: str, name: str, spec: Mapping[str, Any]) -> Json:
        there = self.get(kind, namespace, name)
        return self._change(there, {**there, "spec": copy.deepcopy(dict(spec))})

    def replace_status(
        self, kind: str, namespace: str, name: str, status: Mapping[str, Any], resource_version: str = ""
    ) -> Json:
        """Write the status subresource; with a resourceVersion only onto that version."""
        there = self.get(kind, namespace, name)
        if resource_version and there["metadata"]["resourceVersion"] != resource_version:
            raise Conflict(f"{kind} {name} was changed meanwhile", 409)
        return self._change(there, {**there, "status": copy.deepcopy(dict(status))})

    def patch(self, kind: str, namespace: str, name: str, change: Callable[[Json], None]) -> Json:
        """Change an object whatever its version: how the simulated controllers write.

        ``change`` may replace fields of the spec, and anything in metadata and status.
        """
        there = self.get(kind, namespace, name)
        changed = {**copy.deepcopy({**there, "spec": {}}), "spec": dict(there["spec"])}
        change(changed)
        return self._change(there, changed)

    def delete(self, kind: str, namespace: str, name: str, uid: str = "") -> None:
        """Delete; a pod with a machine and a grace, and whatever has a finalizer, goes when they let go."""
        there = self.get(kind, namespace, name)
        metadata = there["metadata"]
        if uid and metadata["uid"] != uid:
            raise Conflict(f"{kind} {name} has another UID", 409)
        if "deletionTimestamp" not in metadata:
            deleted = {**metadata, "deletionTimestamp": times.stamp(self.clock())}
            self._put({**there, "metadata": deleted})
        at_once = there.get("spec", {}).get("terminationGracePeriodSeconds") == 0
        if kind != "Pod" or "nodeName" not in there["spec"] or is_terminal(there) or at_once:
            self.release(kind, namespace, name)

    def release(self, kind: str, namespace: str, name: str) -> None:
        """Remove an object that is being deleted, unless a finalizer holds it."""
        metadata = self.get(kind, namespace, name)["metadata"]
        if "deletionTimestamp" in metadata and not metadata.get("finalizers"):
            del self._objects[(kind, namespace, name)]
            self._version += 1

    def set_condition(self, item: Json, name: str, status: str = "True", **words: str) -> Json:
        """Set one condition of an object; with the same status it keeps its words and its time."""
        wanted = {"type": name, "status": status, **words}
        dated = {**wanted, "lastTransitionTime": times.stamp(self.clock())}

        def change(it: Json) -> None:
            conditions = it.setdefault("status", {}).setdefault("conditions", [])
            same = [entry for entry in conditions if entry["type"] == name and entry["status"] == status]
            if not same:
                others = [entry for entry in conditions if entry["type"] != name]
                it["status"]["conditions"] = [*others, dated]

        self.patch(*place_of(item), change)
        return wanted

    def _change(self, before: Json, after: Json) -> Json:
        if before == after:
            return before
        if before.get("spec") != after.get("spec"):
            generation = before["metadata"]["generation"] + 1
            after = {**after, "metadata": {**after["metadata"], "generation": generation}}
        return self._put(after)

    def _put(self, item: Json) -> Json:
        self._version += 1
        stored = {**item, "metadata": {**item["metadata"], "resourceVersion": str(self._version)}}
        self._objects[place_of(stored)] = stored
        return stored


def is_terminal(pod: Mapping[str, Any]) -> bool:
    """Whether a pod has ended."""
    return pod.get("status", {}).get("phase") in ("Succeeded", "Failed")


def condition(item: Mapping[str, Any], name: str) -> Json:
    """Return a true condition of an object, or nothing."""
    conditions = item.get("status", {}).get("conditions", ())
    return next((dict(it) for it in conditions if it["type"] == name and it["status"] == "True"), {})


def place_of(manifest: Mapping[str, Any]) -> Place:
    """Return where an object is."""
    metadata = manifest["metadata"]
    return (manifest["kind"], metadata.get("namespace", ""), metadata["name"])


def owner_of(item: Mapping[str, Any]) -> str:
    """Return the UID of an object's controller, empty without one."""
    references = item["metadata"].get("ownerReferences", ())
    return next((str(ref["uid"]) for ref in references if ref.get("controller")), "")
