"""BatchInference: a model's predictions for all rows of a source, each row once."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, StringConstraints

from mlpools_operator.api.v1alpha1.batchinference_status import BatchInferenceStatus
from mlpools_operator.api.v1alpha1.code import CodeSpec
from mlpools_operator.api.v1alpha1.common import ColumnName, DataURL
from mlpools_operator.api.v1alpha1.job import JobSpec, OutputSpec, changes, stays
from mlpools_operator.api.v1alpha1.meta import (
    LIST_SET,
    Column,
    Extension,
    Kind,
    Model,
    Rule,
    camel,
    exactly_one,
)
from mlpools_operator.api.v1alpha1.sources import SOURCES, DataSource

#: The name under which pods know the rows.
INPUT = "input"
#: Stands for all columns in ``output.keep``.
ALL = "*"

_Columns = Annotated[tuple[ColumnName, ...], Field(min_length=1, max_length=4096), LIST_SET]
_Entrypoint = Annotated[
    str,
    StringConstraints(
        max_length=512,
        pattern=r"^[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*)*:[A-Za-z_][A-Za-z0-9_]*$",
    ),
]


class ModelSpec(Model):
    """The model that predicts."""

    url: DataURL | None = None
    """Its file, or the folder that it consists of, such as a TrainingJob's status.output.modelURL. Only
    framework python can do without."""
    framework: Literal["auto", "xgboost", "lightgbm", "sklearn", "pytorch", "onnx", "python"] = "auto"
    """What made it. auto: as its file and its metadata say."""
    entrypoint: _Entrypoint | None = None
    """Function or class as module:name. python: what predicts; a class is made once a worker, and its predict
    is called for each batch. pytorch: what makes the module for a file that holds its weights only."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Where it predicts. auto: on a GPU if the node has one and the model can use it."""
    params: Annotated[
        dict[str, Any],
        Field(max_length=64),
        Extension({"type": "object", "x-kubernetes-preserve-unknown-fields": True}),
    ] = Field(default_factory=dict)
    """What its framework is told besides, such as trusted: [my.package.Type] for skops, or allowPickle: true
    for a file that runs code when it is loaded."""
    code: CodeSpec | None = None
    """Code with the entrypoint, if the image does not have it."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            "self.framework == 'python' || has(self.url)",
            "url is missing: say where the model is.",
            lambda model: model.framework == "python" or model.url is not None,
            ".url",
        ),
        Rule(
            "self.framework != 'python' || has(self.entrypoint)",
            "framework python needs entrypoint: the function or class that predicts, as module:name.",
            lambda model: model.framework != "python" or model.entrypoint is not None,
            ".entrypoint",
        ),
        Rule(
            "!has(self.entrypoint) || self.framework in ['python', 'pytorch']",
            "entrypoint is for framework python or pytorch: say which of them it is, or leave it out.",
            lambda model: model.entrypoint is None or model.framework in ("python", "pytorch"),
            ".entrypoint",
        ),
        Rule(
            "!has(self.code) || has(self.entrypoint)",
            "code is there for entrypoint: name what of it is to be called, or leave it out.",
            lambda model: model.code is None or model.entrypoint is not None,
            ".code",
        ),
    )


class FilesSource(Model):
    """Files as they are, one row each: images, sound, documents."""

    url: DataURL
    """Folder of the files."""
    pattern: Annotated[str, StringConstraints(min_length=1, max_length=256)] = "**"
    """Which of them, relative to the folder, with *, ? and ** (which crosses folders), such as **/*.jpg."""
    as_: Literal["path", "bytes"] = Field(default="path", alias="as")
    """What the model gets of a file. path: its URL. bytes: its content."""


class InferenceInput(DataSource):
    """The rows to predict for, and what of them the model gets."""

    files: FilesSource | None = None
    """Files of whatever kind, one row each."""
    features: _Columns | None = None
    """Columns that the model gets, in this order. Absent: those that it was trained with, and if it does not
    know them, all."""
    partition_by: ColumnName | None = None
    """Column whose equal values go to the model in one call, wherever in the input their rows are; rows
    without a value are one call, too. Within a call rows have the input's order, the order of calls is not
    kept. Only a Python model's answer may have another number of rows. A value whose rows take more than an
    eighth of a worker's memory fails."""

    rules: ClassVar[tuple[Rule, ...]] = (
        exactly_one(
            (*SOURCES, "files"),
            f"Say what kind of source it is: exactly one of {', '.join(map(camel, (*SOURCES, 'files')))}.",
        ),
        Rule(
            "!has(self.files) || !(has(self.columns) || has(self.filter) || has(self.limit) || "
            "has(self.features) || has(self.partitionBy))",
            "files have no columns: columns, filter, limit, features and partitionBy are for rows.",
            lambda it: (
                it.files is None
                or all(
                    getattr(it, name) is None
                    for name in ("columns", "filter", "limit", "features", "partition_by")
                )
            ),
            ".files",
        ),
    )


class InferenceOutput(OutputSpec):
    """Where the predictions and the logs go, and in which form."""

    mode: Literal["Error", "Overwrite", "Resume"] = "Error"
    """If the folder holds another run's result. Error: fail before any data is read. Overwrite: replace it.
    Resume: do only the shards that are not there yet, provided that model, data and settings are equal."""
    format: Literal["parquet", "csv", "arrow"] = "parquet"
    """Of the files, one for each shard: part-….parquet and so on."""
    keep: Annotated[tuple[ColumnName, ...], Field(max_length=4096), LIST_SET] = ()
    """Columns of the input that stand beside the prediction. * alone: all. Absent: none."""
    prediction_column: ColumnName = "prediction"
    """Name of the column with the prediction; others that the model gives, such as probabilities, begin
    with it."""
    max_rows_per_file: Annotated[int, Field(ge=1, le=1_000_000_000)] | None = None
    """Most rows of a file, and so of a shard. Absent: no limit."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            f"!has(self.keep) || !('{ALL}' in self.keep) || self.keep.size() == 1",
            f"{ALL} means all columns and stands alone in keep.",
            lambda output: ALL not in output.keep or len(output.keep) == 1,
            ".keep",
        ),
        Rule(
            "!has(self.keep) || !(self.predictionColumn in self.keep)",
            "predictionColumn is the name of a column that is kept: give the prediction another name.",
            lambda output: output.prediction_column not in output.keep,
            ".predictionColumn",
        ),
    )


class BatchInferenceSpec(JobSpec):
    """Which model predicts, for which rows, and where the predictions go."""

    nodes: Annotated[int, Field(ge=1, le=4096)] = 1
    """Most nodes that it takes; one pod each. It starts with one, and takes more as they come free and nobody
    waits for them."""
    workers_per_node: Annotated[int, Field(ge=1, le=64)] | None = None
    """Worker processes in each pod, which share its CPUs and memory; each has a copy of the model. Absent:
    one for each GPU of a node if the model runs there; else one."""
    model: ModelSpec
    """The model that predicts."""
    input: InferenceInput
    """The rows to predict for, and what of them the model gets."""
    output: InferenceOutput
    """Where the predictions and the logs go, and in which form."""
    batch_rows: Annotated[int, Field(ge=1, le=100_000_000)] | None = None
    """Rows of one call of the model. Absent: as many as fit the memory, by measuring."""
    shard_rows: Annotated[int, Field(ge=1, le=1_000_000_000)] | None = None
    """Rows of one shard: what a worker takes at once, does again after a crash, and writes as one file.
    Absent: by the size of the input."""
    max_shard_failures: Annotated[int, Field(ge=0, le=1_000_000)] = 0
    """Shards that may fail for good. The rest is written all the same, and the failed ones are listed. With
    more of them the job fails."""
    on_error: Literal["FailShard", "Null"] = "FailShard"
    """If the model raises an error for a row. FailShard: no row of its shard is written. Null: the row has no
    prediction, and the error stands in the column _error."""

    rules: ClassVar[tuple[Rule, ...]] = (
        *JobSpec.rules,
        stays("output", "the predictions"),
        Rule(
            "!has(self.shardRows) || !has(self.output.maxRowsPerFile) || "
            "self.shardRows <= self.output.maxRowsPerFile",
            "shardRows is above output.maxRowsPerFile, and each shard is one file: lower one, or raise the "
            "other.",
            lambda spec: (
                spec.shard_rows is None
                or spec.output.max_rows_per_file is None
                or spec.shard_rows <= spec.output.max_rows_per_file
            ),
            ".shardRows",
        ),
    )

    @property
    def framework(self) -> str:
        """What made the model."""
        return self.model.framework

    @property
    def sources(self) -> Mapping[str, DataSource]:
        """The rows, under the one name that they have."""
        return {INPUT: self.input}

    @property
    def code(self) -> CodeSpec | None:
        """The code with the model's entrypoint, if the image does not have it."""
        return self.model.code


BATCH_INFERENCE = Kind(
    name="BatchInference",
    plural="batchinferences",
    scope="Namespaced",
    short_names=("bi",),
    spec=BatchInferenceSpec,
    status=BatchInferenceStatus,
    description="A model's predictions for all rows of a source, each row once.",
    columns=(
        Column("Pool", ".spec.computePool"),
        Column("Phase", ".status.phase"),
        Column("Nodes", ".status.nodes.summary", description="Ready, and the most that it takes."),
        Column("Progress", ".status.progress.summary", description="Percent, rows a second, seconds left."),
        Column("Reason", ".status.reason", description="Why it waits or failed."),
        Column("Age", ".metadata.creationTimestamp", "date"),
    ),
    rules=changes("BatchInference", BatchInferenceSpec),
)
