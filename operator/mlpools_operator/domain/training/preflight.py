"""What the operator checks before a TrainingJob may queue, beyond what the API server can see."""

from __future__ import annotations

from mlpools_operator.api.v1alpha1 import InvalidSpec, TrainingJobSpec, parse
from mlpools_operator.domain.job.kind import RefusedError
from mlpools_operator.domain.job.preflight import fits_a_pod, invalid
from mlpools_operator.domain.observed import Resource
from mlpools_operator.domain.training.hyperparameters import RefusedParameterError, check_xgboost
from mlpools_operator.domain.training.lightgbm_parameters import check_lightgbm


def check(job: Resource, started: bool) -> TrainingJobSpec:
    """Return the spec of a job that may run.

    Args:
        job: the TrainingJob.
        started: it was admitted before; then rules that a newer operator brought do not end it.

    Raises:
        RefusedError: it can never run, with ``InvalidSpec`` or ``BadHyperParameter``.
    """
    try:
        spec = parse("TrainingJob", job.spec)
    except InvalidSpec as error:
        raise invalid(error) from None
    if started:
        return spec
    try:
        if spec.xgboost is not None:
            check_xgboost(spec.xgboost, spec.nodes)
        if spec.lightgbm is not None:
            check_lightgbm(spec.lightgbm, spec.nodes)
    except RefusedParameterError as error:
        raise RefusedError("BadHyperParameter", str(error)) from None
    fits_a_pod(spec)
    return spec
