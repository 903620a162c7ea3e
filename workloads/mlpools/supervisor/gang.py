"""The watchdog between supervisors: nobody waits for a rank that will never answer again.

A star: every follower sends a ``Beat`` to rank 0 each second and gets the ``Verdict`` back (``roll``).
Frameworks find a dead peer by time-outs of many minutes; the gang finds it in seconds, also when a machine
lost its power or its network.

Pods that are no gang (``loose``: those of a batch inference) come and go: only rank 0's end, loss and stop
are the others' concern, and nobody waits until all are there.
"""

from __future__ import annotations

import dataclasses
import json
import socket
import threading
import time
from collections.abc import Callable
from typing import Any, Protocol

from mlpools.supervisor import cgroup
from mlpools.supervisor.roll import GOOD_ENDS, LOST_SECONDS, SILENT, Beat, Roll, Verdict
from mlpools.supervisor.status import ask

BEAT_SECONDS = 1.0
#: Beats of large gangs come less often, so that rank 0 answers at most so many a second.
BEATS_PER_SECOND = 512

#: Called from a thread of the gang's whenever the verdict changed.
Listener = Callable[[Verdict], None]


class Member(Protocol):
    """What a supervisor tells its gang."""

    def stopping(self) -> None:
        """Tell all ranks to stop."""

    def working(self, seconds: float) -> None:
        """Tell how long this rank itself works on a step."""

    def goodbye(self, code: int, message: str) -> None:
        """Tell all ranks how this one ended, and return when who must know does."""

    def fullest(self, own: int) -> tuple[int, int]:
        """Return the most memory that a rank uses, as far as this one knows, and that rank."""

    def others_ended_well(self) -> bool:
        """Whether all other ranks are known to have ended well."""


class Leader:
    """Rank 0 in the gang."""

    def __init__(self, own: Beat, size: int, listener: Listener, *, loose: bool = False) -> None:
        self._own = own
        self._roll = Roll(own, size, loose=loose)
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

    def working(self, seconds: float) -> None:
        """Compare this rank's own work in a step with that of the others."""
        self._update(own_seconds=seconds)

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
        self._host, self._port = host, port
        #: Where rank 0 was, once it knew of all ranks: without a network a name takes longer than a loss may.
        self._found = ""
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

    def working(self, seconds: float) -> None:
        """Tell rank 0 with the next beat."""
        self._own = dataclasses.replace(self._own, own_seconds=seconds)

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
                verdict = self._tell(beat)
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

    def _tell(self, beat: Beat) -> Verdict:
        host = self._found or str(socket.getaddrinfo(self._host, None, type=socket.SOCK_STREAM)[0][4][0])
        verdict = Verdict.from_dict(json.loads(ask(host, self._port, "POST", "/gang", beat.to_json())))
        if verdict.formed:
            self._found = host
        return verdict

    def _silence(self, seconds: float) -> Verdict:
        last = self._last
        if not last.formed or last.done or last.lost or seconds <= self._lost_after:
            return last
        return dataclasses.replace(last, lost=SILENT.format(rank=0, seconds=seconds))


class Alone:
    """A gang of one: nobody to tell."""

    def stopping(self) -> None:
        """Nobody else has to stop."""

    def working(self, seconds: float) -> None:
        """Nobody waits for it."""

    def goodbye(self, code: int, message: str) -> None:
        """Nobody waits."""

    def fullest(self, own: int) -> tuple[int, int]:
        """Return this rank's use."""
        return own, 0

    def others_ended_well(self) -> bool:
        """There are no others."""
        return True
