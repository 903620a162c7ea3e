"""A host loses its network in the middle of a PyTorch program's steps, where gloo waits half an hour."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.cut_network import Trial
from tests.support.hosts import needs_hosts
from tests.support.torch_programs import program

#: Each step has rows of its own, so that only who does each of them once gets the same weights.
PROGRAM = """
import os
from pathlib import Path

import torch
import torch.distributed as dist
from torch.nn.parallel import DistributedDataParallel

from mlpools.train.pytorch import get_context

context = get_context()
dist.init_process_group(context.get_default_backend())
rank = context.get_rank()
torch.manual_seed(7)
module = torch.nn.Linear(4, 1)
model = DistributedDataParallel(module)
optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
checkpoints = context.get_checkpoints(model=model, optimizer=optimizer)
step = checkpoints.load()
while step < int(os.environ["STEPS"]):
    step += 1
    rows = torch.randn(16, 4, generator=torch.Generator().manual_seed(2 * step + rank))
    loss = (model(rows).squeeze(1) - rows.sum(1)).pow(2).mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    checkpoints.after_step(step)
if rank == 0:
    torch.save(module.state_dict(), Path(context.get_model_dir(), "model.pt"))
"""


@needs_hosts
@pytest.mark.full
@pytest.mark.parametrize("lost", [0, 1])
def test_a_cut_network_ends_both_sides_and_costs_the_model_nothing(lost: int, tmp_path: Path) -> None:
    fields = program(tmp_path, PROGRAM)
    Trial(tmp_path, 2, lambda steps: fields, "model/model.pt").check_a_cut(lost)
