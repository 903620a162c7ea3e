"""A finished output, for those who read it: complete, or not readable at all."""

from __future__ import annotations

import dataclasses
import json
from typing import Any, Self

from mlpools.data import DataConnector
from mlpools.data.writers import commit
from mlpools.data.writers.manifest import Manifest
from mlpools.errors import InvalidSpec
from mlpools.inference.claim import ERRORS
from mlpools.inference.handed import whole
from mlpools.locations import child_url
from mlpools.storage import locate


@dataclasses.dataclass(frozen=True)
class FailedRows:
    """A shard that was given up, or a row without a prediction.

    Attributes:
        shard: its number.
        file: of the row that the model failed on; empty if no row is to blame.
        row: its position among the file's rows, from 0; -1 if no row is to blame.
        error: one sentence.
    """

    shard: int
    file: str
    row: int
    error: str


@dataclasses.dataclass(frozen=True)
class BatchResult:
    """A finished batch inference.

    Attributes:
        url: of the folder with the predictions.
        files: their URLs, in the order of the input's rows.
        rows: in these files.
        rows_failed: rows of the input that are not there, since their shards failed.
        shards: of the input.
        shards_failed: how many of them are not there.
        partial: a sentence about what is lacking; empty if nothing is.
        failed: failed shards, and rows without a prediction: the first 100 of each shard.
    """

    url: str
    files: tuple[str, ...]
    rows: int
    rows_failed: int
    shards: int
    shards_failed: int
    partial: str
    failed: tuple[FailedRows, ...]

    @classmethod
    def at(cls, url: str) -> Self:
        """Return the finished output in a folder, whoever wrote it: a job, or ``run_batch``.

        Args:
            url: of the folder.

        Raises:
            DataNotReadable: it holds none, or one that is not finished.
        """
        target = locate(whole(url))
        manifest = commit.read_manifest(target)
        details = manifest.details
        if "rowsFailed" not in details:
            raise InvalidSpec(f"{target} is no output of a batch inference.")
        return cls(
            url=target.url,
            files=tuple(child_url(target.url, part.name) for part in manifest.parts),
            rows=sum(part.rows for part in manifest.parts),
            rows_failed=int(details["rowsFailed"]),
            shards=int(details["shards"]),
            shards_failed=len(details["failed"]),
            partial=str(details["partial"]),
            failed=_failed(target, manifest),
        )

    def to_connector(self) -> DataConnector:
        """Return the rows of all files, in the order of the input's rows."""
        if not self.files:
            raise InvalidSpec(f"{self.url} has no rows: all shards failed.")
        kinds = {
            ".parquet": DataConnector.from_parquet,
            ".csv": DataConnector.from_csv,
            ".arrow": DataConnector.from_arrow,
        }
        return next(make for end, make in kinds.items() if self.files[0].endswith(end))(list(self.files))


def _failed(target: Any, manifest: Manifest) -> tuple[FailedRows, ...]:
    if not manifest.details["partial"]:
        return ()
    lines = target.child(ERRORS).read().decode().splitlines()
    return tuple(FailedRows(**json.loads(line)) for line in lines)
