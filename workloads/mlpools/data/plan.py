"""The plan: files, units and types, resolved once by rank 0 and used by every rank.

A second listing by another rank could see another set of files.
"""

from __future__ import annotations

import base64
import dataclasses
import functools
import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import pyarrow as pa

from mlpools.data.described import Description, without_credentials
from mlpools.data.schemas import common_schema
from mlpools.errors import DataNotReadable, InvalidSpec
from mlpools.storage import FileInfo


@dataclasses.dataclass(frozen=True)
class Unit:
    """The smallest part of a file that is read by itself.

    Attributes:
        start: in the format's own count: a row group, a stripe, a record batch, or a byte.
        stop: the end in the same count, exclusive.
        rows: that pass the plan's filter and limit; None as long as nobody has counted.
    """

    start: int
    stop: int
    rows: int | None = None


@dataclasses.dataclass(frozen=True)
class PlannedFile:
    """One file.

    Attributes:
        url: where it lies.
        name: relative to the common folder of all files of the plan.
        size: bytes.
        version: of the bytes that were listed; a reader refuses others.
        digest: of the content, or of the part that describes it.
        format: name of one of ``formats.FORMATS``, of a pack one of ``formats.CONTENTS``.
        units: in order.
        constants: values of columns that are not in the file, as text; None is null.
        members: of a pack of small files, each of which is a row; it counts as one file. The pack's
            ``url`` is its first member's, and it has no ``version`` of its own.
    """

    url: str
    name: str
    size: int
    version: str
    digest: str
    format: str
    units: tuple[Unit, ...]
    constants: Mapping[str, str | None] = dataclasses.field(default_factory=dict)
    members: tuple[FileInfo, ...] = ()

    @property
    def info(self) -> FileInfo:
        """The file as it was when it was listed."""
        return FileInfo(self.url, self.size, self.version)

    @property
    def identity(self) -> list[Any]:
        """What tells its bytes, and their meaning, from those of any other file or version of it."""
        return [self.url, self.size, self.version, self.digest, self.format, self.constants]


