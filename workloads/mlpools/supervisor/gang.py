"""The watchdog between supervisors: nobody waits for a rank that will never answer again.

A star: every follower sends a ``Beat`` to rank 0 each second and gets the ``Verdict`` back. Frameworks
find a dead peer by time-outs of many minutes; the gang finds it in seconds, also when a machine lost
its power or its network.

* *Formed*: rank 0 has heard every rank once. Silence before that is a late start and no loss.
* *Lost*: a rank said that it ended badly, or was silent for ``LOST_SECONDS`` after forming. A rank
  that said goodbye with a good end (``GOOD_ENDS``) may be silent for ever.
* *Stopping*: one rank was told to stop; all stop, so that they agree on one boundary.
* *Done*: rank 0 ended well, which means that the result is committed.
"""

from __future__ import annotations

import dataclasses
import json
import threading
import time
from collections.abc import Callable
from typing import Any, Protocol

from mlpools.contract import Exit
from mlpools.document import Document
from mlpools.supervisor import cgroup
from mlpools.supervisor.status import ask

BEAT_SECONDS = 1.0
#: Beats of large gangs come less often, so that rank 0 answers at most so many a second.
BEATS_PER_SECOND = 512
LOST_SECONDS = 6.0
_SILENT = "Rank {rank} has not been heard for {seconds:.0f} s: its pod or its network is gone."
GOOD_ENDS = frozenset({Exit.DONE, Exit.PREEMPTED})


@dataclasses.dataclass(frozen=True)
class Beat(Document):
    """How one rank is.

    Attributes:
        uid: of the job, with ``attempt``: beats of another attempt are not counted.
        code: exit code once it ended, its goodbye; None before.
        message: how it ended.
        memory: bytes in use.
    """

    uid: str
    attempt: int
    rank: int
    stopping: bool = False
    code: int | None = None
    message: str = ""
    memory: int = 0


@dataclasses.dataclass(frozen=True)
class Verdict(Document):
    """What rank 0 knows about the gang. ``lost`` is one sentence naming the first lost rank."""

    formed: bool = False
    stopping: bool = False
    done: bool = False
    lost: str = ""


#: Called from a thread of the gang's whenever the verdict changed.
Listener = Callable[[Verdict], None]


class Roll:
    """Rank 0's side: who was heard, when, and what that means. Time comes in from outside."""

    def __init__(self, own: Beat, size: int) -> None:
        self._size = size
        self._beats: dict[int, Beat] = {own.rank: own}
        self._heard: dict[int, float] = {}
        self._told: set[int] = set()
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
        formed = len(self._beats) == self._size
        self._lost = self._lost or self._cause(now, formed)
        return Verdict(
            formed=formed,
            stopping=any(beat.stopping for beat in self._beats.values()),
            done=self._beats[self._own.rank].code == Exit.DONE,
            lost=self._lost or self._symptom(),
        )

    def _cause(self, now: float, formed: bool) -> str:
        for rank, beat in sorted(self._beats.items()):
            if beat.code is not None and beat.code not in GOOD_ENDS and beat.code != Exit.PEER_LOST:
                return f"Rank {rank} ended: {beat.message}"
        for rank, heard in sorted(self._heard.items()):
            if formed and rank != self._own.rank and self._beats[rank].code is None:
                silence = now - heard
                if silence > LOST_SECONDS:
                    return _SILENT.format(rank=rank, seconds=silence)
        return ""

    def _symptom(self) -> str:
        """A rank that ended because of another one; its word counts only until the cause is known."""
        ranks = [rank for rank, beat in sorted(self._beats.items()) if beat.code == Exit.PEER_LOST]
        return f"Rank {ranks[0]} ended: {self._beats[ranks[0]].message}" if ranks else ""


class Member(Protocol):
    """What a supervisor tells its gang."""

    def stopping(self) -> None:
        """Tell all ranks to stop."""

    def goodbye(self, code: int, message: str) -> None:
        """Tell all ranks how this one ended, and return when who must know does."""

    def fullest(self, own: int) -> tuple[int, int]:
        """Return the most memory that a rank uses, as far as this one knows, and that rank."""

    def others_ended_well(self) -> bool:
        """Whether all other ranks are known to have ended well."""


