"""The quickstart's own words on how to use its model, tried on a model of the runtime's."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mlpools.gang import Gang
from mlpools.runtime.launch import work
from mlpools.train.job import Job
from mlpools.train.reporter import Reporter
from mlpools.train.stop import Stop
from tests.support.flights import spec, write_flights
from tests.support.pods import task

README = Path(__file__).parents[3] / "examples" / "quickstart" / "README.md"


def give_unknown_category(path: Path) -> None:
    table = pq.read_table(path)
    carriers = ["unseen", *table["carrier"].to_pylist()[1:]]
    place = table.column_names.index("carrier")
    pq.write_table(table.set_column(place, "carrier", pa.array(carriers)), path)


def test_the_readme_reads_the_model_and_finds_its_metric(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (snippet,) = re.findall(r"^```python\n(.*?)^```$", README.read_text(), re.M | re.S)
    data = write_flights(tmp_path, 1_000)
    give_unknown_category(tmp_path / "eval.parquet")
    stopping = spec(rounds=60, earlyStoppingRounds=5, params={"eta": 0.5, "max_depth": 4})
    work(Job(task(tmp_path, spec=stopping, data=data), Gang(), Reporter(), Stop(60)))
    result = json.loads((tmp_path / "result.json").read_text())
    assert result["bestRound"] < result["rounds"]  # so that the last round would give another number

    (tmp_path / "eval.parquet").rename(tmp_path / "eval")
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    exec(compile(snippet, str(README), "exec"), names)

    assert names["columns"]["categories"]["carrier"]
    assert names["rmse"] == pytest.approx(result["metrics"]["eval"]["rmse"], rel=1e-6)
