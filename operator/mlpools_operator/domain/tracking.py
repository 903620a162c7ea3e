"""Which tool, if any, keeps an object as a manifest says: what it tracks, it makes again when it is gone.

Each tool marks what it applies. A marker that others use as well counts too: an object that stays without
need costs little, and one that is made again trains once more.
"""

from __future__ import annotations

from collections.abc import Mapping

#: The beginning of a label's or annotation's key -> the tool.
_PREFIXES = {
    "argocd.argoproj.io/": "Argo CD",
    "kustomize.toolkit.fluxcd.io/": "Flux",
    "helm.toolkit.fluxcd.io/": "Flux",
    "meta.helm.sh/": "Helm",
    "config.k8s.io/owning-inventory": "an inventory of kpt or Config Sync",
    "objectset.rio.cattle.io/": "Fleet",
}
#: Argo CD's label before its version 3, and that of many Helm charts.
_INSTANCE = "app.kubernetes.io/instance"


def tool(labels: Mapping[str, str], annotations: Mapping[str, str]) -> str:
    """Return the tool that tracks an object, empty if none does."""
    for prefix, name in _PREFIXES.items():
        if any(key.startswith(prefix) for key in (*labels, *annotations)):
            return name
    return "Argo CD or Helm" if _INSTANCE in labels else ""
