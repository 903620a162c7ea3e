"""Flags that all ranks see at the same step, without a wait at any step."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

from mlpools.errors import PeerLost
from mlpools.train.pytorch.rendezvous import Channel

if TYPE_CHECKING:
    from torch import Tensor

#: The gang's watchdog ends a rank that waits for one that is gone; gloo's own time-out comes later.
_PATIENCE = timedelta(days=365)


class Agreement:
    """Asks of every rank at every step whether any rank's flag is set.

    The question of a step is answered at the next one, so its way over the network costs nothing: it goes
    while the ranks compute. It has a gloo group of its own, apart from whatever the program uses.

    All ranks must call it equally often.
    """

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self._group: Any = None
        self._pending: tuple[Any, Tensor] | None = None

    def any(self, *flags: bool) -> list[bool]:
        """Return for each flag whether it was set on any rank at the call before this one.

        Alone, a rank need not ask: its own flags of now are the answer.

        Raises:
            PeerLost: another rank is gone.
        """
        if self._channel.store is None:
            return list(flags)
        from torch import int32, tensor
        from torch.distributed import ReduceOp

        group = self._group = self._group or self._gather()
        last = self._pending
        values = tensor([int(flag) for flag in flags], dtype=int32)
        try:
            self._pending = (group.allreduce([values], ReduceOp.MAX), values)
            if last is None:
                return [False] * len(flags)
            last[0].wait()
        except RuntimeError as error:
            raise PeerLost("Another rank does not answer any more.") from error
        return [bool(value) for value in last[1].tolist()]

    def _gather(self) -> Any:
        from torch.distributed import PrefixStore, ProcessGroupGloo

        store = PrefixStore("mlpools/agreement", self._channel.store)
        try:
            return ProcessGroupGloo(store, self._channel.rank, self._channel.world_size, timeout=_PATIENCE)
        except RuntimeError as error:
            raise PeerLost("Another rank does not answer any more.") from error
