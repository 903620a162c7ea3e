"""TrainingJob: one model trained over a gang of nodes of a pool."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar

from pydantic import Field, model_validator

from mlpools_operator.api.v1alpha1.code import CodeSpec
from mlpools_operator.api.v1alpha1.common import ENTRY_NAME, StorageURL, is_entry_name
from mlpools_operator.api.v1alpha1.job import JobSpec, changes, stays
from mlpools_operator.api.v1alpha1.lightgbm import LightGBMSpec
from mlpools_operator.api.v1alpha1.meta import Column, Kind, Model, Rule, at_most_one, exactly_one
from mlpools_operator.api.v1alpha1.pytorch import PyTorchSpec
from mlpools_operator.api.v1alpha1.script import ScriptSpec
from mlpools_operator.api.v1alpha1.sources import DataSource
from mlpools_operator.api.v1alpha1.trainingjob_status import TrainingJobStatus
from mlpools_operator.api.v1alpha1.xgboost import XGBoostSpec

#: Fields of the spec of which exactly one says what runs.
FRAMEWORKS = ("xgboost", "lightgbm", "pytorch", "script")
#: Those that cannot do without rows to learn from.
_TREES = ("xgboost", "lightgbm")
#: Seconds between checkpoints when the user names no interval.
CHECKPOINT_SECONDS = 300


class CheckpointSpec(Model):
    """When the unfinished model is saved, so that a restart continues from there."""

    url: StorageURL | None = None
    """Folder for checkpoints, on a volume of spec.volumeMounts. Absent: checkpoints/ under output.url."""
    every_rounds: Annotated[int, Field(ge=1, le=1_000_000)] | None = None
    """Boosting rounds between checkpoints. Either this or everySeconds."""
    every_seconds: Annotated[int, Field(ge=1, le=86_400)] | None = None
    """Seconds between checkpoints; 300 if neither this nor everyRounds is given."""
    keep: Annotated[int, Field(ge=1, le=100)] = 2
    """Checkpoints kept; older ones are deleted."""

    rules: ClassVar[tuple[Rule, ...]] = (
        at_most_one(("every_rounds", "every_seconds"), "Give either everyRounds or everySeconds."),
    )

    # Not a schema default: it would stay in the object when the user later adds everyRounds.
    @model_validator(mode="before")
    @classmethod
    def _default_interval(cls, given: Any) -> Any:
        names = ("everyRounds", "everySeconds", "every_rounds", "every_seconds")
        if isinstance(given, dict) and all(given.get(name) is None for name in names):
            return {**given, "everySeconds": CHECKPOINT_SECONDS}
        return given


def _needs_held_out_rows(name: str) -> Rule:
    """Return the rule that a model which stops early has rows to stop by."""

    def holds(spec: TrainingJobSpec) -> bool:
        patience = getattr(getattr(spec, name), "early_stopping_rounds", None)
        return patience is None or "eval" in spec.data

    return Rule(
        f"!has(self.{name}) || !has(self.{name}.earlyStoppingRounds) || "
        "has(self.data) && 'eval' in self.data",
        f"{name}.earlyStoppingRounds needs held-out rows: add an entry named eval to data.",
        holds,
        f".{name}.earlyStoppingRounds",
    )


class TrainingJobSpec(JobSpec):
    """What to train, on what, with which data."""

    xgboost: XGBoostSpec | None = None
    """Train a boosted-trees model with XGBoost over all nodes."""
    lightgbm: LightGBMSpec | None = None
    """Train a boosted-trees model with LightGBM over all nodes."""
    pytorch: PyTorchSpec | None = None
    """Run a PyTorch program over all nodes."""
    script: ScriptSpec | None = None
    """Run a program of whatever kind over all nodes."""
    data: Annotated[
        dict[str, DataSource],
        Field(max_length=16),
        Rule(
            f"self.all(name, name.size() <= 63 && name.matches('{ENTRY_NAME}'))",
            "Names in data are at most 63 lower-case letters, digits and -, such as eval or eval-2013.",
            lambda data: all(is_entry_name(name) for name in data),
        ),
    ] = Field(default_factory=dict)
    """Data by name. Boosted trees need train, the rows to learn from. Every other entry, such as eval, is
    held out: the model is measured on it after each round, and never learns from it.
    A PyTorch program finds each entry in get_context().get_dataset_map()."""
    checkpoint: CheckpointSpec = CheckpointSpec()
    """When the unfinished model is saved, so that a restart continues from there."""

    rules: ClassVar[tuple[Rule, ...]] = (
        exactly_one(FRAMEWORKS, f"Say what to train: exactly one of {', '.join(FRAMEWORKS)}."),
        Rule(
            f"![{', '.join(f'has(self.{name})' for name in _TREES)}].exists(it, it) || has(self.data) && "
            "'train' in self.data",
            "data needs an entry named train: the rows to learn from.",
            lambda spec: "train" in spec.data or all(getattr(spec, name) is None for name in _TREES),
            ".data",
        ),
        *(_needs_held_out_rows(name) for name in _TREES),
        Rule(
            "!has(self.lightgbm) || !has(self.lightgbm.treeLearner) || "
            "self.lightgbm.treeLearner != 'feature' || self.nodes == 1",
            "treeLearner feature needs all rows on every node, while each node reads its own part: use data, "
            "or voting where features are very many.",
            lambda spec: not spec.lightgbm or spec.lightgbm.tree_learner != "feature" or spec.nodes == 1,
            ".lightgbm.treeLearner",
        ),
        *JobSpec.rules,
        stays("output", "the model"),
        stays("checkpoint", "checkpoints"),
    )

    @property
    def framework(self) -> str:
        """Name of the field that says what runs, such as ``xgboost``."""
        return next(name for name in FRAMEWORKS if getattr(self, name) is not None)

    @property
    def sources(self) -> Mapping[str, DataSource]:
        """The data that it reads, by name."""
        return self.data

    @property
    def code(self) -> CodeSpec | None:
        """The code that the job brings, if its framework runs any and the image does not have it."""
        return getattr(getattr(self, self.framework), "code", None)


TRAINING_JOB = Kind(
    name="TrainingJob",
    plural="trainingjobs",
    scope="Namespaced",
    short_names=("tj",),
    spec=TrainingJobSpec,
    status=TrainingJobStatus,
    description="One model, trained over a gang of nodes of a ComputePool.",
    columns=(
        Column("Pool", ".spec.computePool"),
        Column("Phase", ".status.phase"),
        Column("Nodes", ".status.nodes.summary", description="Ready and requested."),
        Column("Progress", ".status.progress.summary", description="Percent, metric and seconds left."),
        Column("Reason", ".status.reason", description="Why it waits or failed."),
        Column("Age", ".metadata.creationTimestamp", "date"),
    ),
    rules=changes("TrainingJob", TrainingJobSpec),
)
