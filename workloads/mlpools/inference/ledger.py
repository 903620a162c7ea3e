"""Who has which shard, and what became of each: the decisions of the hand-out, as functions of what is told.

Workers come, take shards, and may vanish at any moment. Nothing here makes a shard count twice: that is the
commit's (``parts``), which stays right when two workers hold one shard. So a shard may be handed out again
as soon as that seems useful.

* A worker holds at most ``IN_HAND`` shards: it reads one, predicts for another and commits a third.
* What a dead or silent worker held goes back. If its process crashed, each shard that it held is *suspect*
  and handed out alone from then on, so that the next crash tells which one it was; the second crash with a
  shard in hand ends that shard.
* A shard without any prediction is put behind the others, once: they say of which types predictions are.
* When nothing is left to hand out, an idle worker gets a copy of what another has held for far longer than
  shards usually take.
"""

from __future__ import annotations

import dataclasses
import statistics
from collections.abc import Mapping
from typing import Any

#: Shards that a worker may hold.
IN_HAND = 3
#: A worker that was not heard for so long does not hold its shards any more.
LEASE_SECONDS = 10.0
#: So many crashes with a shard in hand end it.
CRASHES = 2
#: So many vanished workers make a shard suspect, and so many end it: its machines may have died of it.
LOSSES, MOST_LOSSES = 2, 5
#: A shard is tried so often by workers that could not read its rows or write its part.
TRIES = 3
#: A copy is handed out after so many usual durations of a shard, and not before so many seconds.
_SLOW, _SLOW_SECONDS = 3.0, 5.0
#: What a shard is believed to take before one is done.
_UNKNOWN_SECONDS = 60.0
_HOLDERS = 2
#: When so many shards have failed, and more than were done, the others would only fail, too.
_HOPELESS = 3


@dataclasses.dataclass(frozen=True)
class Failure:
    """Why a shard was given up.

    Attributes:
        shard: its number.
        message: one sentence.
        file: of the row that the model failed on; empty if no row is to blame.
        row: its position among the file's rows, from 0; -1 if no row is to blame.
        key: with ``partitionBy``, the one that the model failed on, as a text.
    """

    shard: int
    message: str
    file: str = ""
    row: int = -1
    key: str = ""


@dataclasses.dataclass(frozen=True)
class Grant:
    """A shard for a worker.

    Attributes:
        shard: its number.
        again: somebody may have committed it already.
    """

    shard: int
    again: bool = False


@dataclasses.dataclass
class _Held:
    since: float
    copy: bool = False


@dataclasses.dataclass
class _Trouble:
    """What happened with a shard so far."""

    crashes: int = 0
    losses: int = 0
    tries: int = 0
    given: int = 0
    postponed: bool = False

    @property
    def suspect(self) -> bool:
        return self.crashes > 0 or self.losses >= LOSSES


