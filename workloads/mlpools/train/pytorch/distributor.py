"""``PyTorchDistributor``: a function on many workers, called from a notebook or a script."""

from __future__ import annotations

import dataclasses
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from mlpools.contract.tasks import Task
from mlpools.data.connector import DataConnector
from mlpools.data.sharded import ShardedDataConnector
from mlpools.errors import InvalidSpec, JobError
from mlpools.locations import child_url
from mlpools.storage import locate
from mlpools.supervisor.settings import THREAD_NAMES
from mlpools.train.estimators import gangs
from mlpools.train.estimators.narrator import Narrator
from mlpools.train.estimators.rows import connected
from mlpools.train.pytorch.worker import MODEL
from mlpools.train.scaling import SameOnEachNode, ScalingConfig
from mlpools.train.sent import pack

_EVERY_LINE = 1


@dataclasses.dataclass(frozen=True)
class WorkerResourceConfig:
    """What one worker takes.

    Attributes:
        num_cpus: threads; where Ray places the workers, also CPUs of its node.
        num_gpus: 0, or 1 for a GPU of its own.
    """

    num_cpus: int
    num_gpus: int = 0

    def __post_init__(self) -> None:
        if self.num_cpus < 1 or self.num_gpus not in (0, 1):
            raise InvalidSpec(
                f"A worker takes 1 CPU or more and at most 1 GPU, not {self.num_cpus} and {self.num_gpus}: "
                "for more GPUs ask for more workers."
            )


@dataclasses.dataclass(frozen=True)
class PyTorchScalingConfig:
    """How many workers there are.

    Attributes:
        num_nodes: of the Ray cluster; without Ray all workers are processes of this machine.
        num_workers_per_node: on each of them.
        resource_requirements_per_worker: what each takes.
    """

    num_nodes: int
    num_workers_per_node: int
    resource_requirements_per_worker: WorkerResourceConfig

    def __post_init__(self) -> None:
        if self.num_nodes < 1 or self.num_workers_per_node < 1:
            raise InvalidSpec(
                f"num_nodes and num_workers_per_node are 1 or more, not {self.num_nodes} and "
                f"{self.num_workers_per_node}."
            )


@dataclasses.dataclass(frozen=True)
class PyTorchDistributorResult:
    """What a run has left.

    Attributes:
        output: URL of its folder: the model, ``metrics.jsonl``, ``learning_curve.png``, ``result.json``.
    """

    output: str

    def get_model_dir(self) -> str:
        """Return the URL of the model's folder: what rank 0 left in its ``get_model_dir()``."""
        return child_url(self.output, MODEL)


class PyTorchDistributor:
    """Runs a function on all workers: over the Ray cluster of this program if it has one, else here.

    Args:
        train_func: takes nothing; it finds its place, its rows and the rest in ``get_context()``. It travels
            by value with all it holds on to, so imports belong into it.
        scaling_config: how many workers; by default one, or one on each node of a Ray cluster.
    """

    def __init__(
        self, train_func: Callable[[], Any], scaling_config: PyTorchScalingConfig | None = None
    ) -> None:
        self._train_func = train_func
        self._scaling = scaling_config

    def run(
        self,
        *,
        dataset_map: Mapping[str, Any] | None = None,
        hyper_params: Mapping[str, str] | None = None,
        artifact_stage_location: str | None = None,
    ) -> PyTorchDistributorResult:
        """Run the function to its end on every worker.

        What the function prints, and the metrics it reports, are printed here.

        Args:
            dataset_map: by name a ``DataConnector`` or ``ShardedDataConnector``, or a frame of pandas, polars
                or Arrow; ``get_dataset_map()`` of the context has them.
            hyper_params: what ``get_hyper_params()`` of the context returns.
            artifact_stage_location: a folder, or a URL of an object store, in which each run has its own
                folder; it must be the same place on all nodes. By default a temporary folder of this machine.

        Returns:
            Where the model is.

        Raises:
            RuntimeError: a worker failed; its cause is an error of ``mlpools.errors``.
            InvalidSpec: what is asked for makes no sense, or does not fit into the Ray cluster.
        """
        given = {name: connected(data) for name, data in (dataset_map or {}).items()}
        work = _Run(
            framework="pytorch",
            spec={
                "hyperParams": {name: str(value) for name, value in (hyper_params or {}).items()},
                "dealing": {name: _dealing(data) for name, data in given.items()},
            },
            names=tuple(given),
            hooks=pack("train_func", self._train_func),
            checkpoint={},
            use_gpu=bool(self._workers().use_gpu),
            place=artifact_stage_location or "",
        )
        try:
            files = gangs.train(work, given, None, self._workers(), Narrator(_EVERY_LINE))
        except InvalidSpec:
            raise
        except JobError as error:
            raise RuntimeError(str(error)) from error
        return PyTorchDistributorResult(work.output or _keep(files))

    def _workers(self) -> ScalingConfig:
        if self._scaling is None:
            return ScalingConfig()
        each = self._scaling.resource_requirements_per_worker
        return SameOnEachNode(
            num_workers=self._scaling.num_nodes * self._scaling.num_workers_per_node,
            num_cpu_per_worker=each.num_cpus,
            use_gpu=each.num_gpus > 0,
            num_workers_per_node=self._scaling.num_workers_per_node,
        )


@dataclasses.dataclass(frozen=True)
class _Run(gangs.Work):
    """One run.

    Attributes:
        place: folder or URL in which its output has a folder; empty: it is sent back to the caller.
    """

    place: str = ""

    @property
    def output(self) -> str:
        """URL of its output; empty if it is sent back."""
        return locate(self.place).child(self.uid).url if self.place else ""

    @property
    def everywhere(self) -> bool:
        """An order over all ranks takes rows from everywhere."""
        return True

    def task(self, home: Path, **place: Any) -> Task:
        """Return the task; the function lies in the folder of each rank."""
        task = super().task(home, **place)
        spec = {**task.spec, "function": str(self.packed(home))}
        if not self.place:
            return dataclasses.replace(task, name="run", spec=spec)
        return dataclasses.replace(
            task,
            name="run",
            spec=spec,
            output={"url": self.output, "mode": "Error"},
            checkpoint={"url": child_url(self.output, "checkpoints"), "keep": 2},
        )

    def environment(self, home: Path, threads: int) -> dict[str, str]:
        """Return the variables of workers; their temporary files go with the run."""
        count = dict.fromkeys(THREAD_NAMES, str(threads)) if threads > 0 else {}
        return {"TMPDIR": str(home), **count}

    def files(self, home: Path) -> dict[str, bytes]:
        """Return the output of rank 0, if it lies there."""
        if self.place:
            return {}
        root = self.output_folder(home)
        return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def _dealing(data: DataConnector) -> dict[str, Any]:
    return dataclasses.asdict(data.dealing) if isinstance(data, ShardedDataConnector) else {}


def _keep(files: Mapping[str, bytes]) -> str:
    """Write the output that was sent back into a new folder, and return its path."""
    folder = Path(tempfile.mkdtemp(prefix="mlpools-pytorch-"))
    (folder / MODEL).mkdir()
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return str(folder)
