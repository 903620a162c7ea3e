"""The kinds that the operator touches, and their places in the API."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from mlpools_operator.api import v1alpha1


@dataclass(frozen=True, slots=True)
class KindInfo:
    """Where objects of a kind live.

    Attributes:
        group: empty for the core API.
        plural: as in URLs and RBAC rules.
    """

    kind: str
    group: str
    version: str
    plural: str
    namespaced: bool = True

    @property
    def api_version(self) -> str:
        """As in manifests."""
        return f"{self.group}/{self.version}" if self.group else self.version

    def path(self, namespace: str = "", name: str = "", subresource: str = "") -> str:
        """Return the URL path of an object, of a namespace's objects, or of all objects."""
        root = f"/apis/{self.group}/{self.version}" if self.group else f"/api/{self.version}"
        place = f"/namespaces/{namespace}" if self.namespaced and namespace else ""
        tail = "".join(f"/{part}" for part in (name, subresource) if part)
        return f"{root}{place}/{self.plural}{tail}"


#: The kinds that users write.
OURS: Mapping[str, KindInfo] = {
    kind.name: KindInfo(
        kind.name, v1alpha1.GROUP, v1alpha1.VERSION, kind.plural, namespaced=kind.scope == "Namespaced"
    )
    for kind in v1alpha1.KINDS.values()
}

#: The kinds that the operator makes, or that what it makes makes.
CHILDREN: Mapping[str, KindInfo] = {
    "Job": KindInfo("Job", "batch", "v1", "jobs"),
    "Pod": KindInfo("Pod", "", "v1", "pods"),
    "Service": KindInfo("Service", "", "v1", "services"),
    "StatefulSet": KindInfo("StatefulSet", "apps", "v1", "statefulsets"),
    "PersistentVolumeClaim": KindInfo("PersistentVolumeClaim", "", "v1", "persistentvolumeclaims"),
    "NetworkPolicy": KindInfo("NetworkPolicy", "networking.k8s.io", "v1", "networkpolicies"),
    "Ingress": KindInfo("Ingress", "networking.k8s.io", "v1", "ingresses"),
    "ServiceAccount": KindInfo("ServiceAccount", "", "v1", "serviceaccounts"),
    "Role": KindInfo("Role", "rbac.authorization.k8s.io", "v1", "roles"),
    "RoleBinding": KindInfo("RoleBinding", "rbac.authorization.k8s.io", "v1", "rolebindings"),
}

NAMESPACE = KindInfo("Namespace", "", "v1", "namespaces", namespaced=False)

#: Everything that is watched and remembered.
WATCHED: Mapping[str, KindInfo] = {**OURS, **CHILDREN, NAMESPACE.kind: NAMESPACE}

CONFIG_MAP = KindInfo("ConfigMap", "", "v1", "configmaps")

ENDPOINT_SLICE = KindInfo("EndpointSlice", "discovery.k8s.io", "v1", "endpointslices")
SECRET = KindInfo("Secret", "", "v1", "secrets")
EVENT = KindInfo("Event", "", "v1", "events")
LEASE = KindInfo("Lease", "coordination.k8s.io", "v1", "leases")


def watched(*, everywhere: bool) -> Mapping[str, KindInfo]:
    """Return the kinds that can be listed and watched.

    Args:
        everywhere: whether the whole cluster is served. Where a list of namespaces is, the operator may read
            each of them, and cannot list them: `controller.namespaces` asks for them one by one.
    """
    return WATCHED if everywhere else {**OURS, **CHILDREN}
