"""The plan: files, row groups and types, resolved once by rank 0 and used by every rank.

A second listing by another rank could see another set of files.
"""

from __future__ import annotations

import base64
import dataclasses
import functools
import hashlib
import json
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pyarrow as pa
import pyarrow.fs
import pyarrow.parquet as pq

from mlpools.data.sources import ParquetSource, list_files
from mlpools.errors import DataNotReadable, one_line

#: One read of a file's end gets most footers whole.
_TAIL_BYTES = 1 << 16
_MAGIC = b"PAR1"
_THREADS = 8


@dataclasses.dataclass(frozen=True)
class PlannedFile:
    """One Parquet file.

    Attributes:
        path: absolute.
        name: relative to the common folder of all files of the plan.
        size: bytes.
        digest: SHA-256 of its footer, which lists every column chunk with place, size and statistics.
        group_rows: rows of each row group.
    """

    path: str
    name: str
    size: int
    digest: str
    group_rows: tuple[int, ...]


@dataclasses.dataclass(frozen=True)
class Plan:
    """Everything about a Parquet source that does not need its rows.

    Attributes:
        files: sorted by path.
        schema: of every file; where integer or float widths differ, the common type.
    """

    files: tuple[PlannedFile, ...]
    schema: pa.Schema

    @functools.cached_property
    def groups(self) -> tuple[tuple[PlannedFile, int], ...]:
        """All row groups in order, as ``(file, index within the file)``."""
        return tuple((file, index) for file in self.files for index in range(len(file.group_rows)))

    @property
    def group_rows(self) -> list[int]:
        """Rows of each row group, in order."""
        return [rows for file in self.files for rows in file.group_rows]

    @property
    def num_rows(self) -> int:
        """Rows of all files."""
        return sum(self.group_rows)

    def fingerprint(self, columns: Sequence[str]) -> str:
        """Return the SHA-256 that names this data.

        It sees names, sizes and footers of the files and the columns used. It does not see a page
        that was changed in place with size, statistics and footer kept.
        """
        digest = hashlib.sha256()
        for file in sorted(self.files, key=lambda file: file.name):
            digest.update(json.dumps([file.name, file.size, file.digest]).encode())
        digest.update(json.dumps({"columns": list(columns)}).encode())
        return digest.hexdigest()

    def to_json(self) -> str:
        """Return the text that is sent to the other ranks."""
        schema = base64.b64encode(self.schema.serialize().to_pybytes()).decode()
        return json.dumps({"files": [dataclasses.astuple(file) for file in self.files], "schema": schema})

    @classmethod
    def from_json(cls, text: str) -> Plan:
        """Read what ``to_json`` wrote."""
        raw = json.loads(text)
        schema = pa.ipc.read_schema(pa.py_buffer(base64.b64decode(raw["schema"])))
        files = (
            PlannedFile(path, name, size, digest, tuple(rows))
            for path, name, size, digest, rows in raw["files"]
        )
        return cls(files=tuple(files), schema=schema)


def resolve(source: ParquetSource) -> Plan:
    """List the files of a source and read their footers.

    Raises:
        DataNotReadable: a file is missing, is not Parquet or does not fit the others, or there are no rows.
    """
    system, listed = list_files(source)
    paths = [path for path, _ in listed]
    base = os.path.commonpath([str(Path(path).parent) for path in paths])
    with ThreadPoolExecutor(min(_THREADS, len(listed))) as pool:
        footers = list(pool.map(lambda item: _read_footer(system, *item), listed))
    files = tuple(
        PlannedFile(
            path=path,
            name=os.path.relpath(path, base),
            size=size,
            digest=digest,
            group_rows=tuple(meta.row_group(i).num_rows for i in range(meta.num_row_groups)),
        )
        for (path, size), (digest, meta) in zip(listed, footers, strict=True)
    )
    schema = _common_schema([(path, meta.schema) for path, (_, meta) in zip(paths, footers, strict=True)])
    plan = Plan(files=files, schema=schema)
    if plan.num_rows == 0:
        raise DataNotReadable(f"{', '.join(source.urls)} has no rows.")
    return plan


def _read_footer(system: pa.fs.FileSystem, path: str, size: int) -> tuple[str, pq.FileMetaData]:
    """Return digest and content of a file's footer."""
    try:
        with system.open_input_file(path) as file:
            tail = file.read_at(min(size, _TAIL_BYTES), max(0, size - _TAIL_BYTES))
            if len(tail) < 12 or tail[-4:] != _MAGIC:
                raise DataNotReadable(
                    f"{path} is not a Parquet file; have data.*.parquet.url name only such files."
                )
            length = int.from_bytes(tail[-8:-4], "little") + 8
            if length > len(tail) and length <= size - len(_MAGIC):
                tail = file.read_at(length, size - length)
    except OSError as error:
        raise DataNotReadable(
            f"{path} cannot be read: {one_line(error)}. Is its volume well, and may the job's user read it?"
        ) from error
    footer = tail[-length:]
    try:
        meta = pq.read_metadata(pa.BufferReader(_MAGIC + footer))
    except (OSError, pa.ArrowException) as error:
        raise DataNotReadable(f"{path} is damaged: {one_line(error)}. Write the file anew.") from error
    return hashlib.sha256(footer).hexdigest(), meta


def _common_schema(schemas: Sequence[tuple[str, pq.ParquetSchema]]) -> pa.Schema:
    """Return one schema for all files: the columns of the first one, each in a type that fits all."""
    first_path, first = schemas[0]
    common: pa.Schema = first.to_arrow_schema().remove_metadata()
    for path, parquet in schemas[1:]:
        if parquet.equals(first):
            continue
        schema = parquet.to_arrow_schema()
        for i, field in enumerate(common):
            if schema.get_field_index(field.name) < 0:
                raise DataNotReadable(
                    f"{path} has no column {field.name!r}, which {first_path} has. "
                    "Write the files with the same columns, or leave this one out of the URL."
                )
            other = schema.field(field.name)
            try:
                merged = pa.unify_schemas(
                    [pa.schema([field]), pa.schema([other])], promote_options="permissive"
                )
            except pa.ArrowException as error:
                raise DataNotReadable(
                    f"Column {field.name!r} is {field.type} in {first_path}, but {other.type} in {path}. "
                    "Write both with the same type."
                ) from error
            common = common.set(i, merged.field(0))
    return common
