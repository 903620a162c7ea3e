"""A model that lies in pieces on all ranks: interrupted and not, and on fewer ranks than before."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from mlpools.contract.ends import Exit
from tests.support.pods import read_json
from tests.support.torch_programs import run

#: Each rank draws its own rows, so that only equal random numbers give equal weights.
PROGRAM = """
import json, os
import torch
import torch.distributed as dist
from torch.distributed.fsdp import fully_shard
from mlpools.train.pytorch import get_context

context = get_context()
dist.init_process_group("gloo")
torch.manual_seed(0)
model = torch.nn.Sequential(torch.nn.Linear(6, 10), torch.nn.ReLU(), torch.nn.Linear(10, 3))
fully_shard(model, mesh=dist.device_mesh.init_device_mesh("cpu", (context.get_world_size(),)))
optimizer = torch.optim.AdamW(model.parameters(), lr=0.1)
torch.manual_seed(100 + context.get_rank())
checkpoints = context.get_checkpoints(model=model, optimizer=optimizer)

def tell(name):
    whole = [value.full_tensor().tolist() for value in model.parameters()]
    if context.get_rank() == 0:
        context.get_artifact_manager().upload(json.dumps(whole).encode(), name)

step = checkpoints.load()
tell(f"loaded-{step}.json")
while step < 4:
    step += 1
    model(torch.rand(2, 6)).square().sum().backward()
    optimizer.step()
    optimizer.zero_grad()
    if step == 2:
        checkpoints.save(step)
        tell("saved.json")
        if "BREAK" in os.environ:
            raise SystemExit(3)
tell("end.json")
"""


def left(folder: Path, name: str) -> Any:
    return read_json(folder / "out/artifacts" / name)


def test_a_model_in_pieces_goes_on_as_if_nothing_had_happened_and_whole_on_one_rank(tmp_path: Path) -> None:
    through, broken, fewer = (tmp_path / name for name in ("through", "broken", "fewer"))
    finals, said = run(through, PROGRAM)
    assert [final.code for final in finals] == [Exit.DONE] * 2, said
    finals, said = run(broken, PROGRAM, environ={"BREAK": "1"})
    assert [final.code for final in finals] == [Exit.USER_CODE] * 2, said
    assert "ended with exit code 3" in finals[0].message
    shutil.copytree(broken, fewer)

    finals, said = run(broken, PROGRAM, attempt=2)
    assert [final.code for final in finals] == [Exit.DONE] * 2, said
    assert left(broken, "loaded-2.json") == left(broken, "saved.json") == left(through, "saved.json")
    assert left(broken, "end.json") == left(through, "end.json") != left(through, "saved.json")

    [final], said = run(fewer, PROGRAM, nodes=1, attempt=2)
    assert final.code == Exit.DONE, said
    assert left(fewer, "loaded-2.json") == left(through, "saved.json")
