"""The rows of a job's queries, which lie beside its checkpoints for as long as an attempt may need them."""

from __future__ import annotations

from mlpools.contract import Task
from mlpools.errors import JobError
from mlpools.locations import child_url
from mlpools.train.reporter import log


def folder(task: Task) -> str:
    """Return the URL of the folder that all ranks and attempts of a job share."""
    return child_url(str(task.checkpoint["url"]), f"{task.uid}/sql")


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
