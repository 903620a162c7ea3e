from __future__ import annotations

import datetime
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from deltalake import DeltaTable, write_deltalake

from mlpools.data import DataConnector
from mlpools.data.lakes.delta import DeltaSource
from mlpools.data.plan import Plan, resolve
from mlpools.errors import DataNotReadable, InvalidSpec
from tests.support.object_store import ObjectStore

_DAY = datetime.date(2020, 1, 2)


def _rows(connector: DataConnector) -> list[dict[str, Any]]:
    return sorted(connector.to_arrow().to_pylist(), key=lambda row: row["a"])


@pytest.fixture
def table(tmp_path: Path) -> str:
    """Two versions, partitioned by a text that has to be escaped and by a date."""
    rows = {"a": [1, 2, 3], "c": ["x y/é%", None, "z"], "d": pa.array([_DAY, _DAY, None], pa.date32())}
    write_deltalake(tmp_path, pa.table(rows), partition_by=["c", "d"])
    write_deltalake(tmp_path, pa.table(rows | {"a": [4, 5, 6]}), mode="append")
    return str(tmp_path)


def test_partition_values_are_columns(table: str) -> None:
    rows = _rows(DataConnector.from_delta(table))
    assert [row["a"] for row in rows] == [1, 2, 3, 4, 5, 6]
    assert rows[:3] == [
        {"a": 1, "c": "x y/é%", "d": _DAY},
        {"a": 2, "c": None, "d": _DAY},
        {"a": 3, "c": "z", "d": None},
    ]


def test_filters_leave_files_unread(table: str) -> None:
    source = DeltaSource(table, filter="c = 'z' and a < 5")
    assert len(resolve(source).files) == 2
    assert _rows(DataConnector.from_sources(source)) == [{"a": 3, "c": "z", "d": None}]


def test_older_versions(table: str) -> None:
    assert DataConnector.from_delta(table, version=0).num_rows == 3
    later = (datetime.datetime.now(datetime.UTC) + datetime.timedelta(days=1)).isoformat()
    assert DataConnector.from_delta(table, timestamp=later).num_rows == 6
    versions = [resolve(DeltaSource(table, version)).fingerprint() for version in (0, 1, None)]
    assert versions[0] != versions[1] == versions[2]


def test_a_plan_travels(table: str) -> None:
    plan = resolve(DeltaSource(table))
    assert Plan.from_json(plan.to_json()) == plan
    assert plan.version == f"version 1 of the Delta table {table}"


def test_a_column_that_came_later_is_null_before(tmp_path: Path) -> None:
    write_deltalake(tmp_path, pa.table({"a": [1]}))
    later = pa.table({"a": [2], "b": [["x"]], "n": [2.5]})
    write_deltalake(tmp_path, later, mode="append", schema_mode="merge")
    assert _rows(DataConnector.from_delta(str(tmp_path))) == [
        {"a": 1, "b": None, "n": None},
        {"a": 2, "b": ["x"], "n": 2.5},
    ]
    assert DataConnector.from_delta(str(tmp_path), filter="n > 1").num_rows == 1
    assert DataConnector.from_delta(
        str(tmp_path), filter="n is null", columns=("a",)
    ).to_arrow().to_pylist() == [{"a": 1}]


def test_rows_that_were_deleted_are_not_read(table: str) -> None:
    DeltaTable(table).delete("a < 5")
    assert [row["a"] for row in _rows(DataConnector.from_delta(table))] == [5, 6]
    DeltaTable(table).vacuum(0, dry_run=False, enforce_retention_duration=False)
    with pytest.raises(DataNotReadable, match=r"is gone, and version 1 of .*Read a newer version\."):
        DataConnector.from_delta(table, version=1)


def _commit(table: str, *actions: dict[str, Any]) -> None:
    version = DeltaTable(table).version() + 1
    log = Path(table, "_delta_log", f"{version:020d}.json")
    log.write_text("\n".join(json.dumps(action) for action in actions))


