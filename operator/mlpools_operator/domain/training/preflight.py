"""What the operator checks before a job may queue, beyond what the API server can see."""

from __future__ import annotations

import json

from mlpools_operator.api.v1alpha1 import InvalidSpec, TrainingJobSpec, parse
from mlpools_operator.domain.observed import Resource
from mlpools_operator.domain.pods import mounted
from mlpools_operator.domain.training.hyperparameters import RefusedParameterError, check_xgboost
from mlpools_operator.domain.training.lightgbm_parameters import check_lightgbm

#: Linux takes 128 KiB in one environment variable; the contract's other fields and escapes need a part.
_SPEC_BYTES = 96 * 1024


class RefusedError(ValueError):
    """A job cannot run as it is; the text is a sentence for its author.

    Attributes:
        reason: of its condition.
    """

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


def check(job: Resource, *, started: bool) -> TrainingJobSpec:
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
        raise RefusedError("InvalidSpec", str(error)) from None
    if started:
        return spec
    try:
        if spec.xgboost is not None:
            check_xgboost(spec.xgboost, spec.nodes)
        if spec.lightgbm is not None:
            check_lightgbm(spec.lightgbm, spec.nodes)
    except RefusedParameterError as error:
        raise RefusedError("BadHyperParameter", str(error)) from None
    size = len(spec.model_dump_json(exclude={"env", "env_from", "volumes", "volume_mounts"}).encode())
    size += len(json.dumps(mounted.required(spec)))
    if size > _SPEC_BYTES:
        raise RefusedError(
            "InvalidSpec",
            f"The spec takes {size} bytes, and a pod can be handed {_SPEC_BYTES}: name fewer columns, "
            "for example with excluded instead of features.",
        )
    return spec
