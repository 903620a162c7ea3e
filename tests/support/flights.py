"""A small made-up data set with the traits that break distributed training.

Sorted by carrier, so that ranks share no category; with empty values, booleans and a column of each
number type.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

CARRIERS = ("AA", "B6", "DL", "EV", "UA", "WN")


def flights(rows: int, seed: int = 0) -> pa.Table:
    rng = np.random.default_rng(seed)
    carrier = np.sort(rng.integers(0, len(CARRIERS), rows))
    distance = rng.uniform(100, 3000, rows).astype(np.float32)
    hour = rng.integers(0, 24, rows).astype(np.int8)
    late = rng.random(rows) < 0.3
    delay = carrier * 4.0 + distance / 500 + np.abs(hour - 12) * 0.7 + late * 6 + rng.normal(size=rows)
    return pa.table(
        {
            "carrier": pa.array([CARRIERS[i] for i in carrier]),
            "distance": pa.array(distance, mask=rng.random(rows) < 0.1),
            "hour": hour,
            "late": late,
            "arr_delay": delay,
        }
    )


def write_flights(folder: Path, rows: int = 4_000, files: int = 3) -> dict[str, Any]:
    """Write training and evaluation files and return the ``data`` section that names them."""
    (folder / "train").mkdir(parents=True, exist_ok=True)
    train = flights(rows)
    size = -(-rows // files)
    for i in range(files):
        pq.write_table(train.slice(i * size, size), folder / f"train/{i}.parquet", row_group_size=250)
    pq.write_table(flights(rows // 4, seed=1), folder / "eval.parquet", row_group_size=200)
    return {
        "train": {"parquet": {"url": f"file://{folder}/train/*.parquet"}},
        "eval": {"parquet": {"url": f"file://{folder}/eval.parquet"}},
    }


def spec(**changes: Any) -> dict[str, Any]:
    base = {
        "rounds": 20,
        "objective": "reg:squarederror",
        "params": {"max_depth": 4, "eta": 0.2},
        "label": "arr_delay",
    }
    return {**base, **changes}
