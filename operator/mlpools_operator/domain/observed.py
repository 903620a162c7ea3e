"""What the decisions read of the world: slim, frozen copies of objects.

The Store keeps nothing else in memory, so a field appears here when a decision needs it. Times are
seconds since the epoch, as the API server wrote them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal


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
    """A child whose state does not matter, only its being there: Service, NetworkPolicy."""

    kind: str
    meta: Meta


@dataclass(frozen=True, slots=True)
class JobChild:
    """The Indexed Job of one attempt.

    Attributes:
        attempt: from the label ``mlpools.dev/attempt``.
        parallelism: of its spec: pods that it may still make while it has not ended.
        ended: ``Complete`` or ``Failed`` once the Job controller said so.
        reason: of that condition, or of ``FailureTarget``.
        message: of that condition.
        selector: labels of machines that its pods ask for.
        devices: names of the resources beyond CPU, memory and disk that each pod asks for.
    """

    meta: Meta
    attempt: int
    parallelism: int = 0
    ended: Literal["", "Complete", "Failed"] = ""
    reason: str = ""
    message: str = ""
    selector: Mapping[str, str] = field(default_factory=dict)
    devices: frozenset[str] = frozenset()


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
        waiting: reason of the container's waiting state, such as ``ImagePullBackOff``.
        waiting_message: what the kubelet says about it.
        exit_code: of the terminated main container; None before.
        exit_reason: ``OOMKilled``, ``Error``, ``Completed``, …
        termination: the termination message: a ``contract.Final``, or what a foreign program left.
        finished: when the main container ended, 0 before.
        scheduled: when a machine was found, 0 before.
        started: when the main container started, 0 before.
        memory_limit: of the main container, as written, such as ``4Gi``.
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
    waiting: str = ""
    waiting_message: str = ""
    exit_code: int | None = None
    exit_reason: str = ""
    termination: str = ""
    finished: float = 0.0
    scheduled: float = 0.0
    started: float = 0.0
    memory_limit: str = ""
    gone_by: float = 0.0

    @property
    def terminal(self) -> bool:
        """Whether it holds its node no more."""
        return self.phase in ("Succeeded", "Failed")
