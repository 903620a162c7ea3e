"""Data in an object store is read like any other, and what goes wrong there is told in one sentence."""

from __future__ import annotations

import io
import os
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mlpools.contract.wiring import CACHE_ENV
from mlpools.data import DataConnector
from mlpools.data.plan import common_names
from mlpools.errors import DataNotReadable
from mlpools.storage import ranges
from tests.support.object_store import Fault, ObjectStore
from tests.support.waiting import wait_for

TABLE = pa.table({"x": range(20_000), "y": [i * 0.5 for i in range(20_000)]})


def parquet(table: pa.Table, rows: int = 2_000) -> bytes:
    content = io.BytesIO()
    pq.write_table(table, content, row_group_size=rows)
    return content.getvalue()


@pytest.fixture
def data(object_store: ObjectStore) -> ObjectStore:
    object_store.objects["bucket/t/a.parquet"] = parquet(TABLE.slice(0, 10_000))
    object_store.objects["bucket/t/b.parquet"] = parquet(TABLE.slice(10_000))
    return object_store


def test_parquet_in_a_bucket(data: ObjectStore) -> None:
    connector = DataConnector.from_parquet("s3://bucket/t/*.parquet")
    assert connector.num_rows == 20_000
    assert connector.to_arrow().equals(TABLE)


def test_broken_bodies_and_storms_do_not_show(data: ObjectStore) -> None:
    connector = DataConnector.from_parquet("s3://bucket/t")
    data.faults = [Fault("GET", times=4, cut=20_000), Fault("GET", times=3, status=503, code="SlowDown")]
    assert connector.to_arrow().equals(TABLE)


def test_a_replaced_object_is_named(data: ObjectStore) -> None:
    connector = DataConnector.from_parquet("s3://bucket/t")
    data.objects["bucket/t/b.parquet"] = parquet(TABLE.slice(10_000).set_column(0, "x", [range(10_000)]))
    with pytest.raises(DataNotReadable, match=r"s3://bucket/t/b\.parquet was replaced .* new files"):
        connector.to_arrow()


def test_a_vanished_object_is_named(data: ObjectStore) -> None:
    connector = DataConnector.from_parquet("s3://bucket/t")
    del data.objects["bucket/t/b.parquet"]
    with pytest.raises(DataNotReadable, match=r"s3://bucket/t/b\.parquet is not there"):
        connector.to_arrow()


def bytes_fetched(store: ObjectStore) -> int:
    """How many bytes the store was asked for since the last look."""
    asked = [it.range.removeprefix("bytes=").split("-") for it in store.asked if it.range]
    store.asked.clear()
    return sum(int(last) + 1 - int(first) for first, last in asked)


def test_a_second_epoch_comes_from_the_file_cache(data: ObjectStore) -> None:
    connector = DataConnector.from_parquet("s3://bucket/t")
    assert connector.to_arrow().equals(TABLE)
    data.asked.clear()
    assert connector.to_arrow().equals(TABLE)
    assert DataConnector.from_parquet("s3://bucket/t/a.parquet").to_arrow(columns=["y"]).num_rows == 10_000
    assert bytes_fetched(data) < 1 << 17  # the second connector's footer


READ = """
from mlpools.data import DataConnector
print(sum(table["x"].to_numpy().sum() for table in DataConnector.from_parquet("s3://bucket/big").to_tables()))
"""


def test_the_pods_of_the_next_job_read_what_a_cache_volume_kept(data: ObjectStore, tmp_path: Path) -> None:
    numbers = np.random.default_rng(1).integers(0, 1 << 40, 200_000)
    data.objects = {"bucket/big/a.parquet": parquet(pa.table({"x": numbers}))}

    def pod(cache: Path) -> int:
        """Read all rows in a process of its own; return how many bytes it fetched."""
        environ = {**os.environ, CACHE_ENV: str(cache), "PYTHONPATH": ":".join(sys.path)}
        done = subprocess.run([sys.executable, "-c", READ], env=environ, capture_output=True, check=True)
        assert int(done.stdout) == numbers.sum()
        return bytes_fetched(data)

    volume = tmp_path / "volume"
    assert pod(volume) > numbers.nbytes
    assert pod(volume) < 1 << 17  # the footer, for the plan
    assert pod(tmp_path / "of its own") > numbers.nbytes


@pytest.mark.parametrize("use", [True, False])
def test_where_files_are_cached_is_for_the_caller_to_say(
    data: ObjectStore, tmp_path: Path, use: bool
) -> None:
    config = {"cache_dir": str(tmp_path / "mine"), "disk_subdir": "sub"}
    connector = DataConnector.from_parquet("s3://bucket/t", use_file_cache=use, file_cache_config=config)
    connector = pickle.loads(pickle.dumps(connector))
    assert connector.to_arrow().equals(TABLE)
    assert (tmp_path / "mine" / "sub").exists() is use
    assert not (tmp_path / "pod-cache" / "files").exists()


@pytest.mark.parametrize("use", [True, False])
def test_the_next_row_group_is_fetched_while_the_present_one_is_decoded(
    data: ObjectStore, monkeypatch: pytest.MonkeyPatch, use: bool
) -> None:
    big = pa.table({"x": np.random.default_rng(1).integers(0, 1 << 60, 400_000)})
    data.objects = {"bucket/big.parquet": parquet(big, rows=100_000)}
    wanted = [chunk_of(data.objects["bucket/big.parquet"], group) for group in range(4)]
    decoded: list[int] = []
    real = pq.ParquetFile.read_row_group

    def decode(self: pq.ParquetFile, group: int, **options: Any) -> pa.Table:
        following = wanted[min(group + 1, 3)]
        wait_for("request for the next row group", lambda: covered(data, *following), 15)
        decoded.append(group)
        return real(self, group, **options)

    monkeypatch.setattr(pq.ParquetFile, "read_row_group", decode)
    connector = DataConnector.from_parquet("s3://bucket/big.parquet", use_file_cache=use)
    assert connector.to_arrow().equals(big)
    assert decoded == [0, 1, 2, 3]


def chunk_of(content: bytes, group: int) -> tuple[int, int]:
    chunk = pq.read_metadata(io.BytesIO(content)).row_group(group).column(0)
    start = chunk.dictionary_page_offset or chunk.data_page_offset
    return start, start + chunk.total_compressed_size


def covered(store: ObjectStore, start: int, stop: int) -> bool:
    asked = [it.range.removeprefix("bytes=").split("-") for it in store.asked if it.range]
    parts = ranges.coalesce(((int(first), int(last) + 1) for first, last in asked), gap=0)
    return any(first <= start and stop <= last for first, last in parts)


def test_names_of_files_that_have_no_folder_in_common_are_their_urls() -> None:
    assert common_names(["/d/a", "s3://b/d/c"]) == ["/d/a", "s3://b/d/c"]
    assert common_names(["s3://b/a", "gs://b/c"]) == ["s3://b/a", "gs://b/c"]
    assert common_names(["s3://b/d/a", "s3://b/e/c"]) == ["d/a", "e/c"]
    assert common_names([]) == []
