"""An attempt that does not get going: what is in its way, and until when that is borne.

Most of it passes by itself (an autoscaler brings a machine, a pull succeeds at the second try), so a
person is told after ``SHOW_SECONDS``, and the nodes are given back when patience ends.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from mlpools_operator.domain import wording
from mlpools_operator.domain.attempt import scheduler_words
from mlpools_operator.domain.observed import JobChild, PodChild

#: Before this, a hindrance is taken for the ordinary course of a start.
SHOW_SECONDS = 5.0
#: Before this, nothing is shown that nobody told: the Job controller and the scheduler may just be busy, and
#: in a busy cluster a status for each step of each gang would make them busier. Nor is counted, later on, how
#: many pods are left: each one would be another status.
UNTOLD_SECONDS = 30.0
#: For all pods to be made. That nothing is seen may also mean that news are late, so this has to be far
#: longer than they ever are.
MAKE_SECONDS = 300.0
#: For an image to be pulled after the first refusal, a Secret to appear.
HINDRANCE_SECONDS = 60.0
#: Avoided machines that are named.
_SHOWN = 3

_IMAGE = frozenset(
    {"ImagePullBackOff", "ErrImagePull", "InvalidImageName", "ErrImageNeverPull", "ImageInspectError"}
)
_CONFIG = frozenset({"CreateContainerConfigError", "CreateContainerError", "RunContainerError"})
#: What the kubelet says of a Secret or ConfigMap that is not there.
ABSENT = re.compile(r"(secret|configmap|couldn't find key).*(not found|in \w+)", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Search:
    """How machines are looked for.

    Attributes:
        seconds: from the making of the Job until all pods have one.
        family: of the machines, empty if they have no name.
        avoided: names of machines that the pods keep away from.
    """

    seconds: float
    family: str = ""
    avoided: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Trouble:
    """What keeps an attempt from running.

    Attributes:
        reason: of the condition ``PodsReady``, and of the failure once patience has ended.
        shown: when a person is told.
        until: when the attempt is given up.
        pod: the one that it is about, if it is about one.
    """

    reason: str
    message: str
    shown: float
    until: float
    pod: PodChild | None = None


def trouble(
    job: JobChild, pods: Sequence[PodChild], nodes: int, search: Search, start_seconds: float
) -> Trouble | None:
    """Return what gives an attempt up first, or None if all its pods run.

    Args:
        job: the attempt's Job.
        pods: of this attempt only.
        nodes: size of the gang.
        search: for the machines of the pods.
        start_seconds: from the last pod's machine to the last container's start.
    """
    found = [
        *_unmade(job, pods, nodes),
        *_unscheduled(job, pods, search),
        *_waiting(pods),
        *_slow(pods, nodes, start_seconds),
    ]
    return min(found, key=lambda it: (it.until, -1 if it.pod is None else it.pod.rank), default=None)


def _unmade(job: JobChild, pods: Sequence[PodChild], nodes: int) -> Iterator[Trouble]:
    if len(pods) >= nodes:
        return
    since = max([job.meta.created, *(pod.meta.created for pod in pods)])
    what = "Its pod could not be made" if nodes == 1 else f"Not all of its {nodes} pods could be made"
    yield Trouble(
        "PodsRefused",
        f"{what}. A quota, Pod Security or a webhook is in the way; "
        f"`kubectl describe {job.kind.lower()} {job.meta.name} -n {job.meta.namespace}` shows its words",
        since + UNTOLD_SECONDS,
        since + MAKE_SECONDS,
    )


def _unscheduled(job: JobChild, pods: Sequence[PodChild], search: Search) -> Iterator[Trouble]:
    left = [pod for pod in pods if not pod.node and not pod.terminal]
    if not left:
        return
    worst = min(left, key=lambda pod: (not pod.unschedulable, pod.rank))
    which = f"machine of family {search.family}" if search.family else "machine"
    whose = f"for {len(left)} of {len(pods)} pods" if worst.unschedulable else "yet for all of its pods"
    yield Trouble(
        "Unschedulable",
        f"No {which} {whose}{_why(worst.unschedulable, search.avoided)}",
        job.meta.created + (SHOW_SECONDS if worst.unschedulable else UNTOLD_SECONDS),
        job.meta.created + search.seconds,
        worst,
    )


def _why(words: str, avoided: Sequence[str]) -> str:
    """Return what the scheduler says, and what would help."""
    said = f": {scheduler_words.short(words)}" if words else ""
    if not avoided:
        return f"{said}. {scheduler_words.remedy(words)}"
    names = wording.listing(avoided, _SHOWN)
    return (
        f"{said}; it avoids {names}, which failed this job. "
        "Add machines; if there are none in time, the next attempt avoids none"
    )


def _waiting(pods: Sequence[PodChild]) -> Iterator[Trouble]:
    for pod in pods:
        if pod.terminal or pod.waiting not in _IMAGE | _CONFIG:
            continue
        since = pod.scheduled or pod.meta.created
        words = _of_init(pod) + (pod.waiting_message or pod.waiting)
        if pod.waiting in _IMAGE:
            reason = "ImagePullFailed"
        else:
            reason = "SecretMissing" if ABSENT.search(words) else "PodsRefused"
        yield Trouble(reason, words, since + SHOW_SECONDS, since + HINDRANCE_SECONDS, pod)


def _slow(pods: Sequence[PodChild], nodes: int, seconds: float) -> Iterator[Trouble]:
    late = [pod for pod in pods if not pod.started and not pod.terminal]
    if not late or len(pods) < nodes or any(not pod.scheduled for pod in pods):
        return
    until = max(pod.scheduled for pod in pods) + seconds
    worst = min(late, key=lambda pod: pod.rank)
    words = _of_init(worst) + (worst.waiting_message or ("it has not ended" if worst.init_container else ""))
    yield Trouble(
        "StartTimeout",
        f"{len(late)} of {nodes} containers did not start in {seconds:.0f} s (startTimeoutSeconds)"
        + (f": {words}" if words else ""),
        until,
        until,
        worst,
    )


def _of_init(pod: PodChild) -> str:
    """Return whose words follow, if they are not those of the container that runs the job."""
    return f"init container {pod.init_container!r}: " if pod.init_container else ""
