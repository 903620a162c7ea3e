"""The API server as its administrator, for tests: plain JSON in and out."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import urllib3

Object = dict[str, Any]
Objects = list[Object]
#: Types of watch events, and the objects that they are about.
History = list[tuple[str, Object]]

#: kind -> path before the namespace, plural, whether it has a namespace.
_PLACES: dict[str, tuple[str, str, bool]] = {
    "ComputePool": ("/apis/mlpools.dev/v1alpha1", "computepools", False),
    "TrainingJob": ("/apis/mlpools.dev/v1alpha1", "trainingjobs", True),
    "BatchInference": ("/apis/mlpools.dev/v1alpha1", "batchinferences", True),
    "NotebookRuntime": ("/apis/mlpools.dev/v1alpha1", "notebookruntimes", True),
    "StatefulSet": ("/apis/apps/v1", "statefulsets", True),
    "PersistentVolumeClaim": ("/api/v1", "persistentvolumeclaims", True),
    "Secret": ("/api/v1", "secrets", True),
    "Job": ("/apis/batch/v1", "jobs", True),
    "Pod": ("/api/v1", "pods", True),
    "Service": ("/api/v1", "services", True),
    "EndpointSlice": ("/apis/discovery.k8s.io/v1", "endpointslices", True),
    "Ingress": ("/apis/networking.k8s.io/v1", "ingresses", True),
    "Event": ("/api/v1", "events", True),
    "Node": ("/api/v1", "nodes", False),
    "Namespace": ("/api/v1", "namespaces", False),
    "ConfigMap": ("/api/v1", "configmaps", True),
    "ResourceQuota": ("/api/v1", "resourcequotas", True),
    "ServiceAccount": ("/api/v1", "serviceaccounts", True),
    "NetworkPolicy": ("/apis/networking.k8s.io/v1", "networkpolicies", True),
    "ClusterRole": ("/apis/rbac.authorization.k8s.io/v1", "clusterroles", False),
    "ClusterRoleBinding": ("/apis/rbac.authorization.k8s.io/v1", "clusterrolebindings", False),
    "Role": ("/apis/rbac.authorization.k8s.io/v1", "roles", True),
    "Lease": ("/apis/coordination.k8s.io/v1", "leases", True),
    "RoleBinding": ("/apis/rbac.authorization.k8s.io/v1", "rolebindings", True),
    "PriorityClass": ("/apis/scheduling.k8s.io/v1", "priorityclasses", False),
    "RuntimeClass": ("/apis/node.k8s.io/v1", "runtimeclasses", False),
    "CustomResourceDefinition": ("/apis/apiextensions.k8s.io/v1", "customresourcedefinitions", False),
}
_APPLY = "application/apply-patch+yaml"
_MERGE = "application/merge-patch+json"
_JSON_PATCH = "application/json-patch+json"


class ApiError(Exception):
    """The API server said no.

    Attributes:
        code: HTTP status.
        reason: such as ``NotFound``.
    """

    def __init__(self, code: int, reason: str, message: str) -> None:
        super().__init__(message)
        self.code, self.reason = code, reason


@dataclass
class Kube:
    """A client with a token."""

    server: str
    ca: Path
    token: str

    @cached_property
    def pool(self) -> urllib3.PoolManager:
        """Its connections."""
        return urllib3.PoolManager(ca_certs=str(self.ca), retries=False, timeout=30)

    def close(self) -> None:
        """Close the connections."""
        self.pool.clear()

    def request(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        content_type: str = "application/json",
        query: dict[str, str] | None = None,
    ) -> Any:
        """Send one request.

        Raises:
            ApiError: the answer is none of 2xx.
        """
        answer = self.pool.request(
            method,
            f"{self.server}{path}" + (f"?{urlencode(query)}" if query else ""),
            body=None if body is None else json.dumps(body),
            headers={"Authorization": f"Bearer {self.token}", "Content-Type": content_type},
        )
        text = answer.data.decode()
        if answer.status >= 300:
            try:
                status = json.loads(text)
            except ValueError:
                status = {"message": text}
            raise ApiError(answer.status, status.get("reason", ""), status.get("message", ""))
        return json.loads(text) if text.startswith("{") else text

    def create(self, manifest: Object, namespace: str = "") -> Object:
        """POST an object, with strict validation as kubectl does."""
        space = manifest["metadata"].get("namespace", namespace)
        path = _path(manifest["kind"], space)
        created: Object = self.request("POST", path, manifest, query={"fieldValidation": "Strict"})
        return created

    def apply(
        self, manifest: Object, namespace: str = "", *, manager: str = "test", force: bool = True
    ) -> Object:
        """Server-side apply, by default as one who wins every conflict."""
        meta = manifest["metadata"]
        path = _path(manifest["kind"], meta.get("namespace", namespace), meta["name"])
        query = {"fieldManager": manager, "force": str(force).lower()}
        applied: Object = self.request("PATCH", path, manifest, content_type=_APPLY, query=query)
        return applied

    def get(self, kind: str, name: str, namespace: str = "") -> Object:
        """Read an object."""
        found: Object = self.request("GET", _path(kind, namespace, name))
        return found

    def find(self, kind: str, name: str, namespace: str = "") -> Object | None:
        """Read an object; None where there is none."""
        try:
            return self.get(kind, name, namespace)
        except ApiError as error:
            if error.code != 404:
                raise
            return None

    def list(self, kind: str, namespace: str = "", selector: str = "") -> Objects:
        """Read all objects of a kind, by name."""
        query = {"labelSelector": selector} if selector else {}
        items: Objects = self.request("GET", _path(kind, namespace), query=query)["items"]
        return sorted(items, key=lambda item: str(item["metadata"]["name"]))

    def version(self, kind: str, namespace: str = "") -> str:
        """Return the resourceVersion of what there is of a kind now."""
        return str(self.request("GET", _path(kind, namespace))["metadata"]["resourceVersion"])

    def since(self, version: str, kind: str, namespace: str = "") -> History:
        """Return what has happened to objects of a kind since a resourceVersion: event types and objects."""
        query = {"watch": "true", "resourceVersion": version, "timeoutSeconds": "1"}
        answer = self.pool.request(
            "GET",
            f"{self.server}{_path(kind, namespace)}?{urlencode(query)}",
            headers={"Authorization": f"Bearer {self.token}"},
        )
        events = [json.loads(line) for line in answer.data.decode().splitlines()]
        return [(event["type"], event["object"]) for event in events]

    def patch(
        self, kind: str, name: str, change: Object, namespace: str = "", subresource: str = ""
    ) -> Object:
        """Merge a change into an object."""
        path = _path(kind, namespace, name, subresource)
        patched: Object = self.request("PATCH", path, change, content_type=_MERGE)
        return patched

    def edit(self, kind: str, name: str, operations: Objects, namespace: str = "") -> Object:
        """Apply a JSON patch."""
        path = _path(kind, namespace, name)
        edited: Object = self.request("PATCH", path, operations, content_type=_JSON_PATCH)
        return edited

    def delete(self, kind: str, name: str, namespace: str = "", *, grace: int | None = None) -> None:
        """Delete an object, dependents in the background; absent is fine."""
        body: Object = {"propagationPolicy": "Background"}
        if grace is not None:
            body["gracePeriodSeconds"] = grace
        try:
            self.request("DELETE", _path(kind, namespace, name), body)
        except ApiError as error:
            if error.code != 404:
                raise

    def grant(self, documents: Objects) -> str:
        """Apply rendered rights; return the name of their ServiceAccount."""
        for document in documents:
            self.apply(document)
        return next(str(it["metadata"]["name"]) for it in documents if it["kind"] == "ServiceAccount")


def _path(kind: str, namespace: str = "", name: str = "", subresource: str = "") -> str:
    root, plural, namespaced = _PLACES[kind]
    place = f"/namespaces/{namespace}" if namespaced and namespace else ""
    return "/".join(part for part in (f"{root}{place}/{plural}", name, subresource) if part)
