"""What the operator knows of the world: slim copies by key, and every resource's children at hand."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import NamedTuple

from mlpools_operator.controller.read import Entry
from mlpools_operator.domain import naming
from mlpools_operator.domain.observed import Child, JobChild, Namespace, PodChild, Resource

_TOMBSTONES = 20_000


class Key(NamedTuple):
    """Where an object is; ``namespace`` is empty for cluster-scoped kinds."""

    kind: str
    namespace: str
    name: str


@dataclass(frozen=True, slots=True)
class Change:
    """One object came, changed or went.

    Attributes:
        before: None when it came.
        after: None when it went.
    """

    key: Key
    before: Entry | None
    after: Entry | None

    @property
    def matters(self) -> bool:
        """Whether anything that decisions read is different: most updates of pods touch other fields."""
        if self.before is None or self.after is None:
            return True
        version = self.after.meta.resource_version
        meta = replace(self.before.meta, resource_version=version)
        return replace(self.before, meta=meta) != self.after


@dataclass(frozen=True, slots=True)
class Family:
    """The children of one resource, in a fixed order.

    Attributes:
        runs: resources of our own kinds that a schedule made.
    """

    children: tuple[Child, ...] = ()
    jobs: tuple[JobChild, ...] = ()
    pods: tuple[PodChild, ...] = ()
    runs: tuple[Resource, ...] = ()


def root_of(entry: Entry) -> str:
    """Return the UID of the resource that an object belongs to; its own UID for one that belongs to none.

    A pod belongs to a resource through its Job, which may be gone before it: so the label counts.
    """
    if isinstance(entry, Resource | Namespace):
        return entry.meta.uid
    return entry.meta.labels.get(naming.JOB_UID) or entry.meta.owner


def family_of(entry: Entry) -> str:
    """Return the UID of the resource whose child an object is; empty for what belongs to none."""
    return entry.meta.owner if isinstance(entry, Resource | Namespace) else root_of(entry)


class Store:
    """All watched objects, the newest version of each.

    Watch events, the answers to our own writes and sweeps all end here, in any order: the newer
    resourceVersion wins, and what is gone stays gone, since a UID never comes back.
    """

    def __init__(self) -> None:
        self._objects: dict[str, dict[str, tuple[Key, Entry]]] = {}
        self._uids: dict[Key, str] = {}
        self._families: dict[str, dict[str, tuple[Key, Entry]]] = {}
        self._gone: OrderedDict[str, None] = OrderedDict()
        self._listeners: list[Callable[[Change], None]] = []

    def subscribe(self, listener: Callable[[Change], None]) -> None:
        """Have every change told, at once."""
        self._listeners.append(listener)

    def put(self, kind: str, entry: Entry) -> None:
        """Remember an object unless it is gone already or known in a newer version."""
        meta = entry.meta
        if meta.uid in self._gone:
            return
        key = Key(kind, meta.namespace, meta.name)
        known = self._objects.get(kind, {}).get(meta.uid)
        if known and not _newer(meta.resource_version, known[1].meta.resource_version):
            return
        successor = self._uids.get(key)
        if successor and successor != meta.uid:
            if not _newer(meta.resource_version, self._objects[kind][successor][1].meta.resource_version):
                return  # the last words of a namesake that has been replaced
            self.remove(kind, successor)
        self._objects.setdefault(kind, {})[meta.uid] = (key, entry)
        self._uids[key] = meta.uid
        if known and family_of(known[1]) != family_of(entry):
            self._leave_family(known[1])
        if family_of(entry):
            self._families.setdefault(family_of(entry), {})[meta.uid] = (key, entry)
        self._tell(Change(key, known[1] if known else None, entry))

    def remove(self, kind: str, uid: str) -> bool:
        """Forget an object that is gone; return whether it was remembered."""
        self._gone[uid] = None
        if len(self._gone) > _TOMBSTONES:
            self._gone.popitem(last=False)
        known = self._objects.get(kind, {}).pop(uid, None)
        if known is None:
            return False
        key, entry = known
        if self._uids.get(key) == uid:
            del self._uids[key]
        self._leave_family(entry)
        self._tell(Change(key, entry, None))
        return True

    def get(self, key: Key) -> Entry | None:
        """Return an object by its place."""
        uid = self._uids.get(key)
        return self._objects[key.kind][uid][1] if uid else None

    def resource(self, key: Key) -> Resource | None:
        """Return one of our own objects by its place."""
        entry = self.get(key)
        return entry if isinstance(entry, Resource) else None

    def namespaces(self) -> dict[str, Mapping[str, str]]:
        """Return the labels of all known namespaces."""
        entries = (entry for _, entry in self.all("Namespace"))
        return {entry.meta.name: entry.labels for entry in entries if isinstance(entry, Namespace)}

    def find(self, kind: str, uid: str) -> Entry | None:
        """Return an object by its UID."""
        known = self._objects.get(kind, {}).get(uid)
        return known[1] if known else None

    def was_removed(self, uid: str) -> bool:
        """Whether an object is known to be gone."""
        return uid in self._gone

    def all(self, kind: str) -> Iterator[tuple[Key, Entry]]:
        """Iterate over all objects of a kind; do not change the store meanwhile."""
        return iter(self._objects.get(kind, {}).values())

    def sizes(self) -> dict[str, int]:
        """Return how many objects are remembered, by kind."""
        return {kind: len(objects) for kind, objects in self._objects.items()}

    def family(self, uid: str) -> Family:
        """Return what belongs to a resource, without looking at anything else."""
        members = [entry for _, entry in self._families.get(uid, {}).values()]
        return Family(
            children=tuple(
                sorted((m for m in members if isinstance(m, Child)), key=lambda m: (m.kind, m.meta.name))
            ),
            jobs=tuple(sorted((m for m in members if isinstance(m, JobChild)), key=lambda m: m.attempt)),
            pods=tuple(
                sorted(
                    (m for m in members if isinstance(m, PodChild)),
                    key=lambda m: (m.attempt, m.rank, m.meta.created, m.meta.name),
                )
            ),
            runs=tuple(sorted((m for m in members if isinstance(m, Resource)), key=lambda m: m.meta.name)),
        )

    def _leave_family(self, entry: Entry) -> None:
        parent = family_of(entry)
        family = self._families.get(parent)
        if family is not None:
            family.pop(entry.meta.uid, None)
            if not family:
                del self._families[parent]

    def _tell(self, change: Change) -> None:
        for listener in self._listeners:
            listener(change)


def _newer(version: str, than: str) -> bool:
    """Whether a resourceVersion is newer; within one cluster they are comparable numbers."""
    return int(version or 0) > int(than or 0)
