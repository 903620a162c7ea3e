"""The examples' jobs, and a small piece of what each of them is for: data, and a model where it uses one."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import yaml

from mlpools.data.columns import Columns
from mlpools_operator.domain.kinds import JOB_KINDS
from tests.support.flights import CARRIERS, flights, write_flights
from tests.support.web import Web

FOLDER = Path(__file__).parents[2] / "examples"


@dataclass(frozen=True)
class Example:
    """A manifest of ``examples/``.

    Attributes:
        prepare: lays out what the job finds at ``/data`` in a folder.
        changes: fields of the spec, by path, that make it small.
        needs: a library that not every environment has.
        serve: puts on a web server what the job fetches, and returns fields that say where, as ``changes``.
    """

    prepare: Callable[[Path], None] = lambda _: None
    changes: Mapping[str, object] = field(default_factory=dict)
    needs: str = ""
    serve: Callable[[Web], Mapping[str, object]] = lambda _: {}


def _flights(volume: Path) -> None:
    write_flights(volume / "flights", 1_000)
    (volume / "flights" / "eval").mkdir()
    (volume / "flights" / "eval.parquet").rename(volume / "flights" / "eval" / "0.parquet")


def _flights_and_model(volume: Path) -> None:
    """A model as the quickstart's job leaves it, of fewer columns."""
    import xgboost as xgb

    _flights(volume)
    kinds = ("c", "float", "int", "i")
    contract = Columns(
        ("carrier", "distance", "hour", "late"), kinds, "arr_delay", categories={"carrier": CARRIERS}
    )
    rows = flights(500)
    features, _ = contract.inputs(rows)
    matrix = xgb.DMatrix(
        features, rows["arr_delay"].to_numpy(), feature_types=list(kinds), enable_categorical=True
    )
    booster = xgb.train({"nthread": 1}, matrix, 5)
    booster.set_attr(mlpools_columns=contract.to_json(), best_iteration="4")
    (volume / "models" / "arrival-delay").mkdir(parents=True)
    booster.save_model(volume / "models" / "arrival-delay" / "model.ubj")


def _images(volume: Path) -> None:
    from PIL import Image

    (volume / "images" / "more").mkdir(parents=True)
    for at, name in enumerate(("a.png", "more/b.png")):
        Image.new("L", (4 + at, 3), 100 * at).save(volume / "images" / name)


def _digits(volume: Path) -> None:
    """The example's own program writes them; it needs scikit-learn."""
    program = [sys.executable, str(FOLDER / "pytorch" / "digits.py"), str(volume / "digits")]
    subprocess.run(program, check=True)
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


def _pi(web: Web) -> Mapping[str, object]:
    config_map, _ = yaml.safe_load_all((FOLDER / "script" / "job.yaml").read_text())
    repository = web.repository("pi")
    repository.commit(config_map["data"])
    return {"script.code.git.url": repository.url}


_FEW = {"xgboost.rounds": 8}
#: By path below ``examples/``.
EXAMPLES = {
    "quickstart/training.yaml": Example(_flights, _FEW),
    "inference/flights.yaml": Example(_flights_and_model),
    "inference/python.yaml": Example(_flights_and_model),
    "inference/images.yaml": Example(_images),
    "lightgbm/training.yaml": Example(_flights, {"lightgbm.rounds": 8}),
    "ranking/training.yaml": Example(_answers, _FEW),
    "schedule/nightly.yaml": Example(_flights, _FEW),
    "packages/job.yaml": Example(),
    "script/job.yaml": Example(),
    "script/git.yaml": Example(serve=_pi),
    "script/torchrun.yaml": Example(needs="torch"),
    "ray/job.yaml": Example(needs="ray"),
    "pytorch/job.yaml": Example(_digits, {"pytorch.hyperParams.epochs": "2"}, needs="torch"),
}


def with_jobs() -> list[str]:
    """Return the paths of all examples that hold a job."""
    paths = sorted(FOLDER.rglob("*.yaml"))
    kinds = {path: [it["kind"] for it in yaml.safe_load_all(path.read_text())] for path in paths}
    return [path.relative_to(FOLDER).as_posix() for path in paths if JOB_KINDS.keys() & kinds[path]]


def small(name: str, folder: Path, web: Web) -> Path:
    """Write an example's manifest, made small, into a folder, and return its path.

    Args:
        name: of the example.
        folder: for the manifest.
        web: for what its job fetches.
    """
    changes = {**EXAMPLES[name].changes, **EXAMPLES[name].serve(web)}
    documents = list(yaml.safe_load_all((FOLDER / name).read_text()))
    for document in documents:
        if document["kind"] in JOB_KINDS:
            for path, value in changes.items():
                *outer, last = path.split(".")
                node = document["spec"]
                for step in outer:
                    node = node[step]
                node[last] = value
    manifest = folder / "job.yaml"
    manifest.write_text(yaml.safe_dump_all(documents))
    return manifest