class Leader:
    """Rank 0 in the gang."""

    def __init__(self, own: Beat, size: int, listener: Listener) -> None:
        self._own = own
        self._roll = Roll(own, size)
        self._listener = listener
        self._last = Verdict()
        threading.Thread(target=self._watch, daemon=True).start()

    def answer(self, body: bytes) -> str:
        """Serve ``POST /gang``."""
        beat = Beat.from_json(body.decode())
        return self._publish(self._roll.hear(beat, time.monotonic())).to_json()

    def stopping(self) -> None:
        """Tell all ranks to stop."""
        self._update(stopping=True)

    def goodbye(self, code: int, message: str) -> None:
        """Tell all ranks how rank 0 ended and stay until they know, so that nobody takes it for a loss."""
        self._update(code=code, message=message)
        good = code in GOOD_ENDS
        deadline = time.monotonic() + (10.0 if good else 3.0)
        while time.monotonic() < deadline and not self._roll.all_told(time.monotonic(), wait_for_ends=good):
            time.sleep(0.02)

    def fullest(self, own: int) -> tuple[int, int]:
        """Return the most memory that a rank uses, and that rank."""
        return self._roll.fullest(own)

    def others_ended_well(self) -> bool:
        """Whether all other ranks have said so."""
        return self._roll.all_ended_well()

    def _update(self, **changes: Any) -> None:
        self._own = dataclasses.replace(self._own, **changes)
        self._publish(self._roll.hear(self._own, time.monotonic()))

    def _watch(self) -> None:
        while True:
            time.sleep(BEAT_SECONDS / 2)
            self._publish(self._roll.verdict(time.monotonic()))

    def _publish(self, verdict: Verdict) -> Verdict:
        if verdict != self._last:
            self._last = verdict
            self._listener(verdict)
        return verdict


class Follower:
    """Any other rank in the gang."""

    def __init__(self, own: Beat, size: int, host: str, port: int, listener: Listener) -> None:
        self._own = own
        self._address = (host, port)
        self._listener = listener
        self._last = Verdict()
        self._period = max(BEAT_SECONDS, size / BEATS_PER_SECOND)
        self._lost_after = max(LOST_SECONDS, 3 * self._period)
        self._news = threading.Event()
        self._acknowledged = threading.Event()
        threading.Thread(target=self._beat_for_ever, daemon=True).start()

    def stopping(self) -> None:
        """Tell all ranks to stop."""
        self._own = dataclasses.replace(self._own, stopping=True)
        self._news.set()

    def goodbye(self, code: int, message: str) -> None:
        """Tell rank 0 how this rank ended, unless a rank is lost. A rank 0 that never came gets 3 s."""
        self._own = dataclasses.replace(self._own, code=code, message=message)
        self._news.set()
        if not self._last.lost:
            self._acknowledged.wait(3.0)

    def fullest(self, own: int) -> tuple[int, int]:
        """Return this rank's use: the others tell theirs to rank 0."""
        return own, self._own.rank

    def others_ended_well(self) -> bool:
        """Only rank 0 knows."""
        return False

    def _beat_for_ever(self) -> None:
        heard = time.monotonic()
        while True:
            self._news.clear()
            own = self._own
            try:
                beat = dataclasses.replace(own, memory=cgroup.memory_used())
                text = ask(*self._address, "POST", "/gang", beat.to_json())
                verdict = Verdict.from_dict(json.loads(text))
                heard = time.monotonic()
            except (OSError, ValueError):
                verdict = self._silence(time.monotonic() - heard)
                if verdict.done:  # rank 0 left before it heard us; it had no need to
                    self._acknowledged.set()
            else:
                if own.code is not None:
                    self._acknowledged.set()
            if verdict != self._last:
                self._last = verdict
                self._listener(verdict)
            self._news.wait(self._period if verdict.formed else BEAT_SECONDS / 4)

    def _silence(self, seconds: float) -> Verdict:
        last = self._last
        if not last.formed or last.done or last.lost or seconds <= self._lost_after:
            return last
        return dataclasses.replace(last, lost=_SILENT.format(rank=0, seconds=seconds))


class Alone:
    """A gang of one: nobody to tell."""

    def stopping(self) -> None:
        """Nobody else has to stop."""

    def goodbye(self, code: int, message: str) -> None:
        """Nobody waits."""

    def fullest(self, own: int) -> tuple[int, int]:
        """Return this rank's use."""
        return own, 0

    def others_ended_well(self) -> bool:
        """There are no others."""
        return True
