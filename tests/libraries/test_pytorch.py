"""PyTorch programs under real supervisors: two ranks with gloo on this machine."""

from __future__ import annotations

import json
import os
import signal
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
import yaml

from mlpools.contract.ends import Exit, Final
from mlpools.contract.tasks import Task
from tests.support.examples import EXAMPLES, FOLDER
from tests.support.pods import Pods, read_json, task, wait_for
from tests.support.torch_programs import program, run

ROWS = 640
BATCH = 32
EPOCHS = 4
STEPS = EPOCHS * ROWS // BATCH // 2

#: Shuffled rows and a dropout, so that only equal random numbers and an equal order give equal weights.
PROGRAM = """
import json, os, sys, time
from pathlib import Path

import torch
import torch.distributed as dist
from torch import nn
from torch.utils.data import DataLoader

from mlpools.train.pytorch import get_context

context = get_context()
dist.init_process_group(context.get_default_backend())
rank = context.get_rank()
torch.manual_seed(7)
module = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Dropout(0.2), nn.Linear(8, 1))
model = nn.parallel.DistributedDataParallel(module)
optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
torch.manual_seed(100 + rank)
shard = context.get_dataset_map()["train"].get_shard()
loader = shard.to_torch_dataset(batch_size=32, shuffle=True)
progress = {"epoch": 0}
checkpoints = context.get_checkpoints(model=model, optimizer=optimizer, data=shard, progress=progress)
step = checkpoints.load()
reporter = context.get_metrics_reporter()
epochs = int(context.get_hyper_params()["epochs"])
seen = []
for epoch in range(progress["epoch"], epochs):
    progress["epoch"] = epoch
    for batch in loader:
        step += 1
        if epoch == 0:
            seen += batch["row"].tolist()
        x = torch.stack([batch[name] for name in "abcd"], dim=1)
        loss = (model(x).squeeze(1) - batch["y"]).pow(2).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        reporter.log_metrics({"loss": loss}, step=step, total_steps=epochs * 10)
        checkpoints.after_step(step)
        time.sleep(float(os.environ.get("SECONDS_A_STEP", "0")))
state = {name: value.tolist() for name, value in module.state_dict().items()}
context.get_artifact_manager().upload(json.dumps([seen, state]).encode(), f"rank-{rank}.json")
if rank == 0:
    torch.save(module.state_dict(), Path(context.get_model_dir(), "model.pt"))
    Path(context.get_model_dir(), "arguments.json").write_text(json.dumps(sys.argv[1:]))
"""


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("rows")
    rng = np.random.default_rng(0)
    x = rng.normal(size=(ROWS, 4)).astype(np.float32)
    columns = {name: x[:, i] for i, name in enumerate("abcd")}
    table = pa.table({"row": np.arange(ROWS), **columns, "y": x @ np.arange(4, dtype=np.float32)})
    pq.write_table(table, folder / "0.parquet", row_group_size=64)
    return {"train": {"parquet": {"url": str(folder)}}}


def work(folder: Path, data: dict[str, Any], /, nodes: int = 2, every: int = 3, **changes: Any) -> Task:
    url = f"file://{folder}/out/checkpoints"
    where = {"url": url, "everyRounds": every, "keep": 2}
    fields = program(folder, PROGRAM, args=["--fast"], hyperParams={"epochs": str(EPOCHS)})
    return task(folder / "out", **{"nodes": nodes, "data": data, "checkpoint": where, **fields, **changes})


@dataclass(frozen=True)
class Run:
    output: Path
    finals: list[Final]

    def left(self, rank: int) -> Any:
        return read_json(self.output / f"artifacts/rank-{rank}.json")


