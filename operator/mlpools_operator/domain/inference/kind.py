"""BatchInference as a kind of job."""

from __future__ import annotations

from typing import Any

from mlpools.contract.tasks import INFERENCE
from mlpools_operator.api.v1alpha1 import BatchInferenceSpec, BatchInferenceStatus
from mlpools_operator.api.v1alpha1.batchinference import ALL, INPUT
from mlpools_operator.domain.inference import account, preflight, words
from mlpools_operator.domain.job import elastic
from mlpools_operator.domain.job.kind import JobKind
from mlpools_operator.domain.pods.work import Work
from mlpools_operator.domain.reasons import Retry

#: Fields of the spec that pods are told as they are.
_TOLD = frozenset({"model", "batch_rows", "shard_rows", "max_shard_failures", "on_error"})
#: What of the input is about the model, not about where the rows are.
_OF_THE_MODEL = frozenset({"features", "partition_by"})


def work(spec: BatchInferenceSpec) -> Work:
    """Return what every worker has to know."""
    section = _plain(spec, include=_TOLD) | _plain(spec.input, include=_OF_THE_MODEL)
    section["model"].pop("code", None)  # the task has it in a place of its own
    output = spec.output.plain()
    if spec.output.keep == (ALL,):
        output["keep"] = "all"
    return Work(
        framework=INFERENCE,
        section=section,
        data={INPUT: _plain(spec.input, exclude=_OF_THE_MODEL)},
        output=output,
        one_gpu_each=spec.model.device != "cpu",
    )


def _plain(model: Any, **which: frozenset[str]) -> dict[str, Any]:
    """Return some fields of a model as ``plain`` does all of them."""
    fields: dict[str, Any] = model.model_dump(mode="json", by_alias=True, exclude_none=True, **which)
    return fields


BATCH_INFERENCE = JobKind(
    name="BatchInference",
    status=BatchInferenceStatus,
    check=preflight.check,
    work=work,
    account=account,
    words=words,
    holding=elastic,
    reads=("input", "model"),
    writes=("output",),
    lasting=(account.PARTIAL_OUTPUT, account.WEAK_COMMIT),
    # What is left to do is less at each attempt, and who dies of a shard again sees it put aside.
    retries={"OutOfMemory": Retry.COUNTED},
)
