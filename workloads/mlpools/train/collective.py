"""XGBoost's own collective, with rank 0's tracker as the meeting point."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
from xgboost import collective
from xgboost.core import XGBoostError
from xgboost.tracker import RabitTracker

from mlpools.contract.reports import Phase
from mlpools.errors import PeerLost
from mlpools.train.job import Job
from mlpools.train.leader import wait_for_leader, wait_for_port

#: XGBoost's time-outs come after the supervisor's, which can say who hung.
_MARGIN_SECONDS = 60
_GOODBYE_SECONDS = 30
_NEVER_SECONDS = 10 * 365 * 86_400


class Collective:
    """Talks to the other ranks. All ranks must make the same calls in the same order.

    Every method raises ``PeerLost`` when another rank is gone.
    """

    def __init__(self, rank: int, world_size: int) -> None:
        self.rank = rank
        self.world_size = world_size

    def share(self, value: Any = None) -> Any:
        """Return rank 0's value on every rank; a value that JSON can hold."""
        return json.loads(self._broadcast(json.dumps(value), 0))

    def share_bytes(self, value: bytes) -> bytes:
        """Return rank 0's bytes on every rank."""
        result: bytes = self._broadcast(value, 0)
        return result

    def gather(self, value: Any) -> list[Any]:
        """Return the values of all ranks, in rank order, on every rank."""
        text = json.dumps(value)
        return [json.loads(self._broadcast(text, rank)) for rank in range(self.world_size)]

    def any(self, *flags: bool) -> list[bool]:
        """Return for each flag whether it is set on any rank."""
        if self.world_size == 1:
            return list(flags)
        with _lost_peers():
            values = collective.allreduce(np.array(flags, dtype=np.int8), collective.Op.MAX)
        return [bool(value) for value in values]

    def sum(self, values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """Return the sums over all ranks of arrays of one shape."""
        return self._reduce(values, collective.Op.SUM)

    def max(self, values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """Return the maxima over all ranks of arrays of one shape."""
        return self._reduce(values, collective.Op.MAX)

    def gather_arrays(self, values: npt.NDArray[Any]) -> list[npt.NDArray[Any]]:
        """Return the arrays of all ranks, in rank order, on every rank; their shapes may differ."""
        return [self._broadcast(values, rank) for rank in range(self.world_size)]

    def _reduce(self, values: npt.NDArray[np.float64], how: collective.Op) -> npt.NDArray[np.float64]:
        if self.world_size == 1:
            return values
        with _lost_peers():
            result: npt.NDArray[np.float64] = collective.allreduce(values, how)
        return result.reshape(values.shape)

    def _broadcast(self, value: Any, root: int) -> Any:
        if self.world_size == 1:
            return value
        with _lost_peers():
            return collective.broadcast(value, root)


@contextlib.contextmanager
def meet(job: Job) -> Iterator[Collective]:
    """Bring all ranks together: rank 0 opens the tracker, the others wait until it is there.

    On an error nothing is closed in order: that would wait for peers that may be gone.

    Raises:
        PeerLost: the gang fell apart while it was meeting.
        Preempted: a stop was asked for while waiting.
        PortTaken: another program has rank 0's port.
    """
    gang = job.gang
    if gang.world_size == 1:
        job.reporter.phase(Phase.RENDEZVOUS)
        yield Collective(0, 1)
        return
    tracker: RabitTracker | None = None
    if gang.leads:
        address = gang.address
        wait_for_port(job)
        # Ranks follow the task ids, which sort as texts.
        tracker = RabitTracker(gang.world_size, address, port=gang.port, sortby="task")
        tracker.start()
        job.reporter.phase(Phase.RENDEZVOUS)
    else:
        job.reporter.phase(Phase.RENDEZVOUS)
        address = wait_for_leader(job)
    hang = job.task.hang_timeout_seconds
    with _lost_peers():
        collective.init(
            dmlc_communicator="rabit",
            dmlc_tracker_uri=address,
            dmlc_tracker_port=gang.port,
            dmlc_task_id=f"{gang.rank:06d}",
            dmlc_timeout=hang + _MARGIN_SECONDS if hang else _NEVER_SECONDS,
        )
    assert collective.get_rank() == gang.rank
    yield Collective(gang.rank, gang.world_size)
    # The work is done and gathered: a peer that is gone by now is no loss.
    with contextlib.suppress(XGBoostError, ValueError):
        collective.finalize()
        if tracker is not None:
            tracker.wait_for(_GOODBYE_SECONDS)  # freed earlier, the others could not say goodbye


@contextlib.contextmanager
def _lost_peers() -> Iterator[None]:
    try:
        yield
    except XGBoostError as error:
        raise PeerLost("Another rank does not answer any more.") from error
