"""From files to a plan: each is inspected once, and all have to fit together."""

from __future__ import annotations

import dataclasses
import hashlib
import itertools
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import pyarrow as pa

from mlpools.data import formats, schemas
from mlpools.data.formats import Format, Inspection
from mlpools.data.plan import Plan, PlannedFile, common_names
from mlpools.errors import DataNotReadable, JobError, one_line
from mlpools.storage import FileInfo, locate

_THREADS = 8
#: Of files that do not describe themselves, this much of the start and of the end tells them apart.
_SAMPLE_BYTES = 1 << 16


def plan_files(
    found: Sequence[FileInfo],
    format_name: str,
    *,
    options: Mapping[str, Any] | None = None,
    constants: Sequence[Mapping[str, str | None]] = (),
    schema: pa.Schema | None = None,
    columns: Sequence[str] = (),
    version: str = "",
) -> Plan:
    """Inspect files and return their plan.

    Args:
        found: in the plan's order.
        format_name: one of ``formats.FORMATS``.
        options: of the format, named as in a job's spec.
        constants: of each file, values of columns that it does not have, as text.
        schema: of the table that the files belong to; by default what the files agree on.
        columns: to hand out, in this order; all by default.
        version: of the table or data set.

    Raises:
        DataNotReadable: a file is missing, damaged or does not fit the others.
        InvalidSpec: an option is unknown.
    """
    options = options or {}
    kind = formats.make(format_name, options)
    with ThreadPoolExecutor(min(_THREADS, max(1, len(found)))) as pool:
        inspections = list(pool.map(lambda info: _inspect(kind, info), found))
    if schema is None:
        schema = schemas.common_schema(
            [
                (info.url, schemas.select(inspection.schema, columns, info.url))
                for info, inspection in zip(found, inspections, strict=True)
            ]
        )
    names = common_names([info.url for info in found])
    files = (
        PlannedFile(
            url=info.url,
            name=name,
            size=info.size,
            version=info.version,
            digest=inspection.digest,
            format=format_name,
            units=inspection.units,
            constants=constant or {},
        )
        for info, name, inspection, constant in itertools.zip_longest(found, names, inspections, constants)
    )
    return Plan(
        files=tuple(files),
        schema=schemas.select(schema, columns, "The table"),
        options={format_name: dict(options)} if options else {},
        version=version,
    )


def open_planned(file: PlannedFile) -> pa.NativeFile:
    """Open a file of a plan, and no other that took its place; see ``reading`` for what goes wrong."""
    return locate(file.url).open(FileInfo(file.url, file.size, file.version))


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


def _inspect(kind: Format, info: FileInfo) -> Inspection:
    with reading(info.url), locate(info.url).open(info) as file:
        inspection = kind.inspect(file, info.url)
        return inspection if inspection.digest else dataclasses.replace(inspection, digest=_sample(file))


def _sample(file: pa.NativeFile) -> str:
    size = file.size()
    digest = hashlib.sha256(file.read_at(min(size, _SAMPLE_BYTES), 0))
    digest.update(file.read_at(min(size, _SAMPLE_BYTES), max(0, size - _SAMPLE_BYTES)))
    return digest.hexdigest()
