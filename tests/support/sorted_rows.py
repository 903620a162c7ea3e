"""Made-up rows in an order that breaks naive distributed training: sorted by a feature, or by the label."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

Order = Literal["x", "y"]


def rows(count: int, by: Order, seed: int = 0) -> pa.Table:
    """Return rows of which ``x`` says most, in a part of its range only, and others a little."""
    rng = np.random.default_rng(seed)
    x, a, b = rng.normal(size=(3, count))
    odds = 4 * np.sin(6 * x) + a + 0.5 * b
    y = (rng.random(count) < 1 / (1 + np.exp(-odds))).astype(np.float32)
    table = pa.table({"x": x, "a": a.astype(np.float32), "b": b.astype(np.float32), "y": y})
    return table.sort_by(by)


def write(folder: Path, count: int, by: Order) -> dict[str, Any]:
    """Write sorted files and return the ``data`` section that names them."""
    folder.mkdir(parents=True)
    for name, size, seed in (("train", count, 0), ("eval", count // 2, 1)):
        pq.write_table(rows(size, by, seed), folder / f"{name}.parquet", row_group_size=size // 16)
    return {name: {"parquet": {"url": f"{folder}/{name}.parquet"}} for name in ("train", "eval")}
