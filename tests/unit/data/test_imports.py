"""The time to the first batch begins with the import."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

HEAVY = (
    *(
        "pandas",
        "polars",
        "duckdb",
        "ray",
        "torch",
        "tensorflow",
        "datasets",
        "deltalake",
        "pyiceberg",
        "obstore",
    ),
    *("adbc_driver_manager", "sqlglot", "PIL", "tqdm", "xgboost", "lightgbm", "pyarrow.dataset"),
)
PROGRAM = f"import mlpools.data, sys; print(*[name for name in {HEAVY} if name in sys.modules])"


def test_importing_the_library_imports_no_large_one() -> None:
    found = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True)
    assert found.stdout.split() == []


CONVERTING = """
import sys, pyarrow.parquet
from mlpools.data.columns import Columns
table = pyarrow.parquet.ParquetFile(sys.argv[1]).read()
batch = Columns(("x",), ("float",), "label", weight="weight").convert(table, "here")
print(batch.label.sum(), batch.weight.sum(), "pandas" in sys.modules)
"""


def test_bringing_rows_into_the_contracts_form_imports_no_pandas(tmp_path: Path) -> None:
    file = tmp_path / "rows.parquet"
    pq.write_table(pa.table({"x": [1.0, None], "label": [0, 1], "weight": [1.0, 2.0]}), file)
    command = [sys.executable, "-c", CONVERTING, str(file)]
    found = subprocess.run(command, capture_output=True, text=True, check=True)
    assert found.stdout.split() == ["1.0", "3.0", "False"]
