"""Manifests that the API takes, and changes to them."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

#: The value of a change that takes the field away.
ABSENT = object()

_POOL: dict[str, Any] = {"instance": {"cpu": 2, "memory": "4Gi"}, "maxNodes": 4}
_JOB: dict[str, Any] = {
    "computePool": "cpu",
    "xgboost": {"label": "arr_delay", "params": {"max_depth": 8, "eta": 0.1, "tree_method": "hist"}},
    "data": {"train": {"parquet": {"url": "file:///data/train/*.parquet"}}},
    "output": {"url": "file:///data/model"},
    "volumes": [{"name": "data", "persistentVolumeClaim": {"claimName": "flights"}}],
    "volumeMounts": [{"name": "data", "mountPath": "/data"}],
}
_INFERENCE: dict[str, Any] = {
    "computePool": "cpu",
    "model": {"url": "file:///data/model/model.ubj"},
    "input": {"parquet": {"url": "file:///data/new/*.parquet"}},
    "output": {"url": "file:///data/predictions"},
    "volumes": [{"name": "data", "persistentVolumeClaim": {"claimName": "flights"}}],
    "volumeMounts": [{"name": "data", "mountPath": "/data"}],
}
_SPECS = {
    "ComputePool": _POOL,
    "TrainingJob": _JOB,
    "BatchInference": _INFERENCE,
    "NotebookRuntime": {"computePool": "cpu"},
}


def spec(kind: str, changes: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Return the smallest ordinary spec of a kind, with some fields set.

    Args:
        kind: of the object.
        changes: by path inside the spec, such as ``{"xgboost.rounds": 3}``; ``ABSENT`` takes a field away.
    """
    result = copy.deepcopy(_SPECS[kind])
    for path, value in (changes or {}).items():
        *outer, last = path.split(".")
        node = result
        for name in outer:
            node = node.setdefault(name, {})
        if value is ABSENT:
            del node[last]
        else:
            node[last] = copy.deepcopy(value)
    return result


def manifest(kind: str, name: str, changes: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Return a whole object of a kind, ready to be created."""
    return {
        "apiVersion": "mlpools.dev/v1alpha1",
        "kind": kind,
        "metadata": {"name": name},
        "spec": spec(kind, changes),
    }
