"""What a person sees who prints data."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mlpools.data import DataConnector, ShardedDataConnector
from mlpools.data.described import Description, in_bytes, without_credentials
from mlpools.data.plan import Plan
from mlpools.gang import Gang


@pytest.fixture
def files(tmp_path: Path) -> Path:
    table = pa.table({"x": pa.array(range(2_000), pa.int32()), "c": ["v"] * 2_000})
    for name in ("a", "b"):
        pq.write_table(table, tmp_path / f"{name}.parquet")
    return tmp_path


def test_a_connector_tells_where_its_rows_are_and_how_many(files: Path) -> None:
    connector = ShardedDataConnector.from_parquet(f"{files}/*.parquet")
    size = in_bytes(sum(path.stat().st_size for path in files.iterdir()))
    assert repr(connector) == (
        f"<ShardedDataConnector of {files}/*.parquet: 4,000 rows, 2 columns, 2 files, {size}>"
    )
    assert repr(connector.get_shard(Gang(0, 4))) == (
        f"<DataConnector of a part of {files}/*.parquet: 1,000 rows, 2 columns>"
    )
    plan = connector._ingestor.plan  # type: ignore[attr-defined]
    assert isinstance(plan, Plan)
    assert repr(plan) == (
        f"<Plan of {files}/a.parquet, {files}/b.parquet: 4,000 rows, 2 columns, 2 files, {size}>"
    )


def test_a_table_in_memory_is_not_printed() -> None:
    connector = DataConnector.from_dataframe(pa.table({"secret": [1]}))
    assert repr(connector) == "<DataConnector of a table in memory: 1 row, 1 column>"
    assert repr(connector.data_sources) == "[MemorySource()]"


def test_many_sources_are_shortened_and_unknown_counts_are_said() -> None:
    schema = pa.schema([(f"c{i}", pa.int8()) for i in range(50)])
    some = Description("Plan", ["a", "b", "c"], schema, None, 3, 0)
    assert some.text() == "<Plan of a, b and 1 more: rows not counted, 50 columns, 3 files, 0 bytes>"
    assert some.html().count("<tr>") == 41
    assert "… 10 more" in some.html()


def test_html_is_escaped() -> None:
    shown = DataConnector.from_dataframe(pa.table({"<b>": [1]}))._repr_html_()
    assert "<td>&lt;b&gt;</td><td>int64</td>" in shown


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("s3://key:secret@bucket/a", "s3://bucket/a"),
        ("https://host/a?X-Amz-Signature=secret", "https://host/a"),
        ("/data/a@b/*.parquet", "/data/a@b/*.parquet"),
        ("http://a:b@host/a?b#c", "http://host/a"),
        ("s3://bucket/part-?.parquet", "s3://bucket/part-?.parquet"),
        ("/data/part-?.parquet", "/data/part-?.parquet"),
        (
            "abfs://container@account.dfs.core.windows.net/a",
            "abfs://container@account.dfs.core.windows.net/a",
        ),
        ("abfs://a:b@account/a", "abfs://account/a"),
        ("az://container/a@b", "az://container/a@b"),
    ],
)
def test_no_secret_is_shown(url: str, shown: str) -> None:
    assert without_credentials(url) == shown


@pytest.mark.parametrize(
    ("size", "shown"),
    [(0, "0 bytes"), (1, "1 byte"), (1536, "1.5 KiB"), (3 << 30, "3 GiB"), (5 << 50, "5.12e+03 TiB")],
)
def test_sizes_are_readable(size: int, shown: str) -> None:
    assert in_bytes(size) == shown
