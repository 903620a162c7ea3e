"""Our own kinds in an API server, as a person's tools use them."""

from __future__ import annotations

import json
import ssl
import urllib.error
import urllib.parse
import urllib.request
from typing import Any

from mlpools_operator.api.v1alpha1 import API_VERSION, KINDS
from tools.cluster.controlplane import ControlPlane

Object = dict[str, Any]


class RefusedError(Exception):
    """The API server refused a request; the text is what kubectl would show."""


class CustomObjects:
    """Reads and writes of ComputePools and TrainingJobs, as the administrator of a cluster."""

    def __init__(self, control_plane: ControlPlane, namespace: str = "default") -> None:
        self._server, self._token, self._namespace = control_plane.server, control_plane.token, namespace
        context = ssl.create_default_context(cafile=str(control_plane.ca))
        handlers = urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=context)
        self._opener = urllib.request.build_opener(*handlers)

    def create(self, manifest: Object, *, keep: bool = False, unknown_fields: str = "Strict") -> Object:
        """Create an object, or with ``keep=False`` only ask the API server whether it would.

        Raises:
            RefusedError: it breaks a rule.
        """
        query = {"fieldValidation": unknown_fields} | ({} if keep else {"dryRun": "All"})
        return self._send("POST", self._path(manifest["kind"]), query, manifest)

    def apply(self, manifest: Object, manager: str) -> Object:
        """Apply an object server-side."""
        query = {"fieldManager": manager, "force": "true", "fieldValidation": "Strict"}
        path = self._path(manifest["kind"], manifest["metadata"]["name"])
        return self._send("PATCH", path, query, manifest, "apply-patch+yaml")

    def set_status(self, kind: str, name: str, status: Object) -> Object:
        """Merge into an object's status."""
        path = self._path(kind, name) + "/status"
        return self._send(
            "PATCH", path, {"fieldValidation": "Strict"}, {"status": status}, "merge-patch+json"
        )

    def change(self, kind: str, name: str, spec: Object) -> Object:
        """Ask whether an object could get another spec.

        Raises:
            RefusedError: it breaks a rule.
        """
        operations = [{"op": "replace", "path": "/spec", "value": spec}]
        return self._send("PATCH", self._path(kind, name), {"dryRun": "All"}, operations, "json-patch+json")

    def delete(self, kind: str, name: str) -> None:
        """Delete an object."""
        self._send("DELETE", self._path(kind, name), {}, None)

    def _path(self, kind: str, name: str = "") -> str:
        model = KINDS[kind]
        inside = f"/namespaces/{self._namespace}" if model.scope == "Namespaced" else ""
        return f"/apis/{API_VERSION}{inside}/{model.plural}" + (f"/{name}" if name else "")

    def _send(
        self, method: str, path: str, query: dict[str, str], body: Any, content: str = "json"
    ) -> Object:
        request = urllib.request.Request(
            f"{self._server}{path}?{urllib.parse.urlencode(query)}",
            method=method,
            data=json.dumps(body).encode() if body is not None else None,
            headers={"Authorization": f"Bearer {self._token}", "Content-Type": f"application/{content}"},
        )
        try:
            with self._opener.open(request, timeout=30) as response:
                answer: Object = json.load(response)
        except urllib.error.HTTPError as error:
            with error:
                raise RefusedError(json.load(error)["message"]) from None
        return answer
