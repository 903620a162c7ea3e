"""What rank 0 knows about its gang: who was heard, when, and what that means.

* *Formed*: rank 0 has heard every rank once. Silence before that is a late start and no loss.
* *Lost*: a rank said that it ended badly, or was silent for ``LOST_SECONDS`` after forming. A rank
  that said goodbye with a good end (``GOOD_ENDS``) may be silent for ever.
* *Stopping*: one rank was told to stop; all stop, so that they agree on one boundary.
* *Done*: rank 0 ended well, which means that the result is committed.
* *Slow*: one rank's own part of a step takes much longer than that of the others (``pace``).

Pods that are no gang (``loose``) come and go: only rank 0's end and stop are the others' concern.
"""

from __future__ import annotations

import dataclasses
import threading

from mlpools.contract.ends import Exit
from mlpools.document import Document
from mlpools.supervisor.pace import Pace, Slow

LOST_SECONDS = 6.0
SILENT = "Rank {rank} has not been heard for {seconds:.0f} s: its pod or its network is gone."
GOOD_ENDS = frozenset({Exit.DONE, Exit.PREEMPTED})


@dataclasses.dataclass(frozen=True)
class Beat(Document):
    """How one rank is.

    Attributes:
        uid: of the job, with ``attempt``: beats of another attempt are not counted.
        code: exit code once it ended, its goodbye; None before.
        message: how it ended.
        memory: bytes in use.
        own_seconds: of the rank's own work in a step; 0 = unknown.
    """

    uid: str
    attempt: int
    rank: int
    stopping: bool = False
    code: int | None = None
    message: str = ""
    memory: int = 0
    own_seconds: float = 0.0


@dataclasses.dataclass(frozen=True)
class Verdict(Document):
    """What rank 0 knows about the gang.

    Attributes:
        formed: rank 0 has heard every rank.
        stopping: a rank was told to stop.
        done: rank 0 ended well.
        lost: one sentence naming the first lost rank.
        slow_times: how many times as long as the others ``slow_rank`` takes; 0 = none holds them up.
        slow_rank: that rank.
    """

    formed: bool = False
    stopping: bool = False
    done: bool = False
    lost: str = ""
    slow_times: float = 0.0
    slow_rank: int = 0

    @property
    def slow(self) -> Slow | None:
        """The rank that holds up the others."""
        return Slow(self.slow_rank, self.slow_times) if self.slow_times else None


class Roll:
    """Rank 0's side: who was heard, when, and what that means. Time comes in from outside."""

    def __init__(self, own: Beat, size: int, *, loose: bool = False) -> None:
        self._size = size
        self._loose = loose
        self._beats: dict[int, Beat] = {own.rank: own}
        self._heard: dict[int, float] = {}
        self._told: set[int] = set()
        self._pace = Pace()
        self._lost = ""
        self._lock = threading.Lock()
        self._own = own

    def hear(self, beat: Beat, now: float) -> Verdict:
        """Count a beat, of rank 0 itself too, and answer with the verdict."""
        own = self._own
        with self._lock:
            if (beat.uid, beat.attempt) != (own.uid, own.attempt) or not 0 <= beat.rank < self._size:
                return Verdict()
            self._beats[beat.rank] = beat
            self._heard[beat.rank] = now
            verdict = self._judge(now)
            if verdict.lost or verdict.done or beat.code is not None:
                self._told.add(beat.rank)
            return verdict

    def verdict(self, now: float) -> Verdict:
        """Return the verdict at this moment."""
        with self._lock:
            return self._judge(now)

    def fullest(self, own: int) -> tuple[int, int]:
        """Return the most memory that a rank uses, and that rank.

        Args:
            own: bytes in use here.
        """
        with self._lock:
            uses = [(beat.memory, rank) for rank, beat in self._beats.items() if rank != self._own.rank]
        return max([(own, self._own.rank), *uses], key=lambda use: (use[0], -use[1]))

    def all_ended_well(self) -> bool:
        """Whether every other rank has said goodbye after a good end."""
        with self._lock:
            others = [beat for rank, beat in self._beats.items() if rank != self._own.rank]
            return len(others) == self._size - 1 and all(beat.code == Exit.DONE for beat in others)

    def all_told(self, now: float, *, wait_for_ends: bool) -> bool:
        """Whether rank 0 may leave: every rank that still lives has heard how it ended.

        Args:
            now: monotonic time.
            wait_for_ends: wait for the goodbyes too, as after a good end.
        """
        with self._lock:
            for rank, heard in self._heard.items():
                if rank == self._own.rank or self._beats[rank].code is not None:
                    continue
                silent = now - heard > LOST_SECONDS
                if not silent and (wait_for_ends or rank not in self._told):
                    return False
            return True

    def _judge(self, now: float) -> Verdict:
        if self._loose:
            return self._judge_loosely()
        formed = len(self._beats) == self._size
        self._lost = self._lost or self._cause(now, formed)
        slow = self._slow(now, formed)
        return Verdict(
            formed=formed,
            stopping=any(beat.stopping for beat in self._beats.values()),
            done=self._beats[self._own.rank].code == Exit.DONE,
            lost=self._lost or self._symptom(),
            slow_times=slow.times if slow else 0.0,
            slow_rank=slow.rank if slow else 0,
        )

    def _judge_loosely(self) -> Verdict:
        own = self._beats[self._own.rank]
        ended_badly = own.code is not None and own.code not in GOOD_ENDS
        return Verdict(
            formed=True,
            stopping=own.stopping,
            done=own.code == Exit.DONE,
            lost=self._end_of(own.rank) if ended_badly else "",
        )

    def _slow(self, now: float, formed: bool) -> Slow | None:
        at_work = formed and all(beat.code is None for beat in self._beats.values())
        return self._pace.judge(
            {rank: beat.own_seconds for rank, beat in self._beats.items()} if at_work else {}, now
        )

    def _cause(self, now: float, formed: bool) -> str:
        for rank, beat in sorted(self._beats.items()):
            if beat.code is not None and beat.code not in GOOD_ENDS and beat.code != Exit.PEER_LOST:
                return self._end_of(rank)
        for rank, heard in sorted(self._heard.items()):
            if formed and rank != self._own.rank and self._beats[rank].code is None:
                silence = now - heard
                if silence > LOST_SECONDS:
                    return SILENT.format(rank=rank, seconds=silence)
        return ""

    def _symptom(self) -> str:
        """A rank that ended because of another one; its word counts only until the cause is known."""
        ranks = [rank for rank, beat in sorted(self._beats.items()) if beat.code == Exit.PEER_LOST]
        return self._end_of(ranks[0]) if ranks else ""

    def _end_of(self, rank: int) -> str:
        message = self._beats[rank].message
        named = message.startswith((f"Rank {rank}:", f"Rank {rank} "))
        return message if named else f"Rank {rank} ended: {message}"
