"""The way to a notebook from outside the cluster: a host of its own, under the operator's domain.

A path for each notebook would give all of them one origin, and each could act in a browser as its neighbour.
"""

from __future__ import annotations

from typing import Final

from mlpools_operator.api.v1alpha1 import NotebookRuntimeSpec
from mlpools_operator.domain import naming
from mlpools_operator.domain.attempt.stopping import Stop
from mlpools_operator.domain.defaults import Defaults
from mlpools_operator.domain.observed import Resource
from mlpools_operator.domain.plan import Object

#: Of the Service's port.
PORT: Final = "notebook"
_NO_DOMAIN = Stop(
    "NoDomain",
    "access.ingress asks for a host under the operator's domain for notebooks, and it has none: ask your "
    "administrator to set notebooks.domain of the chart, or leave access.ingress out and use "
    "`kubectl port-forward`.",
)


def refusal(spec: NotebookRuntimeSpec, defaults: Defaults) -> Stop | None:
    """Return why the notebook cannot have the host that it asks for, None if it can or asks for none."""
    return _NO_DOMAIN if spec.access.ingress is not None and not defaults.notebooks_domain else None


def rule(
    notebook: Resource, spec: NotebookRuntimeSpec, metadata: Object, defaults: Defaults
) -> Object | None:
    """Return the Ingress; None without one.

    Args:
        notebook: its owner.
        spec: of the notebook.
        metadata: of a child of its.
        defaults: of the operator, with the domain.
    """
    wanted = spec.access.ingress
    if wanted is None or not defaults.notebooks_domain:
        return None
    host = _host(notebook, defaults)
    service = {"name": naming.notebook(notebook.meta.name), "port": {"name": PORT}}
    paths = [{"path": "/", "pathType": "Prefix", "backend": {"service": service}}]
    made: Object = {"rules": [{"host": host, "http": {"paths": paths}}]}
    if wanted.class_name is not None:
        made["ingressClassName"] = wanted.class_name
    if wanted.tls is not None:
        made["tls"] = [{"hosts": [host], **wanted.tls.plain()}]
    return naming.with_hash(
        {
            "apiVersion": "networking.k8s.io/v1",
            "kind": "Ingress",
            "metadata": {**metadata, "annotations": dict(defaults.ingress_annotations)},
            "spec": made,
        }
    )


def url(notebook: Resource, spec: NotebookRuntimeSpec, defaults: Defaults) -> str:
    """Return where the notebook is: for browsers if it has a host, else for who is inside the cluster."""
    wanted = spec.access.ingress
    if wanted is None or not defaults.notebooks_domain:
        service = f"{naming.notebook(notebook.meta.name)}.{notebook.meta.namespace}.svc"
        return f"http://{service}.{defaults.cluster_domain}:{spec.port}/"
    return f"http{'s' if wanted.tls is not None else ''}://{_host(notebook, defaults)}/"


def _host(notebook: Resource, defaults: Defaults) -> str:
    return f"{naming.host_label(notebook.meta.namespace, notebook.meta.name)}.{defaults.notebooks_domain}"
