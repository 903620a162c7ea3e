"""The API ``mlpools.dev/v1alpha1``: models of its kinds, and ``parse`` for specs from the API server."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal, overload

from pydantic import ValidationError

from mlpools_operator.api.v1alpha1.batchinference import BATCH_INFERENCE, BatchInferenceSpec
from mlpools_operator.api.v1alpha1.batchinference_status import BatchInferenceStatus, Rows, Shards
from mlpools_operator.api.v1alpha1.common import (
    Condition,
    Conditions,
    FabricCheck,
    LackedCapacity,
    SecretName,
)
from mlpools_operator.api.v1alpha1.computepool import (
    COMPUTE_POOL,
    ComputePoolSpec,
    FamilyName,
    InstanceShape,
    Placement,
    Toleration,
)
from mlpools_operator.api.v1alpha1.computepool_status import ComputePoolStatus, PoolNodes, QueueEntry
from mlpools_operator.api.v1alpha1.egress import is_range
from mlpools_operator.api.v1alpha1.env import EnvFromSource, EnvVar
from mlpools_operator.api.v1alpha1.job import JobSpec, OutputSpec
from mlpools_operator.api.v1alpha1.job_status import (
    ElasticNodes,
    ElasticStatus,
    FailedPod,
    JobNodes,
    JobProgress,
    JobStatus,
    QueuePlace,
    SuspectNode,
)
from mlpools_operator.api.v1alpha1.lightgbm import LightGBMSpec
from mlpools_operator.api.v1alpha1.meta import API_VERSION, GROUP, VERSION, Column, Kind, Model, Rule
from mlpools_operator.api.v1alpha1.notebook_schedule import NotebookSchedule, WorkspaceRun
from mlpools_operator.api.v1alpha1.notebookruntime import NOTEBOOK_RUNTIME, NotebookRuntimeSpec
from mlpools_operator.api.v1alpha1.notebookruntime_status import ClusterStatus, NotebookRuntimeStatus
from mlpools_operator.api.v1alpha1.pods import PodsSpec
from mlpools_operator.api.v1alpha1.pool_network import PoolNetwork
from mlpools_operator.api.v1alpha1.pool_packages import PoolPackages
from mlpools_operator.api.v1alpha1.pool_preflight import PoolPreflight
from mlpools_operator.api.v1alpha1.pool_queue import HeadOfQueue, PoolQueue
from mlpools_operator.api.v1alpha1.pool_runtime import PoolRuntime
from mlpools_operator.api.v1alpha1.pool_template import Affinity, PodTemplate
from mlpools_operator.api.v1alpha1.quantity import amount
from mlpools_operator.api.v1alpha1.runtime import JobRuntime
from mlpools_operator.api.v1alpha1.schedule import Schedule, ScheduleStatus
from mlpools_operator.api.v1alpha1.sources import DataSource, ParquetSource
from mlpools_operator.api.v1alpha1.tenancy import LabelRequirement, NamespaceLimit, NamespaceSelector
from mlpools_operator.api.v1alpha1.trainingjob import TRAINING_JOB, CheckpointSpec, TrainingJobSpec
from mlpools_operator.api.v1alpha1.trainingjob_status import JobOutput, Progress, TrainingJobStatus
from mlpools_operator.api.v1alpha1.volumes import Volume, VolumeMount
from mlpools_operator.api.v1alpha1.xgboost import XGBoostSpec

__all__ = [
    "API_VERSION",
    "GROUP",
    "KINDS",
    "VERSION",
    "Affinity",
    "BatchInferenceSpec",
    "BatchInferenceStatus",
    "CheckpointSpec",
    "ClusterStatus",
    "Column",
    "ComputePoolSpec",
    "ComputePoolStatus",
    "Condition",
    "Conditions",
    "DataSource",
    "ElasticNodes",
    "ElasticStatus",
    "EnvFromSource",
    "EnvVar",
    "FabricCheck",
    "FailedPod",
    "FamilyName",
    "HeadOfQueue",
    "InstanceShape",
    "InvalidSpec",
    "JobNodes",
    "JobOutput",
    "JobProgress",
    "JobRuntime",
    "JobSpec",
    "JobStatus",
    "Kind",
    "LabelRequirement",
    "LackedCapacity",
    "LightGBMSpec",
    "Model",
    "NamespaceLimit",
    "NamespaceSelector",
    "NotebookRuntimeSpec",
    "NotebookRuntimeStatus",
    "NotebookSchedule",
    "OutputSpec",
    "ParquetSource",
    "Placement",
    "PodTemplate",
    "PodsSpec",
    "PoolNetwork",
    "PoolNodes",
    "PoolPackages",
    "PoolPreflight",
    "PoolQueue",
    "PoolRuntime",
    "Progress",
    "QueueEntry",
    "QueuePlace",
    "Rows",
    "Rule",
    "Schedule",
    "ScheduleStatus",
    "SecretName",
    "Shards",
    "SuspectNode",
    "Toleration",
    "TrainingJobSpec",
    "TrainingJobStatus",
    "Volume",
    "VolumeMount",
    "WorkspaceRun",
    "XGBoostSpec",
    "amount",
    "is_range",
    "parse",
]

#: All kinds of the API, by name.
KINDS: Mapping[str, Kind] = {
    kind.name: kind for kind in (COMPUTE_POOL, TRAINING_JOB, BATCH_INFERENCE, NOTEBOOK_RUNTIME)
}


#: Specs whose reading is kept: a pass reads its own and its pool's several times, and the next pass again.
_KEPT = 512


class InvalidSpec(ValueError):  # noqa: N818 - named as the reason that users read
    """A spec cannot be carried out; the text is one sentence with the YAML path of what is wrong."""


@overload
def parse(kind: Literal["ComputePool"], spec: Mapping[str, Any]) -> ComputePoolSpec: ...
@overload
def parse(kind: Literal["TrainingJob"], spec: Mapping[str, Any]) -> TrainingJobSpec: ...
@overload
def parse(kind: Literal["BatchInference"], spec: Mapping[str, Any]) -> BatchInferenceSpec: ...
@overload
def parse(kind: Literal["NotebookRuntime"], spec: Mapping[str, Any]) -> NotebookRuntimeSpec: ...
@overload
def parse(kind: str, spec: Mapping[str, Any]) -> Model: ...
def parse(kind: str, spec: Mapping[str, Any]) -> Model:
    """Read a spec as the API server holds it; fields of a newer release are ignored.

    Args:
        kind: of the resource.
        spec: nobody changes it: what was read before is known by its identity.

    Raises:
        InvalidSpec: it breaks a rule. The API server refuses such a spec, but this one may be older than
            the rule, or the rule is one that CEL cannot express.
    """
    return _read(_Given(kind, spec))


@dataclass(frozen=True, eq=False, slots=True)
class _Given:
    """A spec that equals itself only; whoever holds this keeps it alive, so its identity stays its own."""

    kind: str
    spec: Mapping[str, Any]

    def __hash__(self) -> int:
        return id(self.spec)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Given) and self.spec is other.spec and self.kind == other.kind


@lru_cache(maxsize=_KEPT)
def _read(given: _Given) -> Model:
    try:
        return KINDS[given.kind].spec.model_validate(given.spec)
    except ValidationError as error:
        raise InvalidSpec(_sentence(error)) from None


def _sentence(error: ValidationError) -> str:
    first, *rest = error.errors(include_url=False)
    path = "spec" + "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in first["loc"])
    path += str(first.get("ctx", {}).get("path", ""))
    more = f" ({len(rest)} more of its fields are wrong too)" if rest else ""
    return f"{path}: {first['msg'].rstrip('.')}{more}."
