"""Counts the rows of units that do not tell: of text, and of whatever has to pass a filter first."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from mlpools.data import reader
from mlpools.data.cache.files import FileCache
from mlpools.data.plan import Plan, PlannedFile, first_rows, require_rows
from mlpools.data.progress import stepped

_THREADS = 4


def count(plan: Plan, cache: FileCache | None = None) -> Plan:
    """Return a plan with the rows of every unit, which shards and row numbers need.

    Units that are not known are read once, only in the columns that the filter looks at, and with a limit
    no further than it reaches.

    Args:
        plan: of files.
        cache: holds what was fetched from remote places.

    Raises:
        DataNotReadable: a file cannot be read, or no row passes the filter.
    """
    if plan.counted:
        return plan
    if plan.limit is None:
        with ThreadPoolExecutor(min(_THREADS, len(plan.files))) as pool:
            counted = pool.map(lambda file: _counted(plan, file, cache), plan.files)
            files: Sequence[PlannedFile] = list(stepped(counted, "Counting rows", len(plan.files), "files"))
    else:
        files = _until(plan, plan.limit, cache)
    return require_rows(first_rows(dataclasses.replace(plan, files=tuple(files))))


def _until(plan: Plan, limit: int, cache: FileCache | None) -> Sequence[PlannedFile]:
    files: list[PlannedFile] = []
    for file in plan.files:
        units = []
        for unit, rows in zip(file.units, reader.count_rows(plan, file, cache), strict=False):
            units.append(dataclasses.replace(unit, rows=rows))
            limit -= rows
            if limit <= 0:
                break
        files.append(dataclasses.replace(file, units=tuple(units)))
        if limit <= 0:
            break
    return files


def _counted(plan: Plan, file: PlannedFile, cache: FileCache | None) -> PlannedFile:
    rows = reader.count_rows(plan, file, cache)
    units = (dataclasses.replace(unit, rows=found) for unit, found in zip(file.units, rows, strict=True))
    return dataclasses.replace(file, units=tuple(units))
