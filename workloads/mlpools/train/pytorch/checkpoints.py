"""Distributed checkpoints: folders that count only when their ``COMMIT`` is there and right.

``<checkpoint url>/<job uid>/step-<n>/`` holds what PyTorch writes for modules and optimizers; for each rank
``rank-<r>.pt`` with its random numbers, its place in the data and the rest; ``state.json`` with the metrics
so far; and, written last, ``COMMIT`` with the SHA-256 of all of them.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import time
import warnings
from collections.abc import Iterator, Mapping
from typing import Any

from mlpools.errors import (
    CheckpointMismatch,
    DataNotReadable,
    InvalidSpec,
    JobError,
    OutputNotWritable,
    Preempted,
    one_line,
)
from mlpools.storage import FileMissing, Location, locate
from mlpools.train.checkpoints import COMMIT, STATE, committed, first_difference
from mlpools.train.documents import read
from mlpools.train.history import keep
from mlpools.train.job import Job
from mlpools.train.pytorch.agreement import Agreement
from mlpools.train.pytorch.metrics import MetricsReporter
from mlpools.train.pytorch.rendezvous import Channel
from mlpools.train.reporter import log

_PIECE_BYTES = 32 << 20


class Checkpoints:
    """The checkpoints of some parts of a program's state. Get it from ``Context.get_checkpoints``.

    All ranks must make the same calls in the same order.

    Attributes:
        step: of the newest checkpoint that was saved or loaded, 0 = none.
    """

    def __init__(
        self,
        job: Job,
        channel: Channel,
        agreement: Agreement,
        metrics: MetricsReporter,
        identity: Mapping[str, Any],
        parts: Mapping[str, Any],
    ) -> None:
        from mlpools.train.pytorch.parts import Parts

        self._job = job
        self._channel = channel
        self._agreement = agreement
        self._metrics = metrics
        self._identity = json.loads(json.dumps(identity))
        self._parts = Parts(parts)
        self._root = locate(str(job.task.checkpoint["url"]))
        self._every_steps = int(job.task.checkpoint.get("everyRounds") or 0)
        self._every_seconds = float(job.task.checkpoint.get("everySeconds") or 0)
        self._last = time.monotonic()
        self.step = 0

    def load(self) -> int:
        """Go on from the newest checkpoint that is whole; a damaged one is passed over, and the log says so.

        With as many ranks as before, random numbers go on too, and training gives what it would have given
        without the interruption.

        Returns:
            Its step, 0 if there is none.

        Raises:
            CheckpointMismatch: another job's was made with something else.
            DataNotReadable: the location cannot be looked into.
        """
        candidates = self._channel.share(self._candidates() if self._channel.rank == 0 else None)
        for url in candidates:
            folder = locate(url)
            commit = self._channel.share(_commit(folder) if self._channel.rank == 0 else None)
            if self._channel.all(commit is not None and self._is_whole(folder, commit)):
                return self._take(folder)
            if self._channel.rank == 0:
                log(f"the checkpoint {folder} is damaged and was passed over")
        return 0

    def save(self, step: int) -> None:
        """Save all parts as the state after a step, and delete all but the newest checkpoints.

        Raises:
            OutputNotWritable: the location refuses writing.
        """
        from torch.distributed import checkpoint

        from mlpools.train.pytorch.parts import randomness
        from mlpools.train.pytorch.places import writer

        folder = self._root.child(f"{self._job.task.uid}/step-{step:09d}")
        if self._channel.rank == 0:
            folder.child(COMMIT).delete()
        self._job.reporter.alive(f"Saving the checkpoint of step {step}.")
        storage, digests = writer(folder)
        with self._together(OutputNotWritable, folder):
            checkpoint.save(self._parts.shared(), storage_writer=storage)
        own = {"randomness": randomness(), "parts": self._parts.own()}
        digests[_of_rank(self._channel.rank)] = _write(folder.child(_of_rank(self._channel.rank)), own)
        of_ranks = self._channel.gather(digests)
        if self._channel.rank == 0:
            self._commit(folder, step, {name: value for part in of_ranks for name, value in part.items()})
        self._channel.share()  # nobody goes on, or ends, before it counts
        self.step, self._last = step, time.monotonic()
        self._job.reporter.checkpoint(step)

    def after_step(self, step: int) -> None:
        """Save after a step if it is time to, by ``spec.checkpoint``, or if the job is to stop.

        Raises:
            Preempted: the job is to stop; let it pass, it ends the program.
        """
        seconds = time.monotonic() - self._last
        overdue = self._channel.rank == 0 and bool(self._every_seconds) and seconds >= self._every_seconds
        stop, overdue = self._agreement.any(self._job.stop.requested, overdue)
        due = step % self._every_steps == 0 if self._every_steps else overdue
        if (due or stop) and step > self.step:
            self.save(step)
        if stop:
            self._channel.gather(True)  # rank 0 has the store, so it leaves last
            raise Preempted(f"Stopped as asked after step {step}, which is saved.")

    @contextlib.contextmanager
    def _together(self, kind: type[JobError], folder: Location) -> Iterator[None]:
        """Let PyTorch work on a folder with all ranks; what fails is raised plainly."""
        import torch.distributed as dist

        if self._channel.world_size > 1 and not dist.is_initialized():
            raise InvalidSpec("Checkpoints need a process group: call init_process_group before them.")
        with warnings.catch_warnings(), _plainly(kind, folder):
            warnings.filterwarnings("ignore", message="torch.distributed is disabled")  # one rank needs none
            yield

    def _commit(self, folder: Location, step: int, digests: dict[str, str]) -> None:
        document: dict[str, Any] = {
            "uid": self._job.task.uid,
            "step": step,
            "identity": self._identity,
            "worldSize": self._channel.world_size,
            "parts": self._parts.names,
            "metrics": self._metrics.rows(),
        }
        keep(self._job.task, document["metrics"])
        data = json.dumps(document).encode()
        folder.child(STATE).write(data)
        digests[STATE] = hashlib.sha256(data).hexdigest()
        folder.child(COMMIT).write(json.dumps(digests).encode())
        for old in committed(folder.parent)[: -int(self._job.task.checkpoint.get("keep") or 2)]:
            old.child(COMMIT).delete()
            old.delete_tree()

    def _candidates(self) -> list[str]:
        """Return the folders to try, newest first: this job's, else those of others that it may use."""
        own = committed(self._root.child(self._job.task.uid))
        if own or self._job.task.output.get("mode") != "Resume":
            return [folder.url for folder in reversed(own)]
        others = [(folder, state) for folder in committed(self._root) if (state := _state(folder))]
        others.sort(key=lambda pair: int(pair[1]["step"]), reverse=True)
        if others and others[0][1]["identity"] != self._identity:
            state = others[0][1]
            raise CheckpointMismatch(
                f"The checkpoint at step {state['step']} below {self._root} does not fit: "
                f"{first_difference(state['identity'], self._identity)}."
            )
        return [folder.url for folder, _ in others]

    def _is_whole(self, folder: Location, commit: Mapping[str, str]) -> bool:
        """Check this rank's share of the files: what is large is read once by one rank."""
        names = sorted(commit)[self._channel.rank :: self._channel.world_size]
        try:
            return all(_digest(folder.child(name)) == commit[name] for name in names)
        except FileMissing:
            return False

    def _take(self, folder: Location) -> int:
        from torch.distributed import checkpoint

        from mlpools.train.pytorch.parts import restore_randomness
        from mlpools.train.pytorch.places import reader

        state = json.loads(folder.child(STATE).read())
        if state["parts"] != self._parts.names:
            had, has = ", ".join(state["parts"]), ", ".join(self._parts.names)
            raise InvalidSpec(f"The checkpoint {folder} holds {had}, and get_checkpoints was given {has}.")
        shared = self._parts.shared()
        with self._together(DataNotReadable, folder):
            checkpoint.load(shared, storage_reader=reader(folder))
        self._parts.load_shared(shared)
        of_ranks = [_read(folder.child(_of_rank(rank))) for rank in range(state["worldSize"])]
        self._parts.load_own([own["parts"] for own in of_ranks], self._channel.rank)
        if len(of_ranks) == self._channel.world_size:
            restore_randomness(of_ranks[self._channel.rank]["randomness"])
        self.step = int(state["step"])
        self._metrics.restore(state["metrics"], self.step)
        self._job.reporter.checkpoint(self.step)
        if self._channel.rank == 0:
            log(f"going on from the checkpoint of step {self.step}")
        return self.step


