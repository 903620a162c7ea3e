"""``get_context()``: what a program knows about its place, its data and its job."""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mlpools.contract.tasks import Task
from mlpools.contract.wiring import TASK_ENV
from mlpools.data.ingestor import ArrowIngestor
from mlpools.data.plan import Plan
from mlpools.data.sharded import Dealing, ShardedDataConnector
from mlpools.data.sources import from_spec
from mlpools.errors import Preempted
from mlpools.gang import Gang
from mlpools.locations import child_url
from mlpools.storage import locate
from mlpools.train.job import Job
from mlpools.train.pytorch.agreement import Agreement
from mlpools.train.pytorch.artifacts import FOLDER, ArtifactManager
from mlpools.train.pytorch.checkpoints import Checkpoints
from mlpools.train.pytorch.metrics import MetricsReporter
from mlpools.train.pytorch.rendezvous import Channel, connect
from mlpools.train.reporter import Reporter
from mlpools.train.stop import Stop

#: The file in which a program that a command starts finds what its worker agreed on with the others.
AGREED_ENV = "MLPOOLS_TORCH"


@dataclasses.dataclass(frozen=True)
class Agreed:
    """What all ranks have in common, from rank 0; the folder is each rank's own.

    Attributes:
        backend: of the collectives.
        plans: which rows there are, by the names of the job's data, as JSON.
        identity: what another job's checkpoint must have been made with.
        hyper_params: of the job.
        scratch: local folder for the model and the metrics, until they are committed.
    """

    backend: str
    plans: Mapping[str, str]
    identity: Mapping[str, Any]
    hyper_params: Mapping[str, str]
    scratch: str

    @property
    def model(self) -> Path:
        """Local folder of the model."""
        return Path(self.scratch) / "model"

    @property
    def metrics(self) -> Path:
        """File of rank 0's metrics."""
        return Path(self.scratch) / "metrics.jsonl"


class Context:
    """A program's place in its gang, and its ways to the job. ``get_context`` returns it.

    Attributes:
        listens: the program has asked for checkpoints or about stops, so it ends itself when it is told to.
    """

    def __init__(self, job: Job, agreed: Agreed, channel: Channel) -> None:
        self._job = job
        self._agreed = agreed
        self._channel = channel
        self._agreement = Agreement(channel)
        self._metrics = MetricsReporter(job, agreed.metrics)
        self.listens = False
        agreed.model.mkdir(parents=True, exist_ok=True)

    def get_rank(self) -> int:
        """Return this worker's rank, 0 … world size - 1."""
        return self._job.gang.rank

    def get_world_rank(self) -> int:
        """Return ``get_rank()``."""
        return self.get_rank()

    def get_local_rank(self) -> int:
        """Return this worker's number on its node, 0 … local world size - 1: the index of its GPU."""
        return int(os.environ["LOCAL_RANK"])

    def get_world_size(self) -> int:
        """Return the number of workers on all nodes."""
        return self._job.gang.world_size

    def get_local_world_size(self) -> int:
        """Return the number of workers on this node."""
        return int(os.environ["LOCAL_WORLD_SIZE"])

    def get_node_rank(self) -> int:
        """Return this node's number."""
        return int(os.environ["GROUP_RANK"])

    def get_master_addr(self) -> str:
        """Return the name or address of rank 0's node."""
        return os.environ["MASTER_ADDR"]

    def get_master_port(self) -> int:
        """Return the port of the store at rank 0's node."""
        return int(os.environ["MASTER_PORT"])

    def get_default_backend(self) -> str:
        """Return the job's backend; by default ``nccl`` if the workers have GPUs, else ``gloo``."""
        return self._agreed.backend

    def get_supported_backends(self) -> list[str]:
        """Return the backends that this worker could use."""
        return ["gloo", "nccl"] if has_gpu() else ["gloo"]

    def get_hyper_params(self) -> dict[str, str]:
        """Return the job's hyper-parameters."""
        return dict(self._agreed.hyper_params)

    def get_dataset_map(self) -> dict[str, ShardedDataConnector]:
        """Return the job's data by name; ``get_shard()`` of each gives this worker's rows.

        All ranks see the files that rank 0 saw when the job started.
        """
        task, found = self._job.task, {}
        for name, text in self._agreed.plans.items():
            ingestor = ArrowIngestor([from_spec(name, task.data[name])], Plan.from_json(text))
            found[name] = ShardedDataConnector(ingestor)
            found[name].dealing = Dealing(**task.spec.get("dealing", {}).get(name, {}))
        return found

    def get_model_dir(self) -> str:
        """Return a local folder; what rank 0 leaves in it becomes ``model/`` of the job's output."""
        return str(self._agreed.model)

    def get_artifact_manager(self) -> ArtifactManager:
        """Return the way to files beside the model, of any rank."""
        return ArtifactManager(locate(child_url(str(self._job.task.output["url"]), FOLDER)))

    def get_metrics_reporter(self) -> MetricsReporter:
        """Return the way to the job's status and to ``metrics.jsonl``."""
        return self._metrics

    def get_checkpoints(self, **parts: Any) -> Checkpoints:
        """Return the job's checkpoints of these parts of the program's state; see ``Checkpoints``."""
        self.listens = True
        return Checkpoints(
            self._job, self._channel, self._agreement, self._metrics, self._agreed.identity, parts
        )

    def should_stop(self) -> bool:
        """Return whether the job is to stop; all ranks get the same answer at the same call.

        Ask after each step, equally often on all ranks; save, then call ``stop``. ``Checkpoints.after_step``
        does all of it.
        """
        self.listens = True
        return self._agreement.any(self._job.stop.requested)[0]

    def stop(self) -> None:
        """End the program because the job is to stop.

        Raises:
            Preempted: always.
        """
        raise Preempted(f"Stopped as asked after step {self._metrics.step}.")


_current: Context | None = None


def get_context() -> Context:
    """Return the context of this worker.

    Raises:
        RuntimeError: this is no worker of a PyTorch job.
    """
    global _current
    if _current is None and AGREED_ENV in os.environ:
        _current = _in_child()
    if _current is None:
        raise RuntimeError(
            "get_context() works in the workers of a PyTorch job only: in the program of a TrainingJob's "
            "spec.pytorch, or in the train_func of a PyTorchDistributor."
        )
    return _current


def enter(context: Context) -> None:
    """Make a context the one of this process."""
    global _current
    _current = context


def has_gpu() -> bool:
    """Whether this worker has a GPU of its own."""
    import torch

    return bool(torch.cuda.device_count() > int(os.environ.get("LOCAL_RANK", "0")))


def _in_child() -> Context:
    """Return the context of a program that a worker started as a command."""
    task = Task.from_json(os.environ[TASK_ENV])
    gang = Gang.from_environment()
    job = Job(task, gang, Reporter.from_environment(), Stop(task.grace_period_seconds).listen())
    store = connect(os.environ["MASTER_ADDR"], gang.port) if gang.world_size > 1 else None
    agreed = Agreed(**json.loads(Path(os.environ[AGREED_ENV]).read_text(encoding="utf-8")))
    return Context(job, agreed, Channel(store, "program", gang))
