"""The part of a shard: how it gets its name, once, and what is known of it afterwards.

    part-000007.parquet    rows of shard 7; made by a link or a create-only write, so by one worker only
    _parts/<part>.json     what its maker counted; written after it, and found out anew if it is not there
    _tmp/<attempt>/        parts that are being written, on volumes

Where the place can make a file only once (``Location.honours_once``), the first worker that publishes a shard
wins, and another one sees that it came second. Where it cannot, names carry the attempt and the worker, so
that nobody writes over anything; the manifest of rank 0 then says which one counts.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import io
import json
import re
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq

from mlpools.data.writers import commit
from mlpools.data.writers.manifest import Manifest, Part
from mlpools.data.writers.parts import footer_digest
from mlpools.errors import DataNotReadable, OutputNotWritable
from mlpools.inference.encode import SUFFIXES
from mlpools.inference.settings import ERROR_COLUMN, Format
from mlpools.storage import Location
from mlpools.train.documents import read

NOTES = "_parts"
TEMPORARY = "_tmp"
#: Says which columns all parts have, for later attempts.
SCHEMA = "_schema.txt"
#: A part names so many of its bad rows.
BAD_ROWS = 100
#: What a write that is killed leaves on a volume.
_BROKEN_OFF = re.compile(rf"({NOTES}/)?\.[^/]+\.\d+\.[0-9a-f]{{8}}")
_NAME = re.compile(r"part-(\d{6,})(-\d+-[0-9a-z-]+)?\.(parquet|csv|arrow)")


@dataclasses.dataclass(frozen=True)
class BadRow:
    """A row that the model failed on, and that is in the output without a prediction.

    Attributes:
        file: that it is from.
        row: its position among the file's rows, from 0.
        error: one sentence.
        key: with ``partitionBy``, what the rows of the failed call have in common; no row is to blame then.
    """

    file: str
    row: int
    error: str
    key: str = ""


@dataclasses.dataclass(frozen=True)
class Committed:
    """What is known of a shard's rows in the output.

    Attributes:
        parts: its files: one, and with ``partitionBy`` any number.
        read: rows that were read for it.
        bad: how many of its rows have no prediction, because the model failed on them.
        bad_rows: the first of them.
    """

    parts: tuple[Part, ...]
    read: int
    bad: int = 0
    bad_rows: tuple[BadRow, ...] = ()

    @property
    def part(self) -> Part:
        """The only file."""
        [part] = self.parts
        return part

    def to_dict(self) -> dict[str, Any]:
        """Return what ``from_dict`` reads, in JSON's types."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, raw: Mapping[str, Any]) -> Committed:
        """Read what ``to_dict`` made.

        Raises:
            KeyError, TypeError, ValueError: it is none.
        """
        rows = tuple(BadRow(**row) for row in raw["bad_rows"])
        parts = tuple(Part.from_dict(part) for part in raw["parts"])
        return cls(parts, int(raw["read"]), int(raw["bad"]), rows)


