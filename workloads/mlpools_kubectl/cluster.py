"""The API server, asked as the person who runs the command."""

from __future__ import annotations

import contextlib
import email.utils
import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

import urllib3
from kubernetes import client, config

from mlpools_kubectl.failures import Failure, Forbidden, NoCluster, NotFound
from mlpools_operator.cluster import errors
from mlpools_operator.cluster.kinds import CHILDREN, OURS, KindInfo

Object = dict[str, Any]
Objects = list[Object]

_MANAGER = "kubectl-mlpools"
_MERGE = "application/merge-patch+json"
_JSON = "application/json"
#: To connect, and to answer. What is followed has no limit.
_SECONDS = (5.0, 30.0)
_PAGE = "500"


@dataclass(frozen=True)
class Target:
    """Which cluster and namespace, as the command line says; None = what kubectl itself would take."""

    namespace: str | None = None
    context: str | None = None
    kubeconfig: str | None = None


class Cluster:
    """One cluster. Every method ends in a ``Failure`` if the API server says no or nothing.

    Attributes:
        namespace: that the person works in.
        target: as which it was opened.
    """

    def __init__(self, target: Target) -> None:
        """Read the kubeconfig; nothing is asked yet.

        Raises:
            Failure: there is none that can be used.
        """
        configuration = client.Configuration()
        try:
            config.load_kube_config(
                target.kubeconfig, context=target.context, client_configuration=configuration
            )
            contexts, active = config.list_kube_config_contexts(target.kubeconfig)
        except (config.ConfigException, OSError) as error:
            reason = str(error).rstrip(".")
            raise NoCluster(
                f"No cluster to talk to: {reason}. Set KUBECONFIG, or say --kubeconfig and --context.",
            ) from None
        configuration.retries = False  # a person sees at once that nobody answers
        chosen = next((it for it in contexts if it["name"] == target.context), active)
        self.target = target
        self.namespace: str = target.namespace or chosen["context"].get("namespace") or "default"
        self._api = client.ApiClient(configuration)

    def get(self, info: KindInfo, name: str, namespace: str = "") -> Object:
        """Read one object."""
        return self._json("GET", info.path(namespace or self.namespace, name), about=f"{info.kind} {name}")

    def find(self, info: KindInfo, name: str, namespace: str = "") -> Object | None:
        """Read one object; None if there is none."""
        try:
            return self.get(info, name, namespace)
        except NotFound:
            return None

    def list(
        self,
        info: KindInfo,
        *,
        everywhere: bool = False,
        namespace: str = "",
        labels: str = "",
        fields: str = "",
    ) -> Objects:
        """Read all objects of a kind, in pages.

        Args:
            info: the kind.
            everywhere: in all namespaces, instead of one.
            namespace: that one; empty = the person's.
            labels: selector.
            fields: selector.
        """
        query = {"limit": _PAGE, "labelSelector": labels, "fieldSelector": fields}
        place = info.path("" if everywhere else namespace or self.namespace)
        found: Objects = []
        while True:
            page = self._json("GET", place, query, about=info.plural)
            # Lists leave out what all their items have in common.
            found += [{"apiVersion": info.api_version, "kind": info.kind, **it} for it in page["items"] or ()]
            query["continue"] = page["metadata"].get("continue", "")
            if not query["continue"]:
                return found

    def patch(self, found: Object, change: Object) -> Object:
        """Merge a change into an object, if it is still the one that was found."""
        info, meta = info_of(found), found["metadata"]
        return self._json(
            "PATCH",
            info.path(meta.get("namespace", ""), meta["name"]),
            {"fieldManager": _MANAGER, "fieldValidation": "Strict"},
            {**change, "metadata": {**change.get("metadata", {}), "uid": meta["uid"]}},
            about=f"{info.kind} {meta['name']}",
            content_type=_MERGE,
        )

    def create(self, manifest: Object, namespace: str) -> Object:
        """Make an object."""
        info = info_of(manifest)
        query = {"fieldManager": _MANAGER, "fieldValidation": "Strict"}
        return self._json("POST", info.path(namespace), query, manifest, about=f"a {info.kind}")

    def delete(self, found: Object) -> None:
        """Delete an object at once, and only that one; absent is fine."""
        info, meta = info_of(found), found["metadata"]
        body = {"gracePeriodSeconds": 0, "preconditions": {"uid": meta["uid"]}}
        path = info.path(meta.get("namespace", ""), meta["name"])
        with contextlib.suppress(NotFound):
            self._json("DELETE", path, {}, body, about=f"{info.kind} {meta['name']}")

    def log(self, pod: Object, query: Mapping[str, str], *, follow: bool = False) -> Iterator[bytes]:
        """Yield a container's log as it comes."""
        meta = pod["metadata"]
        path = CHILDREN["Pod"].path(meta["namespace"], meta["name"], "log")
        chosen = {**query, "follow": "true"} if follow else query
        seconds = (_SECONDS[0], None) if follow else _SECONDS
        answer = self._send("GET", path, chosen, None, f"log of pod {meta['name']}", _JSON, seconds)
        try:
            yield from answer.response.stream(65_536, decode_content=True)
        except urllib3.exceptions.HTTPError as error:
            raise Failure(f"The log of pod {meta['name']} broke off: {error}.") from None
        finally:
            answer.response.close()

    def now(self) -> float:
        """Return the API server's time, in seconds since the epoch: this machine's may differ."""
        answer = self._send("GET", "/version", {}, None, "the version", _JSON, _SECONDS)
        answer.read()
        return email.utils.parsedate_to_datetime(answer.headers["Date"]).timestamp()

    def version(self) -> str:
        """Return the API server's version, such as ``v1.36.0``."""
        return str(self._json("GET", "/version", about="the version")["gitVersion"])

    def _json(
        self,
        method: str,
        path: str,
        query: Mapping[str, str] | None = None,
        body: Any = None,
        *,
        about: str,
        content_type: str = _JSON,
    ) -> Object:
        answer: Object = json.loads(
            self._send(method, path, query or {}, body, about, content_type, _SECONDS).read()
        )
        return answer

    def _send(
        self,
        method: str,
        path: str,
        query: Mapping[str, str],
        body: Any,
        about: str,
        content_type: str,
        seconds: tuple[float, float | None],
    ) -> Any:
        headers = {**self._api.default_headers, "Accept": _JSON, "Content-Type": content_type}
        if path.endswith("/log"):
            headers["Accept"] = "*/*"
        self._api.update_params_for_auth(headers, [], ["BearerToken"], path, "", None)
        host = self._api.configuration.host
        chosen = {key: value for key, value in query.items() if value}
        url = f"{host}{path}" + (f"?{urlencode(chosen)}" if chosen else "")
        try:
            answer = self._api.call_api(method, url, headers, body, _request_timeout=seconds)
            if 200 <= answer.status < 300:
                return answer
            error = errors.from_answer(answer.status, answer.read())
        except (urllib3.exceptions.HTTPError, client.ApiException) as failed:
            raise NoCluster(
                f"{host} does not answer ({type(failed).__name__}): is the cluster up, and is "
                f"{self._named()} the right one?",
            ) from None
        raise _failure(error, about)

    def _named(self) -> str:
        where = self.target.kubeconfig or os.environ.get("KUBECONFIG") or "~/.kube/config"
        return f"context {self.target.context} of {where}" if self.target.context else where


def info_of(found: Object) -> KindInfo:
    """Return the kind of an object."""
    kind = str(found["kind"])
    return OURS.get(kind) or CHILDREN[kind]


def _failure(error: errors.ClusterError, about: str) -> Failure:
    said = str(error).rstrip(".")
    if error.code == 401:
        return Forbidden("The cluster does not know you (401): log in to it again.")
    if isinstance(error, errors.NotFound):
        if "could not find the requested resource" in said or said.startswith("404 page"):
            return NotFound(f"This cluster does not serve {about}: mlpools is not installed there.")
        return NotFound(f"There is no {about}: {said}.")
    if isinstance(error, errors.Refused):
        return Forbidden(f"The cluster does not let you: {said}.")
    return Failure(f"The cluster refused {about}: {said}.")
