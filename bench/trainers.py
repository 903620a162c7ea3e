"""One training in a process of its own, ours or what people use; prints what it took as JSON.

    python -m bench.trainers "ours, 2 ranks" xgboost FOLDER ROUNDS

All train on the same rows with the same parameters, and evaluate the training rows after each round.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from bench.higgs import FEATURES, LABEL, paths

#: By framework: its objective, and its parameters without the number of threads.
SETTINGS: dict[str, tuple[str, dict[str, Any]]] = {
    "xgboost": ("binary:logistic", {"max_depth": 6, "eta": 0.1, "max_bin": 256}),
    "lightgbm": ("binary", {"num_leaves": 127, "learning_rate": 0.1, "max_bin": 255}),
}
METRIC = {"xgboost": "logloss", "lightgbm": "binary_logloss"}
#: Of the machine; a rank of ours has one of them.
THREADS = 2
_BATCH_ROWS = 65_536


@dataclass(frozen=True)
class Trained:
    """What one training took.

    Attributes:
        files_to_model: seconds from the first look at the files to the finished model, without imports.
        boosting: seconds of the rounds, and of what is made for them.
        a_round: seconds of one after the first, which may have more to do.
        loss: on the training rows, after the last round.
        rounds: how many.
        wall: seconds of the whole program, interpreter and imports included.
        cpu: CPU-seconds of all its processes.
        memory: peak of resident memory of its largest process, in MB.
        memory_of_all: sum of the peaks of those that hold rows, in MB.
    """

    files_to_model: float
    boosting: float
    a_round: float
    loss: float
    rounds: int = 0
    wall: float = 0.0
    cpu: float = 0.0
    memory: float = 0.0
    memory_of_all: float = 0.0

    def stretched(self, rounds: int) -> Trained:
        """Return what so many rounds would have taken: one takes as long as another after the first."""
        more = self.a_round * (rounds - self.rounds)
        return replace(
            self,
            files_to_model=self.files_to_model + more,
            boosting=self.boosting + more,
            rounds=rounds,
            wall=self.wall + more,
        )


def run(name: str, framework: str, folder: Path, rounds: int) -> Trained:
    """Run a trainer in a new process."""
    began = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-m", "bench.trainers", name, framework, str(folder), str(rounds)],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONWARNINGS": "ignore", "PYTHONDONTWRITEBYTECODE": ""},
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"{name}, {framework}: {done.stdout[-2000:]}{done.stderr[-2000:]}")
    wall = time.perf_counter() - began
    return Trained(**{**json.loads(done.stdout.splitlines()[-1]), "wall": wall})


def ours(framework: str, folder: Path, rounds: int, ranks: int) -> Trained:
    """Train with ranks of one thread each, as ``mlpools run`` does."""
    from mlpools.contract.tasks import Task
    from mlpools.supervisor.settings import THREAD_NAMES
    from mlpools.train.launchers.local import Watcher, run_locally

    ends: list[float] = []  # of the first round and of the last, which rank 0 logs in any case

    class Clock(Watcher):
        def line(self, rank: int, text: str) -> None:
            if rank == 0 and re.search(rf"round (1|{rounds}) of {rounds},", text):
                ends.append(time.perf_counter())

    objective, params = SETTINGS[framework]
    with tempfile.TemporaryDirectory() as work:
        task = Task(
            namespace="bench",
            name="train",
            uid="bench",
            attempt=1,
            nodes=ranks,
            coordinator="",
            framework=framework,
            spec={"rounds": rounds, "objective": objective, "params": params, "label": LABEL},
            data={"train": {"parquet": {"url": str(folder)}}},
            output={"url": f"{work}/out", "mode": "Error"},
            checkpoint={"url": f"{work}/out/checkpoints", "everySeconds": 300, "keep": 2},
        )
        run_locally(task, folder=Path(work), environ=dict.fromkeys(THREAD_NAMES, "1"), watcher=Clock())
        result = json.loads(Path(work, "out", "result.json").read_text())
    seconds = result["seconds"]
    working = sum(spent for part, spent in seconds.items() if part not in ("import", "output"))
    peaks = [rank["peakMemoryBytes"] / 2**20 for rank in result["ranks"]]
    loss = result["metrics"]["train"][METRIC[framework]]
    a_round = (ends[-1] - ends[0]) / (rounds - 1)
    return Trained(working, seconds["boosting"], a_round, loss, memory_of_all=sum(peaks))


def plain_xgboost(folder: Path, rounds: int, threads: int = THREADS) -> Trained:
    """Batches of Arrow's scanner into a quantile matrix: XGBoost's best own way."""
    import pyarrow.dataset as ds
    import xgboost as xgb

    class Batches(xgb.DataIter):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self._rows = ds.dataset(paths(folder), format="parquet")
            self.reset()

        def reset(self) -> None:
            self._batches = self._rows.to_batches(batch_size=_BATCH_ROWS)

        def next(self, input_data: Callable[..., None]) -> bool:
            import pyarrow as pa

            batch = next((it for it in self._batches if it.num_rows), None)
            if batch is None:
                return False
            table = pa.Table.from_batches([batch])
            input_data(data=table.select(FEATURES), label=table.column(LABEL))
            return True

    objective, params = SETTINGS["xgboost"]
    given = {**params, "objective": objective, "tree_method": "hist", "nthread": threads}
    began = time.perf_counter()
    matrix = xgb.QuantileDMatrix(Batches(), max_bin=params["max_bin"], nthread=threads)
    binned = time.perf_counter()
    history: dict[str, Any] = {}
    ends: list[float] = []

    class Clock(xgb.callback.TrainingCallback):  # type: ignore[misc]
        def after_iteration(self, *_: Any) -> bool:
            ends.append(time.perf_counter())
            return False

    booster = xgb.train(
        given,
        matrix,
        rounds,
        evals=[(matrix, "train")],
        evals_result=history,
        verbose_eval=False,
        callbacks=[Clock()],
    )
    boosted = time.perf_counter()
    booster.save_raw("ubj")
    loss = history["train"]["logloss"][-1]
    return Trained(time.perf_counter() - began, boosted - binned, _a_round(ends), loss)


def plain_lightgbm(folder: Path, rounds: int, threads: int = THREADS) -> Trained:
    """An Arrow table into LightGBM's data set."""
    import lightgbm
    import pyarrow.dataset as ds

    objective, params = SETTINGS["lightgbm"]
    given = {
        **params,
        "objective": objective,
        "num_threads": threads,
        "verbosity": -1,
        "force_row_wise": True,
    }
    began = time.perf_counter()
    table = ds.dataset(paths(folder), format="parquet").to_table()
    data = lightgbm.Dataset(table.select(FEATURES), label=table.column(LABEL), params=given).construct()
    del table
    binned = time.perf_counter()
    history: dict[str, Any] = {}
    ends: list[float] = []
    seen = [lightgbm.record_evaluation(history), lambda _: ends.append(time.perf_counter())]
    booster = lightgbm.train(given, data, rounds, valid_sets=[data], valid_names=["train"], callbacks=seen)
    boosted = time.perf_counter()
    booster.model_to_string()
    loss = history["train"]["binary_logloss"][-1]
    return Trained(time.perf_counter() - began, boosted - binned, _a_round(ends), loss)


