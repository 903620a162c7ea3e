"""The Indexed Job of one attempt and its pod template.

The Job controller makes the pods and counts them; it never replaces one, since a gang that lost a rank
is over. Rank 0 exits 0 only after a final barrier and the commit of the result, so its success is the
attempt's, whatever happens to the others after that.
"""

from __future__ import annotations

from typing import Any

from mlpools.contract import STATUS_PORT, TASK_ENV, TERMINATION_LOG, Task, log_name
from mlpools_operator.api.v1alpha1 import ComputePoolSpec, InstanceShape, TrainingJobSpec
from mlpools_operator.api.v1alpha1.volumes import OWN_MOUNTS, OWN_VOLUME_PREFIX
from mlpools_operator.domain import naming, network, placement, quantities
from mlpools_operator.domain.defaults import Defaults
from mlpools_operator.domain.families import Family
from mlpools_operator.domain.observed import Resource
from mlpools_operator.domain.plan import Object

CONTAINER = "main"
COMMAND = ("python", "-m", "mlpools.supervisor")
#: Share of a node's memory that /dev/shm may take; it counts as the container's memory.
SHARED_MEMORY = 0.3
#: User and group of the runtime image.
_USER = 1000

#: Path -> volume, such as ``/dev/shm`` -> ``mlpools-shm``; the container's root file system is read-only.
_MOUNTS = {path: OWN_VOLUME_PREFIX + path.rpartition("/")[2] for path in OWN_MOUNTS}


def indexed_job(
    kind: str,
    job: Resource,
    spec: TrainingJobSpec,
    pool: ComputePoolSpec,
    family: Family,
    attempt: int,
    defaults: Defaults,
) -> Object:
    """Return the ``batch/v1`` Job of an attempt. It is created once and never changed."""
    labels = naming.labels(kind, job.meta, spec.compute_pool, attempt)
    return naming.with_hash(
        {
            "apiVersion": "batch/v1",
            "kind": "Job",
            "metadata": {
                "name": naming.attempt_job(job.meta.name, attempt),
                "namespace": job.meta.namespace,
                "labels": labels,
                "ownerReferences": [naming.owner_reference(kind, job.meta)],
            },
            "spec": {
                "completionMode": "Indexed",
                "completions": spec.nodes,
                "parallelism": spec.nodes,
                "backoffLimit": 0,
                "podReplacementPolicy": "Failed",
                "podFailurePolicy": {"rules": _failure_rules()},
                "successPolicy": {"rules": [{"succeededIndexes": "0"}]},
                "template": {
                    "metadata": {"labels": labels},
                    "spec": _pod(job, spec, pool, family, attempt, labels, defaults),
                },
            },
        }
    )


def checkpoint_url(spec: TrainingJobSpec) -> str:
    """Return the folder of the checkpoints: the user's, or one under the output."""
    return spec.checkpoint.url or f"{spec.output.url.rstrip('/')}/checkpoints"


def logs_url(spec: TrainingJobSpec) -> str:
    """Return the folder with the logs of all attempts and ranks."""
    return f"{spec.output.url.rstrip('/')}/logs"


def log_url(spec: TrainingJobSpec, attempt: int, rank: int) -> str:
    """Return the log of one rank."""
    return f"{spec.output.url.rstrip('/')}/{log_name(attempt, rank)}"


def _failure_rules() -> list[Object]:
    """Return the rules by which the Job fails at the first failed pod.

    They change nothing about when it fails; they make its condition name the pod and its exit code,
    which is all that is left of a pod that was evicted and removed.
    """
    return [
        {"action": "FailJob", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]},
        {
            "action": "FailJob",
            "onExitCodes": {"containerName": CONTAINER, "operator": "NotIn", "values": [0]},
        },
    ]


