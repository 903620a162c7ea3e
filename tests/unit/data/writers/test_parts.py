"""Parts: rows in, rows out, in files of the size that was asked for, with digests that see every change."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlpools.data.writers import commit
from mlpools.data.writers.manifest import Manifest, Part
from mlpools.data.writers.parts import PAGES_KEY, PartsWriter, footer_digest
from mlpools.errors import InvalidSpec, OutputExists, OutputNotWritable
from mlpools.storage import Location, locate

TABLE = pa.table({"x": pa.array(range(100), pa.int64()), "c": [f"v{i % 3}" for i in range(100)]})


def write(target: Location, rows: pa.Table, **sizes: int) -> Manifest:
    attempt = commit.begin(target)
    with PartsWriter(target, rows.schema, attempt=attempt, **sizes) as writer:
        for batch in rows.to_batches():
            writer.write(batch)
    return commit.commit(target, writer.parts, rows.schema, attempt=attempt)


def read(target: Location) -> pa.Table:
    manifest = commit.read_manifest(target)
    tables = [pq.read_table(pa.BufferReader(target.child(part.name).read())) for part in manifest.parts]
    return pa.concat_tables(tables) if tables else manifest.schema.empty_table()


@settings(max_examples=40, deadline=None)
@given(
    chunks=st.lists(st.integers(0, 40), max_size=6),
    part_rows=st.integers(8, 50),
    group_bytes=st.integers(1, 600),
)
def test_rows_come_back_in_order_in_parts_that_keep_their_limit(
    tmp_path_factory: pytest.TempPathFactory, chunks: list[int], part_rows: int, group_bytes: int
) -> None:
    target = locate(tmp_path_factory.mktemp("parts"))
    position, tables = 0, []
    for rows in chunks:
        tables.append(
            pa.table({"x": range(position, position + rows), "c": ["a" * 9] * rows}, schema=TABLE.schema)
        )
        position += rows
    whole = pa.concat_tables(tables) if tables else TABLE.slice(0, 0)
    manifest = write(target, whole, part_rows=part_rows, group_bytes=group_bytes)
    assert read(target).column("x").to_pylist() == list(range(position))
    assert manifest.rows == position
    assert all(part.rows <= part_rows and sum(part.group_rows) == part.rows for part in manifest.parts)
    assert all(part.rows == part_rows for part in manifest.parts[:-1])
    for part in manifest.parts:
        footer = pq.read_metadata(target.child(part.name).url)
        assert [footer.row_group(i).num_rows for i in range(footer.num_row_groups)] == list(part.group_rows)


def test_a_part_is_closed_at_its_size(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    table = pa.table({"f": rng.normal(size=400_000)})
    manifest = write(locate(tmp_path), table, part_bytes=1 << 20, group_bytes=256 << 10)
    assert len(manifest.parts) == 4
    assert all(1 << 20 <= part.bytes < 1.3 * (1 << 20) for part in manifest.parts[:-1])
    assert read(locate(tmp_path)).equals(table)


def test_ranks_share_one_result(tmp_path: Path) -> None:
    target = locate(tmp_path)
    attempt = commit.begin(target)
    sent = []
    for rank in (1, 0, 2):
        with PartsWriter(target, TABLE.schema, attempt=attempt, rank=rank, part_rows=20) as writer:
            writer.write(TABLE.slice(30 * rank, 30))
        sent += [part.to_dict() for part in writer.parts]
    parts = [Part.from_dict(raw) for raw in sent]
    commit.commit(target, parts, TABLE.schema, attempt=attempt, details={"query": "q"})
    assert read(target).column("x").to_pylist() == list(range(90))
    assert commit.read_manifest(target).details == {"query": "q"}


def test_a_result_without_rows_has_its_columns(tmp_path: Path) -> None:
    assert write(locate(tmp_path), TABLE.slice(0, 0)).parts == ()
    assert read(locate(tmp_path)).schema.equals(TABLE.schema)


def test_rows_are_cast_to_the_announced_columns(tmp_path: Path) -> None:
    target = locate(tmp_path)
    writer = PartsWriter(target, TABLE.schema, attempt=commit.begin(target))
    writer.write(pa.table({"c": ["a"], "more": [1.5], "x": pa.array([7], pa.int32())}))
    for wrong in ({"x": [1]}, {"x": ["text"], "c": ["a"]}):
        with pytest.raises(InvalidSpec, match=r"do not fit .*Expected: x \(int64\), c \(string\); given: x"):
            writer.write(pa.table(wrong))
    writer.close()
    (part,) = writer.parts
    assert pq.read_table(target.child(part.name).url).to_pylist() == [{"x": 7, "c": "a"}]


def test_a_type_that_parquet_lacks_is_named(tmp_path: Path) -> None:
    schema = pa.schema({"x": pa.int64(), "wait": pa.month_day_nano_interval()})
    with pytest.raises(InvalidSpec, match=r"Column 'wait' is month_day_nano_interval, which Parquet lacks"):
        PartsWriter(locate(tmp_path), schema, attempt="0" * 8)


def test_the_footer_sees_every_value(tmp_path: Path) -> None:
    """Statistics, sizes and places are the same of both: only the digest of the pages tells them apart."""
    footers = []
    for name, middle in (("a", 3.0), ("b", 4.0)):
        rows = pa.table({"x": [1.0, middle, 9.0]})
        (part,) = write(locate(tmp_path / name), rows).parts
        data = locate(tmp_path / name).child(part.name).read()
        assert part.footer == footer_digest(data)
        assert PAGES_KEY.encode() in pq.read_metadata(pa.BufferReader(data)).metadata
        footers.append((part.bytes, part.footer))
    assert footers[0][0] == footers[1][0]
    assert footers[0][1] != footers[1][1]


def test_equal_rows_make_equal_files(tmp_path: Path) -> None:
    first, second = (write(locate(tmp_path / name), TABLE) for name in "ab")
    assert [part.sha256 for part in first.parts] == [part.sha256 for part in second.parts]


def test_pages_carry_checksums(tmp_path: Path) -> None:
    target = locate(tmp_path)
    values = np.random.default_rng(0).normal(size=1000)
    (part,) = write(target, pa.table({"x": values})).parts
    path = tmp_path / part.name
    data = bytearray(path.read_bytes())
    place = data.index(values[500].tobytes())
    data[place] ^= 1
    path.write_bytes(data)
    with pytest.raises(OSError, match="CRC checksum"):
        pq.read_table(path, page_checksum_verification=True)


def test_a_failing_writer_takes_its_parts_with_it(tmp_path: Path) -> None:
    target = locate(tmp_path)

    def fail() -> None:
        with PartsWriter(target, TABLE.schema, attempt=commit.begin(target), part_rows=10) as writer:
            writer.write(TABLE)
            assert len(list(tmp_path.iterdir())) == 10
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert list(tmp_path.iterdir()) == []


def test_a_target_that_holds_something_is_refused(tmp_path: Path) -> None:
    write(locate(tmp_path / "done"), TABLE)
    with pytest.raises(OutputExists, match="holds a finished result"):
        commit.begin(locate(tmp_path / "done"))
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "notes.txt").write_text("mine")
    with pytest.raises(OutputExists, match=r"not empty: it holds notes\.txt"):
        commit.begin(locate(tmp_path / "other"))


def test_a_full_disk_and_a_place_that_is_no_folder_are_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputNotWritable, match="Not a directory"):
        write(locate(tmp_path / "file" / "below"), TABLE)

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr("os.fsync", full)
        with pytest.raises(OutputNotWritable, match="No space left on device"):
            write(locate(tmp_path / "full"), TABLE)
    assert list((tmp_path / "full").iterdir()) == []
