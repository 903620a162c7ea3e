"""Columns, filter, limit and folders: which part of the files is read, and that no other part is."""

from __future__ import annotations

import datetime
import tempfile
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlpools.data import CsvSource, DataConnector, ParquetSource, ShardedDataConnector
from mlpools.data.counting import count
from mlpools.data.plan import Plan, resolve
from mlpools.data.sources import from_spec
from mlpools.errors import DataNotReadable, InvalidSpec
from mlpools.gang import Gang


def write(path: Path, content: pa.Table, group: int = 10) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(content, path, row_group_size=group)
    return path


@pytest.fixture
def days(tmp_path: Path) -> Path:
    for day in (1, 2, 3):
        rows = pa.table({"x": range(100 * day, 100 * day + 25), "y": [float(i % 5) for i in range(25)]})
        write(tmp_path / f"days/day=2024-01-0{day}/hour=0{day}/part.parquet", rows)
    return tmp_path / "days"


def plan_of(folder: Path | str, **selection: object) -> Plan:
    return resolve(ParquetSource((str(folder),), **selection))  # type: ignore[arg-type]


def units(plan: Plan) -> list[tuple[str, int]]:
    return [(file.name.split("/")[0], unit.start) for file, unit in plan.units]


def test_folders_become_columns(days: Path) -> None:
    connector = DataConnector.from_parquet(str(days))
    assert connector.schema.field("day").type == pa.date32()
    assert connector.schema.field("hour").type == pa.int64()
    table = connector.to_arrow(columns=["hour", "x", "day"])
    assert table.column_names == ["hour", "x", "day"]
    assert table.slice(25, 1).to_pylist() == [{"hour": 2, "x": 200, "day": datetime.date(2024, 1, 2)}]
    assert connector.to_arrow(columns=["day"]).num_rows == 75


def test_a_folder_that_the_url_spells_out_is_no_column(days: Path) -> None:
    assert plan_of(days / "day=2024-01-01").schema.names == ["x", "y", "hour"]
    assert plan_of(f"{days}/day=2024-01-01/*/part.parquet").schema.names == ["x", "y", "hour"]
    assert plan_of(f"file://{days}/day=*/hour=02/*.parquet").schema.names == ["x", "y", "day", "hour"]


def test_folders_of_other_kinds(tmp_path: Path) -> None:
    rows = pa.table({"x": [1], "kind": ["of the file"]})
    for folder in ("kind=a%2Fb/part=7", "kind=__HIVE_DEFAULT_PARTITION__/part=x"):
        write(tmp_path / folder / "f.parquet", rows)
    table = DataConnector.from_parquet(str(tmp_path)).to_arrow()
    assert table.schema.names == ["x", "kind", "part"]
    assert table["kind"].to_pylist() == [None, "a/b"]
    assert table["part"].to_pylist() == ["x", "7"]
    write(tmp_path / "kind=c/f.parquet", rows)
    with pytest.raises(DataNotReadable, match=r"lies in no folder part=…, but .* Lay out all files alike"):
        plan_of(tmp_path)


def test_files_that_folders_rule_out_are_not_even_opened(days: Path) -> None:
    (days / "day=2024-01-02/hour=02/part.parquet").write_bytes(b"not Parquet")
    plan = plan_of(days, filter="day <> '2024-01-02'")
    assert plan.counted
    assert plan.num_rows == 50
    with pytest.raises(DataNotReadable, match="No file can have rows that pass the filter 'hour = 9'"):
        plan_of(days, filter="hour = 9")


def test_row_groups_that_statistics_rule_out_are_not_read(days: Path) -> None:
    plan = plan_of(days, filter="x >= 310 and day > '2024-01-01'", columns=("y",))
    assert units(plan) == [("day=2024-01-03", 1), ("day=2024-01-03", 2)]
    assert plan.counted
    partly = plan_of(days, filter="x >= 315")
    assert [unit.rows for _, unit in partly.units] == [None, 5]
    assert count(partly).group_rows == [5, 5]
    connector = DataConnector.from_parquet(str(days), filter="x >= 315 and x < 317", columns=("y",))
    assert connector.schema.names == ["y"]
    assert connector.to_arrow().to_pydict() == {"y": [0.0, 1.0]}
    assert connector.num_rows == 2


def test_rows_that_no_filter_passes_are_an_error_and_not_an_empty_result(days: Path) -> None:
    with pytest.raises(DataNotReadable, match="no rows that pass the filter 'x = 1'"):
        plan_of(days, filter="x = 1")
    between = DataConnector.from_parquet(str(days), filter="y = 0.5")
    with pytest.raises(DataNotReadable, match="no rows that pass the filter"):
        between.num_rows  # noqa: B018


def test_a_limit_takes_the_first_rows(days: Path) -> None:
    plan = plan_of(days, limit=32)
    assert plan.group_rows == [10, 10, 5, 7]
    assert DataConnector.from_parquet(str(days), limit=32).to_arrow()["x"].to_pylist()[-1] == 206
    filtered = DataConnector.from_parquet(str(days), limit=7, filter="y = 4")
    assert filtered.to_arrow()["x"].to_pylist() == [104, 109, 114, 119, 124, 204, 209]
    assert filtered.num_rows == 7
    assert filtered.to_arrow()["x"].to_pylist()[-1] == 209


def test_a_first_pass_ends_where_the_limit_does(days: Path) -> None:
    plan = plan_of(days, limit=7, filter="y = 4")
    (days / "day=2024-01-03/hour=03/part.parquet").unlink()
    assert count(plan).group_rows == [2, 2, 1, 2]


