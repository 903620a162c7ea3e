"""Packages that a job installs: what its pods are told, and the files that they are given for it."""

from __future__ import annotations

from mlpools.contract.tasks import Packages
from mlpools.contract.wiring import PACKAGES_MOUNT
from mlpools_operator.api.v1alpha1 import ComputePoolSpec, PodsSpec
from mlpools_operator.api.v1alpha1.volumes import OWN_VOLUME_PREFIX
from mlpools_operator.domain.plan import Object

_VOLUME = f"{OWN_VOLUME_PREFIX}packages"


def wanted(spec: PodsSpec, pool: ComputePoolSpec) -> Packages | None:
    """Return what a job installs by the rules of its pool; None if it installs nothing."""
    return told(spec, pool) if spec.runtime.packages or spec.runtime.requirements else None


def told(spec: PodsSpec, pool: ComputePoolSpec) -> Packages:
    """Return what is installed, perhaps nothing, and the rules of the pool for that and for more."""
    file, rules = spec.runtime.requirements, pool.packages
    return Packages(
        wanted=spec.runtime.packages,
        requirements=f"key {file.key} of ConfigMap {file.name}" if file else "",
        index_url=rules.index_url or "",
        extra_index_urls=rules.extra_index_urls,
        credentials_secret=rules.credentials_secret or "",
        ca_secret=rules.ca_secret or "",
        allow=rules.allow,
        block=rules.block,
        cached=pool.cache.volume is not None,
    )


def volumes(spec: PodsSpec, pool: ComputePoolSpec, *, later: bool = False) -> list[Object]:
    """Return the volume with the pool's Secrets and the job's requirements file, if there are any.

    All of it is optional: a pod that misses something says what, and where; the kubelet would only wait.

    Args:
        spec: of the pods.
        pool: of theirs.
        later: people install more while the pod runs.
    """
    if wanted(spec, pool) is None and not later:
        return []
    rules, file = pool.packages, spec.runtime.requirements
    sources: list[Object] = []
    if rules.credentials_secret:
        sources.append({"secret": _source(rules.credentials_secret, "username", "password")})
    if rules.ca_secret:
        sources.append({"secret": _source(rules.ca_secret, "ca.crt")})
    if file:
        items = [{"key": file.key, "path": "requirements.txt"}]
        sources.append({"configMap": {"name": file.name, "items": items, "optional": True}})
    return [{"name": _VOLUME, "projected": {"sources": sources}}] if sources else []


def mounts(spec: PodsSpec, pool: ComputePoolSpec, *, later: bool = False) -> list[Object]:
    """Return where that volume appears."""
    return [
        {"name": volume["name"], "mountPath": PACKAGES_MOUNT, "readOnly": True}
        for volume in volumes(spec, pool, later=later)
    ]


def _source(secret: str, *keys: str) -> Object:
    return {"name": secret, "items": [{"key": key, "path": key} for key in keys], "optional": True}
