"""The Indexed Job of one attempt and its pod template.

The Job controller makes the pods and counts them; it never replaces one, since a gang that lost a rank
is over. Rank 0 exits 0 only after a final barrier and the commit of the result, so its success is the
attempt's, whatever happens to the others after that.
"""

from __future__ import annotations

from collections.abc import Sequence

from mlpools.contract import Task
from mlpools_operator.api.v1alpha1 import ComputePoolSpec, TrainingJobSpec
from mlpools_operator.api.v1alpha1.pool_template import MAIN
from mlpools_operator.domain import naming, outputs, overlay
from mlpools_operator.domain.attempt import suspects
from mlpools_operator.domain.defaults import Defaults
from mlpools_operator.domain.observed import Resource
from mlpools_operator.domain.plan import Object
from mlpools_operator.domain.pods import (
    code,
    connections,
    container,
    fabric,
    injection,
    mounted,
    network,
    network_profiles,
    packages,
    placement,
    restricted,
    scheduling,
    workers,
)
from mlpools_operator.domain.pool.families import Family


def indexed_job(
    kind: str,
    job: Resource,
    spec: TrainingJobSpec,
    pool: ComputePoolSpec,
    family: Family,
    attempt: int,
    defaults: Defaults,
    avoided: Sequence[str] = (),
) -> Object:
    """Return the ``batch/v1`` Job of an attempt. It is created once and never changed.

    Args:
        kind: of the owner.
        job: the owner.
        spec: of the owner.
        pool: that the attempt runs in.
        family: of its machines.
        attempt: from 1.
        defaults: of the operator.
        avoided: names of machines that the pods keep away from.
    """
    labels = naming.labels(kind, job.meta, spec.compute_pool, attempt)
    metadata: Object = {
        "name": naming.attempt_job(job.meta.name, attempt),
        "namespace": job.meta.namespace,
        "labels": labels,
        "ownerReferences": [naming.owner_reference(kind, job.meta)],
    }
    if not network_profiles.is_isolated(pool.network):
        metadata["annotations"] = {naming.ISOLATION: "false"}
    return naming.with_hash(
        {
            "apiVersion": "batch/v1",
            "kind": "Job",
            "metadata": metadata,
            "spec": {
                "completionMode": "Indexed",
                "completions": spec.nodes,
                "parallelism": spec.nodes,
                "backoffLimit": 0,
                "podReplacementPolicy": "Failed",
                "podFailurePolicy": {"rules": _failure_rules()},
                "successPolicy": {"rules": [{"succeededIndexes": "0"}]},
                "template": suspects.keep_away(
                    _template(job, spec, pool, family, attempt, labels, defaults), avoided
                ),
            },
        }
    )


def _failure_rules() -> list[Object]:
    """Return the rules by which the Job fails at the first failed pod.

    They change nothing about when it fails; they make its condition name the pod and its exit code,
    which is all that is left of a pod that was evicted and removed.
    """
    return [
        {"action": "FailJob", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]},
        {
            "action": "FailJob",
            "onExitCodes": {"containerName": MAIN, "operator": "NotIn", "values": [0]},
        },
    ]


def _template(
    job: Resource,
    spec: TrainingJobSpec,
    pool: ComputePoolSpec,
    family: Family,
    attempt: int,
    labels: dict[str, str],
    defaults: Defaults,
) -> Object:
    """Return the pod template of all ranks, the pool's overlay merged over what we build."""
    work = task(job, spec, pool, family.instance.gpus, attempt, defaults)
    wiring = network_profiles.wiring(pool.network, family.instance.memory)
    main = container.container(spec, pool, family.instance, wiring, work, defaults)
    own = {name: labels[name] for name in (naming.JOB_UID, naming.ATTEMPT)}
    pod: Object = {
        "restartPolicy": "Never",
        "subdomain": naming.service(job.meta.name),
        "terminationGracePeriodSeconds": spec.termination_grace_period_seconds,
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "securityContext": {
            **restricted.pod(),
            "fsGroup": restricted.USER,
            "fsGroupChangePolicy": "OnRootMismatch",
        },
        "containers": [main],
        "volumes": container.volumes(spec, pool, wiring, defaults),
        **overlay.merge(scheduling.fields(pool, family), placement.fields(pool.placement, own)),
    }
    if injection.is_needed(spec, pool, defaults):
        pod["initContainers"] = injection.init_containers(pool, work, defaults, main["resources"])
    if wiring.host_network:
        pod |= {"hostNetwork": True, "dnsPolicy": "ClusterFirstWithHostNet"}
    if pool.priority_class_name:
        pod["priorityClassName"] = pool.priority_class_name
    if pool.runtime.image_pull_secrets:
        pod["imagePullSecrets"] = [secret.plain() for secret in pool.runtime.image_pull_secrets]
    if spec.service_account_name:
        pod["serviceAccountName"] = spec.service_account_name
    metadata: Object = {"labels": labels}
    if wiring.annotations:
        metadata["annotations"] = dict(wiring.annotations)
    return overlay.over_template({"metadata": metadata, "spec": pod}, pool.pod_template)


def task(
    job: Resource, spec: TrainingJobSpec, pool: ComputePoolSpec, gpus: int, attempt: int, defaults: Defaults
) -> Task:
    """Return what the attempt has to do, for every rank; ``gpus`` are those of a node."""
    framework = getattr(spec, spec.framework)
    install, bring = packages.wanted(spec, pool), code.wanted(spec.code)
    network_check = fabric.wanted(pool, spec.nodes, gpus)
    return Task(
        namespace=job.meta.namespace,
        name=job.meta.name,
        uid=job.meta.uid,
        attempt=attempt,
        nodes=spec.nodes,
        workers_per_node=workers.per_node(spec, gpus),
        gpus_per_node=gpus,
        coordinator=network.address_of_rank_0(job, attempt, defaults),
        framework=spec.framework,
        spec=framework.plain(),
        data={name: source.plain() for name, source in spec.data.items()},
        output=spec.output.plain(),
        checkpoint={**spec.checkpoint.plain(), "url": outputs.checkpoint_url(spec)},
        hang_timeout_seconds=spec.hang_timeout_seconds,
        grace_period_seconds=spec.termination_grace_period_seconds,
        required=[*mounted.required(spec), *code.required(spec.code), *connections.required(spec)],
        packages=install.to_dict() if install else {},
        code=bring.to_dict() if bring else {},
        fabric=network_check.to_dict() if network_check else {},
    )
