"""One scoring in a process of its own, ours or what people use; prints what it took as JSON.

    python -m bench.scorers "ours, 2 workers" xgboost MODEL FOLDER OUT

All read the same Parquet files, predict with the same model, and write the predictions as Parquet.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.higgs import FEATURES, paths
from bench.measured import memory

#: Of the machine.
THREADS = 2
PLAIN, RAY = "plain", "Ray Data"
_BATCH_ROWS = 65_536
_LOOK_SECONDS = 0.05

Predict = Callable[[Any], Any]


@dataclass(frozen=True)
class Scored:
    """What one scoring took.

    Attributes:
        rows: that were scored.
        total: sum of the predictions; the same for all.
        seconds: from the first look at the files to the finished output, without imports.
        first: seconds from the program's start to the first committed part; 0 = not told.
        wall: seconds of the whole program, interpreter and imports included.
        cpu: CPU-seconds of all its processes.
        memory: peak of private memory of all its processes in MB; 0 = not watched.
    """

    rows: int
    total: float
    seconds: float
    first: float = 0.0
    wall: float = 0.0
    cpu: float = 0.0
    memory: float = 0.0

    @property
    def rate(self) -> float:
        """Million rows a second."""
        return self.rows / self.seconds / 1e6


def run(name: str, framework: str, model: Path, folder: Path, *, watch: bool = False) -> Scored:
    """Run a scorer in a new process.

    Args:
        name: of the scorer.
        framework: of the model.
        model: its file.
        folder: the data.
        watch: look at its memory; it takes a few percent of the speed.
    """
    began = time.perf_counter()
    with tempfile.TemporaryDirectory() as out:
        process = subprocess.Popen(
            [sys.executable, "-m", "bench.scorers", name, framework, str(model), str(folder), out],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONWARNINGS": "ignore"},
        )
        peak = [0.0]
        watcher = threading.Thread(target=_watch, args=(process, peak))
        if watch:
            watcher.start()
        said, errors = process.communicate()
        wall = time.perf_counter() - began
        if watch:
            watcher.join()
        if process.returncode:
            raise RuntimeError(f"{name}, {framework}: {said[-2000:]}{errors[-2000:]}")
        rows, total = _sum(Path(out))
    return Scored(rows, total, **{**json.loads(said.splitlines()[-1]), "wall": wall, "memory": peak[0]})


def _watch(process: subprocess.Popen[str], peak: list[float]) -> None:
    while process.poll() is None:
        peak[0] = max(peak[0], memory(process.pid)[0])
        time.sleep(_LOOK_SECONDS)


def _sum(out: Path) -> tuple[int, float]:
    """Return the rows of an output, and the sum of their predictions."""
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    columns = [pq.read_table(path).column(0) for path in sorted(out.rglob("*.parquet"))]
    return sum(map(len, columns)), sum(pc.sum(column.cast("double")).as_py() for column in columns)


def ours(model: Path, folder: Path, out: Path, workers: int) -> dict[str, float]:
    """Score with a node of some workers, as ``mlpools run`` does."""
    from mlpools.contract.tasks import INFERENCE, Task
    from mlpools.data.writers import commit
    from mlpools.inference.claim import RUN
    from mlpools.storage import locate
    from mlpools.train.launchers.local import run_locally

    target = out / "out"
    with tempfile.TemporaryDirectory() as work:
        task = Task(
            namespace="bench",
            name="infer",
            uid="bench",
            attempt=1,
            nodes=1,
            workers_per_node=workers,
            coordinator="",
            framework=INFERENCE,
            spec={"model": {"url": str(model)}, "features": FEATURES},
            data={"input": {"parquet": {"url": str(folder)}}},
            output={"url": str(target), "mode": "Error"},
            checkpoint={},
        )
        final = run_locally(task, folder=Path(work))
    # Up to its own beginning, a run waits for the process that predicts, which imports what it needs.
    spent = commit.read_manifest(locate(target)).details["seconds"]
    before = sum(spent[part] for part in ("output", "plan", "model"))
    working = before + (target / commit.SUCCESS).stat().st_mtime - (target / RUN).stat().st_mtime
    return {"seconds": working, "first": final.seconds["FirstStep"]}


def plain(framework: str, model: Path, folder: Path, out: Path) -> dict[str, float]:
    """One file after the other: read, predict with all threads, write."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    predict = PREDICTORS[framework](model, THREADS)
    began = time.perf_counter()
    for path in paths(folder):
        found = predict(pq.read_table(path, columns=FEATURES))
        pq.write_table(pa.table({"prediction": found}), out / Path(path).name)
    return {"seconds": time.perf_counter() - began}


def ray(framework: str, model: Path, folder: Path, out: Path) -> dict[str, float]:
    """``map_batches`` with an actor for each CPU, as Ray's documentation shows it."""
    import ray
    import ray.data

    class Scorer:
        def __init__(self) -> None:
            self._predict = PREDICTORS[framework](model, 1)

        def __call__(self, batch: Any) -> Any:
            import pyarrow as pa

            return pa.table({"prediction": self._predict(batch.select(FEATURES))})

    # One CPU more than the actors have: Ray Data waits for ever where they hold all.
    ray.init("local", num_cpus=THREADS + 1, include_dashboard=False, log_to_driver=False)
    began = time.perf_counter()
    rows = ray.data.read_parquet(paths(folder), columns=FEATURES)
    scored = rows.map_batches(
        Scorer, batch_format="pyarrow", batch_size=_BATCH_ROWS, concurrency=THREADS, num_cpus=1
    )
    scored.write_parquet(str(out))
    seconds = time.perf_counter() - began
    ray.shutdown()
    return {"seconds": seconds}


def _xgboost(model: Path, threads: int) -> Predict:
    import xgboost as xgb

    booster = xgb.Booster({"nthread": threads}, model_file=model)
    booster.set_param({"nthread": threads})
    predict: Predict = booster.inplace_predict
    return predict


def _lightgbm(model: Path, threads: int) -> Predict:
    import lightgbm as lgb

    booster = lgb.Booster(model_file=model)
    return lambda rows: booster.predict(rows, num_threads=threads)


def _onnx(model: Path, threads: int) -> Predict:
    import numpy as np
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    return lambda rows: session.run(
        ["Y"], {"X": np.stack([column.to_numpy() for column in rows.columns], axis=1)}
    )[0][:, 0]


PREDICTORS: dict[str, Callable[[Path, int], Predict]] = {
    "xgboost": _xgboost,
    "lightgbm": _lightgbm,
    "onnx": _onnx,
}


def _score(name: str, framework: str, model: Path, folder: Path, out: Path) -> dict[str, float]:
    if name == PLAIN:
        return plain(framework, model, folder, out)
    if name == RAY:
        return ray(framework, model, folder, out)
    return ours(model, folder, out, int(name.split()[-2]))


def main() -> None:
    """Print what was found as JSON."""
    parser = argparse.ArgumentParser()
    parser.add_argument("name")
    parser.add_argument("framework")
    for path in ("model", "folder", "out"):
        parser.add_argument(path, type=Path)
    given = parser.parse_args()
    found = _score(given.name, given.framework, given.model, given.folder, given.out)
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    found["cpu"] = sum(it.ru_utime + it.ru_stime for it in used)
    print(json.dumps(found))


if __name__ == "__main__":
    main()
