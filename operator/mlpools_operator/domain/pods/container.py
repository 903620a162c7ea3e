"""The container that runs a rank: image, environment, resources, volumes."""

from __future__ import annotations

import itertools
from collections.abc import Mapping

from mlpools.contract.tasks import Task
from mlpools.contract.wiring import (
    CACHE_BYTES_ENV,
    CACHE_ENV,
    CACHE_MOUNT,
    COORDINATOR_PORT,
    EPHEMERAL_BYTES_ENV,
    POD_IP_ENV,
    STATUS_PORT,
    TASK_ENV,
    TERMINATION_LOG,
)
from mlpools_operator.api.v1alpha1 import ComputePoolSpec, InstanceShape, JobSpec, PodsSpec, amount
from mlpools_operator.api.v1alpha1.pool_template import MAIN
from mlpools_operator.api.v1alpha1.volumes import OWN_MOUNTS, OWN_VOLUME_PREFIX
from mlpools_operator.domain import quantities
from mlpools_operator.domain.defaults import Defaults
from mlpools_operator.domain.plan import Object
from mlpools_operator.domain.pods import code, connections, injection, mounted, packages, restricted
from mlpools_operator.domain.pods.network_profiles import Wiring
from mlpools_operator.domain.pods.work import Work

COMMAND = ("python", "-m", "mlpools.supervisor")

#: Path -> volume, such as ``/dev/shm`` -> ``mlpools-shm``; the container's root file system is read-only.
_MOUNTS = {path: OWN_VOLUME_PREFIX + path.rpartition("/")[2] for path in OWN_MOUNTS}

#: What Kubernetes fills in: without a limit, what the machine can give to pods.
_DISK_LIMIT = {"resource": "limits.ephemeral-storage"}


def container(
    spec: JobSpec,
    pool: ComputePoolSpec,
    instance: InstanceShape,
    wiring: Wiring,
    work: Work,
    task: Task,
    defaults: Defaults,
) -> Object:
    """Return the container of one rank; all ranks have the same."""
    resources = {**wiring.resources, **quantities.resources(instance)}
    image = spec.runtime.image or pool.runtime.image or defaults.image(spec.framework, instance.gpus)
    injected = injection.is_needed(spec, pool, defaults)
    built: Object = {
        "name": MAIN,
        "image": image,
        "imagePullPolicy": pool.runtime.image_pull_policy or defaults.image_pull_policy,
        "command": [literal(word) for word in injection.command(work, task)] if injected else list(COMMAND),
        "env": env(spec, pool, wiring, {TASK_ENV: task.to_json()}),
        "ports": _ports(wiring),
        "resources": {"requests": resources, "limits": resources},
        "terminationMessagePath": TERMINATION_LOG,
        # An image that cannot start our supervisor says so in its log only.
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "securityContext": _security(wiring),
        "volumeMounts": [
            *own_mounts(),
            *(injection.mounts() if injected else ()),
            *code.mounts(spec.code),
            *packages.mounts(spec, pool),
            *connections.mounts(spec),
            *(mount.plain() for mount in spec.volume_mounts),
        ],
    }
    if spec.env_from:
        built["envFrom"] = [source.plain() for source in spec.env_from]
    return built


def volumes(spec: JobSpec, pool: ComputePoolSpec, wiring: Wiring, defaults: Defaults) -> list[Object]:
    """Return the volumes of a pod: ours, which the container's mounts need, and the job's."""
    own = own_volumes(pool, wiring)
    injected = injection.volumes() if injection.is_needed(spec, pool, defaults) else []
    given = (injected, code.volumes(spec.code), packages.volumes(spec, pool), connections.volumes(spec))
    return [*own, *itertools.chain(*given), *mounted.volumes(spec)]


def own_mounts() -> list[Object]:
    """Return where the volumes of every pod appear."""
    return [{"name": name, "mountPath": path} for path, name in _MOUNTS.items()]


def own_volumes(pool: ComputePoolSpec, wiring: Wiring) -> list[Object]:
    """Return the volumes that every pod has: its root file system is read-only."""
    shared = {"medium": "Memory", "sizeLimit": wiring.shared_memory}
    sources: Mapping[str, Object] = {
        "/dev/shm": {"emptyDir": shared},  # noqa: S108 - a mount
        CACHE_MOUNT: _cache(pool),
    }
    return [{"name": name, **sources.get(path, {"emptyDir": {}})} for path, name in _MOUNTS.items()]


def _cache(pool: ComputePoolSpec) -> Object:
    if pool.cache.volume is not None:
        return pool.cache.volume.plain()
    return {"emptyDir": {"sizeLimit": pool.cache.size}}


def env(spec: PodsSpec, pool: ComputePoolSpec, wiring: Wiring, told: Mapping[str, str]) -> list[Object]:
    """Return the variables, the stronger ones later: the pool's, the spec's, the contract's.

    Args:
        spec: of the pod's owner.
        pool: that it runs in.
        wiring: to the pool's network.
        told: what else its supervisor is told.
    """
    variables: list[Object] = [
        *({"name": name, "value": literal(value)} for name, value in wiring.env.items()),
        *(variable.plain() for variable in spec.env),
        {"name": "PYTHONUNBUFFERED", "value": "1"},
        {"name": POD_IP_ENV, "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}},
        {"name": CACHE_ENV, "value": CACHE_MOUNT},
        {"name": CACHE_BYTES_ENV, "value": str(int(amount(pool.cache.size)))},
        {"name": EPHEMERAL_BYTES_ENV, "valueFrom": {"resourceFieldRef": _DISK_LIMIT}},
        *({"name": name, "value": literal(value)} for name, value in told.items()),
    ]
    # One of each name, at the strongest one's place: a value may name only variables before it.
    last = {variable["name"]: at for at, variable in enumerate(variables)}
    return [variable for at, variable in enumerate(variables) if last[variable["name"]] == at]


def _ports(wiring: Wiring) -> list[Object]:
    """Return the ports. On a machine's own network the scheduler keeps the next such pod off that machine."""
    if not wiring.host_network:
        return [{"name": "status", "containerPort": STATUS_PORT, "protocol": "TCP"}]
    return [
        {"name": name, "containerPort": port, "hostPort": port, "protocol": "TCP"}
        for name, port in (("status", STATUS_PORT), ("coordinator", COORDINATOR_PORT))
    ]


def _security(wiring: Wiring) -> Object:
    security = restricted.container()
    if wiring.capabilities:
        security["capabilities"]["add"] = list(wiring.capabilities)
        # The kernel takes all capabilities from a process that begins as another user.
        security.update(runAsUser=0, runAsNonRoot=False)
    return security


def literal(value: str) -> str:
    """Return a value, or a word of a command, that Kubernetes hands over as it is: it expands ``$(NAME)``."""
    return value.replace("$", "$$")
