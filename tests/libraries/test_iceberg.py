"""Iceberg tables of a catalog in SQLite."""

from __future__ import annotations

import datetime
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from pyiceberg.catalog import Catalog, load_catalog
from pyiceberg.partitioning import PartitionField, PartitionSpec
from pyiceberg.schema import Schema
from pyiceberg.table import DataScan, FileScanTask, Table
from pyiceberg.transforms import IdentityTransform
from pyiceberg.types import DateType, DoubleType, LongType, NestedField, StringType

from mlpools.data import DataConnector
from mlpools.data.lakes.iceberg import IcebergSource
from mlpools.errors import DataNotReadable, InvalidSpec

_DAY = datetime.date(2020, 1, 2)


@pytest.fixture
def properties(tmp_path: Path) -> dict[str, str]:
    return {"type": "sql", "uri": f"sqlite:///{tmp_path}/c.db", "warehouse": f"file://{tmp_path}/lake"}


@pytest.fixture
def catalog(properties: dict[str, str]) -> Catalog:
    made = load_catalog("prod", **properties)
    made.create_namespace("sales")
    return made


@pytest.fixture
def table(catalog: Catalog) -> Table:
    """Two snapshots, partitioned by a date."""
    schema = Schema(
        NestedField(1, "a", LongType()), NestedField(2, "s", StringType()), NestedField(3, "d", DateType())
    )
    spec = PartitionSpec(PartitionField(3, 1000, IdentityTransform(), "d"))
    made = catalog.create_table("sales.orders", schema=schema, partition_spec=spec)
    rows = {"s": ["x", None], "d": pa.array([_DAY, None], pa.date32())}
    made.append(pa.table({"a": [1, 2], **rows}))
    made.append(pa.table({"a": [3, 4], **rows}))
    return made


def _rows(properties: dict[str, str], **arguments: Any) -> list[dict[str, Any]]:
    connector = DataConnector.from_iceberg("prod", "sales.orders", properties=properties, **arguments)
    return sorted(connector.to_arrow().to_pylist(), key=lambda row: row["a"])


def test_rows_of_the_current_snapshot(table: Table, properties: dict[str, str]) -> None:
    assert _rows(properties)[1:3] == [{"a": 2, "s": None, "d": None}, {"a": 3, "s": "x", "d": _DAY}]
    assert [row["a"] for row in _rows(properties, filter="d = '2020-01-02'")] == [1, 3]


def test_an_older_snapshot_by_id_and_by_tag(table: Table, properties: dict[str, str]) -> None:
    first = table.snapshots()[0].snapshot_id
    table.manage_snapshots().create_tag(first, "monday").commit()
    for snapshot in (first, "monday"):
        assert [row["a"] for row in _rows(properties, snapshot=snapshot)] == [1, 2]
    with pytest.raises(DataNotReadable, match="no such snapshot"):
        _rows(properties, snapshot=7)


@pytest.mark.usefixtures("table")
def test_a_catalog_of_the_environment(properties: dict[str, str]) -> None:
    """pyiceberg reads the environment once, when it is imported."""
    names = {f"PYICEBERG_CATALOG__PROD__{name.upper()}": value for name, value in properties.items()}
    code = (
        "from mlpools.data import DataConnector\n"
        "print(DataConnector.from_iceberg('prod', 'sales.orders').num_rows)"
    )
    environment = {"PYTHONPATH": ":".join(sys.path), **names}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
    assert done.stdout.strip() == "4", done.stderr


def test_a_column_that_came_later_is_null_before(table: Table, properties: dict[str, str]) -> None:
    with table.update_schema() as update:
        update.add_column("n", DoubleType())
    table.append(pa.table({"a": [5], "s": ["y"], "d": pa.array([_DAY]), "n": [1.5]}))
    assert [row["n"] for row in _rows(properties)] == [None, None, None, None, 1.5]


def test_files_from_before_a_renaming_are_refused(table: Table, properties: dict[str, str]) -> None:
    with table.update_schema() as update:
        update.rename_column("s", "t")
    with pytest.raises(DataNotReadable, match=r"has 's'.*rewrite_data_files"):
        _rows(properties)


def test_delete_files_are_refused(
    table: Table, properties: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """pyiceberg writes none, so a data file stands in for one in what its scan plans."""
    plan_files = DataScan.plan_files

    def with_deletes(scan: DataScan) -> list[FileScanTask]:
        tasks = list(plan_files(scan))
        return [*tasks[1:], FileScanTask(tasks[0].file, delete_files={tasks[0].file})]

    monkeypatch.setattr(DataScan, "plan_files", with_deletes)
    with pytest.raises(DataNotReadable, match=r"sales\.orders .*has delete files.*rewrite_data_files"):
        _rows(properties)


def test_a_name_that_was_used_again_is_refused(table: Table, properties: dict[str, str]) -> None:
    with table.update_schema() as update:
        update.delete_column("s")
    with table.update_schema() as update:
        update.add_column("s", StringType())
    with pytest.raises(DataNotReadable, match="has 's'"):
        _rows(properties)


def test_what_is_not_there(catalog: Catalog, properties: dict[str, str]) -> None:
    with pytest.raises(DataNotReadable, match=r"sales\.orders of catalog prod cannot be read"):
        _rows(properties)
    with pytest.raises(InvalidSpec, match="PYICEBERG_CATALOG__PROD__URI"):
        _rows({})


def test_properties_are_not_shown_and_do_not_travel() -> None:
    source = IcebergSource("prod", "sales.orders", properties={"token": "geheim"})
    assert "geheim" not in repr(source) + str(source)
    assert b"geheim" not in pickle.dumps(source)
