"""A network under DistributedDataParallel on two processes: started by torchrun, and by us.

The program itself says when its first barrier was passed, and how many rows a second it then learns from.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

WORKERS = 2
STEPS = 25
WARM_STEPS = 5
BATCH_ROWS = 8192
_ENVIRON = {"OMP_NUM_THREADS": "1", "PYTHONDONTWRITEBYTECODE": "", "PYTHONWARNINGS": "ignore"}


@dataclass(frozen=True)
class Launched:
    """What one run took.

    Attributes:
        barrier: seconds from the launcher's start until all workers passed their first barrier.
        rate: rows a second, of all workers.
    """

    barrier: float
    rate: float


def torchrun() -> Launched:
    """Start the program as PyTorch's users do."""
    with tempfile.TemporaryDirectory() as work:
        found = Path(work, "found")
        command = [
            sys.executable,
            "-m",
            "torch.distributed.run",
            "--standalone",
            f"--nproc-per-node={WORKERS}",
        ]
        began = time.time()
        subprocess.run(
            [*command, __file__, str(found)],
            env={**os.environ, **_ENVIRON},
            check=True,
            capture_output=True,
        )
        return _launched(found, began)


def ours() -> Launched:
    """Start the program as a TrainingJob's pod does."""
    from mlpools.contract.tasks import Task
    from mlpools.train.launchers.local import run_locally

    with tempfile.TemporaryDirectory() as work:
        found = Path(work, "found")
        task = Task(
            namespace="bench",
            name="ddp",
            uid="bench",
            attempt=1,
            nodes=1,
            workers_per_node=WORKERS,
            coordinator="",
            framework="pytorch",
            spec={"file": __file__, "args": [str(found)]},
            data={},
            output={"url": f"{work}/out", "mode": "Error"},
            checkpoint={"url": f"{work}/out/checkpoints", "everySeconds": 300, "keep": 2},
        )
        began = time.time()
        run_locally(task, folder=Path(work), environ=_ENVIRON)
        return _launched(found, began)


def _launched(found: Path, began: float) -> Launched:
    told = json.loads(found.read_text())
    return Launched(told["barrier"] - began, told["rate"])


def main(found: Path) -> None:
    """Train on rows that are made once: what is measured is the launch and the collectives."""
    import torch
    import torch.distributed as dist
    from torch import nn

    dist.init_process_group("gloo")
    dist.barrier()
    barrier = time.time()
    torch.manual_seed(0)
    layers = [nn.Linear(28, 512), nn.ReLU(), nn.Linear(512, 512), nn.ReLU(), nn.Linear(512, 1)]
    model = nn.parallel.DistributedDataParallel(nn.Sequential(*layers))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    rows, wanted = torch.randn(BATCH_ROWS, 28), torch.randn(BATCH_ROWS, 1)
    began = 0.0
    for step in range(WARM_STEPS + STEPS):
        if step == WARM_STEPS:
            dist.barrier()
            began = time.perf_counter()
        optimizer.zero_grad()
        nn.functional.mse_loss(model(rows), wanted).backward()
        optimizer.step()
    dist.barrier()
    rate = STEPS * BATCH_ROWS * dist.get_world_size() / (time.perf_counter() - began)
    if dist.get_rank() == 0:
        found.write_text(json.dumps({"barrier": barrier, "rate": rate}))
    dist.destroy_process_group()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
