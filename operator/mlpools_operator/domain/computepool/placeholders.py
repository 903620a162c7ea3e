"""Warm nodes: pods that do nothing, of a pool's whole shape and of a priority below every job's.

They make an autoscaler keep machines for the pool, and have the image on them before a job comes. A job
takes their place: its pods are made first, then as many placeholders go as there are pods without a machine,
so the scheduler has named the machine for a pod before the room there becomes free. Where it is quicker than
the operator, it preempts them by itself.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from mlpools_operator.api.v1alpha1 import ComputePoolSpec
from mlpools_operator.domain import naming, overlay, quantities
from mlpools_operator.domain.defaults import Defaults
from mlpools_operator.domain.observed import Child, PodChild, Resource
from mlpools_operator.domain.plan import Delete, Object
from mlpools_operator.domain.pods import network_profiles, placement, restricted, scheduling
from mlpools_operator.domain.pool.families import Family
from mlpools_operator.domain.pool.ledger import Candidate

KIND = "ComputePool"
#: As in the chart: of lower priority than any job, and never taking another's place.
PRIORITY_CLASS = "mlpools-placeholder"
#: What the runtime image always has is Python. PID 1 ends at SIGTERM only if it says so.
_WAIT = "import signal, sys; signal.signal(signal.SIGTERM, lambda *_: sys.exit()); signal.pause()"


@dataclass(frozen=True, slots=True)
class Warm:
    """The placeholders of a pool, and what is to be done about them.

    Attributes:
        target: how many there should be.
        there: those that are not gone yet.
        ready: those of them that run, and stay.
    """

    target: int = 0
    there: int = 0
    ready: int = 0
    delete: tuple[Delete, ...] = ()
    create: tuple[Object, ...] = ()


def left_alone(pods: Sequence[PodChild]) -> Warm:
    """Return the placeholders as they are, of a pool that does not say what they should be."""
    there = sum(not pod.terminal for pod in pods)
    return Warm(there, there, sum(_runs(pod) for pod in pods))


def steps(
    pool: Resource,
    spec: ComputePoolSpec,
    family: Family,
    candidates: Iterable[Candidate],
    pods: Sequence[PodChild],
    foreign: Sequence[Child],
    defaults: Defaults,
    *,
    held: int,
    awake: bool,
) -> Warm:
    """Return what to do about a pool's placeholders.

    Args:
        pool: their owner.
        spec: of the pool.
        family: of machines that the pool uses, as its status tells.
        candidates: those that hold nodes, with their pods.
        pods: the placeholders.
        foreign: objects of others with names that we wanted.
        defaults: of the operator.
        held: nodes that jobs hold, or are about to.
        awake: the pool wants nodes at all.
    """
    template = _template(pool, spec, family, defaults)
    shape = naming.spec_hash(template)
    scheduled = sum(candidate.pods.scheduled for candidate in candidates)
    unscheduled = sum(candidate.pods.unscheduled for candidate in candidates)
    warm = spec.min_nodes if awake else 0
    target = max(0, warm - held)
    # A job's node that is not even a pod yet cannot have a machine named for it: its room stays kept.
    keep = max(0, warm - scheduled - unscheduled)
    stay = sorted(_alive(pods), key=lambda pod: _worth(pod, shape), reverse=True)[:keep]
    if not held:
        stay = [pod for pod in stay if pod.meta.spec_hash == shape]
    staying = {pod.meta.uid for pod in stay}
    go = [pod for pod in pods if pod.meta.uid not in staying and not pod.meta.deleting]
    placed = scheduled >= held
    missing = max(0, target - len(stay)) if placed else 0
    taken = {pod.meta.name for pod in pods} | {child.meta.name for child in foreign}
    return Warm(
        target,
        there=sum(not pod.terminal for pod in pods),
        ready=sum(_runs(pod) for pod in stay),
        delete=tuple(Delete("Pod", pod.meta.namespace, pod.meta.name, pod.meta.uid) for pod in go),
        create=tuple(itertools.islice(_named(pool, template, taken), missing)),
    )


def shape_of(pool: Resource, spec: ComputePoolSpec, family: Family, defaults: Defaults) -> str:
    """Return the hash by which placeholders of a family are known."""
    return naming.spec_hash(_template(pool, spec, family, defaults))


def _alive(pods: Iterable[PodChild]) -> Iterator[PodChild]:
    return (pod for pod in pods if not pod.terminal and not pod.meta.deleting)


def _runs(pod: PodChild) -> bool:
    return pod.phase == "Running" and not pod.meta.deleting


def _worth(pod: PodChild, shape: str) -> tuple[bool, bool, bool, str]:
    """Return what makes one placeholder worth keeping before another: its shape, a machine, that it runs."""
    return (pod.meta.spec_hash == shape, bool(pod.node), pod.phase == "Running", pod.meta.name)


def _named(pool: Resource, template: Object, taken: set[str]) -> Iterator[Object]:
    """Yield placeholders under free names, such as ``cpu-1a2b3c4d-0``."""
    for index in itertools.count():
        name = naming.placeholder(pool.meta.name, naming.spec_hash(template), index)
        if name not in taken:
            yield {**template, "metadata": {**template["metadata"], "name": name}}


def _template(pool: Resource, spec: ComputePoolSpec, family: Family, defaults: Defaults) -> Object:
    """Return a placeholder without a name; its hash tells whether the pool's shape has changed."""
    labels = naming.labels(KIND, pool.meta, pool.meta.name)
    own = {name: labels[name] for name in (naming.JOB_UID, naming.KIND)}
    wiring = network_profiles.wiring(spec.network, family.instance.memory)
    shape = {**wiring.resources, **quantities.resources(family.instance)}
    body: Object = {
        "priorityClassName": PRIORITY_CLASS,
        "terminationGracePeriodSeconds": 0,
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "securityContext": restricted.pod(),
        "containers": [
            {
                "name": "placeholder",
                "image": spec.runtime.image or defaults.image("", family.instance.gpus),
                "imagePullPolicy": spec.runtime.image_pull_policy or defaults.image_pull_policy,
                "command": ["python", "-I", "-S", "-c", _WAIT],
                "resources": {"requests": shape, "limits": shape},
                "securityContext": restricted.container(),
            }
        ],
        **overlay.merge(scheduling.fields(spec, family), placement.fields(spec.placement, own)),
    }
    if spec.runtime.image_pull_secrets:
        body["imagePullSecrets"] = [secret.plain() for secret in spec.runtime.image_pull_secrets]
    return naming.with_hash(
        {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {
                "namespace": defaults.operator_namespace,
                "labels": labels,
                "ownerReferences": [naming.owner_reference(KIND, pool.meta)],
            },
            "spec": body,
        }
    )
