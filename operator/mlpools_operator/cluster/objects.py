"""What the operator asks of the API server, in its own words."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Collection
from dataclasses import dataclass
from typing import Any

from mlpools_operator.cluster.errors import NotFound
from mlpools_operator.cluster.kinds import (
    CHILDREN,
    CONFIG_MAP,
    ENDPOINT_SLICE,
    EVENT,
    NAMESPACE,
    OURS,
    SECRET,
    WATCHED,
    KindInfo,
)
from mlpools_operator.cluster.transport import APPLY, MERGE, Request, Transport
from mlpools_operator.domain.naming import FIELD_MANAGER, POOL, SELECTOR
from mlpools_operator.domain.observed import Meta, Told
from mlpools_operator.domain.plan import Delete, Event, Object, Scale
from mlpools_operator.domain.times import seconds, stamp

#: A resourceVersion that no object ever has (etcd's first write gets 2): whatever is there, conflicts.
NEVER = "1"

_METADATA = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"
_PAGE = 500
_EVENT_MESSAGE_BYTES = 1024  # the API server refuses longer ones


@dataclass(frozen=True, slots=True)
class Listed:
    """One object in a metadata-only list."""

    namespace: str
    name: str
    uid: str
    resource_version: str


@dataclass(frozen=True, slots=True)
class Listing:
    """All objects of a kind at one moment.

    Attributes:
        resource_version: that moment.
    """

    resource_version: str
    objects: tuple[Listed, ...]


class Cluster:
    """The API server as the operator sees it. Every method raises ``errors.ClusterError``'s kinds."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    async def apply(self, manifest: Object, *, resource_version: str = NEVER) -> Object:
        """Server-side apply, on exactly the version that was seen.

        Args:
            manifest: the child.
            resource_version: of the object as remembered. By default there must be no such object: a
                plain server-side apply would take over a stranger's.

        Raises:
            Conflict: another object, or another version, is there.
        """
        info = CHILDREN[manifest["kind"]]
        metadata = {**manifest["metadata"], "resourceVersion": resource_version}
        return await self._send(
            "patch",
            info,
            info.path(metadata["namespace"], metadata["name"]),
            query={"fieldManager": FIELD_MANAGER, "force": "true"},
            body={**manifest, "metadata": metadata},
            content_type=APPLY,
        )

    async def create(self, manifest: Object) -> Object:
        """POST an object. Fields that the API server does not know are an error, not a silent loss.

        Raises:
            AlreadyExists: the name is taken, by us or by somebody else.
        """
        info = WATCHED[manifest["kind"]]
        return await self._send(
            "create",
            info,
            info.path(manifest["metadata"]["namespace"]),
            query={"fieldManager": FIELD_MANAGER, "fieldValidation": "Strict"},
            body=manifest,
        )

    async def create_secret(self, manifest: Object) -> None:
        """POST a Secret, whose content never comes back to here.

        Raises:
            AlreadyExists: the name is taken, by us or by somebody else: only who may read it can tell.
        """
        path = SECRET.path(manifest["metadata"]["namespace"])
        await self._send("create", SECRET, path, query={"fieldManager": FIELD_MANAGER}, body=manifest)

    async def scale(self, target: Scale) -> Object:
        """Give an Indexed Job another number of pods, if it is the one that was meant.

        Raises:
            NotFound: it is gone.
            Conflict: another Job has that name by now.
        """
        info = CHILDREN["Job"]
        # The API server takes a change of completions only together with as many at once.
        spec = {"completions": target.pods, "parallelism": target.pods}
        return await self._send(
            "patch",
            info,
            info.path(target.namespace, target.name),
            query={"fieldManager": FIELD_MANAGER, "fieldValidation": "Strict"},
            body={"metadata": {"uid": target.uid}, "spec": spec},
            content_type=MERGE,
        )

    async def delete(self, target: Delete) -> Object:
        """Delete one object if it is the one that was meant; its dependents go in the background.

        Raises:
            NotFound: it is gone.
            Conflict: another object has that name by now.
        """
        info = WATCHED[target.kind]
        return await self._send(
            "delete",
            info,
            info.path(target.namespace, target.name),
            body={
                "apiVersion": "v1",
                "kind": "DeleteOptions",
                "preconditions": {"uid": target.uid},
                "propagationPolicy": "Background",
            },
        )

    async def get(self, kind: str, namespace: str, name: str) -> Object:
        """Read one object."""
        info = WATCHED[kind]
        return await self._send("get", info, info.path(namespace, name))

    async def namespace(self, name: str) -> Object:
        """Read one namespace."""
        return await self._send("get", NAMESPACE, NAMESPACE.path(name=name))

    async def api_server(self) -> Collection[tuple[str, int]]:
        """Return the addresses and ports at which the API server itself is: a Service stands before them."""
        raw = await self._send("get", ENDPOINT_SLICE, ENDPOINT_SLICE.path("default", "kubernetes"))
        endpoints, ports = raw.get("endpoints") or (), raw.get("ports") or ()
        addresses = [address for endpoint in endpoints for address in endpoint["addresses"]]
        return {(address, port["port"]) for address in addresses for port in ports if port.get("port")}

    async def config_map(self, namespace: str, name: str) -> Object:
        """Read one ConfigMap."""
        return await self._send("get", CONFIG_MAP, CONFIG_MAP.path(namespace, name))

    async def write_config_map(self, manifest: Object) -> Object:
        """Write a ConfigMap over the version that its metadata tell; without one it must be new.

        Raises:
            AlreadyExists: there is one of that name.
            Conflict: somebody wrote in between.
            NotFound: somebody deleted it.
        """
        metadata = manifest["metadata"]
        namespace, name = metadata["namespace"], metadata["name"]
        new = "resourceVersion" not in metadata
        return await self._send(
            "create" if new else "update",
            CONFIG_MAP,
            CONFIG_MAP.path(namespace, "" if new else name),
            query={"fieldManager": FIELD_MANAGER},
            body=manifest,
        )

    async def config_maps(self, namespace: str) -> list[Object]:
        """List the ConfigMaps that are about a pool."""
        query = {"labelSelector": f"{SELECTOR},{POOL}"}
        answer = await self._send("list", CONFIG_MAP, CONFIG_MAP.path(namespace), query=query)
        return list(answer["items"])

    async def delete_config_map(self, namespace: str, name: str, version: str) -> None:
        """Delete a ConfigMap if it is in the version that was seen.

        Raises:
            Conflict: somebody wrote in between.
            NotFound: somebody deleted it.
        """
        options = {"apiVersion": "v1", "kind": "DeleteOptions", "preconditions": {"resourceVersion": version}}
        await self._send("delete", CONFIG_MAP, CONFIG_MAP.path(namespace, name), body=options)

    async def replace_status(self, kind: str, meta: Meta, status: Any) -> Object:
        """Write a whole status over the version that it was planned for.

        Raises:
            Conflict: somebody wrote in between.
        """
        info = OURS[kind]
        metadata = {"name": meta.name, "uid": meta.uid, "resourceVersion": meta.resource_version}
        if meta.namespace:
            metadata["namespace"] = meta.namespace
        return await self._send(
            "update",
            info,
            info.path(meta.namespace, meta.name, "status"),
            subresource="status",
            query={"fieldManager": FIELD_MANAGER},
            body={"apiVersion": info.api_version, "kind": kind, "metadata": metadata, "status": status},
        )

    async def record(self, kind: str, meta: Meta, event: Event, now: float) -> None:
        """Write an Event about one of our objects.

        Its name follows from the status version that it tells of, so a repetition is not a second Event.
        """
        info, namespace = OURS[kind], meta.namespace or "default"
        identity = f"{meta.uid} {meta.resource_version} {event.reason}"
        digest = hashlib.sha256(identity.encode()).hexdigest()[:16]
        time = stamp(now)
        involved = {
            "apiVersion": info.api_version,
            "kind": kind,
            "namespace": meta.namespace,
            "name": meta.name,
            "uid": meta.uid,
            "resourceVersion": meta.resource_version,
        }
        body = {
            "apiVersion": EVENT.api_version,
            "kind": EVENT.kind,
            "metadata": {"name": f"{meta.name[:236]}.{digest}", "namespace": namespace},
            "involvedObject": {key: value for key, value in involved.items() if value},
            "type": event.type,
            "reason": event.reason,
            "message": event.message.encode()[:_EVENT_MESSAGE_BYTES].decode(errors="ignore"),
            "source": {"component": FIELD_MANAGER},
            "firstTimestamp": time,
            "lastTimestamp": time,
            "count": 1,
        }
        await self._send("create", EVENT, EVENT.path(namespace), body=body)

    async def refusals(self, namespace: str, job_uid: str) -> list[str]:
        """Return what the Job controller was told when it could not create the pods of a Job."""
        selector = f"involvedObject.uid={job_uid},reason=FailedCreate"
        answer = await self._send(
            "list", EVENT, EVENT.path(namespace), query={"fieldSelector": selector, "limit": "10"}
        )
        return [str(item.get("message", "")) for item in answer["items"]]

    async def events(self, about: Meta) -> list[Told]:
        """Return what Events say about an object of another owner."""
        query = {"fieldSelector": f"involvedObject.uid={about.uid}", "limit": "100"}
        answer = await self._send("list", EVENT, EVENT.path(about.namespace), query=query)
        return [_told(item) for item in answer["items"]]

    async def ping(self) -> None:
        """Ask for what everybody may read."""
        await self._transport.send(Request("get", "version", "/version"))

    async def unknown_kinds(self) -> set[str]:
        """Return which of our kinds the API server does not serve, or not yet."""
        one = next(iter(OURS.values()))
        try:
            answer = await self._transport.send(
                Request("get", "discovery", f"/apis/{one.group}/{one.version}")
            )
        except NotFound:
            return set(OURS)
        return set(OURS) - {resource["kind"] for resource in answer["resources"]}

    async def listing(self, kind: str, namespace: str = "") -> Listing:
        """List the metadata of all objects of a kind that concern us, in pages of one snapshot.

        Raises:
            Expired: the pages took longer than the API server keeps a snapshot; start again.
        """
        version, objects = "", []
        async for page in self._pages(WATCHED[kind], namespace):
            version = version or page["metadata"]["resourceVersion"]
            for item in page["items"] or ():  # null for none
                meta = item["metadata"]
                objects.append(
                    Listed(meta.get("namespace", ""), meta["name"], meta["uid"], meta["resourceVersion"])
                )
        return Listing(version, tuple(objects))

    async def _pages(self, info: KindInfo, namespace: str) -> AsyncIterator[Object]:
        query = {"limit": str(_PAGE)}
        if info.kind in CHILDREN:
            query["labelSelector"] = SELECTOR
        while True:
            page = await self._send("list", info, info.path(namespace), query=query, accept=_METADATA)
            yield page
            token = page["metadata"].get("continue")
            if not token:
                return
            query["continue"] = token

    async def _send(
        self, verb: str, info: KindInfo, path: str, *, subresource: str = "", **rest: Any
    ) -> Object:
        resource = f"{info.plural}/{subresource}" if subresource else info.plural
        answer: Object = await self._transport.send(Request(verb, resource, path, **rest))
        return answer


def _told(event: Object) -> Told:
    series = event.get("series") or {}
    last = series.get("lastObservedTime") or event.get("lastTimestamp") or event.get("eventTime")
    return Told(str(event.get("reason") or ""), str(event.get("message") or ""), seconds(last))
