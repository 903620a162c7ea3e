"""The times of a cron expression in a time zone, as Debian's cron has them.

When clocks are put forward, a time of day that is left out comes right after the gap, once; when they are
put back, a time of day that occurs twice comes at its first occurrence. Expressions whose minute or hour
begins with ``*`` follow the real hours instead: nothing is moved, and what occurs twice comes twice.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from zoneinfo import ZoneInfo

from cronsim import CronSim

_HOUR = 3600.0


@dataclass(frozen=True, slots=True)
class Timetable:
    """Times in seconds since the epoch, given by a valid cron expression and the name of a valid zone."""

    cron: str
    zone: str

    def __str__(self) -> str:
        return f"{' '.join(self.cron.split())} {self.zone}"

    def next(self, after: float) -> float | None:
        """Return the first time later than ``after``; None if none follows in fifty years."""
        return next(self._from(after), None)

    def latest(self, after: float, until: float) -> float | None:
        """Return the latest time later than ``after`` and not later than ``until``; None if there is none.

        It looks back over an hour, then over twice as much, and so on: after an outage of a year a
        schedule of every minute has half a million times, of which one counts.
        """
        span = _HOUR
        while True:
            start = max(after, until - span)
            found = None
            for time in self._from(start):
                if time > until:
                    break
                found = time
            if found is not None or start <= after:
                return found
            span *= 2

    def local(self, time: float) -> datetime:
        """Return a time as a clock in the zone shows it."""
        return datetime.fromtimestamp(time, ZoneInfo(self.zone))

    def words(self, time: float) -> str:
        """Return a time for a sentence, such as ``2026-11-23 02:15 Europe/Berlin``."""
        return f"{self.local(time):%Y-%m-%d %H:%M} {self.zone}"

    def _from(self, after: float) -> Iterator[float]:
        """Iterate over the times later than ``after``, each of them once.

        Several times of day inside a gap come at the same moment, and what is asked for from within an hour
        that occurs twice would come again.
        """
        newest = after
        for moment in CronSim(self.cron, self.local(after)):
            time = moment.timestamp()
            if time > newest:
                newest = time
                yield time
