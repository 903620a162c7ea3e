"""The pod of a notebook: JupyterLab, or a program of its own, on the whole of a node, with the workspace."""

from __future__ import annotations

from dataclasses import replace

from mlpools.contract.tasks import Notebook
from mlpools.contract.wiring import (
    INJECTED_FOLDER,
    INJECTED_START,
    NOTEBOOK_ENV,
    STATUS_PORT,
    TERMINATION_LOG,
    TOKEN_FILE,
    TOKEN_MOUNT,
    WORKSPACE,
)
from mlpools_operator.api.v1alpha1 import ComputePoolSpec, NotebookRuntimeSpec
from mlpools_operator.api.v1alpha1.code import CodeSpec
from mlpools_operator.api.v1alpha1.pool_template import MAIN
from mlpools_operator.api.v1alpha1.volumes import OWN_VOLUME_PREFIX
from mlpools_operator.domain import naming, overlay, quantities
from mlpools_operator.domain.defaults import Defaults
from mlpools_operator.domain.notebook import beside
from mlpools_operator.domain.observed import Resource
from mlpools_operator.domain.plan import Object
from mlpools_operator.domain.pods import (
    code,
    container,
    indexed_job,
    injection,
    mounted,
    network_profiles,
    packages,
    restricted,
    scheduling,
)
from mlpools_operator.domain.pods.network_profiles import Wiring
from mlpools_operator.domain.pool.families import Family

FRAMEWORK = "notebook"
#: For kernels to end and files to be written.
GRACE_SECONDS = 30.0

_WORKSPACE = f"{OWN_VOLUME_PREFIX}workspace"
_TOKEN = f"{OWN_VOLUME_PREFIX}token"
#: Of the token's file; the group is the volume's.
_TOKEN_MODE = 0o440


def image(spec: NotebookRuntimeSpec, pool: ComputePoolSpec, family: Family, defaults: Defaults) -> str:
    """Return the image that a notebook runs."""
    ours = pool.runtime.image or defaults.image(FRAMEWORK, family.instance.gpus)
    return spec.runtime.image or ours


def template(
    notebook: Resource,
    spec: NotebookRuntimeSpec,
    pool: ComputePoolSpec,
    family: Family,
    attempt: int,
    token_secret: str,
    labels: dict[str, str],
    defaults: Defaults,
) -> Object:
    """Return the pod template, the pool's overlay merged over what we build."""
    wiring = network_profiles.wiring(pool.network, family.instance.memory)
    told = replace(task(notebook, spec, pool, attempt), cluster=leads(spec, pool, defaults))
    main = _container(spec, pool, family, wiring, told, defaults)
    pod: Object = {
        **frame(spec, pool, family),
        "terminationGracePeriodSeconds": int(GRACE_SECONDS),
        "containers": [main],
        "volumes": _volumes(notebook, spec, pool, wiring, token_secret, defaults),
    }
    if injection.is_needed(spec, pool, defaults) and spec.command:
        pod["initContainers"] = injection.init_containers(
            pool, defaults, main["resources"], git=spec.git is not None, uv=True
        )
    if beside.is_needed(spec, pool, defaults):
        pod = beside.watched(pod, told, spec, pool, family, _WORKSPACE, defaults)
    if told.cluster:
        # For its one right, and only there: whoever has the notebook may ask for nodes of its cluster.
        pod |= {
            "serviceAccountName": spec.service_account_name or naming.notebook(notebook.meta.name),
            "automountServiceAccountToken": True,
        }
    elif spec.service_account_name:
        pod["serviceAccountName"] = spec.service_account_name
    metadata: Object = {"labels": {**labels, naming.PART: naming.SERVER}}
    return indexed_job.with_last_words(
        overlay.over_template({"metadata": metadata, "spec": pod}, pool.pod_template)
    )


def leads(spec: NotebookRuntimeSpec, pool: ComputePoolSpec, defaults: Defaults) -> bool:
    """Whether the pod is the head of a Ray cluster: mlpools has to be in it for that."""
    watched = bool(spec.command) or not injection.is_needed(spec, pool, defaults)
    return watched and bool(spec.cluster.max_nodes)


def frame(spec: NotebookRuntimeSpec, pool: ComputePoolSpec, family: Family) -> Object:
    """Return what all pods of a notebook have in common, beside their containers and volumes."""
    storage = spec.storage
    built: Object = {
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "securityContext": restricted.pod(storage.run_as_user, storage.fs_group),
        **scheduling.fields(pool, family),
    }
    if pool.priority_class_name:
        built["priorityClassName"] = pool.priority_class_name
    if pool.runtime.image_pull_secrets:
        built["imagePullSecrets"] = [secret.plain() for secret in pool.runtime.image_pull_secrets]
    return built