@pytest.fixture(scope="module")
def trained(data: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Two ranks, never interrupted."""
    folder = tmp_path_factory.mktemp("run")
    with Pods(work(folder, data), folder / "pods") as pods:
        finals = pods.wait(150)
        assert [final.code for final in finals] == [0, 0], pods[0].output() + pods[1].output()
    return Run(folder / "out", finals)


def test_two_ranks_see_each_row_once_and_end_with_equal_weights(trained: Run) -> None:
    (first, weights), (second, others) = trained.left(0), trained.left(1)
    assert sorted(first + second) == list(range(ROWS))
    assert first != sorted(first)
    assert weights == others
    saved = torch.load(trained.output / "model/model.pt", weights_only=True)
    assert {name: value.tolist() for name, value in saved.items()} == weights


def test_the_result_holds_the_metrics_of_every_step(trained: Run) -> None:
    lines = [json.loads(line) for line in (trained.output / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == list(range(1, STEPS + 1))
    assert lines[-1]["loss"] < lines[0]["loss"]
    result = read_json(trained.output / "result.json")
    assert (result["steps"], result["worldSize"], result["backend"]) == (STEPS, 2, "gloo")
    assert result["versions"]["torch"] == torch.__version__
    assert result["finalMetrics"] == {"loss": lines[-1]["loss"]} == trained.finals[0].metrics
    assert trained.finals[0].step == trained.finals[1].step == STEPS
    assert read_json(trained.output / "model/arguments.json") == ["--fast"]


def test_a_killed_rank_ends_the_gang_and_the_next_attempt_gives_the_same_bytes(
    trained: Run, data: dict[str, Any], tmp_path: Path
) -> None:
    with Pods(work(tmp_path, data), tmp_path / "pods-1", environ={"SECONDS_A_STEP": "0.5"}) as pods:
        wait_for(lambda: (r := pods[0].report()) and r.checkpoint_step >= 6, 150, "a checkpoint")
        os.kill(pods[1].worker(), signal.SIGKILL)
        finals = pods.wait(60)
    assert [final.code for final in finals] == [Exit.PEER_LOST, Exit.SIGNAL], pods[0].output()
    assert all("ank 1" in final.message and "SIGKILL" in final.message for final in finals)
    assert not (tmp_path / "out/model").exists()
    with Pods(work(tmp_path, data, attempt=2), tmp_path / "pods-2") as pods:
        finals = pods.wait(150)
        assert [final.code for final in finals] == [0, 0], pods[0].output()
    again = Run(tmp_path / "out", finals)
    assert again.left(0)[1] == trained.left(0)[1]
    model = "model/model.pt"
    assert (again.output / model).read_bytes() == (trained.output / model).read_bytes()
    steps = [json.loads(line)["step"] for line in (tmp_path / "out/metrics.jsonl").read_text().splitlines()]
    assert steps == list(range(1, STEPS + 1))


def test_a_stop_saves_a_step_and_one_rank_goes_on_where_two_were(
    data: dict[str, Any], tmp_path: Path
) -> None:
    """Only one worker hears of it, so that the ranks have to agree on the step."""
    with Pods(
        work(tmp_path, data, every=1000), tmp_path / "pods-1", environ={"SECONDS_A_STEP": "0.3"}
    ) as pods:
        wait_for(lambda: pods[0].step() >= 2, 150, "a step")
        os.kill(pods[1].worker(), signal.SIGTERM)
        finals = pods.wait(60)
    assert [final.code for final in finals] == [Exit.PREEMPTED] * 2, pods[0].output() + pods[1].output()
    saved = finals[0].checkpoint_step
    assert finals[1].checkpoint_step == saved >= 2
    assert f"after step {saved}, which is saved" in finals[0].message
    [shared] = (tmp_path / "out/checkpoints/uid-1").iterdir()
    state = read_json(shared / "state.json")
    assert (state["step"], state["worldSize"]) == (saved, 2)
    with Pods(work(tmp_path, data, nodes=1, attempt=2), tmp_path / "pods-2") as pods:
        [final] = pods.wait(150)
        assert final.code == Exit.DONE, pods[0].output()
    lines = [json.loads(line) for line in (tmp_path / "out/metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == list(range(1, len(lines) + 1))
    # What two ranks left of the first epoch, and then all rows of three more.
    left = ROWS - 2 * BATCH * saved
    assert len(lines) == saved + left // BATCH + (EPOCHS - 1) * ROWS // BATCH
    assert f"going on from the checkpoint of step {saved}" in pods[0].output()


def test_a_damaged_checkpoint_is_passed_over(data: dict[str, Any], tmp_path: Path) -> None:
    slow = {"SECONDS_A_STEP": "0.3"}
    with Pods(work(tmp_path, data, nodes=1, every=1), tmp_path / "pods-1", environ=slow) as pods:
        wait_for(lambda: pods[0].step() >= 3, 150, "steps")
        pods[0].process.terminate()
        [final] = pods.wait(60)
    assert final.code == Exit.PREEMPTED, pods[0].output()
    older, newest = sorted((tmp_path / "out/checkpoints/uid-1").iterdir())
    broken = next(newest.glob("*.distcp"))
    content = bytearray(broken.read_bytes())
    content[len(content) // 2] ^= 1
    broken.write_bytes(content)
    with Pods(work(tmp_path, data, nodes=1, attempt=2), tmp_path / "pods-2") as pods:
        [final] = pods.wait(150)
    assert final.code == Exit.DONE, pods[0].output()
    assert f"the checkpoint {newest} is damaged and was passed over" in pods[0].output()
    assert f"going on from the checkpoint of step {int(older.name[5:])}" in pods[0].output()


FAILS = """
import torch.distributed as dist
dist.init_process_group("gloo")
dist.barrier()
row = {"dep_time": 1}
if dist.get_rank() == 1:
    row["dep_tme"]
dist.barrier()
"""


def test_a_program_s_exception_is_told_with_its_rank_and_line(tmp_path: Path) -> None:
    finals, _ = run(tmp_path, FAILS)
    assert [final.code for final in finals] == [Exit.PEER_LOST, Exit.USER_CODE]
    assert finals[1].message == "Rank 1: KeyError: 'dep_tme' in train.py line 7."
    assert 'row["dep_tme"]' in finals[1].traceback
    assert "runpy" not in finals[1].traceback
    assert "Rank 1: KeyError: 'dep_tme'" in finals[0].message


RECORDED = """
import torch.distributed as dist
from torch.distributed.elastic.multiprocessing.errors import record
from mlpools.train.pytorch import get_context

@record
def main():
    context = get_context()
    dist.init_process_group(context.get_default_backend())
    context.get_metrics_reporter().log_metrics({"loss": 0.5}, step=4)
    dist.barrier()
    raise ValueError(f"rank {context.get_rank()} of {context.get_world_size()} gives up")

main()
"""


def test_a_command_finds_its_context_and_its_error_is_told(tmp_path: Path) -> None:
    section = program(tmp_path, RECORDED)["spec"]
    command = {"command": [sys.executable, section["file"]]}
    finals, _ = run(tmp_path, RECORDED, spec=command)
    assert [final.code for final in finals] == [Exit.USER_CODE] * 2
    for rank, final in enumerate(finals):
        assert f"ended with exit code 1: ValueError: rank {rank} of 2 gives up." in final.message
    assert (finals[0].step, finals[0].metrics) == (4, {"loss": 0.5})


PLAIN = """
import os, time
import torch
import torch.distributed as dist

dist.init_process_group("gloo")
number = torch.ones(1)
dist.all_reduce(number)
assert number.item() == int(os.environ["WORLD_SIZE"]) == 2
assert dist.is_torchelastic_launched()
print("works", flush=True)
time.sleep(3600)
"""


def test_a_program_that_knows_nothing_of_mlpools_runs_and_ends_at_once_when_told_to(tmp_path: Path) -> None:
    given = task(tmp_path / "out", nodes=2, grace_period_seconds=600, **program(tmp_path, PLAIN))
    with Pods(given, tmp_path / "pods") as pods:
        wait_for(lambda: all("works" in pod.output() for pod in pods.pods), 150, "the program's word")
        pods[1].process.terminate()
        finals = pods.wait(150)
    assert [final.code for final in finals] == [Exit.PREEMPTED] * 2
    assert "no checkpoints of mlpools" in finals[0].message


def test_the_example_learns_digits_on_two_nodes(tmp_path: Path) -> None:
    job = yaml.safe_load((FOLDER / "pytorch/job.yaml").read_text())["spec"]
    EXAMPLES["pytorch/job.yaml"].prepare(tmp_path)
    text = json.dumps({"spec": job["pytorch"], "data": job["data"]}).replace("/data/", f"{tmp_path}/")
    given = task(tmp_path / "out", nodes=job["nodes"], framework="pytorch", **json.loads(text))
    with Pods(given, tmp_path / "pods") as pods:
        finals = pods.wait(150)
    assert [final.code for final in finals] == [Exit.DONE] * 2, pods[0].output()
    lines = [json.loads(line) for line in (tmp_path / "out/metrics.jsonl").read_text().splitlines()]
    assert [line["accuracy"] for line in lines if "accuracy" in line][-1] > 0.85
    weights = torch.load(tmp_path / "out/model/digits.pt", weights_only=True)
    assert weights["3.weight"].shape == (10, 128)
