"""What the first stage leaves: a file for each shard of the input, its rows by bucket.

    _shuffle/rows-000007-<maker>.arrows    of shard 7, by one of its makers

A file is a row of Arrow streams, each with rows of one bucket, then an index of them as a stream, the
index's length (8 bytes, little-endian) and a mark. So one request reads a bucket's rows, in whatever store.
"""

from __future__ import annotations

import contextlib
import dataclasses
import re
import tempfile
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from mlpools.data.writers import commit
from mlpools.errors import DataNotReadable, OutputNotWritable
from mlpools.inference.partitions.buckets import arrange
from mlpools.inference.parts import TEMPORARY
from mlpools.storage import Location

FOLDER = "_shuffle"
_MARK = b"MLPOOLS1"
_LENGTH = 8
#: An index is in the last bytes of its file, mostly in so many.
_TAIL = 64 << 10
_NAME = re.compile(r"rows-(\d{6,})-[0-9a-z-]+\.arrows")
_INDEX = pa.schema({"bucket": pa.int64(), "start": pa.int64(), "stop": pa.int64(), "rows": pa.int64()})


class ShuffleFile:
    """A new local file of one shard's rows.

    Memory: twice the budget.

    Attributes:
        path: of the file.
        rows: so far, in each bucket.
    """

    def __init__(self, path: Path, column: str, buckets: int, *, budget: int) -> None:
        """Open it.

        Args:
            path: its folder is made if it is not there.
            column: that rows are hashed by.
            buckets: their number.
            budget: bytes of rows that wait until they are written.

        Raises:
            OutputNotWritable: the volume refuses.
        """
        self.path = path
        self.rows = np.zeros(buckets, np.int64)
        self._column, self._budget = column, budget
        self._held: list[pa.Table] = []
        self._held_bytes = 0
        self._index: list[tuple[int, int, int, int]] = []
        with self._writing():
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = path.open("wb")

    def add(self, rows: pa.Table) -> None:
        """Add rows.

        Raises:
            OutputNotWritable: the volume refuses, it may be full.
        """
        self._held.append(rows)
        self._held_bytes += rows.nbytes
        if self._held_bytes >= self._budget:
            self._write()

    def finish(self) -> None:
        """Write what is left and the index, and close the file.

        Raises:
            OutputNotWritable: the volume refuses.
        """
        if self._held:
            self._write()
        columns = zip(*self._index, strict=True) if self._index else [()] * len(_INDEX)
        index = _stream(pa.table([pa.array(column, pa.int64()) for column in columns], schema=_INDEX))
        with self._writing(), self._file as file:
            file.write(index)
            file.write(len(index).to_bytes(_LENGTH, "little") + _MARK)

    def abandon(self) -> None:
        """Close the file and remove it."""
        self._held = []
        with contextlib.suppress(OSError):
            self._file.close()
        with contextlib.suppress(OSError):
            self.path.unlink(missing_ok=True)

    def _write(self) -> None:
        rows = pa.concat_tables(self._held)
        self._held, self._held_bytes = [], 0
        arranged, counts = arrange(rows, self._column, len(self.rows))
        self.rows += counts
        ends = np.cumsum(counts)
        with self._writing():
            for bucket in np.flatnonzero(counts).tolist():
                count, start = int(counts[bucket]), self._file.tell()
                self._file.write(_stream(arranged.slice(int(ends[bucket]) - count, count)))
                self._index.append((bucket, start, self._file.tell(), count))

    @contextlib.contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise OutputNotWritable(
                f"{self.path} cannot be written: {error.strerror or error}. Mount a volume there that has "
                "space and that the job's user may write to."
            ) from error


