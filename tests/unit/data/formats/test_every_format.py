"""What holds for files of every format."""

from __future__ import annotations

import gzip
import io
import json
import pickle
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.orc
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlpools import budgets
from mlpools.data import DataConnector, ShardedDataConnector
from mlpools.data.counting import count
from mlpools.data.plan import Plan, resolve
from mlpools.data.sources import FileSource, from_spec
from mlpools.errors import DataNotReadable, InvalidSpec
from mlpools.gang import Gang
from tests.support.object_store import ObjectStore

SCHEMA = pa.schema({"n": pa.int64(), "f": pa.float64(), "t": pa.string()})


def csv_bytes(table: pa.Table) -> bytes:
    sink = io.BytesIO()
    pa.csv.write_csv(table, sink)
    return sink.getvalue()


def json_bytes(table: pa.Table) -> bytes:
    rows = ({key: value for key, value in row.items() if value is not None} for row in table.to_pylist())
    return "".join(f"{json.dumps(row)}\n" for row in rows).encode()


def ipc_bytes(table: pa.Table, group: int) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table, max_chunksize=group)
    return sink.getvalue().to_pybytes()


def stream_bytes(table: pa.Table, group: int) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table, max_chunksize=group)
    return sink.getvalue().to_pybytes()


def orc_bytes(table: pa.Table, compression: str) -> bytes:
    sink = pa.BufferOutputStream()
    pa.orc.write_table(table, sink, stripe_size=1, compression=compression)
    return sink.getvalue().to_pybytes()


def parquet_bytes(table: pa.Table, group: int) -> bytes:
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, row_group_size=group)
    return sink.getvalue().to_pybytes()


TYPED: dict[str, Any] = {"types": {"n": "int64", "f": "double", "t": "string"}}
#: How a table is written -> format, ending, options of the reader, writer.
WAYS: dict[str, tuple[str, str, dict[str, Any], Callable[[pa.Table, int], bytes]]] = {
    "parquet": ("parquet", ".parquet", {}, parquet_bytes),
    "csv": ("csv", ".csv", {**TYPED, "unitBytes": 60}, lambda table, group: csv_bytes(table)),
    "csv, no line breaks": (
        "csv",
        ".csv",
        {**TYPED, "unitBytes": 40, "newlinesInValues": False},
        lambda table, group: csv_bytes(table),
    ),
    "csv.gz": ("csv", ".csv.gz", TYPED, lambda table, group: gzip.compress(csv_bytes(table))),
    "json": ("json", ".jsonl", {**TYPED, "unitBytes": 50}, lambda table, group: json_bytes(table)),
    "json.gz": ("json", ".json.gz", TYPED, lambda table, group: gzip.compress(json_bytes(table))),
    "arrow": ("arrow", ".arrow", {}, ipc_bytes),
    "arrow stream": ("arrow", ".arrows", {}, stream_bytes),
    "orc": ("orc", ".orc", {}, lambda table, group: orc_bytes(table, "zstd")),
    "orc of unknown tail": ("orc", ".orc", {}, lambda table, group: orc_bytes(table, "lz4")),
}
texts = st.text(alphabet='ab,"é\\ ', max_size=6)
rows = st.lists(
    st.fixed_dictionaries(
        {"n": st.integers(-9, 9), "f": st.none() | st.sampled_from([0.5, 2.0]), "t": texts}
    ),
    max_size=25,
)


def source(kind: str, url: str, options: dict[str, Any], **selection: Any) -> FileSource:
    raw = {kind: {"url": url, "options": options}, **selection}
    made = from_spec("train", raw)
    assert isinstance(made, FileSource)
    return made


@pytest.mark.parametrize("way", WAYS)
@settings(deadline=None, max_examples=15)
@given(st.data())
def test_shards_together_are_the_rows_that_were_written(way: str, data: st.DataObject) -> None:
    kind, ending, options, write = WAYS[way]
    tables = [
        pa.Table.from_pylist(found, SCHEMA) for found in data.draw(st.lists(rows, min_size=1, max_size=3))
    ]
    threshold = data.draw(st.none() | st.integers(-9, 9), "threshold")
    limit = data.draw(st.none() | st.integers(1, 40), "limit")
    columns = data.draw(st.sampled_from([[], ["t"], ["f", "n"]]), "columns")
    expected = pa.concat_tables(tables)
    if threshold is not None:
        expected = expected.filter(pc.field("n") > threshold)
    expected = expected.slice(0, limit).select(columns or SCHEMA.names)
    selection = {
        "columns": columns,
        "limit": limit,
        "filter": "" if threshold is None else f"n > {threshold}",
    }
    with tempfile.TemporaryDirectory() as folder:
        for i, table in enumerate(tables):
            (Path(folder) / f"{i}{ending}").write_bytes(write(table, data.draw(st.integers(1, 9), "group")))
        wanted = source(kind, folder, options, **selection)
        if expected.num_rows == 0:
            with pytest.raises(DataNotReadable, match=r"no rows|empty"):
                count(resolve(wanted))
            return
        whole = DataConnector.from_sources(wanted).to_arrow()  # nobody has counted
        sharded = pickle.loads(pickle.dumps(ShardedDataConnector.from_sources(wanted)))
        world = data.draw(st.integers(1, 4), "world")
        shards = [sharded.get_shard(Gang(rank, world)).to_arrow() for rank in range(world)]
    assert whole.schema == expected.schema
    assert whole.to_pylist() == pa.concat_tables(shards).to_pylist() == expected.to_pylist()


