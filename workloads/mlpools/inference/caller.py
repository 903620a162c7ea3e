"""``run_batch``: a BatchInference from Python, by processes of this machine or workers of a Ray cluster."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any, ClassVar

from mlpools.contract.tasks import INFERENCE, Task
from mlpools.data import DataConnector
from mlpools.data.packs import PATH
from mlpools.errors import InvalidSpec
from mlpools.inference.handed import Handed, handed, model_section, whole
from mlpools.inference.result import BatchResult
from mlpools.inference.settings import INPUT, OutputSpec, Settings
from mlpools.inference.specs import InferenceSpec, InputSpec, ResourcesSpec
from mlpools.supervisor.settings import THREAD_NAMES
from mlpools.train.estimators import gangs
from mlpools.train.estimators.narrator import Narrator
from mlpools.train.estimators.rows import connected
from mlpools.train.scaling import ScalingConfig


def run_batch(
    model: Any,
    X: Any,  # noqa: N803 - the name that people know
    output_spec: str | OutputSpec,
    *,
    input_spec: InputSpec | None = None,
    inference_spec: InferenceSpec | None = None,
    resources_spec: ResourcesSpec | None = None,
    job_name: str = "run_batch",
) -> BatchResult:
    """Predict for all rows of an input, each exactly once, and write the predictions as files.

    The workers run the code of a BatchInference: the same shards, files and commit. Where this program is
    part of a Ray cluster they are spread over its nodes, which all must see the input's and the output's
    place; else they are processes of this machine. They load the model from its URL. An object in memory is
    sent to them: a booster of XGBoost or LightGBM as its model file, an estimator of scikit-learn, a function
    or a class by value.

    Args:
        model: URL or path of a model, a ``ModelSpec`` to say more about it, a booster, an estimator, a
            function from a batch to predictions, or a class or an object with ``predict(batch)``; ``load()``
            of a class is called once a worker.
        X: the rows: a ``DataConnector``, the URL of Parquet files, a frame of pandas, polars or Arrow, or an
            array of shape [rows, columns]. ``DataConnector.from_binary_files`` gives files instead of rows.
        output_spec: URL of the output's folder, or more about it.
        input_spec: what of the rows the model gets.
        inference_spec: how many workers, and how they go about it.
        resources_spec: what each of them has.
        job_name: whose output it is, in ``owner.json``.

    Returns:
        What was written, and what has no prediction.

    Raises:
        JobError: with a cause; see ``mlpools.errors``. Nothing partial looks complete: ``_SUCCESS`` is there
            only after a return.
    """
    rows = DataConnector.from_parquet(whole(X)) if isinstance(X, str) else connected(X)
    given = handed(model)
    how, resources = inference_spec or InferenceSpec(), resources_spec or ResourcesSpec()
    output = OutputSpec(output_spec) if isinstance(output_spec, str) else output_spec
    run = _Run(
        framework=INFERENCE,
        spec=_spec(given, input_spec or InputSpec(), how, resources),
        names=(INPUT,),
        hooks=given.content,
        checkpoint={},
        use_gpu=resources.gpu_requests > 0,
        output=_output(output, rows),
        name=job_name,
    )
    Settings.from_task(run.task(Path("/")))  # what makes no sense is said before anything starts
    scaling = ScalingConfig(
        num_workers=-1 if how.num_workers is None else how.num_workers,
        num_cpu_per_worker=-1 if resources.cpu_requests is None else resources.cpu_requests,
        use_gpu=run.use_gpu,
    )
    gangs.train(run, {INPUT: rows}, None, scaling, Narrator(None, "Predicting", "shards"))
    return BatchResult.at(run.output["url"])


@dataclasses.dataclass(frozen=True)
class _Run(gangs.Work):
    """One call.

    Attributes:
        output: as in a task.
        name: of the caller's job.
    """

    output: dict[str, Any] = dataclasses.field(default_factory=dict)
    name: str = ""

    vital: ClassVar[int] = 1

    @property
    def everywhere(self) -> bool:
        """Whoever is free takes the next shard."""
        return True

    def task(self, home: Path, **place: Any) -> Task:
        """Return the task; a model that was in memory lies in the folder of each rank."""
        spec = dict(self.spec)
        if self.hooks:
            spec["model"] = {**spec["model"], "url": str(self.packed(home))}
        task = super().task(home, **place)
        return dataclasses.replace(task, name=self.name, spec=spec, output=self.output, checkpoint={})

    def environment(self, home: Path, threads: int) -> dict[str, str]:
        """Return the variables of workers."""
        return dict.fromkeys(THREAD_NAMES, str(threads)) if threads > 0 else {}

    @staticmethod
    def packed(home: Path) -> Path:
        """Return the file of a model that was in memory."""
        return home / "model"

    def files(self, home: Path) -> dict[str, bytes]:
        """Return nothing: what was written lies at the output's place."""
        return {}


def _spec(given: Handed, rows: InputSpec, how: InferenceSpec, resources: ResourcesSpec) -> dict[str, Any]:
    model = given.spec
    if rows.batch_format:
        model = dataclasses.replace(model, params={**model.params, "batchFormat": rows.batch_format})
    if model.device == "auto":
        model = dataclasses.replace(model, device="cuda" if resources.gpu_requests else "cpu")
    elif (model.device == "cuda") != bool(resources.gpu_requests):
        raise InvalidSpec(
            f"The model's device is {model.device}, but gpu_requests is {resources.gpu_requests}: set both, "
            "or leave the device out."
        )
    return {
        "model": model_section(model),
        "features": list(rows.features),
        "partitionBy": rows.partition_column,
        "batchRows": how.max_batch_rows,
        "shardRows": how.shard_rows,
        "maxShardFailures": how.max_shard_failures,
        "onError": how.on_error,
    }


def _output(output: OutputSpec, rows: DataConnector) -> dict[str, Any]:
    """Return an output as a task has it; a prediction without its file says nothing."""
    keep: Any = "all" if output.keep is None else output.keep
    if not keep and rows.plan is not None and any(file.members for file in rows.plan.files):
        keep = (PATH,)
    return {
        "url": whole(output.url),
        "mode": str(output.mode),
        "format": output.format,
        "keep": keep if isinstance(keep, str) else list(keep),
        "predictionColumn": output.prediction_column,
        "maxRowsPerFile": output.max_rows_per_file,
    }
