"""Whether the operator lives and sees: what its liveness and readiness probes are told.

Liveness fails when restarting would help: work waits and no pass ends, or the watches are deaf. A watch
that says nothing is told from one in a quiet cluster by its bytes: the API server sends a bookmark about
once a minute on every watch, so the time since the last byte of *each* watch is what counts. An API server
that is down makes all watches silent, and a restart would not help; so silence counts only while requests
are answered, and where there is nothing to request, ``keep_asking`` does.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable

from mlpools_operator.cluster.errors import ClusterError
from mlpools_operator.cluster.objects import Cluster

#: Passes are a few requests of bounded length.
STUCK_SECONDS = 180.0
#: Bookmarks come every minute, and kopf reconnects after 70 s of silence.
DEAF_SECONDS = 240.0
#: The API server counts as reachable for so long after an answer.
REACHABLE_SECONDS = 120.0
ASK_SECONDS = 30.0


class Health:
    """Notes signs of life; answers with a reason where one is missing."""

    def __init__(
        self,
        waiting: Callable[[], int],
        last_answer: Callable[[], float],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Watch over the parts.

        Args:
            waiting: keys that are waiting or worked on.
            last_answer: time of the newest answer of the API server.
            clock: monotonic seconds, the same as of ``last_answer``.
        """
        self._waiting, self._last_answer, self._clock = waiting, last_answer, clock
        self._last_pass = clock()
        self._bytes: dict[str, float] = {}
        self._synced = self._leads = False

    def passed(self) -> None:
        """Note a finished pass."""
        self._last_pass = self._clock()

    def heard(self, watch: str) -> None:
        """Note bytes of a watch, told by its path."""
        self._bytes[watch] = self._clock()

    def synced(self) -> None:
        """Note that everything that existed at start is remembered: this process may lead at any time."""
        self._synced = True

    def leads(self) -> None:
        """Note that passes are made from now on."""
        self._leads = True
        self.passed()

    @property
    def pass_age(self) -> float:
        """Seconds without a finished pass while there was something to do, as far as anybody looked."""
        if not self._leads or not self._waiting():
            self._last_pass = self._clock()
        return self._clock() - self._last_pass

    @property
    def watch_age(self) -> float:
        """Seconds since the last byte of the watch that is silent for longest."""
        return self._clock() - min(self._bytes.values()) if self._bytes else 0.0

    def not_alive(self) -> str:
        """Return why the operator should be restarted, empty if it should not."""
        if self.pass_age > STUCK_SECONDS:
            return f"No pass has ended for {self.pass_age:.0f} s while work is waiting."
        if self.watch_age > DEAF_SECONDS and self._reachable:
            silent = min(self._bytes, key=lambda watch: self._bytes[watch])
            return f"The watch of {silent} has been silent for {self.watch_age:.0f} s."
        return ""

    def not_ready(self) -> str:
        """Return why the operator does not serve, empty if it does."""
        if not self._synced:
            return "The lists of existing objects are not complete yet."
        if not self._reachable:
            return f"The API server has not answered for {self._answer_age:.0f} s."
        return self.not_alive()

    @property
    def _answer_age(self) -> float:
        return self._clock() - self._last_answer()

    @property
    def _reachable(self) -> bool:
        return self._answer_age < REACHABLE_SECONDS


async def keep_asking(cluster: Cluster) -> None:
    """Ask the API server something small from time to time, until cancelled."""
    while True:
        with contextlib.suppress(ClusterError):
            await cluster.ping()
        await asyncio.sleep(ASK_SECONDS)
