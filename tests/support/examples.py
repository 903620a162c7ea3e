"""The examples' jobs, and a small piece of the data that each of them is for."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import yaml

from tests.support.flights import write_flights

FOLDER = Path(__file__).parents[2] / "examples"


@dataclass(frozen=True)
class Example:
    """A manifest of ``examples/``.

    Attributes:
        prepare: lays out what the job finds at ``/data`` in a folder.
        changes: fields of the spec, by path, that make it small.
        needs: a library that not every environment has.
    """

    prepare: Callable[[Path], None]
    changes: Mapping[str, object] = field(default_factory=dict)
    needs: str = ""


def _flights(volume: Path) -> None:
    write_flights(volume / "flights", 1_000)
    (volume / "flights" / "eval").mkdir()
    (volume / "flights" / "eval.parquet").rename(volume / "flights" / "eval" / "0.parquet")


def _digits(volume: Path) -> None:
    """Pictures of the form that digits.py writes, which needs scikit-learn."""
    rng = np.random.default_rng(0)
    for name, rows in {"train": 300, "eval": 50}.items():
        folder = volume / "digits" / name
        folder.mkdir(parents=True)
        pixels = pa.FixedSizeListArray.from_arrays(rng.random(rows * 64, dtype=np.float32), 64)
        table = pa.table({"pixels": pixels, "digit": rng.integers(0, 10, rows)})
        pq.write_table(table, folder / "digits.parquet", row_group_size=50)
    shutil.copy(FOLDER / "pytorch" / "train.py", volume / "digits")


def _answers(volume: Path) -> None:
    rng = np.random.default_rng(0)
    for name, queries in {"train": 60, "eval": 20}.items():
        folder = volume / "answers" / name
        folder.mkdir(parents=True)
        query = np.repeat(np.arange(queries), rng.integers(2, 9, queries))
        match = rng.random(len(query)).astype(np.float32)
        grade = np.clip(match * 4 + rng.normal(size=len(query)), 0, 3).astype(np.int32)
        table = pa.table({"query": query, "match": match, "grade": grade, "importance": 1.0 + query % 3})
        pq.write_table(table, folder / "0.parquet", row_group_size=50)


_FEW = {"xgboost.rounds": 8}
#: By path below ``examples/``.
EXAMPLES = {
    "quickstart/training.yaml": Example(_flights, _FEW),
    "lightgbm/training.yaml": Example(_flights, {"lightgbm.rounds": 8}),
    "ranking/training.yaml": Example(_answers, _FEW),
    "schedule/nightly.yaml": Example(_flights, _FEW),
    "script/job.yaml": Example(lambda _: None),
    "ray/job.yaml": Example(lambda _: None, needs="ray"),
    "pytorch/job.yaml": Example(_digits, {"pytorch.hyperParams.epochs": "2"}, needs="torch"),
}


def with_jobs() -> list[str]:
    """Return the paths of all examples that hold a TrainingJob."""
    paths = sorted(FOLDER.rglob("*.yaml"))
    kinds = {path: [it["kind"] for it in yaml.safe_load_all(path.read_text())] for path in paths}
    return [path.relative_to(FOLDER).as_posix() for path in paths if "TrainingJob" in kinds[path]]


def small(name: str, folder: Path) -> Path:
    """Write an example's manifest, made small, into a folder, and return its path."""
    documents = list(yaml.safe_load_all((FOLDER / name).read_text()))
    for document in documents:
        if document["kind"] == "TrainingJob":
            for path, value in EXAMPLES[name].changes.items():
                *outer, last = path.split(".")
                node = document["spec"]
                for step in outer:
                    node = node[step]
                node[last] = value
    manifest = folder / "job.yaml"
    manifest.write_text(yaml.safe_dump_all(documents))
    return manifest
