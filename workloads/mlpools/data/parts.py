"""The plan of a finished result: of exactly the parts that its manifest names."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

from mlpools.data.files import plan_files
from mlpools.data.plan import Plan, Selection
from mlpools.data.writers.manifest import Part
from mlpools.errors import DataNotReadable
from mlpools.storage import FileInfo, Location


def plan_parts(
    folder: Location, parts: Sequence[Part], what: str, selection: Selection, *, version: str = ""
) -> Plan:
    """Find a result's files and compare them with its manifest.

    Args:
        folder: of the parts.
        parts: that the manifest names.
        what: words for the result, for messages.
        selection: columns, filter and limit.
        version: of the plan.

    Raises:
        DataNotReadable: a file is gone, or is not what its maker wrote.
    """
    files = find_parts(folder, parts, what)
    options = {"pageChecksums": True}
    plan = plan_files(files, "parquet", options=options, selection=selection, version=version)
    for file, part in zip(plan.files, parts, strict=True):
        if file.digest != part.footer:
            raise _changed(file.url, what)
    # An attempt's name is in the files' names; data that is the same has the same plan.
    names = (f"part-{i:05d}.parquet" for i in range(len(parts)))
    named = (dataclasses.replace(file, name=name) for file, name in zip(plan.files, names, strict=True))
    return dataclasses.replace(plan, files=tuple(named))


def find_parts(folder: Location, parts: Sequence[Part], what: str) -> list[FileInfo]:
    """Return a result's files as they lie there now, in the manifest's order.

    Raises:
        DataNotReadable: a file is gone, or has another size.
    """
    there = {info.url: info for info in folder.list()}
    return [_whole(folder.child(part.name).url, part.bytes, there, what) for part in parts]


def _whole(url: str, size: int, there: Mapping[str, FileInfo], what: str) -> FileInfo:
    info = there.get(url)
    if info is None:
        raise DataNotReadable(f"{url} is gone, and {what} with it. Restore the file, or write the data anew.")
    if info.size != size:
        raise _changed(url, what)
    return info


def _changed(url: str, what: str) -> DataNotReadable:
    return DataNotReadable(
        f"{url} is not the file that {what} was made of: somebody changed it. "
        "Restore it, or write the data anew."
    )
