"""The commit of a bucket: any number of files, none too, which one record makes part of the output.

    part-000007-<maker>-0000.parquet    rows of bucket 7, by one of its makers
    _parts/bucket-000007.json           whose files count, and what was read for them; created once

Where the place cannot make a file only once, the record's name has its maker, too, and rank 0's manifest says
which one counts. Files that no record names go with the commit of the output.
"""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Mapping
from pathlib import Path

from mlpools.data.writers import commit
from mlpools.data.writers.manifest import Manifest
from mlpools.errors import OutputNotWritable
from mlpools.inference.encode import SUFFIXES
from mlpools.inference.parts import NOTES, Committed, Place

_RECORD = re.compile(rf"{NOTES}/bucket-(\d{{6,}})(-[0-9a-z-]+)?\.json")


@dataclasses.dataclass(frozen=True)
class BucketPlace(Place):
    """Where the files of buckets go.

    Attributes:
        max_rows: of a file; None for no bound.
    """

    max_rows: int | None = None

    def name(self, shard: int, maker: str) -> str:
        """Return the name of a file; ``maker`` tells the files of a bucket apart."""
        return f"part-{shard:06d}-{maker}{SUFFIXES[self.form]}"

    def put(self, path: Path, name: str) -> None:
        """Put a finished file there, which counts when a record names it.

        Args:
            path: of the file; it is gone afterwards.
            name: no other file has it, not even of an earlier try.

        Raises:
            OutputNotWritable: the place refuses.
        """
        place = self.target.child(name)
        if self.target.local is None:
            place.write_file(path)
            path.unlink()
        else:
            place.take(path)

    def record(self, made: Committed, *, shard: int, maker: str) -> Committed:
        """Commit a bucket, and return what is committed.

        Args:
            made: its files, which are there already.
            shard: its number.
            maker: attempt and worker.

        Returns:
            What was given, or what another worker committed before; then the given files are gone.

        Raises:
            OutputNotWritable: the place refuses.
            OutputExists: the output was finished without this bucket.
        """
        record = self._record(shard, maker)
        names = [part.name for part in made.parts]
        try:
            self.target.child(record).write(json.dumps(made.to_dict()).encode(), once=self.once)
        except FileExistsError:
            there = self._account(record)
            if there is None:
                raise OutputNotWritable(
                    f"{self.target.child(record)} is no record of a part: was it changed by somebody? Delete "
                    "it, and run again with mode Resume."
                ) from None
            commit.remove(self.target, set(names) - {part.name for part in there.parts})
            return there
        self._stand_back(record, names)
        return made

    def committed(self, expected: Mapping[int, int]) -> dict[int, Committed]:
        """Return the buckets that are committed, whoever did it; a record without its files is deleted.

        Args:
            expected: their numbers.

        Raises:
            OutputNotWritable: a bucket is none of this input's.
        """
        prefix = self.target.url.rstrip("/") + "/"
        listed = {info.url.removeprefix(prefix): info.size for info in self.target.list(hidden=True)}
        found: dict[int, Committed] = {}
        for name in sorted(listed):
            match = _RECORD.fullmatch(name)
            if match is None or int(match[1]) in found:
                continue
            if int(match[1]) not in expected:
                raise OutputNotWritable(
                    f"{self.target.child(name)} is of a bucket that the input does not have."
                )
            made = self._account(name)
            if made is None or any(listed.get(part.name) != part.bytes for part in made.parts):
                self.target.child(name).delete()
            else:
                found[int(match[1])] = made
        return found

    def of_shard(self, shard: int, read: int) -> Committed | None:
        """Return what is committed of a bucket, if somebody did so; places that make a file once only."""
        return self._account(self._record(shard, ""))

    def _record(self, shard: int, maker: str) -> str:
        return f"{NOTES}/bucket-{shard:06d}{'' if self.once else f'-{maker}'}.json"

    def _stand_back(self, record: str, names: list[str]) -> None:
        """Take a bucket back that came after the end: its worker was believed dead, and is not."""
        if not self.target.child(commit.MANIFEST).exists():
            return
        manifest = Manifest.from_json(self.target.child(commit.MANIFEST).read().decode())
        if not set(names) <= {part.name for part in manifest.parts}:
            commit.remove(self.target, [record, *names])
            raise commit.finished_by_another(self.target)
