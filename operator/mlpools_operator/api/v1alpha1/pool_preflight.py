"""The check of the network that comes before the work of a ComputePool's jobs."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from mlpools_operator.api.v1alpha1.meta import Model


class PoolPreflight(Model):
    """A check of the network between the pods of an attempt, before they work."""

    enabled: bool = False
    """Whether the network is measured at the start of each attempt with several nodes. It takes a few
    seconds; on nodes with GPUs it goes through NCCL, else over TCP."""
    min_bus_bandwidth_gbs: Annotated[float, Field(ge=0.001, le=100_000)] | None = None
    """GB/s (10^9 bytes) of bus bandwidth, as nccl-tests defines it, that an attempt has to reach; below, it
    ends with FabricTooSlow and is tried again. Absent: what the profile of spec.network is worth."""
    timeout_seconds: Annotated[int, Field(ge=10, le=3600)] = 120
    """Seconds for the check, once all pods are there."""