@pytest.mark.parametrize("way", WAYS)
def test_files_in_a_bucket(way: str, object_store: ObjectStore) -> None:
    kind, ending, options, write = WAYS[way]
    table = pa.table({"n": range(20), "f": [0.5] * 20, "t": [f"text {i}" for i in range(20)]})
    for part in range(2):
        content = write(table.slice(10 * part, 10), 4)
        object_store.objects[f"bucket/t/part={part}/x{ending}"] = content
    sharded = ShardedDataConnector.from_sources(source(kind, "s3://bucket/t", options))
    shards = [sharded.get_shard(Gang(rank, 3)).to_arrow() for rank in range(3)]
    expected = table.append_column("part", pa.array([0] * 10 + [1] * 10))
    assert pa.concat_tables(shards).to_pylist() == expected.to_pylist()


@pytest.fixture(params=WAYS)
def plan(request: pytest.FixtureRequest, tmp_path: Path) -> Plan:
    kind, ending, options, write = WAYS[request.param]
    table = pa.table({"n": range(40), "f": [0.5] * 40, "t": [f"text {i}" for i in range(40)]})
    for name in "ab":
        (tmp_path / f"{name}{ending}").write_bytes(write(table, 10))
    return resolve(source(kind, str(tmp_path), options))


def test_no_column_is_read_where_only_rows_count(plan: Plan) -> None:
    connector = DataConnector.from_sources(plan_source(plan))
    assert sum(table.num_rows for table in connector.to_tables([])) == 80 == connector.num_rows


def plan_source(plan: Plan) -> Any:
    class Given:
        def plan(self) -> Plan:
            return plan

    return Given()


def test_a_plan_travels_as_text(plan: Plan) -> None:
    assert Plan.from_json(plan.to_json()) == plan
    counted = count(plan)
    assert Plan.from_json(counted.to_json()).group_rows == counted.group_rows
    assert counted.fingerprint() == plan.fingerprint()


def test_a_file_that_is_gone_or_another_one_is_named(plan: Plan) -> None:
    path = Path(plan.files[1].url)
    path.write_bytes(path.read_bytes() + b"\n")
    with pytest.raises(DataNotReadable, match=rf"{path.name} was replaced .* Write new data to new files\."):
        DataConnector.from_sources(plan_source(plan)).to_arrow()
    path.unlink()
    with pytest.raises(DataNotReadable, match=rf"{path.name} is not there"):
        DataConnector.from_sources(plan_source(plan)).to_arrow()


@pytest.mark.parametrize("way", WAYS)
def test_a_file_that_is_another_format_is_named(way: str, tmp_path: Path) -> None:
    kind, ending, options, _ = WAYS[way]
    other = parquet_bytes if kind == "arrow" else ipc_bytes
    (tmp_path / f"x{ending}").write_bytes(other(pa.table({"n": [1]}), 1))
    words = (
        "Truncated|damaged|gzip|cannot|is no" if ending.endswith(".gz") else "is no .* file; it looks like"
    )
    with pytest.raises(DataNotReadable, match=rf"x{ending}.*({words})"):
        resolve(source(kind, str(tmp_path), options))


@pytest.mark.parametrize("way", WAYS)
def test_a_file_that_is_cut_short_is_named(way: str, tmp_path: Path) -> None:
    kind, ending, _, write = WAYS[way]
    numbers = range(4000)
    table = pa.table({"n": numbers, "f": [i / 7 for i in numbers], "t": [str(i * i) for i in numbers]})
    content = write(table, 500)
    # Within the first cell of a row, if it is text: only text that ends with a row cannot be told.
    (tmp_path / f"x{ending}").write_bytes(content[: content.find(b"\n", len(content) // 2) + 2])
    with pytest.raises(DataNotReadable, match=rf"x{ending}") as refusal:
        DataConnector.from_sources(source(kind, str(tmp_path), {})).to_arrow()
    assert "\n" not in str(refusal.value)


def test_an_unknown_option_is_refused_with_the_closest_name() -> None:
    with pytest.raises(InvalidSpec, match=r"csv files have no option 'delimeter'. Did you mean 'delimiter'"):
        resolve(source("csv", "/nowhere", {"delimeter": ";"}))
    with pytest.raises(InvalidSpec, match="'header' of csv files must be true or false, not 'yes'"):
        resolve(source("csv", "/nowhere", {"header": "yes"}))
    with pytest.raises(InvalidSpec, match="there is no type 'number'; there are int64"):
        resolve(source("json", "/nowhere", {"types": {"n": "number"}}))
    with pytest.raises(InvalidSpec, match="orc files have no option 'header'"):
        resolve(source("orc", "/nowhere", {"header": True}))


def test_an_orc_stripe_that_memory_cannot_hold_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = pa.table({"a": pa.array(range(100_000)), "b": pa.array(range(100_000))})
    pa.orc.write_table(table, tmp_path / "large.orc")
    connector = DataConnector.from_orc(str(tmp_path))
    monkeypatch.setattr(budgets, "memory", lambda: 4 << 20)
    with pytest.raises(
        DataNotReadable, match=r"large.orc, stripe 0, takes some 2 MiB, .*\(1 MiB\)\. .*fewer columns"
    ):
        connector.to_arrow()
    assert connector.to_arrow(columns=["a"]).num_rows == 100_000
