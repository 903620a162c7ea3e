"""Making parts a result: one create-only write decides, whoever dies and whenever.

    part-<attempt>-<rank>-<n>.parquet  rows
    _manifest.json                     all parts with their checksums; of two writers one can create it
    _SUCCESS                           the manifest's digest; written last, so its presence means: complete

Nobody holds a lock, so nobody can die holding one. The order is: parts, manifest (now the race is
decided), removal of what other attempts left behind, ``_SUCCESS``. A writer that dies before the manifest
leaves parts that no manifest names; one that dies after it leaves a result that anybody may finish, and the
next writer does. Readers take a result only with ``_SUCCESS``.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import os
import re
from collections.abc import Iterable, Mapping
from typing import Any

import pyarrow as pa

from mlpools.data.writers.manifest import Manifest, Part
from mlpools.errors import DataNotReadable, OutputExists, OutputNotWritable, one_line
from mlpools.storage import FileInfo, FileMissing, Location

_log = logging.getLogger(__name__)

MANIFEST = "_manifest.json"
SUCCESS = "_SUCCESS"
_PART = re.compile(
    r"_?(part|shard)-[0-9a-f]{8}-\d{5}-\d{5}\.(parquet|arrow)"
    r"|part-\d{6,}(-\d+-[0-9a-z-]+)?\.(parquet|arrow|csv)"  # of a batch inference, see its parts
)
#: What ``Location.honours_once`` writes, and leaves if it is killed.
_PROBE = "once-probe"
_SHOWN = 3
_VERIFY_BYTES = 8 << 20


def begin(target: Location, *, alone: bool = False) -> str:
    """Return the name of a new attempt to write a result, the same for all ranks that write parts of it.

    Args:
        target: the result's folder; it need not exist.
        alone: the caller knows that no earlier writer lives any more, so that what one left can go now
            and not only with the commit.

    Raises:
        OutputExists: the target holds a result, or something else.
        OutputNotWritable: the target refuses.
    """
    names = _names(target)
    if MANIFEST in names:
        finish(target)
        raise OutputExists(f"{target} holds a finished result already. Choose another place, or delete it.")
    foreign = [name for name in names if not _is_ours(name)]
    if foreign:
        more = ", …" if len(foreign) > _SHOWN else ""
        raise OutputExists(
            f"{target} is not empty: it holds {', '.join(foreign[:_SHOWN])}{more}. "
            "Choose an empty place, or delete what is there."
        )
    if alone:
        remove(target, names)
    if target.local is None and not target.honours_once():
        _log.warning(
            "The store of %s replaces objects that must be written once only: let no two programs write "
            "there at the same time, or the second one's result takes the first one's place.",
            target,
        )
    return os.urandom(4).hex()


def part_prefix(attempt: str) -> str:
    """Return how the names of an attempt's parts begin."""
    return f"part-{attempt}-"


def write_part(target: Location, name: str, data: bytes) -> None:
    """Write one part.

    Raises:
        OutputNotWritable: the target refuses.
        OutputExists: another writer finished the result; this part is not left behind.
    """
    try:
        target.child(name).write(data)
    except OutputNotWritable:
        if target.child(MANIFEST).exists():  # its commit removed the file while it was being written
            raise finished_by_another(target) from None
        raise
    if target.child(MANIFEST).exists():
        remove(target, [name])
        raise finished_by_another(target)


def commit(
    target: Location,
    parts: Iterable[Part],
    schema: pa.Schema,
    *,
    attempt: str,
    details: Mapping[str, Any] | None = None,
) -> Manifest:
    """Make the parts of all ranks a result. Exactly one process calls it, after all have closed.

    Args:
        target: the result's folder.
        parts: of all ranks.
        schema: of the parts.
        attempt: theirs.
        details: what else the manifest shall say, in JSON's types.

    Raises:
        OutputExists: another writer was faster; the parts of this attempt went with its commit.
        OutputNotWritable: the target refuses, or a part has vanished.
    """
    ordered = tuple(sorted(parts, key=lambda part: part.name))
    manifest = Manifest(ordered, schema.remove_metadata(), attempt, details or {})
    document = manifest.to_json().encode()
    there = {_name(target, info): info.size for info in target.list(hidden=True)}
    if MANIFEST not in there:
        _check_present(target, ordered, there)
    if not _create(target.child(MANIFEST), document):
        raise finished_by_another(target)
    _finish(target, document)
    return manifest


