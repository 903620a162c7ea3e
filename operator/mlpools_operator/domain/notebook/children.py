"""What stands around a notebook's pod: its StatefulSet, Service, Ingress, NetworkPolicy, workspace and token.

A start makes the StatefulSet, a stop deletes it: so what changed in the spec, the pool or the operator holds
from the next start, and nothing disturbs a notebook that runs. Its one pod always has the same name, so
there are never two with the same workspace.
"""

from __future__ import annotations

from typing import Final

from mlpools.contract.wiring import STATUS_PORT
from mlpools_operator.api.v1alpha1 import ComputePoolSpec, NotebookRuntimeSpec, amount
from mlpools_operator.domain import naming
from mlpools_operator.domain.defaults import Defaults
from mlpools_operator.domain.notebook import ingress, pod
from mlpools_operator.domain.observed import ClaimChild, Resource
from mlpools_operator.domain.plan import Object
from mlpools_operator.domain.pods import egress, network
from mlpools_operator.domain.pods.egress import Known
from mlpools_operator.domain.pool.families import Family

KIND: Final = "NotebookRuntime"


def stateful_set(
    notebook: Resource,
    spec: NotebookRuntimeSpec,
    pool: ComputePoolSpec,
    family: Family,
    attempt: int,
    defaults: Defaults,
) -> Object:
    """Return the StatefulSet of one start, as which it is never changed."""
    labels = naming.labels(KIND, notebook.meta, spec.compute_pool, attempt)
    secret = token_name(notebook, spec)
    metadata = _metadata(notebook, spec, naming.notebook(notebook.meta.name)) | {"labels": labels}
    if pod.leads(spec, pool, defaults):
        metadata["annotations"] = {naming.CLUSTER: "true"}
    return naming.with_hash(
        {
            "apiVersion": "apps/v1",
            "kind": "StatefulSet",
            "metadata": metadata,
            "spec": {
                "replicas": 1,
                "serviceName": naming.notebook(notebook.meta.name),
                "selector": {"matchLabels": _server(notebook)},
                "updateStrategy": {"type": "OnDelete"},
                "revisionHistoryLimit": 0,
                "template": pod.template(notebook, spec, pool, family, attempt, secret, labels, defaults),
            },
        }
    )


def service(notebook: Resource, spec: NotebookRuntimeSpec) -> Object:
    """Return the Service under whose name the notebook is reached."""
    ports = [
        {"name": ingress.PORT, "port": spec.port, "targetPort": "notebook", "protocol": "TCP"},
    ]
    return naming.with_hash(
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": _metadata(notebook, spec, naming.notebook(notebook.meta.name)),
            "spec": {"selector": _server(notebook), "ports": ports},
        }
    )


def ingress_rule(notebook: Resource, spec: NotebookRuntimeSpec, defaults: Defaults) -> Object | None:
    """Return the Ingress by which browsers reach the notebook; None without one."""
    metadata = _metadata(notebook, spec, naming.notebook(notebook.meta.name))
    return ingress.rule(notebook, spec, metadata, defaults)


def policy(
    notebook: Resource, spec: NotebookRuntimeSpec, pool: ComputePoolSpec, known: Known, defaults: Defaults
) -> Object:
    """Return the NetworkPolicy.

    In get its own pods, the operator's look, and who has the token at its port. Out it gets as its spec says.
    """
    own = {"podSelector": {"matchLabels": {naming.JOB_UID: notebook.meta.uid}}}
    return naming.with_hash(
        {
            "apiVersion": "networking.k8s.io/v1",
            "kind": "NetworkPolicy",
            "metadata": _metadata(notebook, spec, naming.notebook(notebook.meta.name)),
            "spec": {
                "podSelector": own["podSelector"],
                "policyTypes": ["Ingress", "Egress"],
                "ingress": [
                    {"from": [own]},
                    {
                        "from": [network.operator(defaults)],
                        "ports": [{"port": STATUS_PORT, "protocol": "TCP"}],
                    },
                    {"ports": [{"port": spec.port, "protocol": "TCP"}]},
                ],
                "egress": egress.rules(egress.listed(spec), pool.packages, known),
            },
        }
    )


def token(notebook: Resource, spec: NotebookRuntimeSpec) -> tuple[Object, ...]:
    """Return the Secret that opens the notebook, without its content; none if the spec names one."""
    if spec.access.token_secret is not None:
        return ()
    metadata = _metadata(notebook, spec, naming.token_secret(notebook.meta.name))
    return ({"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "type": "Opaque"},)


def token_name(notebook: Resource, spec: NotebookRuntimeSpec) -> str:
    """Return the name of the Secret that opens the notebook."""
    return spec.access.token_secret or naming.token_secret(notebook.meta.name)


def workspace(notebook: Resource, spec: NotebookRuntimeSpec, there: ClaimChild | None) -> Object:
    """Return the claim of the workspace.

    Args:
        notebook: its owner.
        spec: of the notebook.
        there: the claim as it is, perhaps of an earlier notebook of that name: it neither shrinks nor moves.
    """
    storage = spec.storage
    name = naming.workspace(notebook.meta.name)
    metadata = _metadata(notebook, spec, name)
    metadata["labels"][naming.NOTEBOOK] = naming.label_value(notebook.meta.name)
    if storage.retain:
        del metadata["ownerReferences"]
    size = there.size if there and amount(there.size) >= amount(storage.size) else storage.size
    claim: Object = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": size}}}
    storage_class = there.storage_class if there and there.storage_class else storage.storage_class_name
    if storage_class:
        claim["storageClassName"] = storage_class
    return naming.with_hash(
        {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": metadata, "spec": claim}
    )


def _server(notebook: Resource) -> dict[str, str]:
    """Return the labels of the pod that serves, which the further nodes of its cluster do not have."""
    return {naming.JOB_UID: notebook.meta.uid, naming.PART: naming.SERVER}


def _metadata(notebook: Resource, spec: NotebookRuntimeSpec, name: str) -> Object:
    return {
        "name": name,
        "namespace": notebook.meta.namespace,
        "labels": naming.labels(KIND, notebook.meta, spec.compute_pool),
        "ownerReferences": [naming.owner_reference(KIND, notebook.meta)],
    }
