"""Many small files to few large ones: Arrow IPC shards, which read several times as fast.

Which files go into which shard is a function of the listing alone, and so is a shard's name. A run that was
cut off is taken up where it stopped: a shard that has its note is complete, and no other has one.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pyarrow as pa

from mlpools.data import raw_sources
from mlpools.data.crew import Crew
from mlpools.data.files import reading
from mlpools.data.formats.shard import BYTES
from mlpools.data.formats.whole import byte_strings
from mlpools.data.packs import PATH, cut, load
from mlpools.data.plan import common_names
from mlpools.data.writers import commit
from mlpools.data.writers.hashing_file import HashingFile
from mlpools.data.writers.manifest import Manifest, Part
from mlpools.errors import InvalidSpec
from mlpools.storage import FileInfo, Location, locate

SCHEMA = pa.schema([(BYTES, pa.large_binary()), (PATH, pa.large_string())])
#: A record batch is what is read, shuffled and dealt out at a time.
_BATCH_BYTES = 16 << 20
_BATCH_FILES = 1024
#: Shards that are written at the same time.
_WRITERS = 2
_ALL = 1 << 62


def generate_shards(
    src: str | Sequence[str],
    dest: str,
    file_pattern: str | Sequence[str] = (),
    target_shard_size_mb: float = 256,
    *,
    force_cleanup: bool = False,
) -> Manifest:
    """Pack files into Arrow shards: raw bytes in column ``bytes``, relative path in ``path``.

    Run it again after it was cut off: what is complete stays. Memory is bounded by a few record batches;
    each shard is laid down in the temporary folder first.

    Args:
        src: files, folders or globs; paths or URLs.
        dest: folder of the shards; it must be empty, or hold what an earlier run for the same files left.
        file_pattern: only files whose path ends so, such as ``*.jpg``.
        target_shard_size_mb: about so large is a shard, in 2**20 bytes.
        force_cleanup: delete shards that ``dest`` holds already.

    Returns:
        What was written; one row is one file.

    Raises:
        DataNotReadable: nothing matches, or a file cannot be read; it is named.
        OutputExists: ``dest`` holds a finished result, or something else.
        OutputNotWritable: ``dest`` refuses.
    """
    if target_shard_size_mb <= 0:
        raise InvalidSpec(f"target_shard_size_mb must be above 0, not {target_shard_size_mb}.")
    target = locate(dest)
    if force_cleanup:
        commit.delete(target)
    commit.begin(target)
    shards = list(_plan(raw_sources.listed(src, file_pattern), int(target_shard_size_mb * (1 << 20))))
    attempt = _attempt(shards)
    done = {info.url: info.size for info in target.list(hidden=True)}
    crew = Crew(remote=locate(shards[0][0].info.url).local is None)
    pool = ThreadPoolExecutor(_WRITERS)
    try:
        writer = _Writer(target, crew, done)
        names = (f"shard-{attempt}-00000-{i:05d}.arrow" for i in range(len(shards)))
        parts = list(pool.map(writer.finish, names, shards))
    finally:
        pool.shutdown(cancel_futures=True)
        crew.close()
    return commit.commit(target, parts, SCHEMA, attempt=attempt)


@dataclasses.dataclass(frozen=True)
class _Member:
    info: FileInfo
    name: str


_Shard = Sequence[_Member]


def _plan(found: Sequence[FileInfo], target_bytes: int) -> Iterator[_Shard]:
    names = common_names([info.url for info in found])
    members = [_Member(info, name) for info, name in zip(found, names, strict=True)]
    for start, stop in cut([info.size for info in found], target_bytes, _ALL):
        yield members[start:stop]


def _attempt(shards: Sequence[_Shard]) -> str:
    """Return the name of all runs that write exactly these shards."""
    content = [[[member.name, member.info.size, member.info.version] for member in shard] for shard in shards]
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()[:8]


class _Writer:
    """Writes shards that are not there yet."""

    def __init__(self, target: Location, crew: Crew, done: Mapping[str, int]) -> None:
        self._target = target
        self._crew = crew
        self._done = done

    def finish(self, name: str, shard: _Shard) -> Part:
        """Return the shard of that name, written now or by an earlier run."""
        place, note = self._target.child(name), self._target.child(f"_{name}.json")
        if place.url in self._done and note.url in self._done:
            part = _read_note(note)
            if part is not None and part.bytes == self._done[place.url]:
                return part
        with tempfile.TemporaryDirectory(prefix="mlpools-shard-") as folder:
            path = Path(folder) / name
            part = self._lay_down(path, shard)
            place.write_file(path)
        note.write(json.dumps(part.to_dict()).encode())
        return part

    def _lay_down(self, path: Path, shard: _Shard) -> Part:
        group_rows = []
        with HashingFile(path) as file:
            with pa.ipc.new_file(file, SCHEMA) as writer:
                sizes = [member.info.size for member in shard]
                for start, stop in cut(sizes, _BATCH_BYTES, _BATCH_FILES):
                    writer.write_batch(self._batch(shard[start:stop]))
                    group_rows.append(stop - start)
            size = file.tell()
        digest = file.digest.hexdigest()
        return Part(path.name, len(shard), size, sha256=digest, footer="", group_rows=tuple(group_rows))

    def _batch(self, members: _Shard) -> pa.RecordBatch:
        contents = byte_strings(self._crew.map(_load, members), SCHEMA.field(BYTES).type)
        names = byte_strings([member.name.encode() for member in members], SCHEMA.field(PATH).type)
        return pa.RecordBatch.from_arrays([contents, names], schema=SCHEMA)


def _load(member: _Member) -> bytes:
    with reading(member.info.url):
        return load(member.info)


def _read_note(note: Location) -> Part | None:
    """Return what an earlier run wrote of its shard; None if it was cut off while writing it."""
    try:
        return Part.from_dict(json.loads(note.read()))
    except (KeyError, TypeError, ValueError):
        return None
