"""How the pods of one attempt lie to each other: together, spread, or wherever there is room."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mlpools_operator.api.v1alpha1 import Placement

_PREFERENCE = 100


def fields(placement: Placement, own: Mapping[str, str]) -> dict[str, Any]:
    """Return the pod fields for a placement.

    Args:
        placement: of the pool.
        own: labels that all pods of the attempt have, and no others.
    """
    if placement.strategy == "Pack":
        return {"affinity": {"podAffinity": _together(placement, own)}}
    if placement.strategy == "Spread":
        return {"topologySpreadConstraints": [_apart(placement, own)]}
    return {}


def _together(placement: Placement, own: Mapping[str, str]) -> dict[str, Any]:
    # The first pod of a gang finds no other: the scheduler lets a pod through that matches its own term.
    term = {"topologyKey": placement.topology_key, "labelSelector": {"matchLabels": dict(own)}}
    if placement.required:
        return {"requiredDuringSchedulingIgnoredDuringExecution": [term]}
    preferred = {"weight": _PREFERENCE, "podAffinityTerm": term}
    return {"preferredDuringSchedulingIgnoredDuringExecution": [preferred]}


def _apart(placement: Placement, own: Mapping[str, str]) -> dict[str, Any]:
    return {
        "maxSkew": 1,
        "topologyKey": placement.topology_key,
        "whenUnsatisfiable": "DoNotSchedule" if placement.required else "ScheduleAnyway",
        "labelSelector": {"matchLabels": dict(own)},
        # Machines whose taints keep the pods out are no empty domains that would have to be filled first.
        "nodeTaintsPolicy": "Honor",
    }
