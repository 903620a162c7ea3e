"""SIGTERM: a wish to stop, honoured at the next boundary where all ranks can agree on it."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable

from mlpools.errors import Preempted

#: After this share of the grace period nobody waits for a boundary any more.
_LATE_SHARE = 0.8


class Stop:
    """Whether this worker was told to stop.

    A thread hears the signal through a pipe, since Python runs signal handlers in the main thread only,
    and that one may be inside XGBoost for minutes.
    """

    def __init__(self, grace_seconds: float) -> None:
        self._late_after = grace_seconds * _LATE_SHARE
        self._requested = threading.Event()
        self._late: Callable[[], None] | None = None
        self._told: Callable[[], None] | None = None

    def listen(self) -> Stop:
        """Take over SIGTERM; call it from the main thread."""
        reading, writing = os.pipe()
        os.set_blocking(writing, False)
        signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
        signal.signal(signal.SIGTERM, lambda *_: self.request())
        threading.Thread(target=self._hear, args=(reading,), daemon=True).start()
        # A child that a DataLoader ends by SIGTERM would write into this very pipe.
        os.register_at_fork(after_in_child=_be_deaf)
        return self

    def request(self) -> None:
        """Ask for a stop."""
        self._requested.set()

    @property
    def requested(self) -> bool:
        """Whether a stop was asked for."""
        return self._requested.is_set()

    def check(self) -> None:
        """Raise if a stop was asked for.

        Raises:
            Preempted: it was.
        """
        if self.requested:
            raise Preempted("Stopped before the first round, as asked.")

    def when_late(self, action: Callable[[], None] | None) -> None:
        """Run an action, in another thread, if most of the grace period has passed without an agreement.

        Args:
            action: None for none any more.
        """
        self._late = action

    def when_told(self, action: Callable[[], None]) -> None:
        """Run an action, in another thread, as soon as the signal comes."""
        self._told = action

    def _hear(self, reading: int) -> None:
        while os.read(reading, 1) != bytes([signal.SIGTERM]):
            pass
        self.request()
        if self._told is not None:
            self._told()
        timer = threading.Timer(self._late_after, lambda: self._late() if self._late else None)
        timer.daemon = True
        timer.start()


def _be_deaf() -> None:
    """Give a forked child the usual meaning of SIGTERM back."""
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
