"""What the operator checks before a BatchInference may queue, beyond what the API server can see."""

from __future__ import annotations

from mlpools_operator.api.v1alpha1 import BatchInferenceSpec, InvalidSpec, parse
from mlpools_operator.domain.job.preflight import fits_a_pod, invalid
from mlpools_operator.domain.observed import Resource


def check(job: Resource, started: bool) -> BatchInferenceSpec:
    """Return the spec of a job that may run.

    Args:
        job: the BatchInference.
        started: it was admitted before; then rules that a newer operator brought do not end it.

    Raises:
        RefusedError: it can never run, with ``InvalidSpec``.
    """
    try:
        spec = parse("BatchInference", job.spec)
    except InvalidSpec as error:
        raise invalid(error) from None
    if not started:
        fits_a_pod(spec)
    return spec
