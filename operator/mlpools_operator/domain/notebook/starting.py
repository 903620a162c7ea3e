"""A notebook that does not serve yet: what is in its way, in one word and a sentence."""

from __future__ import annotations

import math
from typing import NamedTuple

from mlpools.contract.ends import REASONS, Exit
from mlpools_operator.domain import wording
from mlpools_operator.domain.attempt import reports, scheduler_words, starting
from mlpools_operator.domain.attempt.failures import is_machine_gone
from mlpools_operator.domain.notebook.idle import Look
from mlpools_operator.domain.observed import ClaimChild, JobChild, PodChild
from mlpools_operator.domain.pool.holding import KILL_SECONDS

#: What a supervisor says before it starts the program, and what that means for a notebook.
#: A program's own end is none: its last words say more than its exit code.
_CAUSES = {code: reason for code, reason in REASONS.items() if code != Exit.USER_CODE}
#: The kubelet's word for a container that ends whenever it is started.
CRASHES = "CrashLoopBackOff"
_WORDS_BYTES = 512
#: From the start of the container to the first answer; JupyterLab takes some seconds.
_ANSWER_SECONDS = 60.0


class Hindrance(NamedTuple):
    """What is in the way; the reason is empty in the ordinary course of a start.

    Attributes:
        look_after: seconds until there may be something to tell.
    """

    reason: str
    message: str
    look_after: float | None = None


def hindrance(
    made: JobChild | None,
    pod: PodChild | None,
    claim: ClaimChild | None,
    look: Look | None,
    family: str,
    now: float,
) -> Hindrance:
    """Return what is in the way of a notebook that is admitted.

    Args:
        made: its StatefulSet.
        pod: of the present start.
        claim: of its workspace.
        look: the newest one at that pod.
        family: of the machines, empty if they have no name.
        now: seconds since the epoch.
    """
    if made is None:
        return Hindrance("", "Its pod is being made.")
    if pod is not None and pod.gone_by and not pod.terminal and now >= pod.gone_by + KILL_SECONDS:
        return Hindrance("NodeLost", _stranded(pod))
    if pod is not None and pod.waiting == CRASHES:
        return _ended(pod)
    if pod is not None and pod.started:
        return _silent(pod, look, now)
    search = starting.Search(math.inf, family)
    found = starting.trouble(made, [pod] if pod else [], 1, search, math.inf)
    if found is None or math.isinf(found.shown):
        return Hindrance("", "Its container is being started.")
    if now < found.shown:
        return Hindrance("", "Its pod is being placed and started.", found.shown - now)
    if found.reason == "Unschedulable" and claim is not None and not claim.bound and not claim.storage_class:
        return Hindrance(
            "NoStorageClass",
            f"Its workspace, claim {claim.meta.name}, has no storage class, and the cluster has no default "
            "one: name storage.storageClassName, or ask your administrator for a default.",
        )
    return Hindrance(found.reason, f"{found.message}.")


def lacking(pod: PodChild | None, seconds: float, now: float) -> str:
    """Return what kept a pod from getting a machine in time; empty if nothing, or something else, did.

    Args:
        pod: of the present start.
        seconds: for which its pool lets it look for one.
        now: seconds since the epoch.
    """
    if pod is None or pod.node or pod.terminal or now < pod.meta.created + seconds:
        return ""
    if scheduler_words.about_volumes(pod.unschedulable):
        return ""  # no machine whatever would do
    return scheduler_words.short(pod.unschedulable) or "the scheduler found none"


def out_of_memory(pod: PodChild | None) -> str:
    """Say that what runs was started again because it ran out of memory; empty if it was not.

    The system ends all processes of such a container at once, so nobody inside can say so.
    """
    if pod is None or pod.last_reason != "OOMKilled":
        return ""
    limit = f" of {pod.memory_limit}" if pod.memory_limit else ""
    return (
        f"It ran out of memory at the limit{limit} and was started again: what its kernels held is gone, its "
        "workspace is as it was. Hold less in memory at once, or take a pool with more memory per node."
    )


def _ended(pod: PodChild) -> Hindrance:
    """Say why a program ends whenever it is started: the supervisor's cause, or the program's last words."""
    if pod.last_reason == "OOMKilled":
        return Hindrance("OutOfMemory", out_of_memory(pod))
    final = next(iter(reports.finals([pod.last_words])), None)
    if final is None or final.code not in _CAUSES:
        words = _words(pod) or f"It left no words: see to its image, or to its command. {_log(pod)}"
        return Hindrance("ServerFailed", f"It ends whenever it is started. {words}")
    if final.code == Exit.OUTPUT_NOT_WRITABLE:
        return Hindrance("WorkspaceNotWritable", final.message)
    return Hindrance(_CAUSES[final.code], final.message)


def _words(pod: PodChild) -> str:
    """Return the last words of the container before: of a program's own output the end says why."""
    final = next(iter(reports.finals([pod.last_words])), None)
    return final.message if final else wording.ending(pod.last_words, _WORDS_BYTES)


def _before(pod: PodChild) -> str:
    words = out_of_memory(pod) or (f"Before, it ended: {_words(pod)}" if pod.last_words else "")
    return f" {words}" if words else ""


def _log(pod: PodChild) -> str:
    return f"`kubectl logs {pod.meta.name} -n {pod.meta.namespace}` shows what it says."


def _silent(pod: PodChild, look: Look | None, now: float) -> Hindrance:
    left = pod.started + _ANSWER_SECONDS - now
    before = _before(pod)
    if left > 0:
        return Hindrance("", f"Its program is starting.{before}", left)
    seconds = wording.duration(now - pod.started)
    trouble = f" {look.trouble}" if look and look.trouble else ""
    said = f"Its last lines: {look.said}" if look and look.said else _log(pod)
    return Hindrance(
        "NotServing",
        f"It has run for {seconds} and does not answer at its port (port).{trouble} {said}{before}",
    )


def _stranded(pod: PodChild) -> str:
    if is_machine_gone(pod):
        return f"Its machine {pod.node} is gone; its pod follows in a moment, and starts elsewhere."
    return (
        f"Its machine {pod.node} does not answer, and may still write to the workspace. It starts elsewhere "
        "once the machine answers, is deleted, or has the taint node.kubernetes.io/out-of-service."
    )
