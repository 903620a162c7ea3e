"""Writes scikit-learn's handwritten digits as Parquet files: ``python digits.py FOLDER``."""

import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from sklearn.datasets import load_digits


def main(folder: Path) -> None:
    """Write 1,500 digits to learn from and the rest to measure by."""
    found = load_digits()
    pixels = pa.FixedSizeListArray.from_arrays((found.data / 16).astype("float32").ravel(), 64)
    table = pa.table({"pixels": pixels, "digit": found.target.astype("int64")})
    for name, part in {"train": table[:1500], "eval": table[1500:]}.items():
        (folder / name).mkdir(parents=True, exist_ok=True)
        pq.write_table(part, folder / name / "digits.parquet", row_group_size=250)
        print(f"{part.num_rows} digits in {folder / name}")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
