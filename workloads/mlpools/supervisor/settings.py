"""What a supervisor is told by its environment."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping

from mlpools.contract import wiring
from mlpools.contract.tasks import INFERENCE, Task
from mlpools.document import ContractError


class SettingsError(ValueError):
    """The environment does not describe a task; the message is one sentence for a person."""


@dataclasses.dataclass(frozen=True)
class Settings:
    """One pod's place in its gang.

    Attributes:
        task: what the attempt has to do.
        rank: node rank of this pod.
        dumps_folder: where libraries write what is kept beside the logs, and nothing else is; it need not be
            there.
        status_port: where this supervisor answers.
        leader_port: where rank 0's supervisor answers.
        coordinator_port: where rank 0's first worker opens the framework's rendezvous.
        termination_log: where the termination message goes.
        packages_folder: where packages are installed.
        code_folder: where the job's own code is laid down.
        neighbours: node rank, local rank and local world size of the worker, where each worker of a machine
            has a supervisor of its own; empty where a supervisor has all workers of its node.
        lifeline: descriptor of a pipe that closes when this supervisor has to end; None in a pod.

    The ports and the paths differ from the contract's only where several supervisors share one host.
    """

    task: Task
    rank: int
    dumps_folder: str
    status_port: int = wiring.STATUS_PORT
    leader_port: int = wiring.STATUS_PORT
    coordinator_port: int = wiring.COORDINATOR_PORT
    termination_log: str = wiring.TERMINATION_LOG
    packages_folder: str = wiring.PACKAGES_FOLDER
    code_folder: str = wiring.CODE_FOLDER
    neighbours: tuple[str, ...] = ()
    lifeline: int | None = None

    @property
    def leads(self) -> bool:
        """Whether this is rank 0."""
        return self.rank == 0

    @classmethod
    def from_environment(cls, environ: Mapping[str, str]) -> Settings:
        """Read and check the environment.

        Raises:
            SettingsError: something is absent or makes no sense.
        """
        text = environ.get(wiring.TASK_ENV)
        if not text:
            raise SettingsError(f"{wiring.TASK_ENV} is not set: only the operator starts this program.")
        try:
            task = Task.from_json(text)
        except ContractError as error:
            raise SettingsError(f"{wiring.TASK_ENV}: {error}") from error
        rank = _number(environ, wiring.RANK_ENV, 0)
        if rank >= task.nodes:
            raise SettingsError(f"{wiring.RANK_ENV} is {rank}, but the task has {task.nodes} node(s).")
        status_port = _number(environ, wiring.STATUS_PORT_ENV, wiring.STATUS_PORT)
        return cls(
            task=task,
            rank=rank,
            # By the process, since several supervisors may share one machine.
            dumps_folder=f"{environ.get('TMPDIR') or '/tmp'}/mlpools-dumps-{os.getpid()}",  # noqa: S108
            status_port=status_port,
            leader_port=_number(environ, wiring.LEADER_PORT_ENV, status_port),
            coordinator_port=_number(environ, wiring.COORDINATOR_PORT_ENV, wiring.COORDINATOR_PORT),
            packages_folder=environ.get(wiring.PACKAGES_ENV, wiring.PACKAGES_FOLDER),
            code_folder=environ.get(wiring.CODE_ENV, wiring.CODE_FOLDER),
            termination_log=environ.get(wiring.TERMINATION_LOG_ENV, wiring.TERMINATION_LOG),
            neighbours=tuple(environ.get(wiring.NEIGHBOURS_ENV, "").split()),
            lifeline=_number(environ, wiring.LIFELINE_FD_ENV, 0) or None,
        )

    def worker_environment(self, local_rank: int, threads: int) -> dict[str, str]:
        """Return the environment of one worker: the pod's, torchrun's names and thread counts.

        Args:
            local_rank: 0 … ``workers_per_node`` - 1.
            threads: CPUs for this worker. Thread counts that a user set stay as they are.
        """
        task, rank = self.task, self.rank * self.task.workers_per_node + local_rank
        own = (str(self.rank), str(local_rank), str(task.workers_per_node))
        node_rank, local, local_size = self.neighbours or own
        environ = {name: str(threads) for name in THREAD_NAMES}
        environ.update(_ALLOCATION.get(task.framework, {}))
        environ.update(os.environ)
        environ.pop(wiring.NEIGHBOURS_ENV, None)  # what a worker starts has other neighbours
        library = f"{self.packages_folder}/{wiring.PACKAGES_LIBRARY}" if task.packages else ""
        paths = (library, environ.get("PYTHONPATH"), environ.get(wiring.INJECTED_ENV))
        if any(paths):
            environ["PYTHONPATH"] = ":".join(path for path in paths if path)
        environ.update(
            {
                "RANK": str(rank),
                "LOCAL_RANK": local,
                "WORLD_SIZE": str(task.world_size),
                "LOCAL_WORLD_SIZE": local_size,
                "GROUP_RANK": node_rank,
                "MASTER_ADDR": task.coordinator,
                "MASTER_PORT": str(self.coordinator_port),
                wiring.LEADER_PORT_ENV: str(self.leader_port),
                wiring.CODE_ENV: self.code_folder,
                wiring.DUMPS_ENV: self.dumps_folder,
            }
        )
        if task.gpus_per_node and task.framework in _ONE_GPU_EACH:
            environ[_VISIBLE_GPUS] = _gpu(environ.get(_VISIBLE_GPUS, ""), int(local))
        return environ


#: Libraries count the machine's CPUs, not the container's: without these they start far too many threads.
THREAD_NAMES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMEXPR_NUM_THREADS")


#: All rows of a rank are in memory until they are binned. Arrow's own allocator takes more for them than
#: their size, and keeps it afterwards.
_ARROW = {"ARROW_DEFAULT_MEMORY_POOL": "system"}
#: From so many bytes on a piece of memory, such as a column of a row group, goes back to the system once
#: it is free; the C library raises that by itself to 32 MiB. LightGBM would ask for it anew in each round.
_PIECES = {"MALLOC_MMAP_THRESHOLD_": str(256 << 10)}
_ALLOCATION = {"xgboost": {**_ARROW, **_PIECES}, "lightgbm": _ARROW}
#: These take the first GPU that they see. A PyTorch program chooses by itself, by its local rank.
_ONE_GPU_EACH = ("xgboost", "lightgbm", INFERENCE)
_VISIBLE_GPUS = "CUDA_VISIBLE_DEVICES"


def _gpu(visible: str, local_rank: int) -> str:
    """Return the one GPU that a worker sees, of those that its pod sees; without one left none."""
    if not visible:
        return str(local_rank)
    devices = visible.split(",")
    return devices[local_rank] if local_rank < len(devices) else ""


def _number(environ: Mapping[str, str], name: str, default: int) -> int:
    text = environ.get(name, "")
    if not text:
        return default
    if not text.isdigit():
        raise SettingsError(f"{name} is {text!r}, but must be a whole number from 0.")
    return int(text)