def basics(spec: NotebookRuntimeSpec, pool: ComputePoolSpec, family: Family, defaults: Defaults) -> Object:
    """Return what the containers of all pods of a notebook have in common."""
    resources = quantities.resources(family.instance)
    built: Object = {
        "name": MAIN,
        "image": image(spec, pool, family, defaults),
        "imagePullPolicy": pool.runtime.image_pull_policy or defaults.image_pull_policy,
        "resources": {"requests": resources, "limits": resources},
        "terminationMessagePath": TERMINATION_LOG,
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "securityContext": restricted.container(),
    }
    if spec.env_from:
        built["envFrom"] = [source.plain() for source in spec.env_from]
    return built


def task(notebook: Resource, spec: NotebookRuntimeSpec, pool: ComputePoolSpec, attempt: int) -> Notebook:
    """Return what the supervisor is told."""
    repository = code.wanted(_code(spec))
    return Notebook(
        namespace=notebook.meta.namespace,
        name=notebook.meta.name,
        uid=notebook.meta.uid,
        attempt=attempt,
        port=spec.port,
        cpu_percent=spec.idle.cpu_percent,
        gpu_percent=spec.idle.gpu_percent,
        command=[*spec.command, *spec.args] if spec.command else [],
        args=[] if spec.command else list(spec.args),
        packages=packages.told(spec, pool).to_dict(),
        required=[*mounted.required(spec), *code.required(_code(spec))],
        git=repository.to_dict() if repository else {},
    )


def _code(spec: NotebookRuntimeSpec) -> CodeSpec | None:
    """Return the repository as the code of a job."""
    return CodeSpec(git=spec.git) if spec.git else None


def _container(
    spec: NotebookRuntimeSpec,
    pool: ComputePoolSpec,
    family: Family,
    wiring: Wiring,
    told: Notebook,
    defaults: Defaults,
) -> Object:
    injected = injection.is_needed(spec, pool, defaults)
    return basics(spec, pool, family, defaults) | {
        "env": container.env(spec, pool, wiring, {NOTEBOOK_ENV: told.to_json()}),
        "ports": [
            {"name": "notebook", "containerPort": spec.port, "protocol": "TCP"},
            {"name": "status", "containerPort": STATUS_PORT, "protocol": "TCP"},
        ],
        "readinessProbe": {"tcpSocket": {"port": spec.port}, "periodSeconds": 2, "failureThreshold": 3},
        "volumeMounts": [
            *container.own_mounts(),
            {"name": _WORKSPACE, "mountPath": WORKSPACE},
            {"name": _TOKEN, "mountPath": TOKEN_MOUNT, "readOnly": True},
            *(injection.mounts() if injected and spec.command else ()),
            *packages.mounts(spec, pool, later=True),
            *code.mounts(_code(spec)),
            *(mount.plain() for mount in spec.volume_mounts),
        ],
        **_program(spec, injected=injected, bare=_runs_bare(spec)),
    }


def _program(spec: NotebookRuntimeSpec, *, injected: bool, bare: bool) -> Object:
    if not injected:
        return {"command": list(container.COMMAND)}
    if spec.command:
        words = (container.literal(word) for word in (*spec.command, *spec.args) if bare)
        return {"command": ["sh", f"{INJECTED_FOLDER}/{INJECTED_START}", "1", "", *words]}
    return {"args": [container.literal(word) for word in spec.args]} if spec.args else {}


def _runs_bare(spec: NotebookRuntimeSpec) -> bool:
    """Whether its command may run without mlpools: then nobody installs packages or clones a repository."""
    return not (spec.runtime.packages or spec.runtime.requirements or spec.git)


def _volumes(
    notebook: Resource,
    spec: NotebookRuntimeSpec,
    pool: ComputePoolSpec,
    wiring: Wiring,
    token_secret: str,
    defaults: Defaults,
) -> list[Object]:
    claim = {"claimName": naming.workspace(notebook.meta.name)}
    # Optional: a deleted Secret leaves kernels alone, and the next one is there a minute after it was made.
    token = {
        "secretName": token_secret,
        "items": [{"key": TOKEN_FILE, "path": TOKEN_FILE}],
        "optional": True,
        "defaultMode": _TOKEN_MODE,
    }
    injected = injection.is_needed(spec, pool, defaults) and spec.command
    return [
        *container.own_volumes(pool, wiring),
        {"name": _WORKSPACE, "persistentVolumeClaim": claim},
        {"name": _TOKEN, "secret": token},
        *(injection.volumes() if injected else ()),
        *packages.volumes(spec, pool, later=True),
        *code.volumes(_code(spec)),
        *mounted.volumes(spec),
    ]
