"""Who has a notebook's workspace, which one pod alone may have: the notebook itself, or a run.

Which run it is stands in the notebook's status before that run is made, without a UID: it is promised the
workspace. Both that and the notebook's admission are writes of the same status, so they exclude each other
whatever dies in between, and whatever answer is lost. A promise ends by the run being seen, or by knowing
that none was made.
"""

from __future__ import annotations

from mlpools_operator.api.v1alpha1 import WorkspaceRun
from mlpools_operator.domain.attempt.failures import is_machine_gone
from mlpools_operator.domain.notebook.step import Step
from mlpools_operator.domain.observed import PodChild, Resource
from mlpools_operator.domain.schedules.runs import Hindrance

#: Why a notebook waits while a run has its workspace, and a run while another one has it.
IN_USE = "WorkspaceInUse"


def of(step: Step) -> WorkspaceRun | None:
    """Return the run that has the workspace, or was promised it."""
    told, there = step.draft.before.run, step.observed.runs
    if told is not None and not told.uid:
        made = next((it for it in there if it.meta.name == told.name), None)
        return told if made is None else _named(made)
    if told is not None and (lives(step, told) or _has_pods(step)):
        return told
    # Nothing that exists is overlooked, whatever somebody did to the status.
    return next((_named(it) for it in there if not it.meta.deleting and not is_over(it)), None)


def lives(step: Step, run: WorkspaceRun) -> bool:
    """Whether a run is there and goes on; its pods may outlive it."""
    found = (it for it in step.observed.runs if it.meta.uid == run.uid)
    return any(not it.meta.deleting and not is_over(it) for it in found)


def is_over(run: Resource) -> bool:
    """Whether a run has ended."""
    conditions = run.status.get("conditions", ())
    return any(it["type"] in ("Complete", "Failed") and it["status"] == "True" for it in conditions)


def notebook_has_pods(step: Step) -> bool:
    """Whether a pod of the notebook itself may still write to the workspace."""
    return any(_is_alive(pod) for pod in step.observed.pods)


def words(run: WorkspaceRun) -> str:
    """Say to who wants the notebook why it does not start."""
    if not run.uid:
        return f"Its scheduled run {run.name} is about to begin and gets the workspace; it starts after that."
    return (
        f"Its scheduled run {run.name} has the workspace; it starts when that run has ended. "
        f"`kubectl get tj {run.name}` shows how far it is; deleting it ends it now."
    )


def hindrance(run: WorkspaceRun) -> Hindrance:
    """Say what is in the way of the next run."""
    return Hindrance(IN_USE, f"The run that is due waits: run {run.name} has the workspace.")


def _has_pods(step: Step) -> bool:
    """Whether a pod of the run may still write to the workspace, or one may yet be made."""
    observed = step.observed
    return any(_is_alive(pod) for pod in observed.run_pods) or any(
        not job.ended and not job.meta.deleting for job in observed.run_jobs
    )


def _is_alive(pod: PodChild) -> bool:
    return not pod.terminal and not is_machine_gone(pod)


def _named(run: Resource) -> WorkspaceRun:
    return WorkspaceRun(name=run.meta.name, uid=run.meta.uid)