def _pod(
    job: Resource,
    spec: TrainingJobSpec,
    pool: ComputePoolSpec,
    family: Family,
    attempt: int,
    labels: dict[str, str],
    defaults: Defaults,
) -> Object:
    own = {name: labels[name] for name in (naming.JOB_UID, naming.ATTEMPT)}
    pod: Object = {
        "restartPolicy": "Never",
        "subdomain": naming.service(job.meta.name),
        "terminationGracePeriodSeconds": spec.termination_grace_period_seconds,
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": _USER,
            "runAsGroup": _USER,
            "fsGroup": _USER,
            "fsGroupChangePolicy": "OnRootMismatch",
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "tolerations": _tolerations(pool, family),
        "containers": [_container(job, spec, pool, family.instance, attempt, defaults)],
        "volumes": _volumes(spec, family.instance),
        **placement.fields(pool.placement, own),
    }
    if selector := {**family.node_selector, **pool.node_selector}:
        pod["nodeSelector"] = selector
    if pool.runtime.image_pull_secrets:
        pod["imagePullSecrets"] = [secret.plain() for secret in pool.runtime.image_pull_secrets]
    if spec.service_account_name:
        pod["serviceAccountName"] = spec.service_account_name
    return pod


def _container(
    job: Resource,
    spec: TrainingJobSpec,
    pool: ComputePoolSpec,
    instance: InstanceShape,
    attempt: int,
    defaults: Defaults,
) -> Object:
    shape = quantities.resources(instance)
    container: Object = {
        "name": CONTAINER,
        "image": spec.runtime.image or pool.runtime.image or defaults.runtime_image,
        "imagePullPolicy": pool.runtime.image_pull_policy or defaults.image_pull_policy,
        "command": list(COMMAND),
        # Of two variables with one name the last one counts: the contract's cannot be replaced.
        "env": [
            *(variable.plain() for variable in spec.env),
            {"name": "PYTHONUNBUFFERED", "value": "1"},
            {"name": TASK_ENV, "value": _literal(task(job, spec, attempt, defaults).to_json())},
        ],
        "ports": [{"name": "status", "containerPort": STATUS_PORT, "protocol": "TCP"}],
        "resources": {"requests": shape, "limits": shape},
        "terminationMessagePath": TERMINATION_LOG,
        # An image that cannot start our supervisor says so in its log only.
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
        "volumeMounts": [
            *({"name": name, "mountPath": path} for path, name in _MOUNTS.items()),
            *(mount.plain() for mount in spec.volume_mounts),
        ],
    }
    if spec.env_from:
        container["envFrom"] = [source.plain() for source in spec.env_from]
    return container


def _volumes(spec: TrainingJobSpec, instance: InstanceShape) -> list[Object]:
    shared: dict[str, Any] = {
        "medium": "Memory",
        "sizeLimit": quantities.share_of_bytes(instance.memory, SHARED_MEMORY),
    }
    sources = {"/dev/shm": shared}  # noqa: S108 - a mount
    own = [{"name": name, "emptyDir": sources.get(path, {})} for path, name in _MOUNTS.items()]
    return [*own, *(volume.plain() for volume in spec.volumes)]


def _tolerations(pool: ComputePoolSpec, family: Family) -> list[Object]:
    lost = [
        {
            "key": f"node.kubernetes.io/{state}",
            "operator": "Exists",
            "effect": "NoExecute",
            "tolerationSeconds": pool.lost_node_seconds,
        }
        for state in ("not-ready", "unreachable")
    ]
    ours = dict.fromkeys((*pool.tolerations, *family.tolerations))
    return [*(toleration.plain() for toleration in ours), *lost]


def task(job: Resource, spec: TrainingJobSpec, attempt: int, defaults: Defaults) -> Task:
    """Return what the attempt has to do, for every rank."""
    framework = getattr(spec, spec.framework)
    return Task(
        namespace=job.meta.namespace,
        name=job.meta.name,
        uid=job.meta.uid,
        attempt=attempt,
        nodes=spec.nodes,
        coordinator=network.address_of_rank_0(job, attempt, defaults),
        framework=spec.framework,
        spec=framework.plain(),
        data={name: source.plain() for name, source in spec.data.items()},
        output=spec.output.plain(),
        checkpoint={**spec.checkpoint.plain(), "url": checkpoint_url(spec)},
        hang_timeout_seconds=spec.hang_timeout_seconds,
        grace_period_seconds=spec.termination_grace_period_seconds,
    )


def _literal(value: str) -> str:
    """Return a variable's value that Kubernetes hands over as it is: it expands ``$(NAME)`` elsewhere."""
    return value.replace("$", "$$")
