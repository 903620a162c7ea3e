"""Runs the ranks of an estimator: processes of this machine, or workers over a Ray cluster."""

from __future__ import annotations

import dataclasses
import os
import tempfile
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from mlpools import budgets
from mlpools.contract.tasks import Task
from mlpools.data import DataConnector
from mlpools.errors import InvalidSpec, OutOfMemory
from mlpools.supervisor import cgroup
from mlpools.supervisor.settings import THREAD_NAMES
from mlpools.train.estimators.handing import plan_of
from mlpools.train.estimators.narrator import Narrator
from mlpools.train.launchers import ray_cluster
from mlpools.train.launchers.local import run_locally
from mlpools.train.scaling import ScalingConfig
from mlpools.train.sent import HOOKS_ENV

_OUTPUT = "output"
_GRACE_SECONDS = 20
#: A worker with its libraries, before it has rows.
_WORKER_BYTES = 100 << 20


@dataclasses.dataclass(frozen=True)
class Work:
    """What a gang has to do.

    Attributes:
        framework: name of the worker code.
        spec: its section, as in a manifest.
        names: of the data sets.
        hooks: packed functions of the caller.
        checkpoint: where to save and go on from, as in a manifest; empty for neither.
        use_gpu: each worker has a GPU.
        uid: of this training.
        vital: so many first ranks cannot be missed, and when these have ended, nothing is left for the
            others; 0 = all.
    """

    vital: ClassVar[int] = 0

    framework: str
    spec: Mapping[str, Any]
    names: tuple[str, ...]
    hooks: bytes
    checkpoint: Mapping[str, Any]
    use_gpu: bool
    uid: str = dataclasses.field(default_factory=lambda: uuid.uuid4().hex)

    def task(self, home: Path, *, nodes: int = 1, workers_per_node: int = 1, coordinator: str = "") -> Task:
        """Return the task; all that is local to rank 0 lies in a folder of its machine."""
        own = {"url": f"file://{home}/checkpoints", "keep": 1}
        mode = "Resume" if self.checkpoint else "Error"
        return Task(
            namespace="python",
            name="fit",
            uid=self.uid,
            attempt=1,
            nodes=nodes,
            workers_per_node=workers_per_node,
            gpus_per_node=workers_per_node if self.use_gpu else 0,
            coordinator=coordinator,
            framework=self.framework,
            spec=dict(self.spec),
            data={name: {"plan": {"url": f"file://{home}/{name}.plan"}} for name in self.names},
            output={"url": f"file://{home}/{_OUTPUT}", "mode": mode, "curve": False},
            checkpoint=dict(self.checkpoint) or own,
            grace_period_seconds=_GRACE_SECONDS,
        )

    def lay_down(self, home: Path, plans: Mapping[str, str]) -> None:
        """Write what workers find in their folder: the plans, and the hooks."""
        for name, text in plans.items():
            (home / f"{name}.plan").write_text(text, encoding="utf-8")
        self.packed(home).write_bytes(self.hooks)

    @property
    def everywhere(self) -> bool:
        """Whether every rank needs all rows that were in memory: groups may cross the parts."""
        return bool(self.spec.get("groupColumn"))

    @staticmethod
    def packed(home: Path) -> Path:
        """Return the file of the caller's functions in a rank's folder."""
        return home / "hooks.pickle"

    @staticmethod
    def output_folder(home: Path) -> Path:
        """Return where the output lies on rank 0's machine."""
        return home / _OUTPUT

    def environment(self, home: Path, threads: int) -> dict[str, str]:
        """Return the variables of workers.

        Args:
            home: where ``lay_down`` has been.
            threads: of each worker; -1 = its share of what there is.
        """
        count = dict.fromkeys(THREAD_NAMES, str(threads)) if threads > 0 else {}
        return {HOOKS_ENV: str(self.packed(home)), **count}

    def files(self, home: Path) -> dict[str, bytes]:
        """Return the files of the output, on rank 0."""
        return {path.name: path.read_bytes() for path in self.output_folder(home).iterdir() if path.is_file()}


def train(
    work: Work,
    data: Mapping[str, DataConnector],
    columns: list[str] | None,
    scaling: ScalingConfig,
    narrator: Narrator,
) -> dict[str, bytes]:
    """Train over a Ray cluster if this program is part of one, else on this machine.

    Args:
        work: to do.
        data: the data sets.
        columns: that are needed of them; None for all.
        scaling: how many workers.
        narrator: tells the caller.

    Returns:
        The files of the output by name.

    Raises:
        JobError: with a cause.
    """
    with tempfile.TemporaryDirectory(prefix="mlpools-") as name, narrator:
        if ray_cluster.is_inside():
            from mlpools.train.estimators import over_ray

            return over_ray.train(work, data, columns, scaling, narrator, Path(name))
        return _here(work, data, columns, scaling, narrator, Path(name))


def _here(
    work: Work,
    data: Mapping[str, DataConnector],
    columns: list[str] | None,
    scaling: ScalingConfig,
    narrator: Narrator,
    home: Path,
) -> dict[str, bytes]:
    workers = workers_here(scaling.num_workers, _gpus_here() if work.use_gpu else None)
    check_memory(workers, budgets.memory())
    threads = scaling.num_cpu_per_worker
    if threads == -1:
        threads = cgroup.limits().threads(
            workers
        )  # whatever this process itself was given, as a worker of a job
    plans = {name: plan_of(item, home / name, workers, columns).to_json() for name, item in data.items()}
    work.lay_down(home, plans)
    with narrator.failing():
        run_locally(
            work.task(home, workers_per_node=workers),
            folder=home,
            environ=work.environment(home, threads),
            watcher=narrator,
        )
    return work.files(home)


def workers_here(asked: int, gpus: int | None) -> int:
    """Return how many workers this machine has.

    Args:
        asked: -1 = one, or one for each GPU.
        gpus: of this machine, each for one worker; None where they train on CPUs.

    Raises:
        InvalidSpec: there are fewer GPUs.
    """
    if gpus is None:
        return max(1, asked)
    if gpus < max(1, asked):
        raise InvalidSpec(
            f"{max(1, asked)} worker(s) with a GPU each are asked for; this machine has {gpus}."
        )
    return gpus if asked == -1 else asked


def check_memory(workers: int, memory: int) -> None:
    """Refuse workers that would swamp this machine before they had any rows.

    Args:
        workers: processes.
        memory: bytes that they may use together.

    Raises:
        OutOfMemory: they do not fit.
    """
    if workers > 1 and workers * _WORKER_BYTES > memory:
        most = max(1, memory // _WORKER_BYTES)
        raise OutOfMemory(
            f"{workers} workers do not fit into this machine's memory, whatever they train on: use {most} or "
            "fewer, or a Ray cluster."
        )


def _gpus_here() -> int:
    """Return how many GPUs this process may use."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None:
        return len([name for name in visible.split(",") if name])
    return len(list(Path("/dev").glob("nvidia[0-9]*")))
