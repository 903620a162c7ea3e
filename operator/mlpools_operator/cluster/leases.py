"""The Lease by which operators agree who leads."""

from __future__ import annotations

from typing import Any

from mlpools_operator.cluster.errors import NotFound
from mlpools_operator.cluster.kinds import LEASE
from mlpools_operator.cluster.transport import Request, Transport
from mlpools_operator.domain.leadership import Lease
from mlpools_operator.domain.plan import Object


class Leases:
    """One Lease in the API server. Both methods raise ``errors.ClusterError``'s kinds."""

    def __init__(self, transport: Transport, namespace: str, name: str) -> None:
        """Use a transport of its own: renewing must not wait for other requests, nor be fenced."""
        self._transport, self._namespace, self._name = transport, namespace, name

    @property
    def place(self) -> str:
        """Where it is, for messages."""
        return f"{self._namespace}/{self._name}"

    async def read(self) -> Lease | None:
        """Return the Lease; None while there is none."""
        try:
            return _lease(await self._send("get", name=self._name))
        except NotFound:
            return None

    async def write(self, lease: Lease) -> Lease:
        """Create the Lease, or replace exactly the version that was read; return it as stored.

        Raises:
            AlreadyExists: somebody else created it first.
            Conflict: somebody else wrote it since.
            NotFound: somebody deleted it since.
        """
        metadata = {"name": self._name, "namespace": self._namespace}
        if lease.version:
            metadata["resourceVersion"] = lease.version
        spec = {
            "leaseDurationSeconds": lease.seconds,
            "leaseTransitions": lease.transitions,
            "acquireTime": lease.acquired,
            "renewTime": lease.renewed,
        }
        if lease.holder:
            spec["holderIdentity"] = lease.holder
        body = {"apiVersion": LEASE.api_version, "kind": LEASE.kind, "metadata": metadata, "spec": spec}
        if lease.version:
            return _lease(await self._send("update", name=self._name, body=body))
        return _lease(await self._send("create", body=body))

    async def _send(self, verb: str, name: str = "", body: Any = None) -> Object:
        path = LEASE.path(self._namespace, name)
        answer: Object = await self._transport.send(Request(verb, LEASE.plural, path, body=body))
        return answer


def _lease(raw: Object) -> Lease:
    spec = raw.get("spec", {})
    return Lease(
        holder=spec.get("holderIdentity") or "",
        seconds=spec.get("leaseDurationSeconds") or 0,
        transitions=spec.get("leaseTransitions") or 0,
        acquired=spec.get("acquireTime") or "",
        renewed=spec.get("renewTime") or "",
        version=raw["metadata"]["resourceVersion"],
    )
