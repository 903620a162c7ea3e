"""What the decisions read of the world: slim, frozen copies of objects.

The Store keeps nothing else in memory, so a field appears here when a decision needs it. Times are
seconds since the epoch, as the API server wrote them.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal


class Unheard(enum.Enum):
    """Why the reports of a running job's rank 0 do not come."""

    REFUSED = "refused"
    SILENT = "silent"
    UNREADABLE = "unreadable"


@dataclass(frozen=True, slots=True)
class Meta:
    """Identity of an object.

    Attributes:
        namespace: empty for cluster-scoped kinds.
        owner: UID of the controlling owner, empty without one.
        spec_hash: our annotation ``mlpools.dev/spec-hash``, empty on foreign objects.
        deleting: a deletion timestamp is set.
        tracked_by: the tool that would make it again from a manifest, empty if none would.
    """

    name: str
    uid: str
    namespace: str = ""
    resource_version: str = ""
    generation: int = 0
    created: float = 0.0
    deleting: bool = False
    labels: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)
    owner: str = ""
    spec_hash: str = ""
    tracked_by: str = ""


@dataclass(frozen=True, slots=True)
class Resource:
    """One of our own objects: spec and status as the API server holds them (plain JSON)."""

    meta: Meta
    spec: Mapping[str, Any]
    status: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Namespace:
    """A namespace, with all its labels: they say which pools its jobs may use, and how much of them."""

    meta: Meta
    labels: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Child:
    """A child whose state does not matter, only its being there: Service, NetworkPolicy, Ingress."""

    kind: str
    meta: Meta


@dataclass(frozen=True, slots=True)
class Told:
    """What an Event says.

    Attributes:
        at: when it was last said.
    """

    reason: str
    message: str
    at: float


@dataclass(frozen=True, slots=True)
class ClaimChild:
    """The PersistentVolumeClaim of a notebook's workspace.

    Attributes:
        size: that it asks for, as written.
        storage_class: empty before one was chosen.
        bound: it has a volume.
    """

    meta: Meta
    size: str
    storage_class: str = ""
    bound: bool = False


@dataclass(frozen=True, slots=True)
class JobChild:
    """What makes the pods of one attempt: an Indexed Job, or the StatefulSet of a notebook.

    Attributes:
        kind: which of them.
        attempt: from the label ``mlpools.dev/attempt``.
        parallelism: of its spec: pods that it may still make while it has not ended.
        replaces: whether it makes a new pod for one that failed.
        given_up: ranks that failed so often that they get no new one.
        ended: ``Complete`` or ``Failed`` once the Job controller said so.
        reason: of that condition, or of ``FailureTarget``.
        message: of that condition.
        selector: labels of machines that its pods ask for.
        devices: names of the resources beyond CPU, memory and disk that each pod asks for.
    """

    meta: Meta
    attempt: int
    parallelism: int = 0
    replaces: bool = False
    given_up: frozenset[int] = frozenset()
    ended: Literal["", "Complete", "Failed"] = ""
    reason: str = ""
    message: str = ""
    selector: Mapping[str, str] = field(default_factory=dict)
    devices: frozenset[str] = frozenset()
    kind: str = "Job"


@dataclass(frozen=True, slots=True)
class PodChild:
    """One pod of an attempt.

    Attributes:
        rank: node rank, from the completion index.
        attempt: from the label ``mlpools.dev/attempt``.
        job: UID of the Job that controls it.
        phase: ``Pending``, ``Running``, ``Succeeded``, ``Failed``, ``Unknown``.
        reason: the pod's own reason, such as ``Evicted`` or ``NodeLost``.
        disruption: reason of the condition ``DisruptionTarget``, empty without it.
        disrupted: when that condition became true, 0 without it.
        unschedulable: the scheduler's words while it finds no machine.
        init_container: that has not done its work, so that the main container could not start; empty if none
            is in its way. What the pod waits for, how it ended, its limit and last words are this one's then.
        waiting: reason of the container's waiting state, such as ``ImagePullBackOff``.
        waiting_message: what the kubelet says about it.
        exit_code: of the terminated container; None before.
        exit_reason: ``OOMKilled``, ``Error``, ``Completed``, …
        termination: the termination message: a ``Final`` of the contract, or what a foreign program left.
        finished: when that container ended, 0 before.
        scheduled: when a machine was found, 0 before.
        started: when the main container started, 0 before.
        memory_limit: of the container, as written, such as ``4Gi``.
        last_words: of the container before, where it is started again and again.
        last_reason: why that one ended, in the words of ``exit_reason``.
        gone_by: when its grace ends, if it was told to end; 0 otherwise.
    """

    meta: Meta
    rank: int
    attempt: int
    job: str
    phase: str = "Pending"
    node: str = ""
    ip: str = ""
    ready: bool = False
    reason: str = ""
    message: str = ""
    disruption: str = ""
    disrupted: float = 0.0
    unschedulable: str = ""
    init_container: str = ""
    waiting: str = ""
    waiting_message: str = ""
    exit_code: int | None = None
    exit_reason: str = ""
    termination: str = ""
    finished: float = 0.0
    scheduled: float = 0.0
    started: float = 0.0
    memory_limit: str = ""
    last_words: str = ""
    last_reason: str = ""
    gone_by: float = 0.0

    @property
    def terminal(self) -> bool:
        """Whether it holds its node no more."""
        return self.phase in ("Succeeded", "Failed")
