"""Links between GPUs, and the all-reduce over all of them, through torch."""

from __future__ import annotations

import datetime
import time
from collections.abc import Callable

from mlpools.gang import Gang
from mlpools.runtime.fabric.links import Link
from mlpools.runtime.fabric.meeting import Meeting

_BYTES = 1 << 26
_WARM_UPS = 3
_ROUNDS = 10


def measure(meeting: Meeting, gang: Gang, seconds: float, device: str) -> tuple[Link, float]:
    """Measure the link into this rank, and the all-reduce of all ranks.

    Args:
        meeting: of all ranks.
        gang: this rank's place in it.
        seconds: after which torch gives up.
        device: ``cuda:N``; ``cpu`` takes gloo instead of NCCL.

    Returns:
        The link, and the all-reduce's bus bandwidth in GB/s: 2 (n - 1) / n times the bytes per second.

    Raises:
        RuntimeError: of torch, with NCCL's words.
    """
    import torch
    from torch import distributed

    patience = datetime.timedelta(seconds=seconds)
    size = gang.world_size
    before, after = (gang.rank - 1) % size, (gang.rank + 1) % size
    # A port of its own: connections that linger on the gang's would keep the framework waiting.
    store = None
    if gang.leads:
        store = distributed.TCPStore(gang.address, 0, size, True, patience, wait_for_workers=False)
    host, port = meeting.gather([gang.address, store.port if store else 0], seconds)[0]
    store = store or distributed.TCPStore(host, port, size, False, patience)
    cuda = device.startswith("cuda")
    if cuda:
        torch.cuda.set_device(device)
    distributed.init_process_group(
        "nccl" if cuda else "gloo", store=store, rank=gang.rank, world_size=size, timeout=patience
    )
    try:
        ours, theirs = (torch.ones(_BYTES // 4, device=device) for _ in range(2))
        wait = torch.cuda.synchronize if cuda else _nothing

        def reduce() -> None:
            distributed.all_reduce(ours, op=distributed.ReduceOp.MAX)

        def pass_on() -> None:
            sent = distributed.P2POp(distributed.isend, ours, after)
            taken = distributed.P2POp(distributed.irecv, theirs, before)
            for work in distributed.batch_isend_irecv([sent, taken]):
                work.wait()

        reduced = _BYTES / _seconds(reduce, wait) * 2 * (size - 1) / size / 1e9
        return Link(before, gang.rank, _BYTES / _seconds(pass_on, wait) / 1e9), reduced
    finally:
        distributed.destroy_process_group()


def _seconds(act: Callable[[], None], wait: Callable[[], None]) -> float:
    """Return how long one round takes, once it is warm."""
    for _ in range(_WARM_UPS):
        act()
    wait()
    began = time.perf_counter()
    for _ in range(_ROUNDS):
        act()
    wait()
    return (time.perf_counter() - began) / _ROUNDS


def _nothing() -> None:
    """Wait for nothing: a CPU is done when it returns."""
