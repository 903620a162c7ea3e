"""How many worker processes a node runs."""

from __future__ import annotations

from mlpools_operator.api.v1alpha1 import TrainingJobSpec

#: Frameworks of which a worker drives one GPU.
_ONE_GPU_EACH = frozenset({"xgboost", "pytorch"})


def per_node(spec: TrainingJobSpec, gpus: int) -> int:
    """Return the workers of one node.

    Args:
        spec: of the job.
        gpus: of a node of its pool.
    """
    if spec.workers_per_node is not None:
        return spec.workers_per_node
    return max(1, gpus) if spec.framework in _ONE_GPU_EACH else 1
