"""Data in an object store is read like any other, and what goes wrong there is told in one sentence."""

from __future__ import annotations

import io

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mlpools.data import DataConnector
from mlpools.errors import DataNotReadable
from tests.support.object_store import Fault, ObjectStore

TABLE = pa.table({"x": range(20_000), "y": [i * 0.5 for i in range(20_000)]})


def parquet(table: pa.Table) -> bytes:
    content = io.BytesIO()
    pq.write_table(table, content, row_group_size=2_000)
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