@dataclasses.dataclass(frozen=True)
class Shuffled:
    """A file of the first stage.

    Attributes:
        location: of it.
        index: bucket, start, stop and rows of each stream.
    """

    location: Location
    index: pa.Table

    @classmethod
    def open(cls, location: Location) -> Shuffled:
        """Read a file's index.

        Raises:
            DataNotReadable: the file is gone or damaged.
        """
        size = location.info().size
        tail = location.read_range(max(0, size - _TAIL), size)
        if tail[-len(_MARK) :] != _MARK:
            raise _damaged(location)
        frame = _LENGTH + len(_MARK)
        length = int.from_bytes(tail[-frame : -len(_MARK)], "little")
        if length + frame > len(tail):
            tail = location.read_range(max(0, size - frame - length), size)
        return cls(location, _table(tail[len(tail) - frame - length : len(tail) - frame], location))

    def rows(self, buckets: int) -> list[int]:
        """Return the number of rows in each bucket."""
        bucket, rows = (self.index.column(name).to_numpy() for name in ("bucket", "rows"))
        counts = np.zeros(buckets, np.int64)
        np.add.at(counts, bucket, rows)
        found: list[int] = counts.tolist()
        return found

    def read(self, bucket: int) -> Iterator[pa.Table]:
        """Yield a bucket's rows.

        Raises:
            DataNotReadable: the file is gone or damaged.
        """
        of_bucket = np.flatnonzero(self.index.column("bucket").to_numpy() == bucket)
        for entry in self.index.take(pa.array(of_bucket)).to_pylist():
            table = _table(self.location.read_range(entry["start"], entry["stop"]), self.location)
            if table.num_rows != entry["rows"]:
                raise _damaged(self.location)
            yield table


@dataclasses.dataclass(frozen=True)
class Shuffle:
    """All files of the first stage.

    Attributes:
        target: the output's folder.
    """

    target: Location

    def scratch(self, shard: int, maker: str) -> Path:
        """Return a local path to write a file at, from where ``publish`` takes it."""
        attempt, _, worker = maker.partition("-")
        name = f"{worker}-{shard:06d}.arrows"
        if self.target.local is not None:
            return self.target.local / TEMPORARY / attempt / name
        return Path(tempfile.gettempdir()) / f"mlpools-{maker}-{name}"

    def publish(self, path: Path, shard: int, maker: str) -> str:
        """Put a finished file there, whole or not at all, and return its name.

        Args:
            path: of the file; it is gone afterwards.
            shard: its number.
            maker: attempt and worker; no other file has this name.

        Raises:
            OutputNotWritable: the place refuses.
            OutputExists: the output was finished without it.
        """
        name = f"rows-{shard:06d}-{maker}.arrows"
        place = self.target.child(f"{FOLDER}/{name}")
        if self.target.local is None:
            place.write_file(path)
        else:
            with contextlib.suppress(FileExistsError):  # this worker made it before, of the same rows
                place.take(path)
        path.unlink(missing_ok=True)
        if self.target.child(commit.MANIFEST).exists():
            commit.remove(self.target, [f"{FOLDER}/{name}"])
            raise commit.finished_by_another(self.target)
        return name

    def committed(self, shards: Collection[int]) -> dict[int, str]:
        """Return the names of the files that are there, by shard."""
        found: dict[int, str] = {}
        for info in self.target.child(FOLDER).list(hidden=True):
            name = info.url.rsplit("/", 1)[-1]
            match = _NAME.fullmatch(name)
            if match is not None and int(match[1]) in shards:
                found.setdefault(int(match[1]), name)
        return found

    def open(self, name: str) -> Shuffled:
        """Open a file.

        Raises:
            DataNotReadable: it is gone or damaged.
        """
        return Shuffled.open(self.target.child(f"{FOLDER}/{name}"))

    def delete(self) -> None:
        """Delete all of it: the output has what it was for.

        Raises:
            OutputNotWritable: the place refuses.
        """
        self.target.child(FOLDER).delete_tree()


def _stream(rows: pa.Table) -> Any:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, rows.schema, options=pa.ipc.IpcWriteOptions(compression="lz4")) as writer:
        writer.write_table(rows)
    return sink.getvalue()


def _table(data: bytes, location: Location) -> pa.Table:
    try:
        with pa.ipc.open_stream(pa.py_buffer(data)) as stream:
            return stream.read_all()
    except (pa.ArrowException, OSError) as error:
        raise _damaged(location) from error


def _damaged(location: Location) -> DataNotReadable:
    return DataNotReadable(
        f"{location}, in which rows wait for their partition, is damaged: was something else written there? "
        f"Delete the folder {FOLDER} of the output and run again."
    )
