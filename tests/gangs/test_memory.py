"""The kernel kills for memory what predicts: batches get smaller, and each row is predicted once."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import yaml

from mlpools.data.writers import commit
from mlpools.storage import locate
from tests.support.manifests import manifest
from tests.support.memory_limits import limited, needs_groups

ROOT = Path(__file__).parents[2]
ENVIRON = {**os.environ, "PYTHONPATH": f"{ROOT / 'workloads'}{os.pathsep}{ROOT / 'operator'}"}
ROWS = 200_000
#: The first call gets 65,536 rows, for which it takes 805 MB; half of them fit, beside all the rest.
LIMIT = 700 << 20
CODE = """
import numpy as np

def predict(batch):
    held = np.ones((len(batch), 1536))
    return batch["x"] * 2 + held[:, 0] - 1
"""


@needs_groups
def test_a_kill_for_memory_makes_batches_smaller_and_costs_no_row(tmp_path: Path) -> None:
    pq.write_table(pa.table({"x": range(ROWS)}), tmp_path / "rows.parquet", row_group_size=ROWS // 10)
    model = {"framework": "python", "entrypoint": "scoring:predict", "code": {"configMap": "code"}}
    fields = {
        "model": model,
        "input": {"parquet": {"url": "file:///data/rows.parquet"}},
        "output": {"url": "file:///data/scores", "keep": ["x"]},
        "shardRows": ROWS // 2,
    }
    code = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "code"}}
    job = manifest("BatchInference", "scores", fields)
    path = tmp_path / "job.yaml"
    path.write_text(yaml.safe_dump_all([{**code, "data": {"scoring.py": CODE}}, job]))
    command = [sys.executable, "-m", "mlpools_cli", "run", str(path), "--mount", f"/data={tmp_path}"]
    with limited(LIMIT) as enter:
        done = subprocess.run(
            [*enter, *command], env=ENVIRON, capture_output=True, text=True, check=False, timeout=200
        )
    assert done.returncode == 0, done.stdout + done.stderr
    said = "The process that predicts ran out of memory: it starts again, with smaller batches."
    assert done.stdout.count(said) == 1, done.stdout
    place = locate(tmp_path / "scores")
    manifested = commit.read_manifest(place)
    commit.verify(place, manifested)
    rows = pa.concat_tables(pq.read_table(tmp_path / "scores" / part.name) for part in manifested.parts)
    assert rows.to_pydict() == {"x": list(range(ROWS)), "prediction": [2.0 * x for x in range(ROWS)]}
