"""Places that refuse in the middle of a batch inference: told in their words, and nothing looks complete."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mlpools.errors import DataNotReadable, OutputNotWritable
from mlpools.inference import BatchResult, InferenceSpec, OutputSpec, SaveMode, run_batch
from tests.support.object_store import Fault, ObjectStore
from tests.support.store_environment import use_store
from tests.support.waiting import wait_for

ROWS = 2_000
HOW = InferenceSpec(shard_rows=500)


@pytest.fixture
def rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "")
    pq.write_table(pa.table({"x": range(ROWS)}), tmp_path / "rows.parquet", row_group_size=500)
    return str(tmp_path / "rows.parquet")


class Cramped:
    """Its process may write files of 1,000 bytes, as on a disk that is full."""

    def load(self) -> None:
        import resource
        import sys

        sys.dont_write_bytecode = True  # what is cut off would stay, for whoever imports it next
        resource.setrlimit(resource.RLIMIT_FSIZE, (1_000, 1_000))

    def predict(self, batch: pd.DataFrame) -> Any:
        return batch["x"] * 2


def test_a_full_disk_ends_the_run_and_leaves_no_part(rows: str, tmp_path: Path) -> None:
    place = tmp_path / "out"
    with pytest.raises(OutputNotWritable, match=r"out/_tmp/.* cannot be written: .*has space") as caught:
        run_batch(Cramped, rows, str(place), inference_spec=HOW)
    assert "\n" not in str(caught.value)
    assert not [path for path in place.rglob("*") if path.name.startswith(("part-", "_SUCCESS"))]


def test_credentials_that_run_out_end_the_run_and_new_ones_do_the_rest(
    rows: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expired = tmp_path / "expired"

    def predict(batch: pd.DataFrame) -> Any:
        import time

        while batch["x"].iloc[0] >= 1_000 and not expired.exists():
            time.sleep(0.01)
        return batch["x"] * 2

    with ObjectStore() as store:
        for name, value in store.environment().items():
            monkeypatch.setenv(name, value)

        def expire() -> None:
            wait_for("parts", lambda: "bucket/out/part-000001.parquet" in store.objects, seconds=120)
            store.faults.append(Fault("PUT", times=1_000_000, status=403, code="ExpiredToken"))
            expired.touch()

        watching = threading.Thread(target=expire)
        watching.start()
        with pytest.raises(
            OutputNotWritable, match=r"s3://bucket/out/.* cannot be written: the credentials have expired"
        ) as caught:
            run_batch(predict, rows, "s3://bucket/out", inference_spec=HOW)
        watching.join()
        assert "\n" not in str(caught.value)
        assert "bucket/out/_SUCCESS" not in store.objects
        with pytest.raises(DataNotReadable, match="_manifest"):
            BatchResult.at("s3://bucket/out")
        before = {name: data for name, data in store.objects.items() if name.startswith("bucket/out/part-")}
        store.faults.clear()
        again = OutputSpec("s3://bucket/out", mode=SaveMode.RESUME)
        result = run_batch(predict, rows, again, inference_spec=HOW)
        found = result.to_connector().to_arrow().column("prediction").to_pylist()
        assert found == [2 * x for x in range(ROWS)]
        assert len(before) == 2
        assert before.items() <= store.objects.items()


def test_credentials_that_run_out_while_rows_are_read_end_the_run_however_many_shards_may_fail(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "")
    expired = tmp_path / "expired"

    def predict(batch: pd.DataFrame) -> Any:
        import time

        while batch["x"].iloc[0] >= 500 and not expired.exists():  # the rows of three shards wait meanwhile
            time.sleep(0.01)
        return batch["x"] * 2

    with ObjectStore() as store:
        use_store(store, monkeypatch, tmp_path, patience=3)
        for i in range(8):
            path = tmp_path / "rows.parquet"
            pq.write_table(pa.table({"x": range(250 * i, 250 * i + 250)}), path)
            store.objects[f"bucket/in/{i}.parquet"] = path.read_bytes()

        def expire() -> None:
            wait_for("parts", (tmp_path / "out/part-000001.parquet").exists, seconds=120)
            store.faults.append(Fault(times=1_000_000, status=403, code="ExpiredToken"))
            expired.touch()

        watching = threading.Thread(target=expire)
        watching.start()
        how = InferenceSpec(shard_rows=250, max_shard_failures=8)
        with pytest.raises(
            DataNotReadable, match=r"^s3://bucket/in/\d.parquet cannot be read: the credentials have expired"
        ):
            run_batch(predict, "s3://bucket/in/", str(tmp_path / "out"), inference_spec=how)
        watching.join()
        assert not (tmp_path / "out" / "_SUCCESS").exists()
        before = {path: path.stat().st_ino for path in (tmp_path / "out").glob("part-*")}
        assert 2 <= len(before) < 8
        store.faults.clear()
        again = OutputSpec(str(tmp_path / "out"), mode=SaveMode.RESUME)
        result = run_batch(predict, "s3://bucket/in/", again, inference_spec=how)
        assert (result.rows, result.rows_failed) == (ROWS, 0)
        found = result.to_connector().to_arrow().column("prediction").to_pylist()
        assert found == [2 * x for x in range(ROWS)]
        assert before.items() <= {path: path.stat().st_ino for path in before}.items()
