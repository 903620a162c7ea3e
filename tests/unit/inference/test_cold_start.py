"""What a process that predicts imports: its start is the start of every job, on every worker."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import lightgbm as lgb
import numpy as np
import xgboost as xgb

from tests.support.onnx_files import row_sums

_X = np.random.default_rng(0).random((100, 2)).astype(np.float32)
_SCORING = """
import sys
from pathlib import Path

import mlpools.inference.predictor
import pyarrow as pa
from mlpools.inference.models import Given, load
from mlpools.inference.settings import ModelSpec

HEAVY = {"pandas", "sklearn", "xgboost", "lightgbm", "onnxruntime", "torch", "ray"}
rows = pa.table({"a": pa.array([0.5, None], pa.float32()), "b": pa.array([0.1, 0.2], pa.float32())})
for name in sys.argv[1:]:
    before = HEAVY & set(sys.modules)
    model = load(Given(ModelSpec(name), Path(name), rows.schema, ["a", "b"], 1))
    assert len(model.predict(rows)[""]) == 2
    print(*sorted(HEAVY & set(sys.modules) - before))
"""


def test_a_model_of_trees_or_onnx_loads_its_library_and_no_other(tmp_path: Path) -> None:
    onnx, light, boosted = (tmp_path / name for name in ("m.onnx", "m.txt", "m.ubj"))
    onnx.write_bytes(row_sums())
    label = _X[:, 0] > _X[:, 1]
    lgb.train({"verbose": -1, "num_threads": 1}, lgb.Dataset(_X, label), 2).save_model(light)
    xgb.train({"nthread": 1}, xgb.DMatrix(_X, label), 2).save_model(boosted)
    said = subprocess.run(
        [sys.executable, "-W", "error", "-c", _SCORING, onnx, light, boosted],
        capture_output=True,
        text=True,
        check=False,
    )
    assert said.stdout.split() == ["onnxruntime", "lightgbm", "xgboost"], said.stderr


_LEADING = """
import sys

from mlpools.runtime.frameworks import load

load("inference", alone=True)
import pyarrow as pa
from mlpools.inference.encode import stored_schema

stored_schema(pa.schema([("x", pa.float32())]), "parquet")
print("pandas" in sys.modules)
"""


def test_a_process_that_hands_out_and_commits_imports_no_frames() -> None:
    said = subprocess.run(
        [sys.executable, "-W", "error", "-c", _LEADING], capture_output=True, text=True, check=False
    )
    assert said.stdout.split() == ["False"], said.stderr
