"""The Indexed Job of one attempt and its pod template.

The Job controller makes the pods and counts them. Rank 0 exits 0 only after the commit of the result, so its
success is the attempt's, whatever happens to the others after that.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from mlpools.contract.ends import Exit
from mlpools.contract.tasks import Task
from mlpools_operator.api.v1alpha1 import ComputePoolSpec, JobSpec
from mlpools_operator.api.v1alpha1.pool_template import MAIN
from mlpools_operator.domain import naming, overlay
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
from mlpools_operator.domain.pods.work import Work
from mlpools_operator.domain.pool.families import Family

#: Without it the API says of a container that failed only with which exit code.
_LAST_WORDS = {"terminationMessagePolicy": "FallbackToLogsOnError"}
#: Of a pod that somebody or something else than its own container ended.
_DISRUPTED = {"type": "DisruptionTarget", "status": "True"}


def indexed_job(
    kind: str,
    job: Resource,
    spec: JobSpec,
    work: Work,
    form: Object,
    pool: ComputePoolSpec,
    family: Family,
    attempt: int,
    defaults: Defaults,
    avoided: Sequence[str] = (),
) -> Object:
    """Return the ``batch/v1`` Job of an attempt.

    Args:
        kind: of the owner.
        job: the owner.
        spec: of the owner.
        work: of the attempt.
        form: fields that say how many pods there are, and when the Job is over.
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
                "podReplacementPolicy": "Failed",
                "successPolicy": {"rules": [{"succeededIndexes": "0"}]},
                **form,
                "template": suspects.keep_away(
                    _template(job, spec, work, pool, family, attempt, labels, defaults), avoided
                ),
            },
        }
    )


def gang(nodes: int) -> Object:
    """Return the form of a Job that never replaces a pod: a gang that lost a rank is over.

    The rules change nothing about when it fails; they make its condition name the pod and its exit code,
    which is all that is left of a pod that was evicted and removed.
    """
    rules = [
        {"action": "FailJob", "onPodConditions": [_DISRUPTED]},
        {
            "action": "FailJob",
            "onExitCodes": {"containerName": MAIN, "operator": "NotIn", "values": [0]},
        },
    ]
    return {
        "completions": nodes,
        "parallelism": nodes,
        "backoffLimit": 0,
        "podFailurePolicy": {"rules": rules},
    }


def elastic(nodes: int, replacements: int) -> Object:
    """Return the form of a Job whose pods are replaced, and whose number of pods may be changed.

    Args:
        nodes: pods for now.
        replacements: of each pod, after failures of its own. One that was evicted or told to end, or that
            lost rank 0, is replaced however often that happens.
    """
    codes = [int(Exit.PREEMPTED), int(Exit.PEER_LOST)]
    rules = [
        {"action": "Ignore", "onPodConditions": [_DISRUPTED]},
        {"action": "Ignore", "onExitCodes": {"containerName": MAIN, "operator": "In", "values": codes}},
    ]
    return {
        "completions": nodes,
        "parallelism": nodes,
        "backoffLimitPerIndex": replacements,
        "podFailurePolicy": {"rules": rules},
    }


def _template(
    job: Resource,
    spec: JobSpec,
    work: Work,
    pool: ComputePoolSpec,
    family: Family,
    attempt: int,
    labels: dict[str, str],
    defaults: Defaults,
) -> Object:
    """Return the pod template of all ranks, the pool's overlay merged over what we build."""
    told = task(job, spec, work, pool, family.instance.gpus, attempt, defaults)
    wiring = network_profiles.wiring(pool.network, family.instance.memory)
    main = container.container(spec, pool, family.instance, wiring, work, told, defaults)
    own = {name: labels[name] for name in (naming.JOB_UID, naming.ATTEMPT)}
    pod: Object = {
        "restartPolicy": "Never",
        "subdomain": naming.service(job.meta.name),
        "terminationGracePeriodSeconds": spec.termination_grace_period_seconds,
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "securityContext": restricted.pod(spec.security_context.run_as_user, spec.security_context.fs_group),
        "containers": [main],
        "volumes": container.volumes(spec, pool, wiring, defaults),
        **overlay.merge(scheduling.fields(pool, family), placement.fields(pool.placement, own)),
    }
    if injection.is_needed(spec, pool, defaults):
        pod["initContainers"] = injection.init_containers(
            pool, defaults, main["resources"], git=bool(told.code.get("gitUrl")), uv=bool(told.packages)
        )
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
    return with_last_words(overlay.over_template({"metadata": metadata, "spec": pod}, pool.pod_template))


def with_last_words(template: Object) -> Object:
    """Have init containers tell why they fail, where the pool does not say otherwise of its own."""
    first = template["spec"].get("initContainers")
    if not isinstance(first, list):
        return template
    told = [{**_LAST_WORDS, **each} if isinstance(each, Mapping) else each for each in first]
    return {**template, "spec": {**template["spec"], "initContainers": told}}


def task(
    job: Resource,
    spec: JobSpec,
    work: Work,
    pool: ComputePoolSpec,
    gpus: int,
    attempt: int,
    defaults: Defaults,
) -> Task:
    """Return what the attempt has to do, for every rank; ``gpus`` are those of a node."""
    install, bring = packages.wanted(spec, pool), code.wanted(spec.code)
    network_check = fabric.wanted(pool, spec.nodes, gpus) if work.collective else None
    return Task(
        namespace=job.meta.namespace,
        name=job.meta.name,
        uid=job.meta.uid,
        attempt=attempt,
        nodes=spec.nodes,
        workers_per_node=workers.per_node(spec, work, gpus),
        gpus_per_node=gpus,
        coordinator=network.address_of_rank_0(job, attempt, defaults),
        framework=work.framework,
        spec=dict(work.section),
        data=dict(work.data),
        output=dict(work.output),
        checkpoint=dict(work.checkpoint),
        hang_timeout_seconds=spec.hang_timeout_seconds,
        grace_period_seconds=spec.termination_grace_period_seconds,
        required=[*mounted.required(spec), *code.required(spec.code), *connections.required(spec)],
        packages=install.to_dict() if install else {},
        code=bring.to_dict() if bring else {},
        fabric=network_check.to_dict() if network_check else {},
    )
