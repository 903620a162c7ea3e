"""The data of the reading benchmark: as wide as the Higgs set, made once, kept under ``.state/bench``."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from tools.record import ROOT

FILES = 8
FILE_ROWS = 500_000
GROUP_ROWS = 125_000
FEATURES = [f"f{i}" for i in range(28)]
LABEL = "label"
FOLDER = ROOT / ".state" / "bench"


def make(file_rows: int = FILE_ROWS, **options: object) -> Path:
    """Write 8 Parquet files of 28 float32 features and a label, unless they are there; return the folder.

    The features are standard normal: nothing in them compresses, which is the hard case for a reader.

    Args:
        file_rows: rows of each file.
        options: of ``pyarrow.parquet.write_table``; none are pyarrow's defaults (snappy, dictionaries).
    """
    words = "".join(f"-{name}={value}" for name, value in options.items())
    folder = FOLDER / f"higgs-{FILES}x{file_rows}{words}"
    if folder.exists():
        return folder
    making = folder.with_name(f".{folder.name}.{os.getpid()}")
    making.mkdir(parents=True)
    rng = np.random.default_rng(28)
    weights = rng.standard_normal(len(FEATURES), dtype=np.float32)
    try:
        for number in range(FILES):
            features = rng.standard_normal((len(FEATURES), file_rows), dtype=np.float32)
            noise = rng.standard_normal(file_rows, dtype=np.float32)
            label = (weights @ features + noise > 0).astype(np.float32)
            table = pa.table([pa.array(label), *map(pa.array, features)], names=[LABEL, *FEATURES])
            pq.write_table(table, making / f"part-{number}.parquet", row_group_size=GROUP_ROWS, **options)
        making.rename(folder)
    finally:
        shutil.rmtree(making, ignore_errors=True)
    return folder


def paths(folder: Path) -> list[str]:
    """Return the files in order."""
    return [str(path) for path in sorted(folder.glob("*.parquet"))]
