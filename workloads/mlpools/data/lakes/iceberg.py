"""Iceberg tables: a snapshot's manifests become a plan of its Parquet files.

Source of the format: https://iceberg.apache.org/spec
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, Self

import pyarrow as pa
import pyarrow.parquet as pq

from mlpools.data.files import reading
from mlpools.data.lakes.table_files import TableFile, plan_table
from mlpools.data.plan import Plan, Selection
from mlpools.data.sources import check_keys
from mlpools.errors import DataNotReadable, InvalidSpec, one_line
from mlpools.storage import locate

_FIELD_ID = b"PARQUET:field_id"


@dataclasses.dataclass(frozen=True)
class IcebergSource(Selection):
    """One snapshot of an Iceberg table.

    Attributes:
        catalog: its name in the configuration of pyiceberg (``PYICEBERG_CATALOG__<NAME>__URI`` and others
            in the environment, or ``.pyiceberg.yaml``).
        table: ``namespace.name``.
        snapshot: its id, or the name of a tag or branch; the current one by default.
        properties: of the catalog, instead of the configuration; not shown, they may hold credentials.
    """

    catalog: str
    table: str
    snapshot: int | str | None = None
    properties: Mapping[str, str] = dataclasses.field(default_factory=dict, repr=False)

    @classmethod
    def from_spec(cls, name: str, raw: Mapping[str, Any], selection: Mapping[str, Any]) -> Self:
        """Read a section such as ``iceberg: {catalog: prod, table: sales.orders}``.

        Raises:
            InvalidSpec: a field is missing or unknown.
        """
        check_keys(name, raw, ("catalog", "table", "snapshot"), needed=("catalog", "table"))
        return cls(raw["catalog"], raw["table"], raw.get("snapshot"), **selection)

    def __getstate__(self) -> dict[str, Any]:
        """Leave out what may be secret: plans do not need it."""
        return {**vars(self), "properties": {}}

    def __str__(self) -> str:
        at = "" if self.snapshot is None else f" at {self.snapshot}"
        return f"the Iceberg table {self.table} of catalog {self.catalog}{at}"

    def plan(self) -> Plan:
        """Read the manifests of the snapshot.

        Raises:
            DataNotReadable: there is no such table or snapshot, or it needs what is not supported.
            InvalidSpec: pyiceberg is not installed, or does not know the catalog.
        """
        table = self._load()
        snapshot = self._snapshot(table)
        named = f"snapshot {snapshot.snapshot_id} of {self}"
        # The newest rows are seen by the table's schema, older ones by the schema of their time.
        scan = table.scan(snapshot_id=None if self.snapshot is None else snapshot.snapshot_id)
        tasks = list(scan.plan_files())
        for task in tasks:
            _refuse(task, named)
        fields = scan.projection()
        files = [TableFile(_url(task.file.file_path), _identity(task, table, fields)) for task in tasks]
        if _renamed(table.schemas().values()):
            _check_names(files, {field.field_id: field.name for field in fields.fields}, named)
        root = locate(_url(table.location()))
        return plan_table(root, files, _plain(fields.as_arrow()), self, named)

    def _load(self) -> Any:
        try:
            from pyiceberg.catalog import load_catalog
        except ImportError as error:
            raise InvalidSpec("Iceberg tables need the package mlpools[iceberg].") from error
        try:
            catalog = load_catalog(self.catalog, **self.properties)
        except Exception as error:  # of whatever kind of catalog
            raise InvalidSpec(
                f"The catalog {self.catalog!r} cannot be used: {one_line(error)}. Set "
                f"PYICEBERG_CATALOG__{self.catalog.upper()}__URI and its other properties in the environment."
            ) from error
        try:
            return catalog.load_table(self.table)
        except Exception as error:
            raise DataNotReadable(
                f"{self} cannot be read: {one_line(error)}. Check its name, and your right to it."
            ) from error

    def _snapshot(self, table: Any) -> Any:
        if self.snapshot is None:
            found = table.current_snapshot()
        elif isinstance(self.snapshot, int):
            found = table.snapshot_by_id(self.snapshot)
        else:
            found = table.snapshot_by_name(self.snapshot)
        if found is None:
            known = ", ".join(str(item.snapshot_id) for item in table.snapshots()[-5:])
            raise DataNotReadable(f"There is no such snapshot of {self}. The newest: {known or 'none'}.")
        return found


def _refuse(task: Any, named: str) -> None:
    if task.delete_files:
        raise DataNotReadable(
            f"The {named} has delete files, which cannot be read. Compact it with rewrite_data_files, then "
            "read the new snapshot."
        )
    if task.file.file_format.name != "PARQUET":
        raise DataNotReadable(f"The {named} has {task.file.file_format.name} files; only Parquet is read.")


def _identity(task: Any, table: Any, fields: Any) -> dict[str, str | None]:
    """Return the partition values that are a column's own; migrated files may not have that column."""
    constants: dict[str, str | None] = {}
    spec = table.specs()[task.file.spec_id]
    for i, part in enumerate(spec.fields):
        if str(part.transform) != "identity":
            continue
        field = fields.find_field(part.source_id)
        value = task.file.partition[i]
        constants[field.name] = (
            None if value is None else part.transform.to_human_string(field.field_type, value)
        )
    return constants


def _renamed(history: Sequence[Any]) -> bool:
    """Whether a column ever had another name, or a name another column."""
    pairs = {(field.field_id, field.name) for schema in history for field in schema.fields}
    return len({pair[0] for pair in pairs}) < len(pairs) or len({pair[1] for pair in pairs}) < len(pairs)


def _check_names(files: Sequence[TableFile], names: Mapping[int, str], named: str) -> None:
    """Look whether files call their columns as the table does: they are read by name.

    Raises:
        DataNotReadable: a file was written before a column was renamed.
    """
    ids = {name: field_id for field_id, name in names.items()}
    for file in files:
        location = locate(file.url)
        with reading(file.url), location.open(location.info()) as opened:
            schema = pq.read_schema(opened)
        for field in schema:
            field_id = int((field.metadata or {}).get(_FIELD_ID, -1))
            if field_id >= 0 and (names.get(field_id, field.name), ids.get(field.name, field_id)) != (
                field.name,
                field_id,
            ):
                raise DataNotReadable(
                    f"The {named} was written in part before its columns were renamed: {file.url} has "
                    f"{field.name!r}. Rewrite its files with rewrite_data_files."
                )


def _url(path: str) -> str:
    scheme, separator, rest = path.partition("://")
    return f"s3://{rest}" if separator and scheme in ("s3a", "s3n") else path


def _plain(schema: pa.Schema) -> pa.Schema:
    """Return a schema without metadata, in the string types that Parquet files are read with."""
    plain = {pa.large_string(): pa.string(), pa.large_binary(): pa.binary()}
    return pa.schema([pa.field(field.name, plain.get(field.type, field.type)) for field in schema])
