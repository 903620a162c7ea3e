"""The data of a training: one plan, one contract, and each rank's share of the rows."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any

from mlpools import budgets
from mlpools.data.choosing import choose
from mlpools.data.columns import Columns
from mlpools.data.counting import count
from mlpools.data.ingestor import ArrowIngestor
from mlpools.data.plan import Plan, resolve
from mlpools.data.progress import reported_to
from mlpools.data.shard import ShardRows, size_in_memory
from mlpools.data.sharded import Dealing, ShardedDataConnector
from mlpools.data.sources import from_spec
from mlpools.errors import DataNotReadable
from mlpools.train.collective import Collective
from mlpools.train.job import Job
from mlpools.train.trees.section import Section

#: Share of the container's memory for decoded rows, while a framework makes its own smaller form of them.
_DECODED_SHARE = 0.25
#: How much larger than the others a rank may be, see ``sharding``; of groups only the average is known.
_UNEVEN = 1.05


@dataclasses.dataclass(frozen=True)
class Agreed:
    """What all ranks read and how they see it.

    Attributes:
        plans: of each data set by its name.
        columns: the data contract.
    """

    plans: Mapping[str, Plan]
    columns: Columns

    @property
    def fingerprint(self) -> dict[str, str]:
        """Of each data set, as far as this training reads it."""
        return {name: plan.fingerprint(self.columns.all) for name, plan in self.plans.items()}


def prepare(job: Job, section: Section) -> Agreed:
    """Resolve the plans and fix the data contract, once, on rank 0.

    Raises:
        DataNotReadable: a set, a column or enough rows are missing.
        InvalidSpec: nothing is left to learn from.
    """
    with reported_to(lambda: reading(job)):
        plans = {name: count(resolve(from_spec(name, raw))) for name, raw in job.task.data.items()}
    rows, world = plans["train"].num_rows, job.gang.world_size
    if rows < world:
        raise DataNotReadable(f"The training data has {rows} row(s) for {world} ranks; use fewer nodes.")
    columns = choose(
        {name: plan.schema for name, plan in plans.items()},
        label=section.label,
        weight=section.weight,
        margin=section.margin,
        group=section.group,
        features=section.features,
        excluded=section.excluded,
    )
    job.reporter.lap("plan")
    return Agreed(plans, columns)


@dataclasses.dataclass(frozen=True)
class Data:
    """What all ranks agreed on, and this rank's rows of every set, training data first."""

    agreed: Agreed
    rows: Mapping[str, ShardRows]

    @property
    def columns(self) -> Columns:
        """The data contract."""
        return self.agreed.columns

    def facts(self) -> dict[str, Any]:
        """Return who read what, for the job's result."""
        return {name: shard.facts() for name, shard in self.rows.items()}


def agree(job: Job, collective: Collective, own: Agreed | None) -> Data:
    """Give every rank rank 0's plans and contract, and open its rows.

    The categories are collected from the rows of all ranks. A collective call.
    """
    texts = own and [{name: plan.to_json() for name, plan in own.plans.items()}, own.columns.to_json()]
    plans, contract = collective.share(texts)
    columns = Columns.from_json(contract)
    agreed = Agreed({name: Plan.from_json(text) for name, text in plans.items()}, columns)
    rows = _shards(job, agreed)
    if columns.group:
        _check_groups(collective.gather(rows["train"].num_rows), columns.group)
    if columns.categorical:
        found: dict[str, set[str]] = {name: set() for name in columns.categorical}
        for table in rows["train"].tables(columns.categorical):
            for name, values in columns.distinct(table).items():
                found[name].update(values)
        mine = {name: sorted(values) for name, values in found.items()}
        agreed = dataclasses.replace(agreed, columns=columns.with_categories(collective.gather(mine)))
    return Data(agreed, rows)


def _check_groups(rows: Sequence[int], column: str) -> None:
    """Refuse ranks that no group fell to."""
    if not all(rows):
        raise DataNotReadable(
            f"Whole groups of {column!r} are dealt to {len(rows)} ranks; {rows.count(0)} of them got none: "
            "use fewer nodes."
        )


def _shards(job: Job, agreed: Agreed) -> dict[str, ShardRows]:
    shards, read = {}, agreed.columns.all
    for name in ["train", *sorted(set(agreed.plans) - {"train"})]:
        ingestor = ArrowIngestor([from_spec(name, job.task.data[name])], agreed.plans[name])
        connector = ShardedDataConnector(ingestor)
        connector.dealing = Dealing(group_column=agreed.columns.group)
        shards[name] = connector.get_shard(job.gang, columns=read)
    memory = budgets.memory(job.task.workers_per_node)
    keep = sum(size_in_memory(shard, read) for shard in shards.values()) <= memory * _DECODED_SHARE

    def alive() -> None:
        reading(job)

    group = agreed.columns.group
    return {
        name: ShardRows(
            shard,
            read,
            group=group,
            # Groups may be read from files of their own, in which they were brought together.
            files=() if group else [file.name for file in agreed.plans[name].files for _ in file.units],
            keep=keep,
            alive=alive,
        )
        for name, shard in shards.items()
    }


def most_rows(rows: int, world_size: int) -> int:
    """Return the rows of the largest rank, as far as one can say before they are dealt."""
    return math.ceil(rows / world_size * _UNEVEN)


def reading(job: Job) -> None:
    """Say that reading got further, and stop if that was asked for.

    Raises:
        Preempted: it was.
    """
    job.stop.check()
    job.reporter.alive("Reading data.")
