"""Machines that failed a job: remembered in its status, and avoided from the second time on.

A machine with a bad GPU or a broken network card often looks healthy to Kubernetes and gets the next attempt,
too. So of each failed attempt the machine of the cause is remembered, and no other: the ranks that die of it
are victims. What counts is what a machine can bring about, which is that it was lost, that a process crashed
without a word, that it hung, or that its network is slow. The user's errors, memory that ran out and data
that cannot be read follow the job to every machine, and an eviction is somebody's wish. A crash may be the
program's fault as well, which shows when it happens elsewhere; hence twice on the same machine, and hence no
longer than this job.

A pod's machine is known by the name of its Node, so that is what the pods are kept from, and not the label
``kubernetes.io/hostname``, which may differ. Karpenter starts no machine for a pod that asks for either, and
there may be no other machine at all. So when an attempt that avoids machines does not get enough of them in
time, the next one avoids none: whatever is wrong with them, they are better than nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from mlpools_operator.api.v1alpha1 import SuspectNode
from mlpools_operator.domain import overlay
from mlpools_operator.domain.attempt.failures import Cause
from mlpools_operator.domain.plan import Object

#: Failures of a job on one machine after which it is avoided.
FAILURES = 2
#: Machines that are remembered for one job.
REMEMBERED = 16

_BLAMED = frozenset({"NodeLost", "Hung", "WorkerCrashed", "FabricTooSlow"})
_REQUIRED = "requiredDuringSchedulingIgnoredDuringExecution"


def after(known: Sequence[SuspectNode], cause: Cause) -> tuple[SuspectNode, ...]:
    """Return what is remembered once an attempt has failed of a cause; the newest machine comes first."""
    if cause.reason == "Unschedulable":
        return tuple(suspect for suspect in known if suspect.failures < FAILURES)
    if cause.reason not in _BLAMED or not cause.node:
        return tuple(known)
    failures = 1 + sum(suspect.failures for suspect in known if suspect.node == cause.node)
    others = [suspect for suspect in known if suspect.node != cause.node]
    ordered = sorted([SuspectNode(node=cause.node, failures=failures), *others], key=lambda it: -it.failures)
    return tuple(ordered[:REMEMBERED])


def avoided(known: Sequence[SuspectNode]) -> tuple[str, ...]:
    """Return the machines that the job's attempts avoid."""
    return tuple(suspect.node for suspect in known if suspect.failures >= FAILURES)


def keep_away(template: Object, machines: Sequence[str]) -> Object:
    """Return a pod template that fits no machine of those; what it asked of machines before still holds.

    The terms of a node affinity are alternatives, so each of them is narrowed. A field takes one value.
    """
    if not machines:
        return template
    not_there = [{"key": "metadata.name", "operator": "NotIn", "values": [name]} for name in machines]
    terms = [
        {**term, "matchFields": [*(term.get("matchFields") or ()), *not_there]}
        for term in _terms(template) or [{}]
    ]
    required = {_REQUIRED: {"nodeSelectorTerms": terms}}
    return overlay.merge(template, {"spec": {"affinity": {"nodeAffinity": required}}})


def _terms(template: Object) -> list[Mapping[str, Any]]:
    """Return the terms of the node affinity; a pool's overlay may hold anything that JSON does."""
    found: Any = template
    for field in ("spec", "affinity", "nodeAffinity", _REQUIRED, "nodeSelectorTerms"):
        found = found.get(field) if isinstance(found, Mapping) else None
    return [term for term in found if isinstance(term, Mapping)] if isinstance(found, list | tuple) else []
