"""The files that a version of a table consists of, as a plan."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

import pyarrow as pa

from mlpools.data.files import plan_files
from mlpools.data.plan import Plan, Selection
from mlpools.errors import DataNotReadable
from mlpools.storage import FileInfo, FileMissing, Location, locate


@dataclasses.dataclass(frozen=True)
class TableFile:
    """One file of a table.

    Attributes:
        url: of the file.
        constants: values of partition columns, as text; None is null.
    """

    url: str
    constants: Mapping[str, str | None]


def plan_table(
    root: Location, files: Sequence[TableFile], schema: pa.Schema, selection: Selection, version: str
) -> Plan:
    """Return the plan of a table's files. A column that a file is older than is null in it.

    Args:
        root: the table's folder; files may lie elsewhere.
        files: of one version.
        schema: of that version.
        selection: columns, filter and limit.
        version: words for it, such as ``version 3 of the Delta table /data/t``.

    Raises:
        DataNotReadable: a file is gone, or there is none.
    """
    if not files:
        raise DataNotReadable(f"The {version} has no rows.")
    ordered = sorted(files, key=lambda file: file.url)
    there = {info.url: info for info in root.list(hidden=True)}
    return plan_files(
        [there.get(file.url) or _elsewhere(file.url, version) for file in ordered],
        "parquet",
        constants=[file.constants for file in ordered],
        types=pa.schema([field for field in schema if field.name in ordered[0].constants]),
        schema=schema,
        selection=selection,
        version=version,
    )


def _elsewhere(url: str, version: str) -> FileInfo:
    """Return what is known of a file that is not below the table's folder, as in a clone of a table."""
    try:
        return locate(url).info()
    except FileMissing as error:
        raise DataNotReadable(
            f"{url} is gone, and {version} with it: old versions are readable until they are vacuumed or "
            "expired. Read a newer version."
        ) from error