@dataclasses.dataclass(frozen=True)
class Place:
    """Where the parts of an output go.

    Attributes:
        target: the output's folder.
        form: of the parts.
        once: whether the place makes a file only once.
    """

    target: Location
    form: Format
    once: bool

    def name(self, shard: int, maker: str) -> str:
        """Return the name of a shard's part.

        Args:
            shard: its number.
            maker: attempt and worker, such as ``2-5-8c1f``.
        """
        mark = "" if self.once else f"-{maker}"
        return f"part-{shard:06d}{mark}{SUFFIXES[self.form]}"

    def scratch(self, shard: int, maker: str) -> Path:
        """Return a local path to write a part at, from where ``publish`` takes it."""
        attempt, _, worker = maker.partition("-")
        name = f"{worker}-{shard:06d}{SUFFIXES[self.form]}"
        if self.target.local is not None:
            return self.target.local / TEMPORARY / attempt / name
        return Path(tempfile.gettempdir()) / f"mlpools-{maker}-{name}"

    def publish(self, path: Path, made: Committed, *, shard: int) -> Committed:
        """Make a finished file the part of a shard, and return what the part is.

        Args:
            path: of the file; it is gone afterwards.
            made: what it holds, under the part's name.
            shard: its number.

        Returns:
            What was given, or what another worker published before.

        Raises:
            OutputNotWritable: the place refuses.
            OutputExists: the output was finished without this shard.
        """
        place = self.target.child(made.part.name)
        if self.once:
            try:
                place.take(path)
            except FileExistsError:
                path.unlink(missing_ok=True)
                return self._of_another(shard, made.part.name, made.read)
        else:
            place.write_file(path)
            path.unlink()
        self._stand_back_if_finished(made.part.name)
        self._note(made)
        return made

    def committed(self, expected: Mapping[int, int]) -> dict[int, Committed]:
        """Return the shards that have a part, whoever published it.

        Args:
            expected: rows that were read for each shard, by its number.

        Raises:
            OutputNotWritable: a part is none of this input's.
        """
        listed = {info.url: info for info in self.target.list(hidden=True)}
        prefix = self.target.url.rstrip("/") + "/"
        found: dict[int, Committed] = {}
        for url in sorted(listed):
            name = url.removeprefix(prefix)
            match = _NAME.fullmatch(name)
            if match is None or int(match[1]) in found:
                continue
            shard = int(match[1])
            if shard not in expected:
                raise OutputNotWritable(f"{url} is the part of a shard that the input does not have.")
            note = self._noted(name) if self.target.child(f"{NOTES}/{name}.json").url in listed else None
            if note is None or note.part.bytes != listed[url].size:
                note = self.describe(name, expected[shard])
                self._note(note)
            found[shard] = note
        return found

    def of_shard(self, shard: int, read: int) -> Committed | None:
        """Return a shard's part if somebody has published it; places that make a file once only.

        Args:
            shard: its number.
            read: rows that are read for it.
        """
        name = self.name(shard, "")
        return self._of_another(shard, name, read) if self.target.child(name).exists() else None

    def describe(self, name: str, read: int) -> Committed:
        """Return what a part is by reading it: its maker died before it could tell."""
        data = self.target.child(name).read()
        rows, errors, groups = _look_into(data, self.form)
        footer = footer_digest(data) if self.form == "parquet" else ""
        part = Part(name, rows, len(data), hashlib.sha256(data).hexdigest(), footer, groups)
        return Committed((part,), read, bad=errors)

    def _of_another(self, shard: int, name: str, read: int) -> Committed:
        note = self._noted(name)
        if note is None:
            note = self.describe(name, read)
            self._note(note)
        return note

    def _note(self, made: Committed) -> None:
        self.target.child(f"{NOTES}/{made.part.name}.json").write(json.dumps(made.to_dict()).encode())

    def _noted(self, name: str) -> Committed | None:
        return self._account(f"{NOTES}/{name}.json")

    def _account(self, name: str) -> Committed | None:
        """Return what a worker wrote of what it committed, if it did."""
        raw = read(self.target.child(name))
        try:
            return None if raw is None else Committed.from_dict(raw)
        except (KeyError, TypeError, ValueError):
            return None

    def _stand_back_if_finished(self, name: str) -> None:
        """Take a part back that came after the end: its worker was believed dead, and is not."""
        if not self.target.child(commit.MANIFEST).exists():
            return
        manifest = Manifest.from_json(self.target.child(commit.MANIFEST).read().decode())
        if name not in {part.name for part in manifest.parts}:
            commit.remove(self.target, [name])
            raise commit.finished_by_another(self.target)


def clear_leftovers(target: Location, *, notes: bool) -> None:
    """Delete what workers that died left behind; what stays disturbs nobody.

    Args:
        target: the output's folder.
        notes: also what only completing the output would need.
    """
    with contextlib.suppress(OutputNotWritable, DataNotReadable):
        target.child(TEMPORARY).delete_tree()
        prefix = target.url.rstrip("/") + "/"
        for info in target.list(hidden=True):
            if _BROKEN_OFF.fullmatch(info.url.removeprefix(prefix)):
                target.child(info.url.removeprefix(prefix)).delete()
        if notes:
            target.child(NOTES).delete_tree()
            target.child(SCHEMA).delete()


def _look_into(data: bytes, form: Format) -> tuple[int, int, tuple[int, ...]]:
    """Return the rows of a part, how many of them have an error, and the rows of its row groups."""
    source = io.BytesIO(data)
    if form == "parquet":
        file = pq.ParquetFile(source)
        groups = tuple(file.metadata.row_group(i).num_rows for i in range(file.num_row_groups))
        has_errors = ERROR_COLUMN in file.schema_arrow.names
        errors = file.read([ERROR_COLUMN]).column(0) if has_errors else None
        return file.metadata.num_rows, _filled(errors), groups
    if form == "arrow":
        table = pa.ipc.open_file(source).read_all()
    else:
        table = pa.csv.read_csv(source, convert_options=pa.csv.ConvertOptions(strings_can_be_null=True))
    errors = table.column(ERROR_COLUMN) if ERROR_COLUMN in table.column_names else None
    return table.num_rows, _filled(errors), (table.num_rows,)


def _filled(errors: pa.ChunkedArray | None) -> int:
    return 0 if errors is None else len(errors) - errors.null_count
