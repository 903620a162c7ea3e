"""What a change wakes: the one place that knows which passes depend on which objects."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Literal

from mlpools_operator.controller.ledger import Ledger
from mlpools_operator.controller.queue import Queue
from mlpools_operator.controller.read import Entry, entry
from mlpools_operator.controller.store import Change, Key, Store, root_of
from mlpools_operator.domain import naming
from mlpools_operator.domain.observed import JobChild, Namespace, PodChild, Resource

POOL = "ComputePool"
NOTEBOOK = "NotebookRuntime"

EventType = Literal["ADDED", "MODIFIED", "DELETED", "BOOKMARK"] | None


class Feed:
    """Takes what watches and our own writes say, remembers it, and queues who must look at it."""

    def __init__(self, store: Store, ledger: Ledger, queue: Queue) -> None:
        self._store, self._ledger, self._queue = store, ledger, queue
        self._pool_names: dict[str, str] = {}  # by label, which holds 63 characters only
        store.subscribe(self._changed)

    def event(self, kind: str, type_: EventType, raw: Mapping[str, Any]) -> None:
        """Take a watch event.

        Args:
            kind: of the object.
            type_: None for an object of a list, with which each watch begins.
            raw: the object.
        """
        if type_ == "DELETED":
            self._store.remove(kind, raw["metadata"]["uid"])
            return
        self._store.put(kind, entry(kind, raw))

    def answer(self, kind: str, raw: Mapping[str, Any]) -> Entry:
        """Take the object with which the API server answered a write of ours."""
        known = entry(kind, raw)
        self._store.put(kind, known)
        return known

    def gone(self, kind: str, uid: str) -> bool:
        """Take the news that an object is gone; return whether it was remembered."""
        return self._store.remove(kind, uid)

    def _changed(self, change: Change) -> None:
        if not change.matters:
            return
        some = change.after or change.before
        assert some is not None
        if change.key.kind == POOL:
            self._pool_changed(change)
        elif isinstance(some, Namespace):
            self._namespace_changed()
        elif isinstance(some, Resource):
            self._resource_changed(change, some)
        else:
            self._child_changed(change, some)

    def _pool_changed(self, change: Change) -> None:
        self._pool_names[naming.label_value(change.key.name)] = change.key.name
        if not _only_status(change):
            self._queue.add(change.key)
        if _stop_all(change.before) != _stop_all(change.after):
            for member in self._ledger.members(change.key.name):
                self._queue.add(member, urgent=True)

    def _namespace_changed(self) -> None:
        """Wake the pools that choose namespaces by their labels."""
        for key, pool in self._store.all(POOL):
            if isinstance(pool, Resource) and _chooses_namespaces(pool):
                self._queue.add(key)

    def _resource_changed(self, change: Change, resource: Resource) -> None:
        if _only_use(change):
            return
        self._ledger.touch(resource.meta.uid)
        ends = change.after is None or change.after.meta.deleting
        if not ends:
            self._queue.add(change.key)
        if resource.meta.owner and _comes_or_ends(change):
            for kind in (change.key.kind, NOTEBOOK):
                template = self._store.find(kind, resource.meta.owner)
                if template is not None:
                    self._queue.add(Key(kind, change.key.namespace, template.meta.name))
        if not _only_told(change):
            self._wake_pool(str(resource.spec.get("computePool", "")), urgent=ends)

    def _child_changed(self, change: Change, child: Entry) -> None:
        root = root_of(child)
        self._ledger.touch(root)
        frees = _frees(change)
        places = _placed(change.before) != _placed(change.after)
        kind = child.meta.labels.get(naming.KIND, "")
        owner = self._store.find(kind, root)
        if kind == POOL:
            if owner is not None:
                self._wake_pool(owner.meta.name, urgent=frees)
            return
        if isinstance(owner, Resource):
            self._queue.add(Key(kind, owner.meta.namespace, owner.meta.name), urgent=frees)
            pool = str(owner.spec.get("computePool", ""))
        else:
            # Its owner is gone, and a successor of the same name may wait for it to go too.
            name = child.meta.labels.get(naming.JOB_NAME, "")
            if change.after is None and self._store.get(Key(kind, child.meta.namespace, name)):
                self._queue.add(Key(kind, child.meta.namespace, name))
            label = child.meta.labels.get(naming.POOL, "")
            pool = self._pool_names.get(label, label)
        if frees or places:
            self._wake_pool(pool, urgent=frees)

    def _wake_pool(self, name: str, *, urgent: bool) -> None:
        self._queue.add(Key(POOL, "", name), urgent=urgent)


def _chooses_namespaces(pool: Resource) -> bool:
    return bool(pool.spec.get("namespaces") or pool.spec.get("queue", {}).get("limits"))


def _frees(change: Change) -> bool:
    """Whether the change ends something or gives nodes back."""
    after, before = change.after, change.before
    if after is None:
        return isinstance(before, JobChild | PodChild)
    if isinstance(after, PodChild):
        return after.terminal and not (isinstance(before, PodChild) and before.terminal)
    if isinstance(after, JobChild):
        return bool(after.ended) and not (isinstance(before, JobChild) and before.ended)
    return False


def _stop_all(pool: Entry | None) -> object:
    return pool.spec.get("stopAll") if isinstance(pool, Resource) else None


def _comes_or_ends(change: Change) -> bool:
    """Whether a run is there, ends, or goes: its template counts those."""
    before, after = change.before, change.after
    if not isinstance(before, Resource) or not isinstance(after, Resource):
        return True
    return _is_over(before) != _is_over(after)


def _is_over(run: Resource) -> bool:
    conditions = run.status.get("conditions", ())
    return run.meta.deleting or any(
        it["type"] in ("Complete", "Failed") and it["status"] == "True" for it in conditions
    )


def _placed(entry: Entry | None) -> tuple[bool, bool] | None:
    """Return how far a pod is, as its pool counts it: whether it has a machine, whether it runs."""
    return (bool(entry.node), entry.phase == "Running") if isinstance(entry, PodChild) else None


def _only_status(change: Change) -> bool:
    """Whether neither the spec changed nor what a person asks for by an annotation."""
    before, after = change.before, change.after
    if before is None or after is None or after.meta.deleting:
        return False
    same = before.meta.uid == after.meta.uid and before.meta.annotations == after.meta.annotations
    return same and before.meta.generation == after.meta.generation


def _only_told(change: Change) -> bool:
    """Whether nothing changed but what a job tells people: how far it is, where it waits, and why.

    Admission said the latter itself, so looking again for it would come to the same.
    """
    before, after = change.before, change.after
    if not _only_status(change) or not isinstance(before, Resource) or not isinstance(after, Resource):
        return False
    return _decisive(before.status) == _decisive(after.status)


def _only_use(change: Change) -> bool:
    """Whether nothing changed but when a notebook was used last, and so when it stops.

    The pass that wrote it goes by what its pod said, and comes again when the time is over. Each notebook
    that is used has such a write every minute: passes after it, over the notebook and over its pool, would
    plan nothing.
    """
    before, after = change.before, change.after
    if not isinstance(before, Resource) or not isinstance(after, Resource):
        return False
    meta = replace(after.meta, resource_version=before.meta.resource_version)
    same = replace(after, meta=meta, status=before.status) == before
    told = ({**it.status, **dict.fromkeys(_USE)} for it in (before, after))
    return same and next(told) == next(told)


def _decisive(status: Mapping[str, Any]) -> dict[str, Any]:
    """Return what admission may decide by."""
    kept = {key: value for key, value in status.items() if key not in _TOLD}
    return {**kept, "conditions": {it["type"]: it["status"] for it in status.get("conditions", ())}}


#: With each shard that is done there is less to grow for, never more, so nobody has to look for that alone.
_TOLD = ("progress", "nodeSeconds", "queue", "reason", "observedGeneration", "shards", "rows")
_USE = ("lastActivityTime", "idleAt")