def finish(target: Location) -> None:
    """Complete what a writer left that died between its manifest and ``_SUCCESS``.

    Raises:
        OutputExists: the manifest cannot be used.
        OutputNotWritable: the target refuses.
    """
    _finish(target, target.child(MANIFEST).read())


def read_manifest(target: Location) -> Manifest:
    """Return what a finished result consists of.

    Raises:
        DataNotReadable: there is none, it is not finished, or manifest and ``_SUCCESS`` do not fit together.
    """
    document = _read(target, MANIFEST)
    success = _read(target, SUCCESS)
    try:
        expected = json.loads(success)["manifest"]
    except (KeyError, TypeError, ValueError):
        expected = None
    if hashlib.sha256(document).hexdigest() != expected:
        raise DataNotReadable(
            f"{target.child(MANIFEST)} is not what its writer wrote: its digest differs from the one in "
            f"{SUCCESS}. Restore both files, or write the data anew."
        )
    try:
        return Manifest.from_json(document.decode())
    except ValueError as error:
        raise DataNotReadable(f"{target.child(MANIFEST)}: {one_line(error)}.") from error


def verify(target: Location, manifest: Manifest) -> None:
    """Read every byte of a result and compare it with the manifest.

    Raises:
        DataNotReadable: a part is gone or differs; the first one is named.
    """
    for part in manifest.parts:
        location, digest = target.child(part.name), hashlib.sha256()
        for start in range(0, part.bytes + 1, _VERIFY_BYTES):  # one byte more: it must not be there
            digest.update(location.read_range(start, min(part.bytes + 1, start + _VERIFY_BYTES)))
        if digest.hexdigest() != part.sha256:
            raise DataNotReadable(
                f"{location} was changed after it was written. Restore it, or write the data anew."
            )


def delete(target: Location) -> None:
    """Delete a result; the manifest goes first, so that a deletion that is cut off leaves no result.

    Raises:
        OutputNotWritable: the target refuses.
    """
    target.child(MANIFEST).delete()
    remove(target, [name for name in _names(target) if _is_ours(name)])


def remove(target: Location, names: Iterable[str]) -> None:
    """Remove files as far as possible: what stays is named by no manifest, and a later commit removes it."""
    for name in names:
        with contextlib.suppress(OutputNotWritable):
            target.child(name).delete()


def _finish(target: Location, document: bytes) -> None:
    """Do what is left once the manifest exists; whoever finds it so may do it."""
    try:
        named = {part.name for part in Manifest.from_json(document.decode()).parts}
    except ValueError as error:
        raise OutputExists(
            f"{target.child(MANIFEST)} cannot be used: {one_line(error)}. Delete it, or choose another place."
        ) from error
    keep = named | {MANIFEST, SUCCESS}
    remove(target, [name for name in _names(target) if _is_ours(name) and name not in keep])
    mark = json.dumps({"manifest": hashlib.sha256(document).hexdigest()}).encode()
    if not _create(target.child(SUCCESS), mark):  # of a result whose deletion was cut off
        target.child(SUCCESS).write(mark)


def _check_present(target: Location, parts: Iterable[Part], there: Mapping[str, int]) -> None:
    for part in parts:
        if there.get(part.name) != part.bytes:
            raise OutputNotWritable(
                f"{target.child(part.name)} was removed or changed before the result was complete. "
                "Let nothing else write there, and run again."
            )


def _create(location: Location, data: bytes) -> bool:
    """Write once; True too if somebody finished the same for us."""
    try:
        location.write(data, once=True)
    except FileExistsError:
        return location.read() == data
    return True


def _read(target: Location, name: str) -> bytes:
    try:
        return target.child(name).read()
    except FileMissing as error:
        raise DataNotReadable(
            f"{target} holds no finished result: there is no {name}. "
            "Its writer may still be at work, or was stopped; write it again."
        ) from error


def _names(target: Location) -> list[str]:
    return [_name(target, info) for info in target.list(hidden=True)]


def _name(target: Location, info: FileInfo) -> str:
    return info.url.removeprefix(target.url.rstrip("/")).lstrip("/")


def _is_ours(name: str) -> bool:
    """Whether this module makes such names; a killed local writer leaves ``.<name>.<something>``."""
    bare = name.removeprefix(".")
    return bool(_PART.match(bare)) or bare.startswith((MANIFEST, SUCCESS, _PROBE))


def finished_by_another(target: Location) -> OutputExists:
    """Return the failure of a writer that came second."""
    return OutputExists(f"{target} was finished by another writer in the meantime; its result stands.")
