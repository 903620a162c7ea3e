"""Parquet sources: listing, planning, reading, and what is said when they are not what they should be."""

from __future__ import annotations

import os
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mlpools.data import reader
from mlpools.data.plan import Plan, Unit, resolve
from mlpools.data.sharding import everything, shard
from mlpools.data.sources import ParquetSource, from_spec
from mlpools.errors import DataNotReadable, InvalidSpec
from mlpools.storage import match


def table(start: int, rows: int) -> pa.Table:
    return pa.table({"x": pa.array(range(start, start + rows), pa.int64()), "y": [0.5] * rows})


def write(path: Path, content: pa.Table, group: int = 10) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(content, path, row_group_size=group)
    return path


def plan_of(*urls: object) -> Plan:
    return resolve(ParquetSource(tuple(str(url) for url in urls)))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for i in range(3):
        write(tmp_path / f"in/day={i}/part.parquet", table(100 * i, 25))
    write(tmp_path / "in/_temporary/part.parquet", table(0, 5))
    write(tmp_path / "in/.hidden.parquet", table(0, 5))
    (tmp_path / "in/notes.txt").write_text("not data")
    return tmp_path / "in"


@pytest.mark.parametrize(
    ("pattern", "count"),
    [("", 3), ("/*/part.parquet", 3), ("/**/*.parquet", 3), ("/day=[01]/*", 2), ("/day=2/part.parquet", 1)],
)
def test_files_are_found(folder: Path, pattern: str, count: int) -> None:
    files = match([f"file://{folder}{pattern}"], [".parquet"])
    assert len(files) == count
    assert files == sorted(files, key=lambda file: file.url)
    assert all(file.size == Path(file.url).stat().st_size for file in files)


def test_a_file_that_two_urls_name_is_read_once(folder: Path) -> None:
    assert plan_of(folder, folder / "day=0").num_rows == 75


@pytest.mark.parametrize("url", ["/no/such/place", "/no/such/*.parquet", "s3://bucket/x", "relative/path"])
def test_what_cannot_be_found_is_named(url: str) -> None:
    with pytest.raises(DataNotReadable, match=url.replace("*", r"\*")):
        plan_of(url)


def test_a_spec_without_a_known_source_is_refused() -> None:
    with pytest.raises(InvalidSpec, match=r"data\.train has no field 'parket'. Did you mean 'parquet'"):
        from_spec("train", {"parket": {"url": "/x"}})
    source = from_spec("train", {"parquet": {"url": ["/a", "/b"]}, "columns": ["x"]})
    assert source == ParquetSource(("/a", "/b"), columns=("x",))


def test_the_plan_knows_everything_but_the_rows(folder: Path) -> None:
    plan = plan_of(folder)
    assert plan.num_rows == 75
    assert plan.group_rows == [10, 10, 5] * 3
    assert [file.name for file in plan.files] == [f"day={i}/part.parquet" for i in range(3)]
    assert plan.schema.names == ["x", "y", "day"]
    again = Plan.from_json(plan.to_json())
    assert again == plan
    assert again.units[4] == (plan.files[1], Unit(1, 2, 10))


def test_a_footer_longer_than_one_read(tmp_path: Path) -> None:
    wide = pa.table({f"column_with_a_long_name_{i:04d}": [float(i)] * 4 for i in range(600)})
    assert plan_of(write(tmp_path / "wide.parquet", wide, group=2)).num_rows == 4


def test_the_fingerprint_sees_data_and_columns_and_not_the_place(folder: Path, tmp_path: Path) -> None:
    plan = plan_of(folder)
    print_ = plan.fingerprint(["x", "y"])
    moved = tmp_path / "elsewhere"
    for i in range(3):
        write(moved / f"day={i}/part.parquet", table(100 * i, 25))
    assert plan_of(moved).fingerprint(["x", "y"]) == print_
    assert plan.fingerprint(["y", "x"]) != print_
    write(moved / "day=2/part.parquet", table(201, 25))
    assert plan_of(moved).fingerprint(["x", "y"]) != print_


@pytest.mark.parametrize(
    "content", [b"", b"PAR1", b"hello, I am a CSV file\n" * 10, b"PAR1" + b"\0" * 40 + b"PAR1"]
)
def test_what_is_not_parquet_is_named(folder: Path, content: bytes) -> None:
    (folder / "day=1/part.parquet").write_bytes(content)
    with pytest.raises(
        DataNotReadable, match=r"day=1/part.parquet is (no Parquet file|empty|damaged|cut short)"
    ):
        plan_of(folder)


def test_no_rows_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataNotReadable, match="has no rows"):
        plan_of(write(tmp_path / "empty.parquet", table(0, 0)))


def test_types_of_files_meet_in_the_middle(tmp_path: Path) -> None:
    write(tmp_path / "in/a.parquet", pa.table({"x": pa.array([1, 2], pa.int32()), "only_a": [1, 2]}))
    write(tmp_path / "in/b.parquet", pa.table({"only_a": [3], "x": pa.array([2.5])}))
    plan = plan_of(tmp_path / "in")
    assert plan.schema.field("x").type == pa.float64()
    read = pa.concat_tables(reader.read(plan, everything(plan.group_rows), ["x"]))
    assert read.column("x").to_pylist() == [1.0, 2.0, 2.5]


def test_files_that_do_not_fit_name_both_files_and_the_column(tmp_path: Path) -> None:
    write(tmp_path / "in/a.parquet", pa.table({"x": [1]}))
    write(tmp_path / "in/b.parquet", pa.table({"x": ["one"]}))
    with pytest.raises(
        DataNotReadable,
        match=r"Column 'x' is int64 in .*a.parquet, but string in .*b.parquet\. Write both with",
    ):
        plan_of(tmp_path / "in")
    write(tmp_path / "in/b.parquet", pa.table({"z": [1]}))
    with pytest.raises(
        DataNotReadable, match=r"b.parquet has no column 'x', which .*a.parquet has\. Write the files"
    ):
        plan_of(tmp_path / "in")


def test_shards_read_their_own_rows_only(folder: Path) -> None:
    plan = plan_of(folder)
    parts = [
        pa.concat_tables(reader.read(plan, shard(plan.group_rows, rank, 4), ["x"])).column("x").to_pylist()
        for rank in range(4)
    ]
    assert [x for part in parts for x in part] == [100 * i + j for i in range(3) for j in range(25)]


def test_big_row_groups_are_read_in_pieces(tmp_path: Path) -> None:
    plan = plan_of(write(tmp_path / "a.parquet", table(0, 50), group=50))
    for rank in range(3):
        [part] = ranges = shard(plan.group_rows, rank, 3)
        tables = list(reader.read(plan, ranges, ["x"], budget=64 * 4))
        assert len(tables) > 1
        assert pa.concat_tables(tables).column("x").to_pylist() == list(range(part.start, part.stop))


@pytest.mark.parametrize(
    ("change", "words"),
    [("gone", "is not there"), ("replaced", "was replaced .* new files"), ("damaged", "damaged.* anew")],
)
def test_a_file_that_changed_after_planning_is_named(folder: Path, change: str, words: str) -> None:
    plan = plan_of(folder)
    path = folder / "day=1/part.parquet"
    if change == "gone":
        path.unlink()
    elif change == "replaced":
        write(path, table(0, 90))
    else:
        content, status = bytearray(path.read_bytes()), path.stat()
        content[4:60] = b"\xff" * 56
        path.write_bytes(content)
        os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    with pytest.raises(DataNotReadable, match=f"day=1/part.parquet.*{words}"):
        list(reader.read(plan, everything(plan.group_rows), ["x"]))
