"""A rank of a PyTorch job that has less CPU than the others is named while the job runs."""

from __future__ import annotations

from pathlib import Path

from tests.support.crowd import crowded, slow
from tests.support.pods import Pods, task, wait_for
from tests.support.torch_programs import program

TRAINS = """
import torch
import torch.distributed as dist
from torch import nn
from mlpools.train.pytorch import get_context

torch.set_num_threads(1)
context = get_context()
dist.init_process_group("gloo")
model = nn.parallel.DistributedDataParallel(nn.Sequential(nn.Linear(64, 256), nn.ReLU(), nn.Linear(256, 1)))
rows = torch.rand(512, 64)
while True:
    loss = model(rows).square().mean()
    loss.backward()
    context.get_metrics_reporter().log_metrics({"loss": loss})
"""


def test_a_rank_whose_cpu_somebody_else_uses_is_named(tmp_path: Path) -> None:
    work = task(tmp_path / "out", nodes=3, **program(tmp_path, TRAINS))
    with Pods(work, tmp_path / "pods") as pods, crowded(pods, 1):
        assert wait_for(lambda: slow(pods), 100, "a slow rank").slow_rank == 1
