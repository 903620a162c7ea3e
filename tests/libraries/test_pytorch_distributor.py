"""A function on several workers, called from here: as processes, and over a Ray cluster."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import ray
import torch

from mlpools.data import ShardedDataConnector
from mlpools.errors import InvalidSpec, UserCodeError
from mlpools.train import PyTorchDistributor, PyTorchScalingConfig, WorkerResourceConfig

ROWS = 400
TWO = PyTorchScalingConfig(1, 2, WorkerResourceConfig(num_cpus=1))


def trainer(text: str) -> Callable[[], None]:
    """Return a function that holds on to something of this process, and trains a line through y = 3x + 1."""

    def train() -> None:
        import json
        from pathlib import Path

        import torch
        import torch.distributed as dist

        from mlpools.train.pytorch import get_context

        context = get_context()
        dist.init_process_group(context.get_default_backend())
        torch.manual_seed(0)
        model = torch.nn.parallel.DistributedDataParallel(torch.nn.Linear(1, 1))
        optimizer = torch.optim.SGD(model.parameters(), lr=float(context.get_hyper_params()["lr"]))
        data = context.get_dataset_map()
        rows = data["train"].get_shard().to_torch_dataset(batch_size=20, shuffle=True)
        seen, step = [], 0
        for epoch in range(20):
            for batch in rows:
                seen += batch["row"].tolist() if epoch == 0 else []
                loss = (model(batch["x"].unsqueeze(1)).squeeze(1) - batch["y"]).pow(2).mean()
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                step += 1
            context.get_metrics_reporter().log_metrics({"loss": loss}, step=step)
        counts = torch.zeros(400)
        counts[torch.tensor(seen)] += 1
        dist.all_reduce(counts)
        print(f"rank {context.get_rank()} of {context.get_world_size()}: {text}", flush=True)  # noqa: T201
        if context.get_rank() == 0:
            folder = Path(context.get_model_dir())
            torch.save(model.module.state_dict(), folder / "line.pt")
            told = {"seen": counts.tolist(), "eval": data["eval"].to_pandas()["x"].tolist()}
            (folder / "told.json").write_text(json.dumps(told))

    return train


@pytest.fixture
def data(tmp_path: Path) -> dict[str, Any]:
    x = np.random.default_rng(0).normal(size=ROWS).astype(np.float32)
    table = pa.table({"row": np.arange(ROWS), "x": x, "y": 3 * x + 1})
    pq.write_table(table, tmp_path / "rows.parquet", row_group_size=50)
    connector = ShardedDataConnector.from_parquet(str(tmp_path / "rows.parquet"), seed=5)
    return {"train": connector, "eval": pd.DataFrame({"x": [1.0, 2.0]})}


def check(model: str) -> None:
    weights = torch.load(Path(model, "line.pt"), weights_only=True)
    assert (weights["weight"].item(), weights["bias"].item()) == pytest.approx((3, 1), abs=0.05)
    told = pd.read_json(Path(model, "told.json"), typ="series")
    assert told["seen"] == [1] * ROWS  # each row is with one rank
    assert told["eval"] == [1.0, 2.0]


def test_a_function_trains_in_two_processes(data: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
    result = PyTorchDistributor(trainer("from afar"), TWO).run(dataset_map=data, hyper_params={"lr": "0.1"})
    check(result.get_model_dir())
    shown = capsys.readouterr().out
    assert "rank 0 of 2: from afar" in shown
    assert "rank 1 of 2: from afar" in shown
    assert "step 10, loss" in shown
    assert "mlpools:" not in shown


def test_the_model_goes_where_the_caller_says(data: dict[str, Any], tmp_path: Path) -> None:
    one = PyTorchDistributor(trainer("alone"))
    result = one.run(
        dataset_map=data, hyper_params={"lr": "0.1"}, artifact_stage_location=str(tmp_path / "stage")
    )
    [run] = (tmp_path / "stage").iterdir()
    assert Path(result.get_model_dir()) == run / "model"
    check(result.get_model_dir())


def test_a_worker_s_exception_is_raised_here(capsys: pytest.CaptureFixture[str]) -> None:
    def fail() -> None:
        from mlpools.train.pytorch import get_context

        if get_context().get_rank() == 1:
            raise KeyError("dep_tme")

    where = r"test_pytorch_distributor\.py line \d+"
    with pytest.raises(RuntimeError, match=rf"^Rank 1: KeyError: 'dep_tme' in {where}\.") as caught:
        PyTorchDistributor(fail, TWO).run()
    assert isinstance(caught.value.__cause__, UserCodeError)
    assert "in fail" in caught.value.__cause__.__notes__[0]


def test_a_function_trains_over_a_ray_cluster(data: dict[str, Any]) -> None:
    ray.init("local", num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level="error")
    try:
        result = PyTorchDistributor(trainer("on Ray"), TWO).run(dataset_map=data, hyper_params={"lr": "0.1"})
        check(result.get_model_dir())
        too_many = PyTorchScalingConfig(4, 2, WorkerResourceConfig(num_cpus=1))
        with pytest.raises(InvalidSpec, match=r"2 on each of 4 node\(s\), do not fit into this Ray cluster"):
            PyTorchDistributor(trainer("never"), too_many).run()
    finally:
        ray.shutdown()


def test_a_worker_has_one_gpu_at_most() -> None:
    with pytest.raises(InvalidSpec, match="for more GPUs ask for more workers"):
        WorkerResourceConfig(num_cpus=1, num_gpus=2)
    with pytest.raises(InvalidSpec, match="num_nodes and num_workers_per_node are 1 or more"):
        PyTorchScalingConfig(0, 1, WorkerResourceConfig(1))