def _protocol(*features: str) -> dict[str, Any]:
    both = {"readerFeatures": list(features), "writerFeatures": list(features)}
    return {"protocol": {"minReaderVersion": 3, "minWriterVersion": 7, **both}}


def test_column_mapping_is_refused(tmp_path: Path) -> None:
    table = str(tmp_path)
    write_deltalake(table, pa.table({"a": [1]}))
    log = Path(table, "_delta_log", f"{0:020d}.json").read_text().splitlines()
    (metadata,) = (json.loads(line) for line in log if "metaData" in line)
    schema = json.loads(metadata["metaData"]["schemaString"])
    for i, field in enumerate(schema["fields"]):
        field["metadata"] = {"delta.columnMapping.id": i, "delta.columnMapping.physicalName": f"col-{i}"}
    metadata["metaData"]["schemaString"] = json.dumps(schema)
    metadata["metaData"]["configuration"] = {
        "delta.columnMapping.mode": "name",
        "delta.columnMapping.maxColumnId": "9",
    }
    _commit(table, _protocol("columnMapping"), metadata)
    with pytest.raises(DataNotReadable, match=r"version 1 .* uses column mapping \(name\)"):
        DataConnector.from_delta(table)


def test_features_that_are_not_used_do_not_matter(table: str) -> None:
    _commit(table, _protocol("columnMapping", "deletionVectors", "timestampNtz"))
    assert DataConnector.from_delta(table).num_rows == 6


def test_a_feature_that_nobody_knows_is_refused(table: str) -> None:
    _commit(table, _protocol("variantType"))
    with pytest.raises(DataNotReadable, match="variantType"):
        DataConnector.from_delta(table)


def test_deletion_vectors_are_refused(tmp_path: Path) -> None:
    """The vector is the example of the protocol, which deletes six rows, 29 being the last of them."""
    write_deltalake(tmp_path, pa.table({"a": range(40)}))
    log = Path(tmp_path, "_delta_log", f"{0:020d}.json").read_text().splitlines()
    (add,) = (json.loads(line)["add"] for line in log if '"add"' in line)
    inline = "^Bg9^0rr910000000000iXQKl0rr91000f55c8Xg0@@D72lkbi5=-{L"
    vector = {"storageType": "i", "pathOrInlineDv": inline, "sizeInBytes": 40, "cardinality": 6}
    remove = {"path": add["path"], "deletionTimestamp": 1, "dataChange": True}
    _commit(
        str(tmp_path),
        _protocol("deletionVectors"),
        {"remove": remove},
        {"add": add | {"deletionVector": vector}},
    )
    with pytest.raises(DataNotReadable, match=r"has deletion vectors.*REORG"):
        DataConnector.from_delta(str(tmp_path))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"version": 7}, "version 7 cannot be read"),
        ({"timestamp": "yesterday"}, "at yesterday cannot be read"),
    ],
)
def test_no_such_version(table: str, arguments: dict[str, Any], words: str) -> None:
    with pytest.raises(DataNotReadable, match=words) as failure:
        DataConnector.from_delta(table, **arguments)
    assert "\n" not in str(failure.value)


def test_no_such_table(tmp_path: Path) -> None:
    with pytest.raises(DataNotReadable, match=r"the Delta table .* cannot be read: .*Check the URL"):
        DataConnector.from_delta(str(tmp_path / "nosuch"))
    with pytest.raises(InvalidSpec, match="not at both"):
        DataConnector.from_delta(str(tmp_path), version=1, timestamp="2020-01-01T00:00:00Z")


def test_a_table_in_an_object_store(
    monkeypatch: pytest.MonkeyPatch, object_store: ObjectStore, table: str
) -> None:
    for path in Path(table).rglob("*"):
        if path.is_file():
            object_store.objects[f"bucket/lake/{path.relative_to(table)}"] = path.read_bytes()
    assert _rows(DataConnector.from_delta("s3://bucket/lake")) == _rows(DataConnector.from_delta(table))
