"""Where pods of a pool may run: the same for its jobs and for the placeholders that keep its nodes warm."""

from __future__ import annotations

from typing import Any

from mlpools_operator.api.v1alpha1 import ComputePoolSpec
from mlpools_operator.domain import overlay
from mlpools_operator.domain.plan import Object
from mlpools_operator.domain.pool.families import Family

#: Fields of a pod by which a scheduler finds its machine.
_FIELDS = (
    "nodeSelector",
    "tolerations",
    "affinity",
    "topologySpreadConstraints",
    "runtimeClassName",
    "schedulerName",
)


def fields(pool: ComputePoolSpec, family: Family) -> Object:
    """Return the pod fields by which the pool's machines are found, its overlay's among them.

    A placeholder that lay where no job could would keep the wrong node warm.
    """
    own: dict[str, Any] = {
        "nodeSelector": {**family.node_selector, **pool.node_selector},
        "tolerations": _tolerations(pool, family),
        "affinity": pool.affinity.plain() if pool.affinity else {},
        "runtimeClassName": pool.runtime_class_name,
        "schedulerName": pool.scheduler_name,
    }
    given = {name: value for name, value in own.items() if value}
    if pool.pod_template is None:
        return given
    spec = pool.pod_template.spec
    return overlay.merge(given, {name: spec[name] for name in _FIELDS if name in spec})


def _tolerations(pool: ComputePoolSpec, family: Family) -> list[Object]:
    lost = [
        {
            "key": f"node.kubernetes.io/{state}",
            "operator": "Exists",
            "effect": "NoExecute",
            "tolerationSeconds": pool.lost_node_seconds,
        }
        for state in ("not-ready", "unreachable")
    ]
    ours = dict.fromkeys((*pool.tolerations, *family.tolerations))
    return [*(toleration.plain() for toleration in ours), *lost]