def _a_round(ends: list[float]) -> float:
    """Return how long a round took on average, without the first one; given when each ended."""
    return (ends[-1] - ends[0]) / (len(ends) - 1)


def ray_xgboost(folder: Path, rounds: int) -> Trained:
    """Ray Train's trainer as its documentation shows it: each worker's shard as a pandas frame."""
    from ray.train.xgboost import XGBoostTrainer

    objective, params = SETTINGS["xgboost"]

    def loop(config: dict[str, str]) -> None:
        import ray.train
        import xgboost as xgb

        frame = ray.train.get_dataset_shard("train").materialize().to_pandas()
        matrix = xgb.QuantileDMatrix(frame[FEATURES], label=frame[LABEL], nthread=1)
        given = {**params, "objective": objective, "tree_method": "hist", "nthread": 1}
        history: dict[str, Any] = {}
        ends: list[float] = []

        class Clock(xgb.callback.TrainingCallback):  # type: ignore[misc]
            def after_iteration(self, *_: Any) -> bool:
                ends.append(time.perf_counter())
                return False

        given_to = {"evals": [(matrix, "train")], "evals_result": history, "callbacks": [Clock()]}
        binned = time.perf_counter()
        xgb.train(given, matrix, rounds, verbose_eval=False, **given_to)
        a_round = (ends[-1] - ends[0]) / (rounds - 1)
        found = [time.perf_counter() - binned, a_round, history["train"]["logloss"][-1]]
        Path(config["found"]).write_text(json.dumps(found))

    return _on_ray(XGBoostTrainer, loop, folder)


