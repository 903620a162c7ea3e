"""BatchInferences for the end-to-end tests, and what a single process makes of the same rows."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from mlpools.contract.ends import Exit
from mlpools.contract.tasks import INFERENCE
from mlpools.data.writers import commit
from mlpools.storage import Location
from tests.support.parts import names
from tests.support.pods import Pods, task
from tests.support.training import Object, Training
from tests.support.waiting import wait_for

#: Label of a pod with its rank.
RANK = "batch.kubernetes.io/job-completion-index"
#: Many small shards, of which each takes a moment.
SMALL = {"shardRows": 1000, "batchRows": 100}


class Inference(Training):
    """The pools and BatchInferences of one test."""

    kind = "BatchInference"

    def submit(self, name: str, *, nodes: int = 2, **spec: Any) -> None:
        """Apply a job that predicts for the flights; keywords replace top-level fields of its spec."""
        full = {
            "model": {"url": "file:///data/models/scorer/model.ubj"},
            "input": {"parquet": {"url": "file:///data/flights/train/*.parquet"}},
            "output": {"url": f"file:///data/models/{name}", "keep": ["arr_delay"]},
            **SMALL,
            **spec,
        }
        self._apply(name, nodes, full)

    def scores(self, name: str, *, percent: int, seconds: float = 120) -> Object:
        """Wait until so much of its shards is done while it runs; return the status."""

        def look() -> Object | None:
            status = self.status(name)
            shards = status.get("shards") or {"done": 0, "total": 0}
            far = shards["total"] and 100 * shards["done"] >= percent * shards["total"]
            return status if far and status.get("phase") == "Running" else None

        try:
            return wait_for(f"{percent} % of {name}", look, seconds, every=0.2)
        except AssertionError as error:
            raise AssertionError(f"{error} Its status: {self.status(name)}") from None

    def pod(self, name: str, rank: int) -> str:
        """Return the running pod of a rank."""

        def look() -> str | None:
            running = (it for it in self.pods(name) if it["status"]["phase"] == "Running")
            chosen = (it for it in running if it["metadata"]["labels"][RANK] == str(rank))
            return next((str(it["metadata"]["name"]) for it in chosen), None)

        return wait_for(f"rank {rank} of {name}", look, 60, every=0.2)


def digests(target: Location) -> dict[int, str]:
    """Return each shard's digest of a finished output, whose bytes and files are as its manifest says."""
    manifest = commit.read_manifest(target)
    commit.verify(target, manifest)
    named = {part.name: part.sha256 for part in manifest.parts}
    assert {name for name in names(target) if name.startswith("part-")} == set(named)
    matches = {name: re.match(r"part-(\d+)", name) for name in named}
    found = {int(match[1]): named[name] for name, match in matches.items() if match}
    assert len(found) == len(named)
    return found


def rows_of(target: Location) -> pa.Table:
    """Return all rows of a finished output, in the order of its shards."""
    parts = commit.read_manifest(target).parts
    return pa.concat_tables(pq.read_table(pa.BufferReader(target.child(it.name).read())) for it in parts)


def single_process(folder: Path, spec: Mapping[str, Any], rows: Path, *, environ: Mapping[str, str]) -> Path:
    """Predict with one process of this machine, and return its output.

    Args:
        folder: an empty one.
        spec: as a worker gets it.
        rows: folder of the input.
        environ: variables of the process.
    """
    alone = replace(
        task(folder / "out"),
        framework=INFERENCE,
        spec=dict(spec),
        data={"input": {"parquet": {"url": f"{rows}/*.parquet"}}},
        output={"url": str(folder / "out"), "keep": ["arr_delay"]},
        checkpoint={},
    )
    with Pods(alone, folder / "pod", environ={**environ}) as pods:
        [final] = pods.wait(240)
        assert final.code == Exit.DONE, pods[0].output()
    return folder / "out"


def on_path(folder: Path) -> dict[str, str]:
    """Return the variables with which workers find modules of a folder."""
    return {"PYTHONPATH": f"{Path(__file__).parents[2] / 'workloads'}{os.pathsep}{folder}"}
