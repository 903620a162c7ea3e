"""CSV and JSON: options, guessed types, cuts between lines, and what is said when a value does not fit."""

from __future__ import annotations

import datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from mlpools.data import DataConnector
from mlpools.data.counting import count
from mlpools.data.plan import resolve
from mlpools.data.sources import CsvSource, JsonSource
from mlpools.errors import DataNotReadable, InvalidSpec


def write(path: Path, text: str | bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def csv(path: Path, **options: Any) -> pa.Table:
    return DataConnector.from_csv(str(path), options=options).to_arrow()


def rows(path: Path, **options: Any) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = csv(path, **options).to_pylist()
    return found


@pytest.mark.parametrize(
    ("text", "options", "expected"),
    [
        ("a;b\n1;x\n", {"delimiter": ";"}, {"a": [1], "b": ["x"]}),
        ("1,x\n2,y\n", {"header": False}, {"f0": [1, 2], "f1": ["x", "y"]}),
        ("1,x\n", {"header": False, "columnNames": ["n", "t"]}, {"n": [1], "t": ["x"]}),
        ("a,b\n1,x\n", {"columnNames": ["n", "t"]}, {"n": [1], "t": ["x"]}),
        ("made by hand\n\na,b\n1,x\n", {"skipLines": 2}, {"a": [1], "b": ["x"]}),
        ("a,b\n-,-\n1,x\n", {"nullValues": ["-"]}, {"a": [None, 1], "b": [None, "x"]}),
        ("a,b\nNA,NA\n1,\n", {}, {"a": [None, 1], "b": ["NA", ""]}),
        ("a\n1\n", {"types": {"a": "string"}}, {"a": ["1"]}),
        ("a\n'1,5'\n", {"quote": "'", "decimalPoint": ","}, {"a": [1.5]}),
        ("a\n31.12.2024\n", {"timestampFormats": ["%d.%m.%Y"]}, {"a": [datetime.datetime(2024, 12, 31)]}),
        ('a,b\n1,"x\\"y"\n', {"escape": "\\"}, {"a": [1], "b": ['x"y']}),
        ('a,b\n1,5" pipe\n', {"quote": ""}, {"a": [1], "b": ['5" pipe']}),
        ("\ufeffa,b\r\n1,x\r\n", {}, {"a": [1], "b": ["x"]}),
        ("a,b\n1,x", {}, {"a": [1], "b": ["x"]}),
        ("größe\n1\n".encode("latin-1"), {"encoding": "latin-1"}, {"größe": [1]}),
        ("a,b\n1,ü\n".encode("utf-16"), {"encoding": "utf-16"}, {"a": [1], "b": ["ü"]}),
        ('a,b\n1,"x\ny"\n', {"newlinesInValues": True}, {"a": [1], "b": ["x\ny"]}),
    ],
)
def test_csv_options(tmp_path: Path, text: str | bytes, options: dict[str, Any], expected: Any) -> None:
    assert csv(write(tmp_path / "x.csv", text), **options).to_pydict() == expected


def test_a_header_or_a_byte_order_mark_is_no_row_of_any_part(tmp_path: Path) -> None:
    path = write(tmp_path / "x.csv", "\ufeffn\n" + "".join(f"{i}\n" for i in range(50)))
    plan = count(resolve(CsvSource((str(path),), {"unitBytes": 16})))
    assert len(plan.units) > 5
    assert plan.num_rows == 50
    bare = write(tmp_path / "bare.csv", "\ufeff" + "".join(f"{i}\n" for i in range(50)))
    assert [row["f0"] for row in rows(bare, header=False, unitBytes=16)] == list(range(50))


def test_lines_longer_than_a_part_are_in_one_part(tmp_path: Path) -> None:
    path = write(tmp_path / "x.csv", "t\n" + "".join(f"{'x' * size}\n" for size in (1, 500, 2, 900, 3)))
    plan = count(resolve(CsvSource((str(path),), {"unitBytes": 50})))
    assert plan.num_rows == 5
    assert [len(row["t"]) for row in rows(path, unitBytes=50)] == [1, 500, 2, 900, 3]


def test_a_quoted_line_break_across_a_cut_is_an_error_and_not_a_wrong_row(tmp_path: Path) -> None:
    text = "n,t\n" + "".join(f'{i},"first\nsecond"\n' for i in range(40))
    path = write(tmp_path / "x.csv", text)
    assert len(rows(path)) == 40  # in one part
    with pytest.raises(DataNotReadable, match=r"x\.csv, the part from byte .*newlinesInValues: true"):
        rows(path, unitBytes=100)
    with pytest.raises(DataNotReadable, match=r"newlinesInValues"):
        DataConnector.from_csv(str(path), options={"unitBytes": 100}).num_rows  # noqa: B018
    whole = rows(path, unitBytes=100, newlinesInValues=True)
    assert [row["n"] for row in whole] == list(range(40))


def test_a_value_that_does_not_fit_the_guess_is_named(tmp_path: Path) -> None:
    path = write(tmp_path / "x.csv", "n,t\n" + "1,a\n" * 300_000 + "many,a\n")
    with pytest.raises(
        DataNotReadable,
        match=r"x\.csv, the part from byte \d+, column 'n', has 'many', which is no int64\. Say its type",
    ):
        rows(path)
    assert rows(path, types={"n": "string"})[-1]["n"] == "many"
    assert rows(path, nullValues=["many"])[-1]["n"] is None


def test_a_row_with_too_many_cells_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataNotReadable, match=r"Expected 2 columns, got 3: 1,2,3\. Check options\.delimiter"):
        rows(write(tmp_path / "x.csv", "a,b\n1,2,3\n"))
    with pytest.raises(DataNotReadable, match=r"has two columns 'a'"):
        rows(write(tmp_path / "x.csv", "a,a\n1,2\n"))
    with pytest.raises(DataNotReadable, match=r"has no column 'c', which options.types names"):
        rows(write(tmp_path / "x.csv", "a,b\n1,2\n"), types={"c": "string"})


