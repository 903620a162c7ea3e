"""Each column is laid down in the way that is fast to read again."""

from __future__ import annotations

import io

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mlpools.data.writers.encodings import PLAIN, Layout, choose, writer_options

ROWS = 50_000
RNG = np.random.default_rng(0)
COLUMNS: dict[str, tuple[pa.Array, Layout]] = {
    "many different floats": (pa.array(RNG.normal(size=ROWS).astype("f4")), PLAIN),
    "few different floats": (pa.array(RNG.integers(0, 100, ROWS) / 4), Layout(dictionary=True, codec="LZ4")),
    "sorted ids": (pa.array(np.arange(ROWS) + 10**9), Layout(split=True, codec="LZ4")),
    "times": (
        pa.array(np.datetime64("2020", "us") + np.cumsum(RNG.integers(0, 5 * 10**6, ROWS)).astype("m8[us]")),
        Layout(split=True, codec="LZ4"),
    ),
    "categories": (
        pa.array([f"category {i}" for i in RNG.integers(0, 50, ROWS)]),
        Layout(dictionary=True, codec="LZ4"),
    ),
    "sentences": (pa.array([f"the quick fox jumps over dog {i}" for i in range(ROWS)]), Layout(codec="LZ4")),
    "random bytes": (pa.array([RNG.bytes(20) for _ in range(ROWS)]), PLAIN),
    "flags": (pa.array(RNG.random(ROWS) < 0.5), PLAIN),
}


@pytest.mark.parametrize("name", COLUMNS)
def test_the_layout_follows_the_values(name: str) -> None:
    array, expected = COLUMNS[name]
    assert choose(pa.table({name: array})) == {name: expected}


def test_all_kinds_of_columns_come_back(tmp_path: pytest.TempPathFactory) -> None:
    table = pa.table(
        {
            "id": pa.array(range(100)),
            "list": pa.array([[1, 2, 3], None] * 50),
            "struct": pa.array([{"a": 1, "b": "x"}] * 100),
            "map": pa.array([[("k", 1)]] * 100, pa.map_(pa.string(), pa.int64())),
            "dictionary": pa.array(["a", None] * 50).dictionary_encode(),
            "decimal": pa.array([1, 2] * 50).cast(pa.decimal128(21, 2)),
            "half": pa.array(np.ones(100, "f2")),
            "null": pa.nulls(100),
            "fixed": pa.array([b"abcd"] * 100, pa.binary(4)),
        }
    )
    layouts = choose(table)
    assert {path.split(".")[0] for path in layouts} == set(table.column_names)
    sink = io.BytesIO()
    with pq.ParquetWriter(sink, table.schema, **writer_options(layouts)) as writer:
        writer.write_table(table)
    assert pq.read_table(pa.BufferReader(sink.getvalue())).equals(table)
