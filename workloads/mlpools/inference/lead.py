"""Rank 0: it claims the output, plans the input, hands out the shards, and makes their parts a result."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pyarrow as pa

from mlpools.contract.ends import Exit, Final
from mlpools.contract.reports import Note, Phase
from mlpools.data.counting import count
from mlpools.data.plan import Plan, resolve, unpacked
from mlpools.data.progress import reported_to
from mlpools.data.writers.manifest import Manifest
from mlpools.errors import JobError, PeerLost, Preempted, ShardsFailed
from mlpools.inference import finish, shards
from mlpools.inference.asking import Dispensary, Opening
from mlpools.inference.claim import ERRORS, Claim
from mlpools.inference.dispenser import Dispenser
from mlpools.inference.encode import stored_schema
from mlpools.inference.finish import Tally
from mlpools.inference.follow import LOOK_SECONDS
from mlpools.inference.keeper import Keeper
from mlpools.inference.ledger import Ledger
from mlpools.inference.models.fetch import fetch
from mlpools.inference.pace import Pace
from mlpools.inference.partitions import buckets
from mlpools.inference.partitions.place import BucketPlace
from mlpools.inference.partitions.stages import Stages
from mlpools.inference.parts import SCHEMA, Place, clear_leftovers
from mlpools.inference.settings import Settings
from mlpools.storage import locate
from mlpools.train.job import Job
from mlpools.train.leader import port_taken, token
from mlpools.train.reporter import log

_HERE = "127.0.0.1"


class Lead:
    """One attempt's rank 0."""

    def __init__(self, job: Job, settings: Settings, folder: Path) -> None:
        """Prepare.

        Args:
            job: of this rank.
            settings: what was asked for.
            folder: an existing one for what only matters while this runs.
        """
        self._job = job
        self._settings = settings
        self._folder = folder
        self._target = locate(settings.output.url)
        self._claim = Claim(job.task, self._target)
        self._pace = Pace(job.reporter)
        self._stages: Stages | None = None
        self._opened = False
        self._finished: Manifest | None = None

    def run(self) -> Final:
        """Do all of it.

        Raises:
            JobError: with a cause.
        """
        job = self._job
        finished = self._claim.take()
        if finished is not None:
            return self._already(finished)
        job.reporter.lap("output")
        try:
            self._work()
        except JobError as error:
            if not self._opened and not isinstance(error, Preempted | PeerLost):
                self._claim.release()
            raise
        return self._end()

    def _work(self) -> None:
        """Find out what there is to do, and have it done."""
        job = self._job
        self._plan = self._planned()
        column = self._settings.partition_by
        self._buckets = buckets.number(self._plan, column, self._settings.shard_rows) if column else 0
        model = fetch(self._settings.model.url, self._folder)
        job.reporter.lap("model")
        self._facts = self._run_facts(model.digest)
        self._claim.agree(self._facts)
        most = shards.most_rows(
            self._plan,
            self._settings.shard_rows,
            None if self._buckets else self._settings.output.max_rows_per_file,
        )
        self._shards = shards.cut(self._plan.group_rows, most)
        secret = token(job, _HERE)
        terms = {
            "plan": self._plan.to_json(),
            "shardRows": most,
            "buckets": self._buckets,
            "digest": model.digest,
        }
        self._dispenser = Dispenser(secret, terms, on_settled=self._tell, on_schema=self._keep_schema)
        self._listen()
        try:
            job.reporter.phase(Phase.WORKING)
            keeper = Keeper(job, Dispensary(_HERE, job.gang.port, secret), model, self._folder)
            try:
                self._attend(keeper)
            finally:
                keeper.close()
        finally:
            self._dispenser.close()

    def _planned(self) -> Plan:
        job = self._job
        job.reporter.phase(Phase.DATA)

        def alive() -> None:
            job.stop.check()
            job.reporter.alive("Reading data.")

        with reported_to(alive):
            plan = count(resolve(self._settings.plannable()))
        job.reporter.lap("plan")
        return plan

    def _run_facts(self, digest: str) -> dict[str, Any]:
        return {
            **self._settings.facts(),
            **({"buckets": self._buckets} if self._buckets else {}),
            "input": self._plan.fingerprint(),
            "modelDigest": digest,
        }

    def _listen(self) -> None:
        try:
            self._dispenser.serve(self._job.gang.port)
        except OSError as error:
            raise port_taken(self._job.gang, str(error.strerror)) from error

    def _attend(self, keeper: Keeper) -> None:
        """Wait until all shards are settled; the door opens when the first worker has its model."""
        ended = False
        while not (ended and self._opened and self._dispenser.look() and not self._go_on()):
            ended = ended or keeper.poll()
            if not self._opened and self._dispenser.ready.is_set():
                self._job.reporter.lap("start")
                self._opened = True
                if not self._open():
                    return
            if self._opened and self._dispenser.look():
                self._go_on()
            if self._job.stop.requested:
                keeper.leave()
                raise Preempted("Stopped, as asked; what is committed stays.")
            time.sleep(LOOK_SECONDS)

    def _open(self) -> bool:
        """Make the output ready and begin to hand out; return whether there is anything to do."""
        self._finished = self._claim.open(self._facts)
        if self._finished is not None:
            return False
        once = self._target.honours_once()
        if not once:
            self._warn()
        clear_leftovers(self._target, notes=False)
        agreed = self._target.child(SCHEMA)
        schema = agreed.read().decode() if agreed.exists() else ""
        if self._buckets:
            self._stages = self._both_stages(once)
            self._ledger = self._stages.ledger
            self._dispenser.open(self._ledger, self._stages.opening, schema=schema, more=self._stages.more)
        else:
            self._ledger = self._whole_ledger(once)
            self._dispenser.open(self._ledger, Opening(once), schema=schema)
        if self._ledger.done:
            log(f"{len(self._ledger.done):,} of {len(self._ledger.rows):,} shards are committed already.")
        self._tell()
        return True

    def _whole_ledger(self, once: bool) -> Ledger:
        rows = {shard.number: shard.rows for shard in self._shards}
        place = Place(self._target, self._settings.output.format, once)
        done = {number: one.to_dict() for number, one in place.committed(rows).items()}
        return Ledger(rows, done, allowed=self._settings.max_shard_failures)

    def _both_stages(self, once: bool) -> Stages:
        output = self._settings.output
        place = BucketPlace(self._target, output.format, once, output.max_rows_per_file)
        return Stages(place, self._shards, self._buckets, self._settings.max_shard_failures)

    def _go_on(self) -> bool:
        """Open another stage, if one follows that was finished; return whether that was so."""
        if self._stages is None or self._dispenser.fatal or not self._stages.go_on():
            return False
        log("All rows are in the buckets of their keys; now the model is called.")
        self._ledger = self._stages.ledger
        self._dispenser.open(self._ledger, self._stages.opening)
        self._tell()
        return True

    def _warn(self) -> None:
        message = (
            f"{self._target} cannot make a file only once: two attempts at the same time could both write "
            "there. Each part has a name of its own, and the manifest says which ones count."
        )
        log(message)
        self._job.reporter.tell(Note(weak_commit=message))

    def _keep_schema(self, text: str) -> None:
        """Keep what the parts' columns are, for later attempts."""
        self._target.child(SCHEMA).write(text.encode())

    def _tell(self) -> None:
        """Report what is settled, and how fast."""
        self._pace.tell(self._progress, stages=2 if self._stages else 1)

    def _progress(self) -> tuple[dict[str, int], dict[str, int], int]:
        """Return shards and rows as a ``Report`` has them, and how many rows were handled, in each stage."""
        if self._stages is not None:
            return self._stages.progress()
        counts, rows = Tally.of(self._ledger).counts()
        return counts, rows, rows["done"] + rows["failed"]

    def _end(self) -> Final:
        if self._finished is not None:
            return self._already(self._finished)
        self._job.reporter.phase(Phase.FINISHING)
        self._claim.check()
        fatal = self._dispenser.fatal
        if fatal is not None:
            raise fatal
        if self._stages is not None and self._stages.more:
            finish.write_errors(self._target, Tally({}, self._ledger.failed, self._ledger.rows))
            clear_leftovers(self._target, notes=False)
            raise self._unread(self._stages)
        tally = Tally.of(self._ledger) if self._stages is None else self._stages.tally()
        if self._ledger.too_many_failed:
            finish.write_errors(self._target, tally)
            clear_leftovers(self._target, notes=False)
            raise self._too_many(tally)
        text = self._dispenser.schema
        schema = stored_schema(unpacked(text), self._settings.output.format) if text else pa.schema([])
        self._job.reporter.lap("work")
        if self._stages is not None:
            self._stages.shuffle.delete()
        seconds = self._job.reporter.seconds
        finish.complete(self._target, self._job.task, tally, schema, self._facts, seconds)
        return self._final(tally)

    def _too_many(self, tally: Tally) -> ShardsFailed:
        first = tally.failed[min(tally.failed)]
        stopped = " It was stopped early, since most shards failed." if self._ledger.gave_up else ""
        return ShardsFailed(
            f"{len(tally.failed):,} of {len(tally.rows):,} shards failed, and maxShardFailures is "
            f"{self._settings.max_shard_failures}. {first.message}{stopped} {self._target.child(ERRORS)} "
            "lists all; what is committed stays, and mode Resume does only the rest."
        )

    def _unread(self, stages: Stages) -> ShardsFailed:
        """Return the failure of a first stage, which needs all rows whatever ``maxShardFailures`` is."""
        failed = stages.ledger.failed
        return ShardsFailed(
            f"{len(failed):,} of {len(stages.shards):,} shards of the input cannot be read, and any key "
            f"could have rows in them. {failed[min(failed)].message} {self._target.child(ERRORS)} lists all."
        )

    def _final(self, tally: Tally) -> Final:
        counts, rows, _ = self._progress()
        return Final(
            Exit.DONE,
            self._job.gang.rank,
            step=counts["total"],
            outputs=finish.urls(self._job.task, errors=bool(tally.partial)),
            shards=counts,
            rows=rows,
            partial=tally.partial,
        )

    def _already(self, manifest: Manifest) -> Final:
        """Return the end of a job whose result is there."""
        details = manifest.details
        failed, lost, bad = (
            len(details["failed"]),
            int(details["rowsFailed"]),
            int(details["rowsWithError"]),
        )
        clear_leftovers(self._target, notes=not failed)
        total = int(details["shards"])
        return Final(
            Exit.DONE,
            self._job.gang.rank,
            step=total,
            outputs=finish.urls(self._job.task, errors=bool(failed or bad)),
            shards={"total": total, "done": total - failed, "failed": failed},
            rows={"total": int(details["rowsRead"]), "done": int(details["rowsRead"]) - lost, "failed": lost},
            partial=str(details["partial"]),
        )