def ray_lightgbm(folder: Path, rounds: int) -> Trained:
    """The same with LightGBM."""
    from ray.train.lightgbm import LightGBMTrainer

    objective, params = SETTINGS["lightgbm"]

    def loop(config: dict[str, str]) -> None:
        import lightgbm
        import ray.train
        from ray.train.lightgbm import get_network_params

        frame = ray.train.get_dataset_shard("train").materialize().to_pandas()
        own = {"num_threads": 1, "verbosity": -1, "pre_partition": True, "tree_learner": "data"}
        given = {**params, "objective": objective, **own, **get_network_params()}
        frame = frame.astype("float32")  # LightGBM takes no frame over Arrow's arrays, as Ray makes them
        data = lightgbm.Dataset(frame[FEATURES], label=frame[LABEL], params=given)
        history: dict[str, Any] = {}
        ends: list[float] = []  # of the rounds; the first one's holds the binning, which needs the network
        seen = [lightgbm.record_evaluation(history), lambda _: ends.append(time.perf_counter())]
        lightgbm.train(given, data, rounds, valid_sets=[data], valid_names=["train"], callbacks=seen)
        a_round = (ends[-1] - ends[0]) / (rounds - 1)
        found = [a_round * rounds, a_round, history["train"]["binary_logloss"][-1]]
        Path(config["found"]).write_text(json.dumps(found))

    return _on_ray(LightGBMTrainer, loop, folder)


def _on_ray(trainer: Any, loop: Callable[[dict[str, str]], None], folder: Path) -> Trained:
    import ray
    import ray.data
    from ray.train import RunConfig, ScalingConfig

    with tempfile.TemporaryDirectory() as work:
        # One CPU more than the workers have: Ray Data waits for ever where they hold all.
        ray.init("local", num_cpus=THREADS + 1, include_dashboard=False, log_to_driver=False)
        began = time.perf_counter()
        found = Path(work, "found")
        trainer(
            train_loop_per_worker=loop,
            train_loop_config={"found": str(found)},
            scaling_config=ScalingConfig(num_workers=THREADS, resources_per_worker={"CPU": 1}),
            run_config=RunConfig(storage_path=work),
            datasets={"train": ray.data.read_parquet(paths(folder))},
        ).fit()
        took = time.perf_counter() - began
        ray.shutdown()
        return Trained(took, *json.loads(found.read_text()))


PLAIN = {"xgboost": plain_xgboost, "lightgbm": plain_lightgbm}
RAY = {"xgboost": ray_xgboost, "lightgbm": ray_lightgbm}


def _train(name: str, framework: str, folder: Path, rounds: int) -> Trained:
    if name.startswith("plain"):
        return PLAIN[framework](folder, rounds, 1 if name.endswith("1 thread") else THREADS)
    if name == "Ray Train":
        return RAY[framework](folder, rounds)
    return ours(framework, folder, rounds, int(name.split()[-2]))


def main() -> None:
    """Print what was found as JSON."""
    parser = argparse.ArgumentParser()
    parser.add_argument("name")
    parser.add_argument("framework")
    parser.add_argument("folder", type=Path)
    parser.add_argument("rounds", type=int)
    given = parser.parse_args()
    found = asdict(_train(given.name, given.framework, given.folder, given.rounds))
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    found["cpu"] = sum(it.ru_utime + it.ru_stime for it in used)
    found["memory"] = max(it.ru_maxrss for it in used) / 1024
    found["memory_of_all"] = found["memory_of_all"] or found["memory"]
    found["rounds"] = given.rounds
    print(json.dumps(found))


if __name__ == "__main__":
    main()
