"""Ways from tables to a connector: of databases and of lakes."""

from __future__ import annotations

import abc
from collections.abc import Mapping, Sequence
from typing import Any, Self

from mlpools.data.sources import DataSource, texts


class FromTables(abc.ABC):
    """Constructors for tables.

    Each takes ``columns``, ``filter`` and ``limit`` as for files, and whatever else ``from_sources`` takes.
    """

    @classmethod
    @abc.abstractmethod
    def from_sources(cls, sources: DataSource | str | Sequence[DataSource | str], **kwargs: Any) -> Self:
        """Connect to sources."""

    @classmethod
    def from_sql(
        cls, query: str, connection: Any, *, partition_on: str = "", stage: str = "", **kwargs: Any
    ) -> Self:
        """Connect to the rows of a query, which are read now, once and under one snapshot.

        Args:
            query: one SELECT.
            connection: URI of the database, folder of a mounted Secret, or an open connection; see
                ``SqlSource``, as for the others.
            partition_on: column by whose ranges several connections read.
            stage: URL of the folder for the rows.
            **kwargs: see above.

        Raises:
            DataNotReadable: there is no way in, the query fails, or a type has no form here.
        """
        from mlpools.data.sql.source import SqlSource

        selection, others = _parted(kwargs)
        return cls.from_sources(SqlSource(query, connection, partition_on, stage, **selection), **others)

    @classmethod
    def from_delta(cls, url: str, *, version: int | None = None, timestamp: str = "", **kwargs: Any) -> Self:
        """Connect to a version of a Delta table, the newest by default; see ``DeltaSource``.

        Args:
            url: of the table's folder.
            version: its number.
            timestamp: instead: the version that was the newest then.
            **kwargs: see above.

        Raises:
            DataNotReadable: there is no such table or version, or it needs what is not supported.
        """
        from mlpools.data.lakes.delta import DeltaSource

        selection, others = _parted(kwargs)
        return cls.from_sources(DeltaSource(url, version, timestamp, **selection), **others)

    @classmethod
    def from_iceberg(
        cls,
        catalog: str,
        table: str,
        *,
        snapshot: int | str | None = None,
        properties: Mapping[str, str] | None = None,
        **kwargs: Any,
    ) -> Self:
        """Connect to a snapshot of an Iceberg table, the current one by default; see ``IcebergSource``.

        Args:
            catalog: its name in the configuration of pyiceberg.
            table: ``namespace.name``.
            snapshot: its id, or the name of a tag or branch.
            properties: of the catalog, instead of the configuration.
            **kwargs: see above.

        Raises:
            DataNotReadable: there is no such table or snapshot, or it needs what is not supported.
        """
        from mlpools.data.lakes.iceberg import IcebergSource

        selection, others = _parted(kwargs)
        return cls.from_sources(
            IcebergSource(catalog, table, snapshot, properties or {}, **selection), **others
        )


def _parted(given: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return what selects rows and columns, and the rest."""
    names = ("columns", "filter", "limit")
    selection = {name: value for name, value in given.items() if name in names}
    if "columns" in selection:
        selection["columns"] = texts(selection["columns"])
    return selection, {name: value for name, value in given.items() if name not in names}
