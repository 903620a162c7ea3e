"""What an attempt's pods are told of the network that their pool wants between them."""

from __future__ import annotations

from mlpools.contract.tasks import Fabric
from mlpools_operator.api.v1alpha1 import ComputePoolSpec
from mlpools_operator.domain.pods.network_profiles import PROFILES


def wanted(pool: ComputePoolSpec, nodes: int, gpus: int) -> Fabric | None:
    """Return the check that an attempt begins with; None if there is none.

    Args:
        pool: of the attempt.
        nodes: of the attempt; a single one has no network.
        gpus: of a node. What a profile is worth holds for these only: without them TCP is measured.
    """
    rules = pool.preflight
    if not rules.enabled or nodes == 1:
        return None
    profiles = PROFILES[pool.network.profile].bus_bandwidth if gpus else 0.0
    minimum = profiles if rules.min_bus_bandwidth_gbs is None else rules.min_bus_bandwidth_gbs
    return Fabric(minimum=minimum, timeout_seconds=rules.timeout_seconds, gpus=gpus)
