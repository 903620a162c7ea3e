"""How many worker processes a node runs."""

from __future__ import annotations

from mlpools_operator.api.v1alpha1 import JobSpec
from mlpools_operator.domain.pods.work import Work


def per_node(spec: JobSpec, work: Work, gpus: int) -> int:
    """Return the workers of one node.

    Args:
        spec: of the job.
        work: of the job.
        gpus: of a node of its pool.
    """
    if spec.workers_per_node is not None:
        return spec.workers_per_node
    return max(1, gpus) if work.one_gpu_each else 1
