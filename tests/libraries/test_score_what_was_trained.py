"""A file with two jobs of PyTorch: one trains, the other one scores with the folder that it left."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import yaml

from mlpools.data.writers import commit
from mlpools.storage import locate
from tests.support.inferring import rows_of
from tests.support.local_runs import run_manifest
from tests.support.manifests import ABSENT, manifest

PROGRAM = """
from pathlib import Path

import torch

from mlpools.train.pytorch import get_context

context = get_context()
rows = context.get_dataset_map()["train"].to_arrow()
features = ["b", "a"]
x = torch.stack([torch.from_numpy(rows[name].to_numpy()) for name in features], 1)
weights = torch.linalg.lstsq(x, torch.from_numpy(rows["y"].to_numpy())[:, None]).solution
model = torch.nn.Linear(2, 1, bias=False)
model.load_state_dict({"weight": weights.T})
program = torch.export.export(model, (x[:2],), dynamic_shapes=({0: torch.export.Dim("rows")},))
path = Path(context.get_model_dir(), "model.pt2")
torch.export.save(program, path, extra_files={"feature_names": '["b", "a"]'})
"""


def test_predictions_are_those_of_the_model(tmp_path: Path) -> None:
    a, b = np.random.default_rng(0).random((2, 300)).astype(np.float32)
    (tmp_path / "new").mkdir()
    pq.write_table(pa.table({"a": a, "b": b, "y": 3 * a - b}), tmp_path / "new" / "0.parquet")
    config = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "program"}}
    trains = {
        "xgboost": ABSENT,
        "pytorch": {"file": "train.py", "code": {"configMap": "program"}},
        "data.train.parquet.url": "file:///data/new/*.parquet",
    }
    scores = {"model.url": "file:///data/model", "output.keep": ["y"]}
    jobs = [manifest("TrainingJob", "train", trains), manifest("BatchInference", "score", scores)]
    (tmp_path / "jobs.yaml").write_text(
        yaml.safe_dump_all([{**config, "data": {"train.py": PROGRAM}}, *jobs])
    )
    run_manifest(tmp_path / "jobs.yaml", tmp_path)

    place = locate(tmp_path / "predictions")
    commit.verify(place, commit.read_manifest(place))
    rows = rows_of(place)
    assert rows.num_rows == 300
    assert np.allclose(rows["prediction"].to_numpy(), rows["y"].to_numpy(), atol=1e-5)
