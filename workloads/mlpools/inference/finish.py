"""The end of an output: the list of bad rows, the manifest, ``_SUCCESS`` last."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any

import pyarrow as pa

from mlpools.contract.tasks import Task
from mlpools.data.writers import commit
from mlpools.data.writers.manifest import Manifest
from mlpools.errors import JobError, OutputExists
from mlpools.inference.claim import ERRORS
from mlpools.inference.ledger import Failure, Ledger
from mlpools.inference.parts import BadRow, Committed, clear_leftovers
from mlpools.inference.settings import ERROR_COLUMN
from mlpools.locations import child_url
from mlpools.storage import Location
from mlpools.train.documents import lines


@dataclasses.dataclass(frozen=True)
class Tally:
    """What became of all shards and rows.

    Attributes:
        committed: what is known of each shard's part, by the shard's number.
        failed: the shards without one.
        rows: of each shard, by its number.
        before: shards of an earlier stage, all of which are done.
    """

    committed: Mapping[int, Committed]
    failed: Mapping[int, Failure]
    rows: Mapping[int, int]
    before: int = 0

    @classmethod
    def of(cls, ledger: Ledger, before: int = 0) -> Tally:
        """Return what a ledger knows, and how many shards an earlier stage had."""
        done = {shard: Committed.from_dict(raw) for shard, raw in ledger.done.items()}
        return cls(done, dict(ledger.failed), ledger.rows, before)

    @property
    def rows_failed(self) -> int:
        """Rows of failed shards."""
        return sum(self.rows[shard] for shard in self.failed)

    @property
    def bad(self) -> int:
        """Rows in the output without a prediction."""
        return sum(one.bad for one in self.committed.values())

    @property
    def partial(self) -> str:
        """What the output lacks, as a sentence; empty if it has all."""
        if self.failed:
            first = self.failed[min(self.failed)]
            return (
                f"{len(self.failed):,} of {len(self.rows):,} shards with {self.rows_failed:,} rows failed "
                f"and are not in the output. {first.message} {ERRORS} lists all."
            )
        if self.bad:
            bad = f"{self.bad:,} rows have" if self.bad > 1 else "One row has"
            return f"{bad} no prediction, but an error in the column {ERROR_COLUMN}; {ERRORS} lists all."
        return ""

    def check(self) -> None:
        """See that rows in are rows out and rows of failed shards.

        Raises:
            JobError: they are not.
        """
        read = sum(one.read for one in self.committed.values())
        given = sum(self.rows.values())
        if set(self.committed) | set(self.failed) != set(self.rows) or read + self.rows_failed != given:
            raise JobError(
                f"The input has {given:,} rows, but {read:,} were predicted and {self.rows_failed:,} are of "
                "failed shards. Please report it."
            )

    def counts(self) -> tuple[dict[str, int], dict[str, int]]:
        """Return shards and rows as a ``Report`` has them."""
        done = sum(self.rows[shard] for shard in self.committed)
        shards = {
            "total": self.before + len(self.rows),
            "done": self.before + len(self.committed),
            "failed": len(self.failed),
        }
        return shards, {"total": sum(self.rows.values()), "done": done, "failed": self.rows_failed}


def write_errors(target: Location, tally: Tally) -> bool:
    """Write the list of failed shards and bad rows, a JSON object a line; return whether there are any."""
    found = list(_errors(tally))
    if found:
        target.child(ERRORS).write(lines(found))
    else:
        target.child(ERRORS).delete()
    return bool(found)


def complete(
    target: Location,
    task: Task,
    tally: Tally,
    schema: pa.Schema,
    facts: Mapping[str, Any],
    seconds: Mapping[str, float],
) -> Manifest:
    """Make the parts a result.

    Args:
        target: the output's folder.
        task: of the job.
        tally: of all shards.
        schema: of the parts.
        facts: input, model and settings, for the manifest.
        seconds: how long each part of the attempt took, for the manifest.

    Returns:
        The manifest, of another attempt of this job if that was faster.

    Raises:
        OutputExists: another job's result is there.
        OutputNotWritable: the place refuses, or a part has vanished.
    """
    tally.check()
    write_errors(target, tally)
    details = {
        "job": {"uid": task.uid, "namespace": task.namespace, "name": task.name, "attempt": task.attempt},
        "run": dict(facts),
        "shards": tally.counts()[0]["total"],
        "rowsRead": sum(tally.rows.values()),
        "rowsFailed": tally.rows_failed,
        "rowsWithError": tally.bad,
        "partial": tally.partial,
        "failed": [dataclasses.asdict(tally.failed[shard]) for shard in sorted(tally.failed)],
        "seconds": dict(seconds),
    }
    parts = [part for shard in sorted(tally.committed) for part in tally.committed[shard].parts]
    attempt = f"{task.uid}-{task.attempt}"
    try:
        manifest = commit.commit(target, parts, schema, attempt=attempt, details=details)
    except OutputExists:
        manifest = commit.read_manifest(target)
        if manifest.details.get("job", {}).get("uid") != task.uid:
            raise
    clear_leftovers(target, notes=not tally.failed)
    return manifest


def urls(task: Task, *, errors: bool) -> dict[str, str]:
    """Return where a user finds what."""
    url = str(task.output["url"])
    names = {"manifestURL": commit.MANIFEST, "logsURL": "logs", **({"errorsURL": ERRORS} if errors else {})}
    return {"outputURL": url, **{key: child_url(url, name) for key, name in names.items()}}


def _errors(tally: Tally) -> Iterator[dict[str, Any]]:
    for shard in sorted(tally.failed):
        failure = tally.failed[shard]
        yield {"shard": shard, **_where(failure), "error": failure.message}
    for shard in sorted(tally.committed):
        for row in tally.committed[shard].bad_rows:
            yield {"shard": shard, **_where(row), "error": row.error}


def _where(bad: Failure | BadRow) -> dict[str, Any]:
    return {"key": bad.key} if bad.key else {"file": bad.file, "row": bad.row}
