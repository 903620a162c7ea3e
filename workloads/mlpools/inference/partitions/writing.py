"""Encodes the files of buckets: one after the other, each full before the next begins."""

from __future__ import annotations

from mlpools.data.writers import commit
from mlpools.data.writers.manifest import Part
from mlpools.inference.asking import Dispensary
from mlpools.inference.encode import PartFile, stored, stored_schema
from mlpools.inference.partitions.place import BucketPlace
from mlpools.inference.parts import Committed
from mlpools.inference.writing import End, PartWriter, Rows


class BucketWriter(PartWriter):
    """Writes buckets, each as any number of files."""

    def __init__(self, place: BucketPlace, dispensary: Dispensary, maker: str) -> None:
        """Prepare, with the arguments of ``PartWriter``."""
        super().__init__(place, dispensary, maker)
        self._buckets = place
        self._parts: list[Part] = []
        self._files = 0

    def _write(self, item: Rows) -> None:
        assert self.schema is not None
        schema = stored_schema(self.schema, self._buckets.form)
        rows, most = stored(item.rows, schema), self._buckets.max_rows
        while rows.num_rows:
            if self._file is None:
                path = self._buckets.scratch(item.draft.shard, self._maker)
                self._file = PartFile(path, schema, self._buckets.form)
            room = rows.num_rows if most is None else most - self._file.rows
            self._file.write(rows.slice(0, room))
            rows = rows.slice(room)
            if self._file.rows == most:
                self._put(self._file, item.draft.shard)

    def _commit(self, end: End) -> None:
        shard = end.draft.shard
        if self._file is not None:
            self._put(self._file, shard)
        made = Committed(tuple(self._parts), end.read, end.bad, end.bad_rows)
        self._parts = []  # from here on a record may name them, even if writing it seems to fail
        there = self._buckets.record(made, shard=shard, maker=self._maker)
        self._dispensary.committed(shard, there.to_dict())

    def _abandon(self) -> None:
        super()._abandon()
        commit.remove(self._buckets.target, [part.name for part in self._parts])
        self._parts = []

    def _put(self, file: PartFile, shard: int) -> None:
        """Put a full file where it counts as soon as the bucket is recorded."""
        self._files += 1  # over all buckets, so that a bucket's second try has names of its own
        part = file.finish(self._buckets.name(shard, f"{self._maker}-{self._files:04d}"))
        self._buckets.put(file.path, part.name)
        self._file = None
        self._parts.append(part)