class Ledger:
    """The state of all shards of an attempt. Not for several threads at once.

    Attributes:
        done: what was committed of each shard, as its worker told it.
        failed: the shards that were given up.
        rows: of each shard, by its number.
        gave_up: so many shards fail that no more are handed out.
    """

    def __init__(
        self, rows: Mapping[int, int], done: Mapping[int, Mapping[str, Any]], *, allowed: int = 0
    ) -> None:
        """Take stock.

        Args:
            rows: of each shard, by its number.
            done: the shards that earlier attempts committed.
            allowed: shards that may fail.
        """
        self.rows = dict(rows)
        self.done: dict[int, Mapping[str, Any]] = dict(done)
        self.failed: dict[int, Failure] = {}
        self.gave_up = False
        self._allowed = allowed
        self._todo = [shard for shard in sorted(rows) if shard not in done]
        self._held: dict[str, dict[int, _Held]] = {}
        self._heard: dict[str, float] = {}
        self._trouble: dict[int, _Trouble] = {}
        self._durations: list[float] = []
        self._committed_before = len(done)
        self._in_vain = 0

    @property
    def finished(self) -> bool:
        """Whether nothing is left to be done."""
        return len(self.done) + len(self.failed) == len(self.rows) or self.gave_up

    @property
    def too_many_failed(self) -> bool:
        """Whether the run cannot end well any more."""
        return len(self.failed) > self._allowed

    def give(self, worker: str, now: float) -> Grant | None:
        """Return a shard for a worker that asks, or None if there is none for it at the moment."""
        self.heard(worker, now)
        mine = self._held[worker]
        if self.finished or len(mine) >= IN_HAND or any(self._of(shard).suspect for shard in mine):
            return None
        for place, shard in enumerate(self._todo):
            if not mine or not self._of(shard).suspect:
                del self._todo[place]
                return self._hand(worker, shard, now)
        if mine:
            return None
        slow = self._slowest(now)
        return None if slow is None else self._hand(worker, slow, now, copy=True)

    def heard(self, worker: str, now: float) -> None:
        """Note that a worker lives."""
        self._heard[worker] = now
        self._held.setdefault(worker, {})

    def commit(self, worker: str, shard: int, part: Mapping[str, Any], now: float) -> None:
        """Note that a shard is committed; the first word of several counts, also after a failure.

        Args:
            worker: that says so; it may have been given up for lost.
            shard: its number.
            part: what was committed.
            now: monotonic time.
        """
        held = self._held.get(worker, {}).get(shard)
        if shard in self.done or shard not in self.rows:
            return
        if held is not None and not held.copy:
            self._durations.append(now - held.since)
        self.failed.pop(shard, None)
        self.done[shard] = dict(part)
        self._in_vain = 0
        self._forget(shard)

    def fail(self, worker: str, failure: Failure) -> None:
        """Note that the model fails on a shard, which it would do again."""
        self._let_go(worker, failure.shard)
        if failure.shard in self.rows:
            self._end(failure)

    def retry(self, worker: str, failure: Failure, *, alone: bool = True) -> None:
        """Note that a worker could not read a shard's rows or write its part, which another one may do.

        Args:
            worker: that tells.
            failure: of the shard.
            alone: it is about this shard; else any other would have met it, too.
        """
        self._in_vain += not alone
        self._let_go(worker, failure.shard)
        if failure.shard not in self.rows:
            return
        trouble = self._of(failure.shard)
        trouble.tries += 1
        if trouble.tries >= TRIES:
            self._end(failure)
        else:
            self._put_back(failure.shard, last=True)

    @property
    def stuck(self) -> bool:
        """Whether so many shards in a row met what any would meet that no other worker gets on, either."""
        return self._in_vain >= TRIES * max(1, self.workers)

    def postpone(self, worker: str, shard: int) -> bool:
        """Put a shard behind all others, once, and tell whether that is so.

        Args:
            worker: that lacks something for it which others may find out by then.
            shard: its number.
        """
        if shard in self._held.get(worker, {}):  # else it is behind them, or somebody else's, already
            if self._of(shard).postponed:
                return False
            self._of(shard).postponed = True
            self._let_go(worker, shard)
            self._put_back(shard, last=True)
        return True

    def crash(self, worker: str, words: str) -> None:
        """Note that a worker's process crashed, and hand back what it held.

        Args:
            worker: it will not be heard of again.
            words: how it ended, as a clause.
        """
        for shard in self._leave(worker):
            trouble = self._of(shard)
            trouble.crashes += 1
            if trouble.crashes >= CRASHES:
                self._end(
                    Failure(shard, f"The process that predicts {words}, {trouble.crashes} times with it.")
                )
            else:
                self._put_back(shard)

    def leave(self, worker: str) -> None:
        """Note that a worker was told to stop, and hand back what it held."""
        for shard in self._leave(worker):
            self._put_back(shard)

    def expire(self, now: float) -> list[str]:
        """Give up workers that were silent for too long, and return them."""
        silent = [worker for worker, heard in self._heard.items() if now - heard > LEASE_SECONDS]
        for worker in silent:
            for shard in self._leave(worker):
                trouble = self._of(shard)
                trouble.losses += 1
                if trouble.losses >= MOST_LOSSES:
                    self._end(Failure(shard, f"{trouble.losses} workers vanished while they had it."))
                else:
                    self._put_back(shard)
        return silent

    def in_hand(self) -> set[int]:
        """Return the shards that workers hold."""
        return {shard for held in self._held.values() for shard in held}

    @property
    def workers(self) -> int:
        """How many workers are known to live."""
        return len(self._heard)

    def _hand(self, worker: str, shard: int, now: float, *, copy: bool = False) -> Grant:
        trouble = self._of(shard)
        trouble.given += 1
        self._held[worker][shard] = _Held(now, copy)
        return Grant(shard, again=trouble.given > 1)

    def _slowest(self, now: float) -> int | None:
        """Return the shard that a worker has held for too long; one that may crash is not copied."""
        usual = statistics.median(self._durations) if self._durations else _UNKNOWN_SECONDS
        since: dict[int, float] = {}
        holders: dict[int, int] = {}
        for held in self._held.values():
            for shard, one in held.items():
                since[shard] = min(one.since, since.get(shard, one.since))
                holders[shard] = holders.get(shard, 0) + 1
        waiting = [shard for shard in since if holders[shard] < _HOLDERS and not self._of(shard).suspect]
        if not waiting:
            return None
        slowest = min(waiting, key=lambda shard: (since[shard], shard))
        return slowest if now - since[slowest] > max(_SLOW * usual, _SLOW_SECONDS) else None

    def _end(self, failure: Failure) -> None:
        if failure.shard in self.done:
            return
        self.failed[failure.shard] = failure
        self._forget(failure.shard)
        own = len(self.done) - self._committed_before
        if self.too_many_failed and len(self.failed) >= _HOPELESS and len(self.failed) > own:
            self.gave_up = True

    def _put_back(self, shard: int, *, last: bool = False) -> None:
        """Make a shard one to hand out again, unless it is settled or another worker has it."""
        if shard in self.done or shard in self.failed or shard in self.in_hand() or shard in self._todo:
            return
        self._todo.insert(len(self._todo) if last else 0, shard)

    def _forget(self, shard: int) -> None:
        """Nobody has to do a shard any more."""
        for held in self._held.values():
            held.pop(shard, None)
        if shard in self._todo:
            self._todo.remove(shard)

    def _let_go(self, worker: str, shard: int) -> None:
        self._held.get(worker, {}).pop(shard, None)

    def _leave(self, worker: str) -> list[int]:
        """Forget a worker and return what it held, in the order in which it would be handed out."""
        self._heard.pop(worker, None)
        return sorted(self._held.pop(worker, {}), reverse=True)

    def _of(self, shard: int) -> _Trouble:
        return self._trouble.setdefault(shard, _Trouble())
