"""Volumes that a notebook's pod waits for: only Events say what keeps them away, and what would help."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from mlpools_operator.domain import naming, wording
from mlpools_operator.domain.attempt import scheduler_words, starting
from mlpools_operator.domain.notebook.starting import Hindrance
from mlpools_operator.domain.observed import ClaimChild, Meta, PodChild, Told

#: Before this it is the ordinary course of a start.
PATIENCE_SECONDS = 10.0
#: A provisioner that says nothing but that it was asked is given so long.
_PROVISION_SECONDS = 60.0

_ATTACH, _MOUNT, _PROVISION = "FailedAttachVolume", "FailedMount", "ProvisioningFailed"
_ASKED = ("ExternalProvisioning", "Provisioning")
#: Of a container whose volumes are not there yet, or whose image is pulled.
_WAITING = ("", "ContainerCreating", "PodInitializing")
#: What the kubelet says besides, of all volumes together.
_SUMMARY = "Unable to attach or mount volumes"
_WORDS_BYTES = 400


class Question(NamedTuple):
    """What Events are to be asked about.

    Attributes:
        about: the pod, or the claim of the workspace.
        since: when it began to wait, in seconds since the epoch.
    """

    about: Meta
    since: float


def question(pods: Sequence[PodChild], claim: ClaimChild | None) -> Question | None:
    """Return what the pod of a notebook may be waiting for, None if it waits for no volume.

    Args:
        pods: of the notebook.
        claim: of its workspace.
    """
    own = [it for it in pods if it.meta.labels.get(naming.PART) != naming.NODE]
    pod = max(own, key=lambda it: it.meta.created, default=None)
    if pod is None or pod.terminal or pod.started or pod.gone_by:
        return None
    if pod.node:
        waits = pod.waiting in _WAITING
        return Question(pod.meta, pod.scheduled or pod.meta.created) if waits else None
    if pod.unschedulable and not scheduler_words.about_volumes(pod.unschedulable):
        return None
    if claim is None or claim.bound or not claim.storage_class:
        return None
    return Question(claim.meta, pod.meta.created)


def hindrance(
    told: Sequence[Told], pods: Sequence[PodChild], claim: ClaimChild | None, now: float
) -> Hindrance | None:
    """Return what keeps a volume away, None if nobody says that something does.

    Args:
        told: what Events say about what is in question.
        pods: of the notebook.
        claim: of its workspace.
        now: seconds since the epoch.
    """
    asked = question(pods, claim)
    if asked is None or now < asked.since + PATIENCE_SECONDS:
        return None
    if claim is not None and asked.about == claim.meta:
        return _unprovided(told, claim, now - asked.since)
    pod = next(it for it in pods if it.meta == asked.about)
    return _unmounted(told, pod)


def _unmounted(told: Sequence[Told], pod: PodChild) -> Hindrance | None:
    failures: list[Told] = []
    # What comes after them, such as the pull of the image, says that all volumes are there.
    for event in sorted(told, key=lambda it: (it.at, it.reason in (_ATTACH, _MOUNT))):
        failures = [*failures, event] if event.reason in (_ATTACH, _MOUNT) else []
    if not failures:
        return None
    worst = max(failures, key=lambda it: (not it.message.startswith(_SUMMARY), it.at))
    words = wording.fit(worst.message, _WORDS_BYTES).rstrip(".")
    if starting.ABSENT.search(worst.message):
        return Hindrance("SecretMissing", f"{words}. Its pod waits for that, and starts once it is there.")
    how = "attached to" if worst.reason == _ATTACH else "mounted on"
    return Hindrance(
        "VolumeUnavailable", f"A volume cannot be {how} machine {pod.node}: {words}. {_remedy(worst, pod)}"
    )


def _remedy(worst: Told, pod: PodChild) -> str:
    if worst.message.startswith("Multi-Attach"):
        return (
            "The machine that has it lets go once no pod there uses it, or, if it is lost, once it is "
            "deleted or has the taint node.kubernetes.io/out-of-service."
        )
    return (
        "It is tried again all the time: mend the volume or its storage. "
        f"`kubectl describe pod {pod.meta.name} -n {pod.meta.namespace}` shows all that is said of it."
    )


def _unprovided(told: Sequence[Told], claim: ClaimChild, waited: float) -> Hindrance | None:
    reasons = (_PROVISION, *_ASKED) if waited >= _PROVISION_SECONDS else (_PROVISION,)
    found = max(
        (it for it in told if it.reason in reasons),
        key=lambda it: (it.reason == _PROVISION, it.at),
        default=None,
    )
    if found is None:
        return None
    words = wording.fit(found.message, _WORDS_BYTES).rstrip(".")
    return Hindrance(
        "VolumeUnavailable",
        f"Its workspace, claim {claim.meta.name}, gets no volume of storage class {claim.storage_class}: "
        f"{words}. Ask your administrator about that class, or delete the notebook and the claim, and name "
        "another storage.storageClassName.",
    )
