"""How a job's pods find and reach each other, and who else may."""

from __future__ import annotations

from collections.abc import Mapping

from mlpools.contract.wiring import STATUS_PORT
from mlpools_operator.domain import naming
from mlpools_operator.domain.defaults import Defaults
from mlpools_operator.domain.observed import Resource
from mlpools_operator.domain.plan import Object


def children(
    kind: str, job: Resource, pool: str, defaults: Defaults, *, isolated: bool
) -> tuple[Object, ...]:
    """Return what the pods of a job need around them; without isolation there is no NetworkPolicy."""
    policies = (policy(kind, job, pool, defaults),) if isolated else ()
    return (service(kind, job, pool), *policies)


def service(kind: str, job: Resource, pool: str) -> Object:
    """Return the headless Service that gives the pods of all attempts their names.

    Names resolve before a pod is ready, since the gang forms before any pod can be.
    """
    return naming.with_hash(
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": _metadata(kind, job, pool, naming.service(job.meta.name)),
            "spec": {
                "clusterIP": "None",
                "publishNotReadyAddresses": True,
                "selector": _own_pods(job),
                "ports": [{"name": "status", "port": STATUS_PORT, "protocol": "TCP"}],
            },
        }
    )


def policy(kind: str, job: Resource, pool: str, defaults: Defaults) -> Object:
    """Return the NetworkPolicy that lets in the job's own pods, and the operator's probe at one port."""
    return naming.with_hash(
        {
            "apiVersion": "networking.k8s.io/v1",
            "kind": "NetworkPolicy",
            "metadata": _metadata(kind, job, pool, naming.network_policy(job.meta.name)),
            "spec": {
                "podSelector": {"matchLabels": _own_pods(job)},
                "policyTypes": ["Ingress"],
                "ingress": [
                    {"from": [{"podSelector": {"matchLabels": _own_pods(job)}}]},
                    {"from": [operator(defaults)], "ports": [{"port": STATUS_PORT, "protocol": "TCP"}]},
                ],
            },
        }
    )


def operator(defaults: Defaults) -> Object:
    """Return the peer of a NetworkPolicy that is the operator."""
    return {
        "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": defaults.operator_namespace}},
        "podSelector": {"matchLabels": dict(defaults.operator_labels)},
    }


def address_of_rank_0(job: Resource, attempt: int, defaults: Defaults) -> str:
    """Return the full name of rank 0's pod; with five dots it is looked up as it is, in one query."""
    host = naming.hostname(job.meta.name, attempt, 0)
    return f"{host}.{naming.service(job.meta.name)}.{job.meta.namespace}.svc.{defaults.cluster_domain}"


def _own_pods(job: Resource) -> Mapping[str, str]:
    return {naming.JOB_UID: job.meta.uid}


def _metadata(kind: str, job: Resource, pool: str, name: str) -> Object:
    return {
        "name": name,
        "namespace": job.meta.namespace,
        "labels": naming.labels(kind, job.meta, pool),
        "ownerReferences": [naming.owner_reference(kind, job.meta)],
    }
