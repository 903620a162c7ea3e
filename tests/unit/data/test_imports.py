"""The time to the first batch begins with the import."""

from __future__ import annotations

import subprocess
import sys

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
