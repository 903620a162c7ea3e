"""How many workers train, and with what."""

from __future__ import annotations

import dataclasses

from mlpools.errors import InvalidSpec


@dataclasses.dataclass(frozen=True)
class ScalingConfig:
    """How a training is spread; -1 means: decide by what there is.

    Attributes:
        num_workers: ranks. By default one on each node of a Ray cluster, or one for each of its GPUs; without
            Ray one.
        num_cpu_per_worker: threads of each rank; by default all of its node, or its share of this machine.
        use_gpu: train on GPUs, one for each worker; by default where the parameters choose one.
    """

    num_workers: int = -1
    num_cpu_per_worker: int = -1
    use_gpu: bool | None = None

    def __post_init__(self) -> None:
        for name in ("num_workers", "num_cpu_per_worker"):
            value = getattr(self, name)
            if value != -1 and value < 1:
                raise InvalidSpec(f"{name} must be 1 or more, or -1 for as many as there are, not {value}.")


@dataclasses.dataclass(frozen=True)
class SameOnEachNode(ScalingConfig):
    """As many workers on each node that has any.

    Attributes:
        num_workers_per_node: of a Ray cluster; without Ray all workers are on this machine.
    """

    num_workers_per_node: int = 1


class XGBScalingConfig(ScalingConfig):
    """Of an ``XGBEstimator``."""


class LightGBMScalingConfig(ScalingConfig):
    """Of a ``LightGBMEstimator``."""
