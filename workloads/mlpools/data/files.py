"""From files to a plan: each is inspected once, and all have to fit together."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import pyarrow as pa

from mlpools.data import filters, formats, schemas
from mlpools.data.formats import Bounds, Format, Inspection
from mlpools.data.plan import Plan, PlannedFile, Selection, Unit, common_names
from mlpools.data.predicates import Predicate
from mlpools.data.progress import stepped
from mlpools.errors import DataNotReadable, JobError, one_line
from mlpools.storage import FileInfo, locate

_THREADS = 8
#: Of files that do not describe themselves, this much of the start and of the end tells them apart.
_SAMPLE_BYTES = 1 << 16


@dataclasses.dataclass(frozen=True)
class _Listed:
    """A file before it was looked into.

    Attributes:
        info: as it was listed.
        constants: values of columns that are not read from it, as text; None is null.
    """

    info: FileInfo
    constants: Mapping[str, str | None]


def plan_files(
    found: Sequence[FileInfo],
    format_name: str,
    *,
    options: Mapping[str, Any] | None = None,
    constants: Sequence[Mapping[str, str | None]] = (),
    types: pa.Schema | None = None,
    schema: pa.Schema | None = None,
    selection: Selection | None = None,
    version: str = "",
) -> Plan:
    """Inspect files and return their plan, without files and units that the filter rules out.

    Args:
        found: in the plan's order.
        format_name: one of ``formats.FORMATS``.
        options: of the format, named as in a job's spec.
        constants: of each file, values of columns that are not read from it, as text; None is null.
        types: of the constants.
        schema: of the table that the files belong to, constants included; a column that a file does not
            have is null there. By default what the files agree on, and then the constants.
        selection: columns, filter and limit.
        version: of the table or data set.

    Raises:
        DataNotReadable: a file is missing, damaged or does not fit the others, or no file can have rows
            that pass the filter.
        InvalidSpec: an option is unknown, or the filter makes no sense for the columns.
    """
    options, selection, types = options or {}, selection or Selection(), types or pa.schema([])
    kind = formats.make(format_name, options)
    listed = [_Listed(*pair) for pair in zip(found, constants or [{}] * len(found), strict=True)]
    predicate = filters.parse(selection.filter) if selection.filter else None
    if predicate is not None:
        listed = [file for file in listed if True in predicate.outcomes(types, _constant_bounds(file, types))]
        if not listed:
            raise DataNotReadable(f"No file can have rows that pass the filter {selection.filter!r}.")
    with ThreadPoolExecutor(min(_THREADS, max(1, len(listed)))) as pool:
        found_in = pool.map(lambda file: _inspect(kind, file.info), listed)
        inspections = list(stepped(found_in, "Looking into files", len(listed), "files"))
    if schema is not None:
        listed = [_completed(*pair, schema) for pair in zip(listed, inspections, strict=True)]
        types = schema
    used = [*selection.columns, *sorted(predicate.columns if predicate else ())] if selection.columns else []
    whole = schema or pa.schema([*_agreed(kind, listed, inspections, used), *types])
    visible = schemas.select(whole, selection.columns, "The data")
    further = sorted(predicate.columns - set(visible.names)) if predicate else []
    hidden = pa.schema([*schemas.select(whole, further, "For the filter, the data")] if further else [])
    if predicate is not None:
        predicate.expression(pa.schema([*visible, *hidden]))  # refuses what cannot be compared
    names = common_names([file.info.url for file in listed])
    return Plan(
        files=tuple(
            _planned(format_name, file, name, inspection, _Pruning(whole, types, predicate))
            for file, name, inspection in zip(listed, names, inspections, strict=True)
        ),
        schema=visible,
        hidden=hidden,
        filter=selection.filter,
        limit=selection.limit,
        options={format_name: dict(options)},
        version=version,
    )


@contextmanager
def reading(url: str, part: str = "") -> Iterator[None]:
    """Turn what goes wrong inside into a sentence that names the file.

    Args:
        url: of the file.
        part: of it, such as ``row group 3``.

    Raises:
        DataNotReadable: the file is missing, was replaced, is damaged, or the volume fails.
    """
    where = f"{url}, {part}," if part else url
    try:
        yield
    except JobError:
        raise
    except (OSError, ValueError, pa.ArrowException) as error:
        if getattr(error, "errno", None):
            raise DataNotReadable(
                f"{where} cannot be read: {one_line(error)}. "
                "Is its volume well, and may the job's user read it?"
            ) from error
        if isinstance(error, pa.ArrowException | OSError):
            raise DataNotReadable(f"{where} is damaged: {one_line(error)}. Write the file anew.") from error
        raise DataNotReadable(f"{where} {one_line(error)}.") from error


@dataclasses.dataclass(frozen=True)
class _Pruning:
    """What decides which units have to be read."""

    schema: pa.Schema
    types: pa.Schema
    predicate: Predicate | None

    def keep(self, file: _Listed, inspection: Inspection) -> Iterator[Unit]:
        """Yield the units that can have rows that pass; their rows stay known if all of them do."""
        constant = _constant_bounds(file, self.types)
        for i, unit in enumerate(inspection.units):

            def lookup(column: str, i: int = i) -> Bounds | None:
                return constant(column) or inspection.bounds(i, column)

            outcomes = self.predicate.outcomes(self.schema, lookup) if self.predicate else {True}
            if outcomes == {True}:
                yield unit
            elif True in outcomes:
                yield dataclasses.replace(unit, rows=None)


def _planned(
    format_name: str, file: _Listed, name: str, inspection: Inspection, pruning: _Pruning
) -> PlannedFile:
    return PlannedFile(
        url=file.info.url,
        name=name,
        size=file.info.size,
        version=file.info.version,
        digest=inspection.digest,
        format=format_name,
        units=tuple(pruning.keep(file, inspection)),
        constants=file.constants,
    )


def _agreed(
    kind: Format, listed: Sequence[_Listed], inspections: Sequence[Inspection], used: Sequence[str]
) -> pa.Schema:
    """Return what the files agree on, looking only at the columns that are used, if some are chosen."""
    own = []
    for file, inspection in zip(listed, inspections, strict=True):
        if inspection.schema is None:
            continue
        fields = [field for field in schemas.plain(inspection.schema) if field.name not in file.constants]
        chosen = list(dict.fromkeys(name for name in used if name not in file.constants))
        schema = pa.schema(fields)
        own.append((file.info.url, schemas.select(schema, [] if kind.sparse else chosen, file.info.url)))
    if not own:
        shown = ", ".join(file.info.url for file in listed[:3])
        raise DataNotReadable(f"{shown} is empty. Name files that have rows.")
    if not kind.guesses_types:
        return schemas.common_schema(own)
    remedy = "The types are guessed from the first rows: say the right one under options.types."
    return schemas.without_null_types(schemas.common_schema(own, remedy, sparse=kind.sparse))


def _completed(file: _Listed, inspection: Inspection, schema: pa.Schema) -> _Listed:
    """Return a file of a table with null for columns that the table got later."""
    own = inspection.schema.names if inspection.schema is not None else ()
    later: dict[str, str | None] = dict.fromkeys(set(schema.names) - set(own))
    return dataclasses.replace(file, constants=later | dict(file.constants))


def _constant_bounds(file: _Listed, types: pa.Schema) -> Callable[[str], Bounds | None]:
    """Return what is known about the columns that a file does not have: every row has the same value."""

    def bounds(column: str) -> Bounds | None:
        if column not in file.constants:
            return None
        text = file.constants[column]
        value = None if text is None else pa.scalar(text).cast(types.field(column).type).as_py()
        return Bounds(value, value, nulls=int(text is None), rows=1)

    return bounds


def _inspect(kind: Format, info: FileInfo) -> Inspection:
    with reading(info.url), locate(info.url).open(info) as file:
        inspection = kind.inspect(file, info.url)
        return (
            inspection if inspection.digest else dataclasses.replace(inspection, digest=_digest(file, info))
        )


def _digest(file: pa.NativeFile, info: FileInfo) -> str:
    """Tell contents apart: by the store's version of an object, or by both ends of a local file."""
    if "://" in info.url:
        return info.version
    size = file.size()
    digest = hashlib.sha256(file.read_at(min(size, _SAMPLE_BYTES), 0))
    digest.update(file.read_at(min(size, _SAMPLE_BYTES), max(0, size - _SAMPLE_BYTES)))
    return digest.hexdigest()
