"""Who am I, how many are we, and where is rank 0."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping

from mlpools.contract import wiring


@dataclasses.dataclass(frozen=True)
class Gang:
    """One worker's place among all workers of an attempt.

    Attributes:
        rank: 0 … ``world_size`` - 1.
        world_size: number of workers.
        coordinator: name or address of rank 0's pod.
        port: where rank 0 opens the framework's rendezvous.
        leader_port: where rank 0's supervisor answers.
        threads: CPUs of this worker.
        address: at which the others reach this worker's pod.
    """

    rank: int = 0
    world_size: int = 1
    coordinator: str = "127.0.0.1"
    port: int = 0
    leader_port: int = wiring.STATUS_PORT
    threads: int = 1
    address: str = "127.0.0.1"

    @property
    def leads(self) -> bool:
        """Whether this is rank 0, which writes what is written once."""
        return self.rank == 0

    @classmethod
    def from_environment(cls, environ: Mapping[str, str] = os.environ) -> Gang:
        """Read torchrun's names as a supervisor sets them; a lone process without them is a gang of one."""
        cpus = len(os.sched_getaffinity(0))
        return cls(
            rank=int(environ.get("RANK", "0")),
            world_size=int(environ.get("WORLD_SIZE", "1")),
            coordinator=environ.get("MASTER_ADDR", "127.0.0.1"),
            port=int(environ.get("MASTER_PORT", "0")),
            leader_port=int(environ.get(wiring.LEADER_PORT_ENV, wiring.STATUS_PORT)),
            threads=int(environ.get("OMP_NUM_THREADS") or cpus),
            address=environ.get(wiring.POD_IP_ENV, "127.0.0.1"),
        )