@pytest.mark.parametrize(
    ("first", "second", "kind"),
    [("1", "2.5", pa.float64()), ("", "x", pa.string()), ("", "7", pa.int64()), ("", "", pa.string())],
)
def test_guesses_that_meet(tmp_path: Path, first: str, second: str, kind: pa.DataType) -> None:
    write(tmp_path / "a.csv", f"x,y\n{first},1\n")
    write(tmp_path / "b.csv", f"y,x\n1,{second}\n")
    assert csv(tmp_path).schema.field("x").type == kind
    assert csv(tmp_path).num_rows == 2


def test_guesses_that_do_not_meet_name_both_files(tmp_path: Path) -> None:
    write(tmp_path / "a.csv", "x\n1\n")
    write(tmp_path / "b.csv", "x\none\n")
    with pytest.raises(
        DataNotReadable,
        match=r"Column 'x' is int64 in .*a\.csv, but string in .*b\.csv\. The types are guessed .* options",
    ):
        csv(tmp_path)
    assert csv(tmp_path, types={"x": "string"})["x"].to_pylist() == ["1", "one"]


def test_a_filter_is_checked_before_anything_is_read(tmp_path: Path) -> None:
    path = write(tmp_path / "x.csv", "x\n1\n")
    with pytest.raises(InvalidSpec, match="column 'x', which is int64, with 'a'"):
        resolve(CsvSource((str(path),), filter="x > 'a'"))


def test_empty_files_among_others_do_not_matter(tmp_path: Path) -> None:
    write(tmp_path / "a.csv", "")
    write(tmp_path / "b.csv", "x\n")
    write(tmp_path / "c.csv", "x\n1\n")
    assert csv(tmp_path)["x"].to_pylist() == [1]
    (tmp_path / "c.csv").unlink()
    (tmp_path / "b.csv").unlink()
    with pytest.raises(DataNotReadable, match=r"a\.csv is empty\. Name files that have rows"):
        csv(tmp_path)


def test_folders_mean_compressed_files_too(tmp_path: Path) -> None:
    write(tmp_path / "a.csv", "x\n1\n")
    write(tmp_path / "b.csv.zst", pa.compress(b"x\n2\n", "zstd", asbytes=True))
    write(tmp_path / "notes.txt", "x\n3\n")
    assert csv(tmp_path)["x"].to_pylist() == [1, 2]


def json(path: Path, **options: Any) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = DataConnector.from_json(str(path), options=options).to_arrow().to_pylist()
    return found


def test_json_leaves_out_what_has_no_value(tmp_path: Path) -> None:
    write(tmp_path / "a.jsonl", '{"x": 1}\n{"x": 2, "y": "b"}\n\n')
    write(tmp_path / "b.jsonl", '{"z": {"k": [1]}, "x": 3.5}')
    assert json(tmp_path) == [
        {"x": 1.0, "y": None, "z": None},
        {"x": 2.0, "y": "b", "z": None},
        {"x": 3.5, "y": None, "z": {"k": [1]}},
    ]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('[{"x": 1}]', "is one JSON array. Write one object a line"),
        ('{"x":\n1}\n{"x":\n2}\n', "newlinesInValues: true"),
        ('{"x": 1}\n{"x": 2\n', "no JSON with one object a line"),
        ('{"x": 1}\n{"x": "two"}\n', "has a value of another type"),
        ("PAR1 and so on", "it looks like Parquet"),
    ],
)
def test_json_of_another_form_is_refused_with_a_remedy(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(DataNotReadable, match=words.replace(".", r"\.")):
        json(write(tmp_path / "x.json", text), unitBytes=7)


def test_json_objects_over_several_lines(tmp_path: Path) -> None:
    path = write(tmp_path / "x.json", '{"x":\n1}\n{"x":\n2}\n' * 20)
    assert len(json(path, newlinesInValues=True, unitBytes=20)) == 40
    plan = count(resolve(JsonSource((str(path),), {"newlinesInValues": True, "unitBytes": 20})))
    assert plan.group_rows == [40]


def test_json_types(tmp_path: Path) -> None:
    path = write(tmp_path / "x.json", '{"x": 1, "d": "2024-01-01"}\n')
    assert json(path, types={"x": "float32", "d": "string"}) == [{"x": 1.0, "d": "2024-01-01"}]
