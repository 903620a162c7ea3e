"""Where an epoch stands: what is saved with a checkpoint, and what is left after a stop.

A state counts batches that the training loop got. All else follows from it by the arithmetic of ``order``:
nothing is read to find out which rows are left, and nothing depends on how far workers had read ahead.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from mlpools.data.blocks import Block, in_order
from mlpools.data.order import Deal, Draw, RankOrder, Reading
from mlpools.errors import InvalidSpec

_KIND = "mlpools.data.order"
_VERSION = 1


@dataclasses.dataclass(frozen=True)
class Stage:
    """A stretch of an epoch that was read by the same ranks with the same settings, up to a stop.

    Attributes:
        equal: every rank had the same number of rows.
        readings: how each rank read.
        yielded: batches handed out, by rank and worker.
    """

    equal: bool
    readings: tuple[Reading, ...]
    yielded: tuple[tuple[int, ...], ...]


def remaining(blocks: Sequence[Block], seed: int, epoch: int, stages: Sequence[Stage]) -> Sequence[Block]:
    """Return the rows that an epoch's stages left over of some rows, in the plan's order."""
    for number, stage in enumerate(stages):
        draw = Draw(seed, epoch, number)
        deal = Deal(blocks, len(stage.readings), draw, shuffle=stage.readings[0].shuffle, equal=stage.equal)
        left = deal.surplus()
        for rank, (reading, yielded) in enumerate(zip(stage.readings, stage.yielded, strict=True)):
            left += RankOrder(deal.share(rank), reading, draw.of(rank)).left(yielded)
        blocks = in_order(left)
    return blocks


@dataclasses.dataclass(frozen=True)
class Position:
    """How far one rank, or one worker of it, has come.

    Attributes:
        data: names the rows; a state of other data is refused.
        seed: of the order.
        epoch: 0, 1, …
        rank: 0 … ``world_size`` - 1.
        world_size: number of ranks.
        equal: every rank has the same number of rows.
        reading: how this rank reads.
        yielded: batches handed out, by worker; those of other processes are not in it.
        before: stages of this epoch with other ranks or settings.
    """

    data: str
    seed: int
    epoch: int
    rank: int
    world_size: int
    equal: bool
    reading: Reading
    yielded: Mapping[int, int]
    before: tuple[Stage, ...] = ()

    def order(self, blocks: Sequence[Block]) -> RankOrder:
        """Return the batches of this rank in this stage, from its first one on.

        Args:
            blocks: the rows of all ranks, in the plan's order.
        """
        blocks = remaining(blocks, self.seed, self.epoch, self.before)
        draw = Draw(self.seed, self.epoch, len(self.before))
        deal = Deal(blocks, self.world_size, draw, shuffle=self.reading.shuffle, equal=self.equal)
        return RankOrder(deal.share(self.rank), self.reading, draw.of(self.rank))

    def to_state(self) -> dict[str, Any]:
        """Return what JSON and pickle can carry."""
        state = dataclasses.asdict(self)
        state["yielded"] = sorted(self.yielded.items())
        return {"kind": _KIND, "version": _VERSION, **state}

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> Position:
        """Read what ``to_state`` wrote.

        Raises:
            InvalidSpec: it is something else.
        """
        try:
            if (state["kind"], state["version"]) != (_KIND, _VERSION):
                raise ValueError("of another kind or version")
            fields = {field.name: state[field.name] for field in dataclasses.fields(cls)}
            stages = (
                Stage(
                    equal=stage["equal"],
                    readings=tuple(Reading(**reading) for reading in stage["readings"]),
                    yielded=tuple(tuple(counts) for counts in stage["yielded"]),
                )
                for stage in fields["before"]
            )
            fields |= {
                "reading": Reading(**fields["reading"]),
                "yielded": {int(worker): int(count) for worker, count in fields["yielded"]},
                "before": tuple(stages),
            }
            return cls(**fields)
        except (KeyError, TypeError, ValueError) as error:
            raise InvalidSpec(
                "load_state_dict was given something that state_dict of this library did not return."
            ) from error


def resume(states: Sequence[Mapping[str, Any]], fresh: Position, *, alone: bool = False) -> Position:
    """Return where to go on.

    With the ranks, workers and batches of before every worker goes on with its own next batch. Else the
    rows that are left over are dealt anew; every rank comes to the same answer, since all get all states.

    Args:
        states: of all ranks and workers, saved at one step; with unchanged settings one's own is enough.
        fresh: the position of this rank at the epoch's beginning.
        alone: the states are of one worker, which goes on by itself.

    Raises:
        InvalidSpec: the states do not belong together, or some are missing.
    """
    found = [Position.from_state(state) for state in states]
    first = found[0]
    for other in found:
        _check_same(first, other)
    if first.data != fresh.data:
        raise InvalidSpec("The state was saved with other data; it cannot tell which rows of this were seen.")
    if first.seed != fresh.seed:
        raise InvalidSpec(
            f"The state was saved with seed {first.seed}, and this order has seed {fresh.seed}; use one seed."
        )
    own = [state for state in found if state.rank == fresh.rank]
    if all(_settings(state) == _settings(fresh) for state in found):
        yielded = {number: count for state in own for number, count in state.yielded.items()}
        needed = [] if alone and yielded else range(fresh.reading.num_workers)
        _check_complete({(fresh.rank, number) for number in needed}, {(fresh.rank, n) for n in yielded})
        return dataclasses.replace(own[0], yielded=yielded)
    stage = _stage(found)
    return dataclasses.replace(fresh, epoch=first.epoch, before=(*first.before, stage))


def _stage(found: Sequence[Position]) -> Stage:
    """Return the stage that ended when these states were saved."""
    readings = {state.rank: state.reading for state in found}
    yielded = {(state.rank, worker): n for state in found for worker, n in state.yielded.items()}
    world = range(found[0].world_size)
    workers = {rank: range(readings[rank].num_workers) if rank in readings else range(1) for rank in world}
    _check_complete({(rank, worker) for rank in world for worker in workers[rank]}, set(yielded))
    return Stage(
        equal=found[0].equal,
        readings=tuple(readings[rank] for rank in world),
        yielded=tuple(tuple(yielded[rank, worker] for worker in workers[rank]) for rank in world),
    )


def _settings(position: Position) -> tuple[Any, ...]:
    """Return what must be unchanged for the order to go on; windows are taken over from the state."""
    reading = dataclasses.replace(position.reading, window_rows=0, slice_rows=0)
    return position.world_size, position.equal, reading


def _check_same(first: Position, other: Position) -> None:
    for name in ("data", "seed", "epoch", "world_size", "equal", "before"):
        if getattr(first, name) != getattr(other, name):
            raise InvalidSpec(
                f"The states were not saved at one step of one run: {name} of rank {first.rank} and of "
                f"rank {other.rank} differ."
            )
    if first.rank == other.rank and first.reading != other.reading:
        raise InvalidSpec(f"The states of rank {first.rank} were saved with different loaders.")


def _check_complete(needed: set[tuple[int, int]], given: set[tuple[int, int]]) -> None:
    missing = sorted(needed - given)
    if missing:
        rank, worker = missing[0]
        raise InvalidSpec(
            f"load_state_dict needs the states of all ranks and workers; rank {rank}, worker {worker} is "
            "missing. Gather them at one step."
        )
