"""What a program finds in its context: on two nodes of two workers each, with data and output in a store."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from mlpools.contract.ends import Exit
from mlpools.train.pytorch.context import has_gpu
from tests.support.object_store import ObjectStore
from tests.support.pods import Pods, task, wait_for
from tests.support.store_environment import use_store
from tests.support.torch_programs import program

RANKS = 4
ROWS = 80
METHODS = [
    *("get_rank", "get_world_rank", "get_local_rank", "get_node_rank", "get_world_size"),
    *("get_local_world_size", "get_master_addr", "get_master_port", "get_default_backend"),
    *("get_supported_backends", "get_hyper_params"),
]

PROGRAM = """
import json, os, sys
from pathlib import Path
import torch
import torch.distributed as dist
from mlpools.train.pytorch import get_context

context = get_context()
dist.init_process_group(context.get_default_backend())
rank = context.get_rank()
found = {name: getattr(context, name)() for name in sys.argv[1:]}
found["environment"] = [os.environ["MASTER_ADDR"], os.environ["MASTER_PORT"]]
found["rows"] = context.get_dataset_map()["train"].get_shard().to_arrow()["row"].to_pylist()
context.get_metrics_reporter().log_metrics({"rank": rank}, step=1)
artifacts = context.get_artifact_manager()
found["url"] = artifacts.upload(torch.tensor([rank]), f"tensors/{rank}.pt", torch.save)
dist.barrier()
other = (rank + 1) % context.get_world_size()
found["others"] = artifacts.get(f"tensors/{other}.pt", torch.load).tolist()
found["listed"] = artifacts.list()
folder = Path(context.get_model_dir())
copy = artifacts.download("tensors/0.pt", str(folder / "copies"))
(folder / "places.json").write_text(json.dumps([None] * rank))
dist.barrier()  # others list what is there
artifacts.upload(json.dumps(found).encode(), f"found-{rank}.json")
dist.destroy_process_group()
"""


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[ObjectStore]:
    with ObjectStore() as store:
        use_store(store, monkeypatch, tmp_path, patience=3)
        yield store


def test_every_method_on_every_rank(store: ObjectStore, tmp_path: Path) -> None:
    sink = pa.BufferOutputStream()
    pq.write_table(pa.table({"row": range(ROWS)}), sink, row_group_size=10)
    store.objects["bucket/rows/0.parquet"] = sink.getvalue().to_pybytes()
    (tmp_path / "train.py").write_text(PROGRAM)
    section = {"file": str(tmp_path / "train.py"), "args": METHODS, "hyperParams": {"lr": "0.1"}}
    given = task(
        Path("/unused"),
        nodes=2,
        workers_per_node=2,
        framework="pytorch",
        spec=section,
        data={"train": {"parquet": {"url": "s3://bucket/rows/*.parquet"}}},
        output={"url": "s3://bucket/out", "mode": "Error"},
        checkpoint={"url": "s3://bucket/out/checkpoints"},
    )
    with Pods(given, tmp_path / "pods") as pods:
        finals = pods.wait(150)
        assert [final.code for final in finals] == [0, 0], pods[0].output() + pods[1].output()
    found = [json.loads(store.objects[f"bucket/out/artifacts/found-{rank}.json"]) for rank in range(RANKS)]
    for rank, it in enumerate(found):
        check(rank, it)
    assert sorted(row for it in found for row in it["rows"]) == list(range(ROWS))
    assert finals[0].metrics == {"rank": 0.0}
    assert store.objects["bucket/out/model/places.json"] == b"[]"  # rank 0's
    assert "bucket/out/model/copies/tensors/0.pt" in store.objects
    assert "bucket/out/result.json" in store.objects


def check(rank: int, it: dict[str, Any]) -> None:
    assert it["get_rank"] == it["get_world_rank"] == rank
    assert (it["get_node_rank"], it["get_local_rank"]) == divmod(rank, 2)
    assert (it["get_world_size"], it["get_local_world_size"]) == (RANKS, 2)
    assert [it["get_master_addr"], str(it["get_master_port"])] == it["environment"]
    assert it["get_default_backend"] in it["get_supported_backends"]
    assert "gloo" in it["get_supported_backends"]
    assert it["get_hyper_params"] == {"lr": "0.1"}
    assert it["url"] == f"s3://bucket/out/artifacts/tensors/{rank}.pt"
    assert it["listed"] == [f"tensors/{other}.pt" for other in range(RANKS)]
    assert it["others"] == [(rank + 1) % RANKS]


#: It has no checkpoints of mlpools; a rank that stopped before the other would leave it in the barrier.
STOPS = """
import time
import torch.distributed as dist
from mlpools.train.pytorch import get_context

context = get_context()
dist.init_process_group("gloo")
step = 0
while not context.should_stop():
    step += 1
    context.get_metrics_reporter().log_metrics({}, step=step)
    dist.barrier()
    time.sleep(0.01)
context.get_artifact_manager().upload(str(step).encode(), f"saved-{context.get_rank()}")
dist.barrier()
context.stop()
"""


def test_a_program_that_saves_its_own_way_stops_at_the_same_step_on_all_ranks(tmp_path: Path) -> None:
    """Only one worker hears of it."""
    given = task(tmp_path / "out", nodes=2, **program(tmp_path, STOPS))
    with Pods(given, tmp_path / "pods") as pods:
        wait_for(lambda: pods[0].step() >= 3, 150, "steps")
        os.kill(pods[1].worker(), signal.SIGTERM)
        finals = pods.wait(150)
    assert [final.code for final in finals] == [Exit.PREEMPTED] * 2, pods[0].output() + pods[1].output()
    steps = [int((tmp_path / f"out/artifacts/saved-{rank}").read_text()) for rank in range(2)]
    assert steps[0] == steps[1] >= 3
    assert finals[0].message == f"Stopped as asked after step {steps[0]}."


@pytest.mark.parametrize(("gpus", "local_rank", "has"), [(0, 0, False), (2, 1, True), (1, 1, False)])
def test_a_worker_s_gpu_is_the_one_of_its_local_rank(
    gpus: int, local_rank: int, has: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: gpus)
    monkeypatch.setenv("LOCAL_RANK", str(local_rank))
    assert has_gpu() is has
