"""What a batch inference was asked for, checked once, in every process that takes part."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, Literal, get_args

from mlpools.contract.tasks import Task
from mlpools.data.plan import Plannable
from mlpools.data.raw_sources import WholeFileSource
from mlpools.data.sources import check_keys, from_spec, texts
from mlpools.errors import InvalidSpec

#: The entry of ``Task.data`` that is predicted for.
INPUT = "input"
#: Column of a row's own error, with ``onError: Null``.
ERROR_COLUMN = "_error"

Framework = Literal["auto", "xgboost", "lightgbm", "sklearn", "pytorch", "onnx", "python"]
Device = Literal["auto", "cpu", "cuda"]
OnError = Literal["FailShard", "Null"]
Format = Literal["parquet", "csv", "arrow"]

_MODEL_FIELDS = ("url", "framework", "entrypoint", "device", "params")
_OUTPUT_FIELDS = ("url", "mode", "format", "keep", "predictionColumn", "maxRowsPerFile")
_SPEC_FIELDS = (
    *("model", "features", "partitionBy", "batchRows", "shardRows", "maxShardFailures", "onError"),
    "outOfMemory",
)
_FILES_FIELDS = ("url", "pattern", "as")


@dataclasses.dataclass(frozen=True)
class ModelSpec:
    """Which model, and how it is loaded.

    Attributes:
        url: of a file or folder; empty where ``entrypoint`` needs none.
        framework: ``auto`` looks at the content.
        entrypoint: ``module:attribute``: what predicts (python), or what makes the module of a state dict.
        device: ``auto`` takes a GPU where there is one and the framework can use it.
        params: of the loader, see ``mlpools.inference.models``.
    """

    url: str = ""
    framework: Framework = "auto"
    entrypoint: str = ""
    device: Device = "auto"
    params: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    @classmethod
    def from_spec(cls, raw: Mapping[str, Any]) -> ModelSpec:
        """Read ``spec.model``.

        Raises:
            InvalidSpec: a field is unknown, missing, or makes no sense.
        """
        check_keys("model", raw, _MODEL_FIELDS)
        model = cls(
            url=raw.get("url") or "",
            framework=_one_of("model.framework", raw.get("framework") or "auto", Framework),
            entrypoint=raw.get("entrypoint") or "",
            device=_one_of("model.device", raw.get("device") or "auto", Device),
            params=raw.get("params") or {},
        )
        if model.entrypoint and not all(model.entrypoint.partition(":")):
            raise InvalidSpec(f"model.entrypoint is {model.entrypoint!r}; write module:function.")
        if model.framework == "python" and not model.entrypoint:
            raise InvalidSpec("model.framework python needs model.entrypoint, such as scoring:Model.")
        if model.framework != "python" and not model.url:
            raise InvalidSpec("model needs url: the file or folder of the model.")
        return model


@dataclasses.dataclass(frozen=True)
class OutputSpec:
    """What predictions become.

    Attributes:
        url: folder of the result.
        mode: what to do with a result that is there.
        format: of the files.
        keep: columns of the input beside the predictions; None for all.
        prediction_column: name of the predictions; others of the same model begin with it.
        max_rows_per_file: bounds a shard; None for no bound.
    """

    url: str
    mode: Literal["Error", "Overwrite", "Resume"] = "Error"
    format: Format = "parquet"
    keep: tuple[str, ...] | None = ()
    prediction_column: str = "prediction"
    max_rows_per_file: int | None = None

    @classmethod
    def from_spec(cls, raw: Mapping[str, Any]) -> OutputSpec:
        """Read ``spec.output``.

        Raises:
            InvalidSpec: a field is unknown, missing, or makes no sense.
        """
        check_keys("output", raw, _OUTPUT_FIELDS, needed=("url",))
        keep = raw.get("keep") or ()
        return cls(
            url=str(raw["url"]),
            mode=_one_of("output.mode", raw.get("mode") or "Error", Literal["Error", "Overwrite", "Resume"]),
            format=_one_of("output.format", raw.get("format") or "parquet", Format),
            keep=None if keep == "all" or list(keep) == ["*"] else texts(keep),
            prediction_column=raw.get("predictionColumn") or "prediction",
            max_rows_per_file=_count("output.maxRowsPerFile", raw.get("maxRowsPerFile")),
        )


@dataclasses.dataclass(frozen=True)
class Settings:
    """All of it.

    Attributes:
        model: what predicts.
        output: where to, and how.
        source: the rows, as in the task.
        features: columns that the model is given, in this order; empty: what the model says.
        partition_by: all rows of one value of this column go to one call; empty: any rows do.
        batch_rows: of a call; None: found out by measuring.
        shard_rows: of a shard; None: from the size of the input.
        max_shard_failures: with more the run fails.
        on_error: what a row does that the model fails on.
        out_of_memory: attempts so far, if the last one ended because its pod ran out of memory.
    """

    model: ModelSpec
    output: OutputSpec
    source: Mapping[str, Any]
    features: tuple[str, ...] = ()
    partition_by: str = ""
    batch_rows: int | None = None
    shard_rows: int | None = None
    max_shard_failures: int = 0
    on_error: OnError = "FailShard"
    out_of_memory: int = 0

    @classmethod
    def from_task(cls, task: Task) -> Settings:
        """Read what a task of framework ``inference`` says.

        Raises:
            InvalidSpec: a field is unknown, missing, or makes no sense.
        """
        raw = task.spec
        check_keys("spec", raw, _SPEC_FIELDS, needed=("model",))
        if set(task.data) != {INPUT}:
            raise InvalidSpec(f"A batch inference reads one source, named {INPUT}.")
        settings = cls(
            model=ModelSpec.from_spec(raw["model"]),
            output=OutputSpec.from_spec(task.output),
            source=task.data[INPUT],
            features=texts(raw.get("features") or ()),
            partition_by=raw.get("partitionBy") or "",
            batch_rows=_count("batchRows", raw.get("batchRows")),
            shard_rows=_count("shardRows", raw.get("shardRows")),
            max_shard_failures=int(raw.get("maxShardFailures") or 0),
            on_error=_one_of("onError", raw.get("onError") or "FailShard", OnError),
            out_of_memory=int(raw.get("outOfMemory") or 0),
        )
        if settings.max_shard_failures < 0:
            raise InvalidSpec("maxShardFailures must be a whole number from 0.")
        twice = next((name for name in settings.features if settings.features.count(name) > 1), None)
        if twice:
            raise InvalidSpec(f"The feature {twice!r} is listed twice.")
        return settings

    @property
    def files(self) -> bool:
        """Whether the rows are files without columns, one each."""
        return "files" in self.source

    def plannable(self) -> Plannable:
        """Return what becomes the plan of the rows.

        Raises:
            InvalidSpec: the source makes no sense.
        """
        return _files(self.source) if self.files else from_spec(INPUT, self.source)

    def facts(self) -> dict[str, Any]:
        """Return, in JSON's types, what two runs that complete one output must have in common."""
        output, model = self.output, self.model
        return {
            "model": [model.framework, model.entrypoint, dict(model.params)],
            "features": list(self.features),
            "partitionBy": self.partition_by,
            "onError": self.on_error,
            "format": output.format,
            "keep": "all" if output.keep is None else list(output.keep),
            "predictionColumn": output.prediction_column,
            "rowsPerShard": [self.shard_rows, output.max_rows_per_file],
        }


def _files(source: Mapping[str, Any]) -> Plannable:
    raw = source["files"]
    check_keys("input.files", raw, _FILES_FIELDS, needed=("url",))
    check_keys("input", source, ("files", "limit"))
    form = _one_of("input.files.as", raw.get("as") or "path", Literal["path", "bytes"])
    return WholeFileSource(
        texts(raw["url"]),
        file_pattern=texts(raw.get("pattern") or ()),
        columns=("path",) if form == "path" else ("path", "bytes"),
        limit=source.get("limit"),
        content="binary",
    )


def _one_of(field: str, given: Any, kinds: Any) -> Any:
    allowed = get_args(kinds)
    if given not in allowed:
        raise InvalidSpec(f"{field} is {given!r}; it has to be one of {', '.join(allowed)}.")
    return given


def _count(field: str, given: Any) -> int | None:
    if given is None or given == "auto":
        return None
    if not isinstance(given, int) or isinstance(given, bool) or given < 1:
        raise InvalidSpec(f"{field} is {given!r}; it has to be a whole number from 1, or auto.")
    return given
