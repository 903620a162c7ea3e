"""Names inside the cluster: CoreDNS, beside the API server, behind the usual Service."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tools.cluster import addresses


def corefile(kubeconfig: Path) -> str:
    """CoreDNS's configuration.

    Pods of a gang ask for each other while they come up. A denial that is remembered for the usual
    30 seconds would hold back the whole gang that long, so none is.
    """
    return f"""\
{addresses.DNS_DOMAIN}:53 in-addr.arpa:53 {{
    bind {addresses.BRIDGE}
    errors
    kubernetes {addresses.DNS_DOMAIN} in-addr.arpa {{
        kubeconfig {kubeconfig}
        pods insecure
        ttl 5
    }}
    cache 5 {{
        disable denial {addresses.DNS_DOMAIN}
    }}
}}
.:53 {{
    bind {addresses.BRIDGE}
    # Nothing outside can be reached, so say at once that it is not there.
    template ANY ANY . {{
        rcode NXDOMAIN
    }}
}}
"""


def manifests() -> list[dict[str, Any]]:
    """The Service that pods know, led to CoreDNS, and CoreDNS's right to read what it names."""
    ports = [{"name": name.lower(), "port": 53, "protocol": name} for name in ("UDP", "TCP")]
    return [
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": "kube-dns", "namespace": "kube-system"},
            "spec": {"clusterIP": addresses.DNS_SERVICE, "ports": ports},
        },
        {
            "apiVersion": "discovery.k8s.io/v1",
            "kind": "EndpointSlice",
            "metadata": {
                "name": "kube-dns",
                "namespace": "kube-system",
                "labels": {"kubernetes.io/service-name": "kube-dns"},
            },
            "addressType": "IPv4",
            "endpoints": [{"addresses": [addresses.BRIDGE], "conditions": {"ready": True}}],
            "ports": ports,
        },
        {
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "ClusterRoleBinding",
            "metadata": {"name": "coredns"},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "view"},
            "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "coredns"}],
        },
    ]
