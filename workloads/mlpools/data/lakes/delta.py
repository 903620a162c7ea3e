"""Delta tables: a version's log becomes a plan of its Parquet files.

Source of the protocol: https://github.com/delta-io/delta/blob/master/PROTOCOL.md
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, Self
from urllib.parse import unquote

import pyarrow as pa

from mlpools.data.lakes.table_files import TableFile, plan_table
from mlpools.data.plan import Plan, Selection
from mlpools.data.sources import check_keys
from mlpools.errors import DataNotReadable, InvalidSpec, one_line
from mlpools.storage import Location, client, locate, urls

#: Features of readers that need nothing of one that reads whole files by name; others are refused.
_HARMLESS = frozenset(
    {
        "timestampNtz",
        "v2Checkpoint",
        "vacuumProtocolCheck",
        "typeWidening",
        "typeWidening-preview",
        # These two are looked at by themselves: a table may have the feature without using it.
        "columnMapping",
        "deletionVectors",
    }
)


@dataclasses.dataclass(frozen=True)
class DeltaSource(Selection):
    """One version of a Delta table.

    Attributes:
        url: of the table's folder.
        version: its number; the newest one by default.
        timestamp: instead: the version that was the newest at this time, ISO 8601 with a zone.
    """

    url: str
    version: int | None = None
    timestamp: str = ""

    def __post_init__(self) -> None:
        if self.version is not None and self.timestamp:
            raise InvalidSpec("A Delta table is read at a version or at a timestamp, not at both.")

    @classmethod
    def from_spec(cls, name: str, raw: Mapping[str, Any], selection: Mapping[str, Any]) -> Self:
        """Read a section such as ``delta: {url: s3://lake/flights, version: 3}``.

        Raises:
            InvalidSpec: a field is missing or unknown.
        """
        check_keys(name, raw, ("url", "version", "timestamp"), needed=("url",))
        return cls(raw["url"], raw.get("version"), raw.get("timestamp") or "", **selection)

    def __str__(self) -> str:
        at = f" at {self.timestamp}" if self.timestamp else ""
        version = "" if self.version is None else f" version {self.version}"
        return f"the Delta table {self.url}{version}{at}"

    def plan(self) -> Plan:
        """Read the log of the version.

        Raises:
            DataNotReadable: there is no such table or version, or it needs what is not supported.
        """
        root = locate(self.url)
        table = self._open(root)
        named = f"version {table.version()} of the Delta table {root}"
        _refuse_features(table, named)
        schema = _plain(pa.schema(table.schema().to_arrow()))
        return plan_table(root, _files(table, root), schema, self, named)

    def _open(self, root: Location) -> Any:
        from deltalake import DeltaTable
        from deltalake.exceptions import DeltaError

        try:
            table = DeltaTable(root.url, version=self.version, storage_options=store_options(root))
            if self.timestamp:
                table.load_as_version(self.timestamp)
        except (DeltaError, OSError, ValueError) as error:
            raise DataNotReadable(
                f"{self} cannot be read: {one_line(error)}. Check the URL of its folder, and which versions "
                "there are."
            ) from error
        return table


def store_options(root: Location) -> dict[str, str]:
    """Return what deltalake does not take from the environment by itself, as ``mlpools.storage`` does."""
    if root.local is not None:
        return {}
    return {"allow_http": "true"} if "=http://" in client.endpoint(urls.parse(root.url).kind) else {}


def _refuse_features(table: Any, named: str) -> None:
    """Refuse what this reader would read wrongly.

    Raises:
        DataNotReadable: with the feature's name.
    """
    features = set(table.protocol().reader_features or ())
    mapping = table.metadata().configuration.get("delta.columnMapping.mode", "none")
    if mapping != "none":
        raise DataNotReadable(
            f"The {named} uses column mapping ({mapping}), which cannot be read. Write it to a table "
            "without, or set delta.columnMapping.mode to none and rewrite its files."
        )
    if "deletionVectors" in features and pa.table(table.deletion_vectors()).num_rows:
        raise DataNotReadable(
            f"The {named} has deletion vectors, which cannot be read. Apply them with REORG TABLE … APPLY "
            "(PURGE), or with OPTIMIZE of all its files."
        )
    if unknown := sorted(features - _HARMLESS):
        raise DataNotReadable(
            f"The {named} needs the reader feature {unknown[0]}, which is not supported. "
            "Write it to a table without that feature."
        )


def _files(table: Any, root: Location) -> list[TableFile]:
    """Return the files of a version with the values of their partition columns."""
    actions = pa.table(table.get_add_actions(flatten=False))
    paths = actions["path"].to_pylist()
    constants: list[dict[str, str | None]] = [{} for _ in paths]
    if "partition" in actions.schema.names:
        partition = actions["partition"].combine_chunks()
        for field, values in zip(partition.type, partition.flatten(), strict=True):
            for constant, text in zip(constants, values.cast(pa.string()).to_pylist(), strict=True):
                constant[field.name] = text
    return [TableFile(_url(path, root), constant) for path, constant in zip(paths, constants, strict=True)]


def _url(path: str, root: Location) -> str:
    """Return where a file of the log lies; paths are URL-encoded, and absolute in clones of tables."""
    decoded = unquote(path)
    if "://" in decoded or decoded.startswith("/"):
        return locate(decoded).url
    return root.child(decoded).url


def _plain(schema: pa.Schema) -> pa.Schema:
    """Return a schema without metadata and promises about nulls: readers do not rely on them."""
    return pa.schema([pa.field(field.name, field.type) for field in schema])
