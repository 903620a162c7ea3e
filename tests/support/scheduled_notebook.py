"""A notebook with a schedule in a simulated cluster, and who has its workspace."""

from __future__ import annotations

from typing import Any

from mlpools_operator.controller.store import Key
from mlpools_operator.domain import naming, times
from tests.support.api_server import Json, is_terminal, owner_of
from tests.support.domain_run import NAMESPACE, Run
from tests.support.schedules import EVERY_MINUTE, START

KIND = "NotebookRuntime"
KEY = Key(KIND, NAMESPACE, "alice")
CLAIM = naming.workspace("alice")


def submit(*, stopped: bool = True, steps: int = 3, max_nodes: int = 3, **changes: Any) -> Run:
    """Return a cluster with a notebook that ran once; ``changes`` are fields of its schedule."""
    run = Run(max_nodes=max_nodes, steps=steps)
    run.clock.now = START - 300
    schedule = {"cron": EVERY_MINUTE, "notebook": "daily.ipynb", "suspend": True, **changes}
    run.submit("alice", KIND, schedule=schedule)
    run.until("alice", "Running")
    if stopped:
        run.change("alice", suspend=True)
        run.until("alice", "Stopped")
    run.clock.now = max(run.clock.now, START)
    set_schedule(run, suspend=changes.get("suspend", False))
    run.operator.pass_all()
    return run


def set_schedule(run: Run, **changes: Any) -> None:
    """Change fields of the schedule."""
    spec = run.world.get(KIND, NAMESPACE, "alice")["spec"]
    run.change("alice", schedule={**spec["schedule"], **changes})


def runs(run: Run) -> list[Json]:
    """Return all runs that exist."""
    return [job for job in run.world.list("TrainingJob") if owner_of(job)]


def names(run: Run) -> list[str]:
    return [job["metadata"]["name"] for job in runs(run)]


def told(run: Run) -> Json:
    """Return what the status says of the schedule."""
    schedule: Json = run.status("alice").get("schedule", {})
    return schedule


def with_workspace(run: Run) -> list[str]:
    """Return whose pods may write to the workspace, once for each pod."""
    return [
        pod["metadata"]["labels"][naming.JOB_NAME]
        for pod in run.world.list("Pod")
        if not is_terminal(pod)
        and any(
            volume.get("persistentVolumeClaim", {}).get("claimName") == CLAIM
            for volume in pod["spec"].get("volumes", ())
        )
    ]


def ask_to_start(run: Run) -> None:
    """Ask for the notebook, whether it was suspended or has stopped by itself."""
    run.change("alice", suspend=False)
    run.annotate("alice", naming.START_REQUESTED, times.stamp(run.clock()), KIND)