@pytest.mark.parametrize(
    ("selection", "error", "words"),
    [
        ({"columns": ("x", "yy")}, DataNotReadable, "has no column 'yy'. Did you mean 'y'"),
        ({"filter": "z > 1"}, DataNotReadable, "'z'"),
        ({"filter": 'x = "AA"'}, DataNotReadable, "'AA'"),
        ({"filter": "x > 'a'"}, InvalidSpec, "column 'x', which is int64, with 'a'"),
        ({"limit": 0}, InvalidSpec, "above 0"),
    ],
)
def test_a_selection_that_makes_no_sense_is_refused_before_reading(
    days: Path, selection: dict[str, object], error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words):
        plan_of(days, **selection)


def test_sources_of_several_formats_are_read_one_after_the_other(tmp_path: Path) -> None:
    write(tmp_path / "b.parquet", pa.table({"x": pa.array([1, 2], pa.int32()), "y": [0.5, 1.5]}))
    (tmp_path / "a.csv").write_text("x;y\n3;2\n4;3\n")
    semicolons = CsvSource((f"{tmp_path}/a.csv",), {"delimiter": ";"})
    connector = DataConnector.from_sources([ParquetSource((f"{tmp_path}/b.parquet",)), semicolons])
    assert connector.to_arrow().to_pydict() == {"x": [1, 2, 3, 4], "y": [0.5, 1.5, 2.0, 3.0]}
    assert connector.num_rows == 4
    with pytest.raises(InvalidSpec, match="need the same options"):
        resolve([semicolons, CsvSource((f"{tmp_path}/a.csv",))])
    with pytest.raises(InvalidSpec, match="need the same filter"):
        resolve([semicolons, ParquetSource((f"{tmp_path}/b.parquet",), filter="x > 1")])
    with pytest.raises(InvalidSpec, match="limit is for one source"):
        resolve([semicolons, ParquetSource((f"{tmp_path}/b.parquet",), limit=1)])


def test_a_missing_column_does_not_matter_if_it_is_not_chosen(tmp_path: Path) -> None:
    write(tmp_path / "a.parquet", pa.table({"x": [1], "old": [2]}))
    write(tmp_path / "b.parquet", pa.table({"x": [3], "new": [4]}))
    with pytest.raises(DataNotReadable, match=r"b.parquet has no column 'old'"):
        plan_of(tmp_path)
    assert DataConnector.from_parquet(str(tmp_path), columns=("x",)).to_arrow()["x"].to_pylist() == [1, 3]


def test_a_spec_says_all_of_it(days: Path) -> None:
    raw = {
        "parquet": {"url": str(days), "options": {"pageChecksums": True}},
        "columns": ["x"],
        "filter": "y = 4",
        "limit": 3,
    }
    source = from_spec("train", raw)
    assert source == ParquetSource(
        (str(days),), {"pageChecksums": True}, columns=("x",), filter="y = 4", limit=3
    )
    assert count(Plan.from_json(resolve(source).to_json())).num_rows == 3
    with pytest.raises(InvalidSpec, match=r"no option 'pageChecksum'. Did you mean 'pageChecksums'"):
        resolve(from_spec("train", {"parquet": {"url": str(days), "options": {"pageChecksum": True}}}))


def test_the_fingerprint_sees_the_selection(days: Path) -> None:
    prints = {
        plan_of(days, **selection).fingerprint()
        for selection in ({}, {"columns": ("x",)}, {"limit": 3}, {"limit": 4}, {"filter": "x > 0"})
    }
    assert len(prints) == 5


@settings(deadline=None, max_examples=40)
@given(st.data())
def test_shards_together_are_what_arrow_reads(data: st.DataObject) -> None:
    with tempfile.TemporaryDirectory() as name:
        tables = []
        for i in range(data.draw(st.integers(1, 4), "files")):
            values = data.draw(st.lists(st.integers(0, 9), max_size=40), "rows")
            rows = {"i": range(len(values)), "v": values, "f": [i] * len(values)}
            tables.append(pa.table(rows, pa.schema({"i": pa.int64(), "v": pa.int32(), "f": pa.int8()})))
            write(Path(name) / f"{i}.parquet", tables[-1], data.draw(st.integers(1, 15), "group"))
        threshold = data.draw(st.none() | st.integers(0, 9), "threshold")
        limit = data.draw(st.none() | st.integers(1, 60), "limit")
        columns = data.draw(st.sampled_from([("i", "f"), ("f", "v", "i")]), "columns")
        world = data.draw(st.integers(1, 5), "world")
        expected = pa.concat_tables(tables)
        if threshold is not None:
            expected = expected.filter(pc.field("v") >= threshold)
        expected = expected.slice(0, limit).select(columns)
        selection = {
            "columns": columns,
            "limit": limit,
            "filter": "" if threshold is None else f"v >= {threshold}",
        }
        if expected.num_rows == 0:
            with pytest.raises(DataNotReadable, match=r"no rows|No file"):
                count(plan_of(name, **selection))
            return
        connector = ShardedDataConnector.from_parquet(name, **selection)
        whole = connector.to_arrow()  # before anybody counted
        shards = [connector.get_shard(Gang(rank, world)).to_arrow() for rank in range(world)]
        assert whole.to_pylist() == pa.concat_tables(shards).to_pylist() == expected.to_pylist()
