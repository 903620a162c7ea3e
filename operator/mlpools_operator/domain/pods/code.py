"""A job's own code: what its pods are told of it, and the files that they are given for it."""

from __future__ import annotations

from typing import Any

from mlpools.contract.tasks import Code
from mlpools.contract.wiring import CODE_MOUNT
from mlpools_operator.api.v1alpha1.code import CodeSpec
from mlpools_operator.api.v1alpha1.volumes import OWN_VOLUME_PREFIX
from mlpools_operator.domain.plan import Object

_VOLUME = f"{OWN_VOLUME_PREFIX}code"


def wanted(code: CodeSpec | None) -> Code | None:
    """Return where the code comes from; None if the job brings none."""
    if code is None:
        return None
    if code.git is not None:
        return Code(git_url=code.git.url, revision=code.git.revision, secret=code.git.secret or "")
    return Code(config_map=code.config_map or "", url=code.url or "", sha256=code.sha256 or "")


def volumes(code: CodeSpec | None) -> list[Object]:
    """Return the volume with the ConfigMap, or with the Secret of the repository, if there is one.

    It is optional for the same reason as a job's own (``mounted``): the pod says what is missing.
    """
    if code is None:
        return []
    if code.config_map is not None:
        return [{"name": _VOLUME, "configMap": {"name": code.config_map, "optional": True}}]
    if code.git is not None and code.git.secret is not None:
        return [{"name": _VOLUME, "secret": {"secretName": code.git.secret, "optional": True}}]
    return []


def mounts(code: CodeSpec | None) -> list[Object]:
    """Return where that volume appears."""
    return [{"name": it["name"], "mountPath": CODE_MOUNT, "readOnly": True} for it in volumes(code)]


def required(code: CodeSpec | None) -> list[dict[str, Any]]:
    """Return what has to be there, as ``mounted.required`` does."""
    return [
        {"kind": kind, "name": volume[field][key], "path": CODE_MOUNT, "files": []}
        for volume in volumes(code)
        for kind, field, key in (("ConfigMap", "configMap", "name"), ("Secret", "secret", "secretName"))
        if field in volume
    ]
