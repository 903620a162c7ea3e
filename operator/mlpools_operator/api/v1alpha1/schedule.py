"""Schedules: at which times a kind makes runs of itself, and how that stands."""

from __future__ import annotations

import functools
import re
import zoneinfo
from datetime import UTC, datetime
from typing import Annotated, Literal

from cronsim import CronSim, CronSimError
from pydantic import Field, StringConstraints

from mlpools_operator.api.v1alpha1.common import Sentence, Time, Word
from mlpools_operator.api.v1alpha1.meta import LIST_SET, Model, Rule

_FIELD = "[0-9A-Za-z*,/#-]+"
_FIVE_FIELDS = f"^ *{_FIELD}( +{_FIELD}){{4}} *$"
#: Names of the time zone database begin with a capital; others in its folder (``localtime``) are no zones.
_ZONE = r"^[A-Z][A-Za-z0-9_+-]*(/[A-Za-z0-9_+-]+)*$"


def is_cron(cron: str) -> bool:
    """Whether a cron expression can be read, and names times that come at all."""
    try:
        next(CronSim(cron, datetime(2000, 1, 1, tzinfo=UTC)))
    except (CronSimError, StopIteration):
        return False
    return True


@functools.cache
def is_zone(name: str) -> bool:
    """Whether there is a time zone of that name."""
    try:
        zoneinfo.ZoneInfo(name)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):  # OSError: a folder, such as Europe
        return False
    return True


class Schedule(Model):
    """When runs start, and what happens if one is late or the one before still runs."""

    cron: Annotated[
        str,
        StringConstraints(min_length=9, max_length=256),
        Rule(
            f"self.matches('{_FIVE_FIELDS}')",
            "cron takes five fields with spaces between: minute, hour, day, month and weekday, such as "
            "0 2 * * 1-5",
            lambda cron: re.fullmatch(_FIVE_FIELDS, cron) is not None,
        ),
        Rule(
            None,
            "these are no times that ever come; 0 2 * * 1-5 is 02:00 from Monday to Friday, */15 * * * * is "
            "every quarter of an hour",
            is_cron,
        ),
    ]
    """When: minute, hour, day of month, month and weekday, as in Debian's cron, such as 0 2 * * 1-5."""
    time_zone: Annotated[
        str,
        StringConstraints(max_length=64, pattern=_ZONE),
        Rule(None, "there is no time zone of this name; take one such as Europe/Berlin", is_zone),
    ] = "UTC"
    """Time zone in which cron is read, such as Europe/Berlin."""
    concurrency_policy: Literal["Forbid", "Allow", "Replace"] = "Forbid"
    """If a run has not ended when the next is due. Forbid: the next is passed over. Allow: both run. Replace:
    the one before is deleted."""
    starting_deadline_seconds: Annotated[int, Field(ge=60, le=31_536_000)] = 3600
    """Seconds for which a run that could not start at its time may still start. Of several missed times only
    the latest runs."""
    history_limit: Annotated[int, Field(ge=0, le=100)] = 3
    """Runs that are kept after their end; older ones are deleted, their outputs stay."""


class ScheduleStatus(Model):
    """How a schedule stands."""

    next: Time | None = None
    """When the next run is due. Absent while it is suspended."""
    last: Time | None = None
    """The time for which the last run was started."""
    active: Annotated[tuple[Word, ...], Field(max_length=32), LIST_SET] = ()
    """Runs that have not ended, the newest 32."""
    message: Sentence = ""
    """What became of the last time that was due."""
    settled: Time | None = None
    """Times up to this one are dealt with: no run is started for them any more."""
    cron: Annotated[str, StringConstraints(max_length=512)] = ""
    """The cron expression and the time zone that this speaks of."""
