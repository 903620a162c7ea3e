"""The further nodes of a notebook's cluster: their Job and pods, how they find the head, and who may ask.

The notebook's own pod is the head of a Ray cluster. A further node runs the same image with the same packages
on the whole of a pool's node, and has neither the workspace, which one machine alone can mount, nor any right
at the API server.
"""

from __future__ import annotations

from dataclasses import replace

from mlpools.contract.wiring import INJECTED_FOLDER, INJECTED_START, NOTEBOOK_ENV, STATUS_PORT
from mlpools_operator.api.v1alpha1 import GROUP, ComputePoolSpec, NotebookRuntimeSpec
from mlpools_operator.domain import naming, overlay
from mlpools_operator.domain.defaults import Defaults
from mlpools_operator.domain.notebook import pod
from mlpools_operator.domain.notebook.children import KIND
from mlpools_operator.domain.observed import Resource
from mlpools_operator.domain.plan import Object
from mlpools_operator.domain.pods import (
    container,
    indexed_job,
    injection,
    mounted,
    network_profiles,
    packages,
)
from mlpools_operator.domain.pool.families import Family

#: For Ray's processes to end.
GRACE_SECONDS = 15.0
#: Of each node after failures of its own: in effect always, at growing intervals.
_REPLACEMENTS = 1_000_000
_NO_PYTHON = "echo 'This image has no Python 3.9, so it cannot be a node of a Ray cluster.' >&2; exit 1"


def job(
    notebook: Resource,
    spec: NotebookRuntimeSpec,
    pool: ComputePoolSpec,
    family: Family,
    attempt: int,
    nodes: int,
    defaults: Defaults,
) -> Object:
    """Return the Job that makes the further nodes of one start, so many of them for now."""
    labels = naming.labels(KIND, notebook.meta, spec.compute_pool, attempt)
    return naming.with_hash(
        {
            "apiVersion": "batch/v1",
            "kind": "Job",
            "metadata": {
                "name": naming.cluster_job(notebook.meta.name, attempt),
                "namespace": notebook.meta.namespace,
                "labels": labels,
                "ownerReferences": [naming.owner_reference(KIND, notebook.meta)],
            },
            "spec": {
                "completionMode": "Indexed",
                "podReplacementPolicy": "Failed",
                **indexed_job.elastic(nodes, _REPLACEMENTS),
                "template": _template(notebook, spec, pool, family, attempt, labels, defaults),
            },
        }
    )


def around(notebook: Resource, spec: NotebookRuntimeSpec) -> list[Object]:
    """Return the head's Service, and the one right of the notebook: to ask for another number of nodes."""
    if not spec.cluster.max_nodes:
        return []
    name = naming.notebook(notebook.meta.name)
    account = spec.service_account_name or name
    # Exactly the right that the chart gives to the operator: it could not give away another.
    rule = {
        "apiGroups": [GROUP],
        "resources": ["notebookruntimes/scale"],
        "resourceNames": [notebook.meta.name],
        "verbs": ["get", "patch"],
    }
    rbac, pool = "rbac.authorization.k8s.io/v1", spec.compute_pool
    role = {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": name}
    subject = {"kind": "ServiceAccount", "name": account, "namespace": notebook.meta.namespace}
    own = _child(
        "v1", "ServiceAccount", notebook, spec.compute_pool, name, automountServiceAccountToken=False
    )

    return [
        _service(notebook, spec),
        *([] if spec.service_account_name else [own]),
        _child(rbac, "Role", notebook, pool, name, rules=[rule]),
        _child(rbac, "RoleBinding", notebook, pool, name, roleRef=role, subjects=[subject]),
    ]


def _service(notebook: Resource, spec: NotebookRuntimeSpec) -> Object:
    """Return the headless Service of the head, which further nodes ask for before it is ready."""
    ports = [{"name": "status", "port": STATUS_PORT, "protocol": "TCP"}]
    selector = {naming.JOB_UID: notebook.meta.uid, naming.PART: naming.SERVER}
    fields = {
        "clusterIP": "None",
        "publishNotReadyAddresses": True,
        "selector": selector,
        "ports": ports,
    }
    return _child(
        "v1", "Service", notebook, spec.compute_pool, naming.cluster(notebook.meta.name), spec=fields
    )


def _child(
    api_version: str,
    kind: str,
    notebook: Resource,
    pool: str,
    name: str,
    **fields: object,
) -> Object:
    metadata = {
        "name": name,
        "namespace": notebook.meta.namespace,
        "labels": naming.labels(KIND, notebook.meta, pool),
        "ownerReferences": [naming.owner_reference(KIND, notebook.meta)],
    }
    return naming.with_hash({"apiVersion": api_version, "kind": kind, "metadata": metadata, **fields})


def _template(
    notebook: Resource,
    spec: NotebookRuntimeSpec,
    pool: ComputePoolSpec,
    family: Family,
    attempt: int,
    labels: dict[str, str],
    defaults: Defaults,
) -> Object:
    """Return the pod template of a further node, the pool's overlay merged over what we build."""
    wiring = network_profiles.wiring(pool.network, family.instance.memory)
    head = naming.cluster(notebook.meta.name)
    address = f"{head}.{notebook.meta.namespace}.svc.{defaults.cluster_domain}"
    told = replace(
        pod.task(notebook, spec, pool, attempt), head=address, git={}, required=mounted.required(spec)
    )
    injected = injection.is_needed(spec, pool, defaults)
    start = ["sh", f"{INJECTED_FOLDER}/{INJECTED_START}", "1", "", "sh", "-c", container.literal(_NO_PYTHON)]
    main = pod.basics(spec, pool, family, defaults) | {
        "command": start if injected else list(container.COMMAND),
        "env": container.env(spec, pool, wiring, {NOTEBOOK_ENV: told.to_json()}),
        "ports": [{"name": "status", "containerPort": STATUS_PORT, "protocol": "TCP"}],
        "readinessProbe": {
            "httpGet": {"path": "/joined", "port": STATUS_PORT},
            "periodSeconds": 2,
            "timeoutSeconds": 3,
            "failureThreshold": 3,
        },
        "volumeMounts": [
            *container.own_mounts(),
            *(injection.mounts() if injected else ()),
            *packages.mounts(spec, pool),
            *(mount.plain() for mount in spec.volume_mounts),
        ],
    }
    built: Object = {
        **pod.frame(spec, pool, family),
        "restartPolicy": "Never",
        "terminationGracePeriodSeconds": int(GRACE_SECONDS),
        "containers": [main],
        "volumes": [
            *container.own_volumes(pool, wiring),
            *(injection.volumes() if injected else ()),
            *packages.volumes(spec, pool),
            *mounted.volumes(spec),
        ],
    }
    if injected:
        built["initContainers"] = injection.init_containers(
            pool, defaults, main["resources"], git=False, uv=True
        )
    if spec.service_account_name:
        built["serviceAccountName"] = spec.service_account_name
    metadata: Object = {"labels": {**labels, naming.PART: naming.NODE}}
    return indexed_job.with_last_words(
        overlay.over_template({"metadata": metadata, "spec": built}, pool.pod_template)
    )