@contextlib.contextmanager
def _plainly(kind: type[JobError], folder: Location) -> Iterator[None]:
    """Raise what failed on a rank instead of PyTorch's page of tracebacks of all ranks."""
    from torch.distributed.checkpoint import CheckpointException

    try:
        yield
    except CheckpointException as error:
        rank, (cause, _) = min(error.failures.items())
        if isinstance(cause, JobError):
            raise cause from None
        what = f"{type(cause).__name__}: {one_line(cause)}"
        raise kind(f"The checkpoint {folder} failed on rank {rank}: {what}.") from None


def _of_rank(rank: int) -> str:
    return f"rank-{rank:05d}.pt"


def _write(place: Location, state: Any) -> str:
    import torch

    buffer = io.BytesIO()
    torch.save(state, buffer)
    place.write(buffer.getvalue())
    return hashlib.sha256(buffer.getvalue()).hexdigest()


def _read(place: Location) -> Any:
    import torch

    # What the job wrote itself, and the checksum is right; it may hold whatever a state_dict does.
    return torch.load(io.BytesIO(place.read()), weights_only=False)


def _digest(place: Location) -> str:
    """Hash a file of whatever size, a piece at a time."""
    size, digest = place.info().size, hashlib.sha256()
    for start in range(0, size, _PIECE_BYTES):
        digest.update(place.read_range(start, min(start + _PIECE_BYTES, size)))
    return digest.hexdigest()


def _commit(folder: Location) -> dict[str, str] | None:
    commit = read(folder.child(COMMIT)) or {}
    return commit if STATE in commit else None


def _state(folder: Location) -> dict[str, Any] | None:
    state = read(folder.child(STATE)) or {}
    return state if "identity" in state and "step" in state else None
