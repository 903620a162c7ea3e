"""Batch inferences whose pods are processes, and what they leave in a folder of a test."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

from mlpools.contract.ends import Exit, Final
from mlpools.contract.tasks import INFERENCE, Task
from tests.support.pods import Pods

_ROOT = Path(__file__).parents[2]


def a_task(folder: Path, keep: str, spec: dict[str, Any], **changes: Any) -> Task:
    """Return a task that predicts by ``scoring.py`` of the folder for the files of its ``in``.

    Args:
        folder: of the test.
        keep: column that stands beside the prediction.
        spec: of the task, beside the model.
        changes: other fields of it.
    """
    task = Task(
        namespace="team",
        name="scores",
        uid="uid-1",
        attempt=1,
        nodes=1,
        coordinator="127.0.0.1",
        framework=INFERENCE,
        spec={"model": {"framework": "python", "entrypoint": "scoring:predict"}, **spec},
        data={"input": {"parquet": {"url": str(folder / "in")}}},
        output={"url": str(folder / "out"), "keep": [keep]},
        checkpoint={},
        grace_period_seconds=20,
    )
    return replace(task, **changes)


def pods(folder: Path, task: Task) -> Pods:
    """Return the pods of a task; ``scoring.py`` finds the folder in ``SCORING``."""
    environ = {
        "PYTHONPATH": f"{_ROOT / 'workloads'}{os.pathsep}{folder}",
        "SCORING": str(folder),
        "MLPOOLS_CACHE": str(folder / "cache"),
    }
    return Pods(task, folder / f"pods-{task.attempt}", environ=environ)


def run(folder: Path, task: Task) -> Final:
    """Run a task to its good end."""
    with pods(folder, task) as gang:
        final = gang.wait()[0]
        assert final.code == Exit.DONE, gang[0].output()
        return final


def parts(folder: Path) -> dict[str, int]:
    """Return the inode of each part: it is another one if the part was written again."""
    return {path.name: path.stat().st_ino for path in (folder / "out").glob("part-*")}
