"""The words about data, tried: each block of the page that this environment can run, and the example."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from mlpools.data import DataConnector
from tests.support.flights import flights

ROOT = Path(__file__).parents[3]
PAGE = ROOT / "docs" / "data.md"
EXAMPLE = ROOT / "examples" / "data" / "batches.py"


def test_the_page_s_python_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "flights").mkdir()
    pq.write_table(flights(3_001), tmp_path / "flights" / "a.parquet", row_group_size=500)
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"^```python\n(.*?)^```$", PAGE.read_text(), re.M | re.S)
    assert len(blocks) >= 4
    names: dict[str, Any] = {}
    for block in blocks:
        exec(compile(block, str(PAGE), "exec"), names)
    assert names["first"].num_rows == 1_500
    assert names["far"].schema.names == ["carrier", "distance"]


def test_the_page_names_each_way_in_and_out_and_no_other() -> None:
    page = PAGE.read_text().partition("## If you come from")[0]
    named = set(re.findall(r"`((?:from|to)_[a-z_]+)", page))
    there = {name for name in dir(DataConnector) if name.startswith(("from_", "to_"))}
    assert named == there - {"to_tables"}  # whole row groups, for those who write their own output


def test_the_example_runs_from_anywhere(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, str(EXAMPLE)], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    shown = done.stdout
    assert "40,000 rows, 3 columns, 4 files" in shown
    assert "epoch 1: 10 batches, 40,000 rows" in shown
    assert "rank 1 of 2 reads 20,000 rows" in shown
    assert done.stderr == ""