@dataclasses.dataclass(frozen=True)
class Plan:
    """Everything about data in files that does not need its rows.

    Attributes:
        files: in order.
        schema: the columns that readers hand out.
        hidden: further columns, which only the filter looks at.
        filter: predicate that rows pass, empty for all.
        limit: only so many first rows in the plan's order; None for all.
        options: of each format in use, by its name.
        version: of the table or data set that the files belong to, if it has versions.
    """

    files: tuple[PlannedFile, ...]
    schema: pa.Schema
    hidden: pa.Schema = dataclasses.field(default_factory=lambda: pa.schema([]))
    filter: str = ""
    limit: int | None = None
    options: Mapping[str, Mapping[str, Any]] = dataclasses.field(default_factory=dict)
    version: str = ""

    @functools.cached_property
    def units(self) -> tuple[tuple[PlannedFile, Unit], ...]:
        """All units in order, each with its file; a ``RowRange``'s group is a position in here."""
        return tuple((file, unit) for file in self.files for unit in file.units)

    @property
    def counted(self) -> bool:
        """Whether the rows of every unit are known."""
        return all(unit.rows is not None for _, unit in self.units)

    @property
    def group_rows(self) -> list[int]:
        """Rows of each unit, in order, of a plan that is counted."""
        rows = [unit.rows for _, unit in self.units if unit.rows is not None]
        if len(rows) < len(self.units):
            raise ValueError("The rows of this plan are not counted; use counting.count first.")
        return rows

    @property
    def num_rows(self) -> int:
        """Rows of a plan that is counted."""
        return sum(self.group_rows)

    def fingerprint(self, columns: Sequence[str] | None = None) -> str:
        """Return the SHA-256 that names this data.

        It sees names, sizes and digests of the files, the values of partition columns, filter, limit,
        options, version and the columns used. It does not see a page of a Parquet file that was
        changed in place with size, statistics and footer kept, nor the middle of a local text file.

        Args:
            columns: that are used, in order; all by default.
        """
        digest = hashlib.sha256()
        for file in sorted(self.files, key=lambda file: file.name):
            digest.update(_canonical([file.name, file.size, file.digest, file.format, file.constants]))
        used = self.schema.names if columns is None else list(columns)
        digest.update(_canonical([used, self.filter, self.limit, self.options, self.version]))
        return digest.hexdigest()

    def to_json(self) -> str:
        """Return the text that is sent to the other ranks."""
        fields = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        files = [dataclasses.astuple(file) for file in self.files]
        return json.dumps(
            fields | {"files": files, "schema": packed(self.schema), "hidden": packed(self.hidden)}
        )

    @classmethod
    def from_json(cls, text: str) -> Plan:
        """Read what ``to_json`` wrote."""
        raw = json.loads(text)
        files = []
        for url, name, size, version, digest, kind, units, constants, members in raw["files"]:
            parts = tuple(Unit(*unit) for unit in units)
            infos = tuple(FileInfo(*info) for info in members)
            files.append(PlannedFile(url, name, size, version, digest, kind, parts, constants, infos))
        schemas = {name: unpacked(raw[name]) for name in ("schema", "hidden")}
        return cls(**raw | schemas | {"files": tuple(files)})

    def __repr__(self) -> str:
        return Description(
            kind="Plan",
            sources=[without_credentials(file.url) for file in self.files],
            schema=self.schema,
            rows=self.num_rows if self.counted else None,
            files=len(self.files),
            size=sum(file.size for file in self.files),
        ).text()

    def __getstate__(self) -> dict[str, Any]:
        """Leave out what can be made again."""
        return {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Selection:
    """Which part of a source is wanted.

    Attributes:
        columns: to read, in this order; all by default.
        filter: predicate that rows pass, such as ``distance > 500 and carrier in ('AA', 'UA')``.
        limit: only so many first rows.
    """

    columns: tuple[str, ...] = ()
    filter: str = ""
    limit: int | None = None

    def __post_init__(self) -> None:
        if self.limit is not None and (isinstance(self.limit, bool) or self.limit < 1):
            raise InvalidSpec(f"A limit must be a number of rows above 0, not {self.limit!r}.")


class Plannable(Protocol):
    """A source that becomes a plan of files."""

    def plan(self) -> Plan:
        """List and inspect the files."""


def resolve(sources: Plannable | Sequence[Plannable]) -> Plan:
    """Return the plan of one source, or of several one after the other.

    Raises:
        DataNotReadable: a file is missing, damaged or does not fit the others, or there are no rows.
        InvalidSpec: the sources' filters, limits or options contradict each other.
    """
    given = list(sources) if isinstance(sources, Sequence) else [sources]
    plan = first_rows(_join([source.plan() for source in given]))
    return require_rows(plan) if plan.counted else plan


def first_rows(plan: Plan) -> Plan:
    """Return a plan without the units behind its limit, as far as rows are known."""
    if plan.limit is None:
        return plan
    left = plan.limit
    files = []
    for file in plan.files:
        units = []
        for unit in file.units:
            if left <= 0:
                break
            if unit.rows is None:
                return plan
            units.append(dataclasses.replace(unit, rows=min(unit.rows, left)))
            left -= unit.rows
        files.append(dataclasses.replace(file, units=tuple(units)))
    return dataclasses.replace(plan, files=tuple(files))


def require_rows(plan: Plan) -> Plan:
    """Return a plan that is counted.

    Raises:
        DataNotReadable: it has no rows.
    """
    if plan.num_rows == 0:
        shown = ", ".join(file.url for file in plan.files[:3]) + (", …" if len(plan.files) > 3 else "")
        condition = f" that pass the filter {plan.filter!r}" if plan.filter else ""
        raise DataNotReadable(f"{shown or 'The data'} has no rows{condition}.")
    return plan


def common_names(urls: Sequence[str]) -> list[str]:
    """Return each URL relative to the deepest folder that holds all of them; themselves if there is none."""
    if len({"://" in url for url in urls}) > 1:
        return list(urls)
    base = os.path.commonpath([os.path.dirname(url) for url in urls]) if urls else ""  # noqa: PTH120 - URLs
    return [os.path.relpath(url, base) for url in urls] if base else list(urls)


def _join(plans: Sequence[Plan]) -> Plan:
    first = plans[0]
    if len(plans) == 1:
        return first
    if any(plan.limit is not None for plan in plans):
        raise InvalidSpec("A limit is for one source; with several, take the first rows of the connector.")
    options: dict[str, Mapping[str, Any]] = {}
    for plan in plans:
        if (plan.filter, plan.version) != (first.filter, first.version):
            raise InvalidSpec("Sources that are read together need the same filter, and no versions.")
        for name, given in plan.options.items():
            if options.setdefault(name, given) != given:
                raise InvalidSpec(f"Sources of {name} files that are read together need the same options.")
    files = list({file.url: file for plan in plans for file in plan.files}.values())
    names = common_names([file.url for file in files])
    return dataclasses.replace(
        first,
        files=tuple(dataclasses.replace(file, name=name) for file, name in zip(files, names, strict=True)),
        schema=common_schema([(plan.files[0].url, plan.schema) for plan in plans]),
        hidden=common_schema([(plan.files[0].url, plan.hidden) for plan in plans]),
        options=options,
    )


def _canonical(value: Any) -> bytes:
    return json.dumps(value, sort_keys=True).encode()


def packed(schema: pa.Schema) -> str:
    """Return a schema as text."""
    return base64.b64encode(schema.serialize().to_pybytes()).decode()


def unpacked(text: str) -> pa.Schema:
    """Read what ``packed`` wrote."""
    return pa.ipc.read_schema(pa.py_buffer(base64.b64decode(text)))
