"""``SqlSource``: a query as a source of rows."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

from mlpools.contract.wiring import CONNECTIONS_ENV, CONNECTIONS_MOUNT
from mlpools.data.parts import plan_parts
from mlpools.data.plan import Plan, Selection
from mlpools.data.sources import check_keys
from mlpools.data.sql import place
from mlpools.data.sql.address import Address, from_folder
from mlpools.data.sql.engines import database
from mlpools.data.sql.failures import short
from mlpools.data.sql.query import Query
from mlpools.data.sql.staging import stage
from mlpools.errors import InvalidSpec
from mlpools.storage import locate


@dataclasses.dataclass(frozen=True)
class SqlSource(Selection):
    """The rows of a query, read once under one snapshot when the plan is made.

    Attributes:
        query: one SELECT; under one snapshot it must give the same rows whenever it is asked.
        connection: URI of the database, or folder of a mounted Secret, or an open connection of ADBC, duckdb,
            sqlite3 or another DBAPI driver. It is not shown, and does not travel: a pickled source has lost
            its password or open connection. Plans do not need either.
        partition_on: a number, date or timestamp column by whose ranges PostgreSQL is read in parallel.
        stage: URL of the folder for the rows; rows of the same query that lie there already are used. By
            default the job's own, or outside of a job a folder that goes with this process.
    """

    query: str
    connection: Any = dataclasses.field(repr=False)
    partition_on: str = ""
    stage: str = ""

    def __post_init__(self) -> None:
        if isinstance(self.connection, str):
            object.__setattr__(self, "connection", Address(self.connection))

    @classmethod
    def from_spec(cls, name: str, raw: Mapping[str, Any], selection: Mapping[str, Any]) -> Self:
        """Read a section ``sql``; its Secret is mounted under the name of the data set.

        Raises:
            InvalidSpec: a field is missing or unknown.
        """
        needed = ("connectionSecret", "query")
        check_keys(name, raw, (*needed, "partitionOn"), needed=needed)
        folder = os.environ.get(CONNECTIONS_ENV, CONNECTIONS_MOUNT)
        mount = Path(folder, name.removeprefix("data.").removesuffix(".sql"))
        return cls(raw["query"], mount, raw.get("partitionOn") or "", **selection)

    def plan(self) -> Plan:
        """Read the query into parts, unless that is done already, and plan these."""
        if self.connection is None:
            raise InvalidSpec("An open connection does not travel to another process; give a URI instead.")
        given = from_folder(self.connection) if isinstance(self.connection, Path) else self.connection
        target, manifest = stage(
            database(given),
            Query(self.query, self.partition_on),
            locate(self.stage) if self.stage else place.folder(),
        )
        return plan_parts(target, manifest.parts, str(self), self)

    def __str__(self) -> str:
        return f"the rows of {short(self.query)!r}"

    def __reduce__(self) -> tuple[Any, ...]:
        values = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        if not isinstance(self.connection, Address | Path):
            values["connection"] = None
        return _made, (type(self), values)


def _made(cls: type[SqlSource], values: Mapping[str, Any]) -> SqlSource:
    return cls(**values)
