"""The rows of a job's queries, which lie beside its checkpoints for as long as an attempt may need them."""

from __future__ import annotations

from mlpools.contract.tasks import Task
from mlpools.errors import JobError
from mlpools.locations import child_url
from mlpools.train.reporter import log

#: Folder in the output of a job that has no checkpoints; hidden, so that it is never taken for data.
_WITHOUT_CHECKPOINTS = "_sql"


def folder(task: Task) -> str:
    """Return the URL of the folder that all ranks and attempts of a job share."""
    root = task.checkpoint.get("url") or child_url(str(task.output["url"]), _WITHOUT_CHECKPOINTS)
    return child_url(str(root), f"{task.uid}/sql")


def remove(task: Task) -> None:
    """Remove them: the result is written, and no attempt will read them again.

    A failed job keeps them. That they stay is no failure of a job that has its result.
    """
    if not any("sql" in source for source in task.data.values()):
        return
    from mlpools.storage import locate

    try:
        locate(folder(task)).delete_tree()
    except JobError as error:
        log(f"The rows of the job's queries stay in {folder(task)}: {error}")
