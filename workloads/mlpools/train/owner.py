"""``owner.json`` in an output: the job whose output it is."""

from __future__ import annotations

from typing import Any

from mlpools.contract.tasks import Task
from mlpools.storage import Location
from mlpools.train.documents import pretty, read

OWNER = "owner.json"


def owner_of(root: Location) -> dict[str, Any]:
    """Return ``uid``, ``namespace`` and ``name`` of the job that a place belongs to; empty if to nobody.

    Raises:
        DataNotReadable: the place cannot be looked into.
    """
    return read(root.child(OWNER)) or {}


def written_owner(task: Task, **more: Any) -> bytes:
    """Return the document that says that a place is a task's."""
    return pretty({"uid": task.uid, "namespace": task.namespace, "name": task.name, **more})
