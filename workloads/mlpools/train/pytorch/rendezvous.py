"""PyTorch's meeting point: a c10d store at rank 0, open before the user's program begins.

torchrun's agent opens such a store too. Here rank 0's worker does, and programs join it as they would join
the agent's (``TORCHELASTIC_USE_AGENT_STORE``). What the ranks tell each other through it needs no process
group and no GPU.
"""

from __future__ import annotations

import contextlib
import json
import time
import zlib
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from mlpools.contract.reports import Phase
from mlpools.errors import PeerLost, one_line
from mlpools.gang import Gang
from mlpools.train.job import Job
from mlpools.train.leader import port_taken, wait_for_leader

if TYPE_CHECKING:
    from torch.distributed import Store

#: Below the 8 MiB that the store takes as one value.
_PIECE = 4 << 20
_HERE = "127.0.0.1"
_POLL_SECONDS, _LONGEST_POLL_SECONDS = 0.002, 0.1
#: Of one answer of a store that is there.
_ANSWER = timedelta(seconds=300)


class Channel:
    """Messages between the ranks. All ranks must make the same calls in the same order.

    Every method raises ``PeerLost`` when rank 0 is gone.

    Args:
        store: None for a gang of one.
        name: of the conversation.
        gang: whose.
        alive: called while another rank is waited for; whatever it raises ends the wait.
    """

    def __init__(
        self, store: Store | None, name: str, gang: Gang, alive: Callable[[], None] = lambda: None
    ) -> None:
        self.store = store
        self.rank = gang.rank
        self.world_size = gang.world_size
        self._name = f"mlpools/{name}"
        self._alive = alive
        self._calls = 0

    def share(self, value: Any = None) -> Any:
        """Return rank 0's value on every rank; a value that JSON can hold."""
        if self.store is None:
            return value
        key = self._key()
        with _lost_leader():
            if self.rank == 0:
                self._put(key, value)
                return value
            return self._take(key)

    def gather(self, value: Any) -> list[Any]:
        """Return the values of all ranks, in rank order, on rank 0, and an empty list on the others."""
        if self.store is None:
            return [value]
        key = self._key()
        with _lost_leader():
            if self.rank != 0:
                self._put(f"{key}/{self.rank}", value)
                return []
            return [value, *(self._take(f"{key}/{rank}") for rank in range(1, self.world_size))]

    def all(self, flag: bool) -> bool:
        """Return on every rank whether the flag is set on all of them."""
        return bool(self.share(all(self.gather(flag))))

    def _key(self) -> str:
        self._calls += 1
        return f"{self._name}/{self._calls}"

    def _put(self, key: str, value: Any) -> None:
        assert self.store is not None
        data = zlib.compress(json.dumps(value).encode(), 1)
        pieces = [data[at : at + _PIECE] for at in range(0, len(data), _PIECE)]
        for number, piece in enumerate(pieces):
            self.store.set(f"{key}.{number}", piece)
        self.store.set(key, str(len(pieces)))

    def _take(self, key: str) -> Any:
        assert self.store is not None
        pause = _POLL_SECONDS
        while not self.store.check([key]):  # a blocking wait would be deaf to everything else
            self._alive()
            time.sleep(pause)
            pause = min(2 * pause, _LONGEST_POLL_SECONDS)
        count = int(self.store.get(key))
        return json.loads(zlib.decompress(b"".join(self.store.get(f"{key}.{n}") for n in range(count))))


def meet(job: Job) -> tuple[str, Store | None]:
    """Bring all ranks together: rank 0 opens the store, the others come when it is open.

    Returns:
        Rank 0's address, and the store; None for a gang of one, whose program opens its own.

    Raises:
        PortTaken: another program has rank 0's port.
        PeerLost: rank 0 is gone.
        Preempted: a stop was asked for while waiting.
    """
    gang = job.gang
    if gang.world_size == 1:
        job.reporter.phase(Phase.RENDEZVOUS)
        return _HERE, None
    from torch.distributed import TCPStore

    if gang.leads:
        try:
            store = TCPStore(gang.address, gang.port, is_master=True, timeout=_ANSWER, wait_for_workers=False)
        except RuntimeError as error:
            raise port_taken(gang, _first_line(error)) from error
        job.reporter.phase(Phase.RENDEZVOUS)
        return gang.address, store
    job.reporter.phase(Phase.RENDEZVOUS)
    address = wait_for_leader(job)
    return address, connect(address, gang.port)


def connect(address: str, port: int) -> Store:
    """Return a client of rank 0's store.

    Raises:
        PeerLost: rank 0 is gone.
    """
    from torch.distributed import TCPStore

    with _lost_leader():
        return TCPStore(address, port, is_master=False, timeout=_ANSWER, wait_for_workers=False)


@contextlib.contextmanager
def _lost_leader() -> Iterator[None]:
    from torch.distributed import DistError

    try:
        yield
    except DistError as error:
        raise PeerLost(f"Rank 0 does not answer any more ({_first_line(error)}).") from error


def _first_line(error: Exception) -> str:
    return one_line(Exception(str(error).strip().partition("\n")[0]))
