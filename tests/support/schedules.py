"""A template in a simulated cluster, and the runs that it made."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from mlpools_operator.domain.plan import Event
from tests.support.api_server import Json, owner_of
from tests.support.domain_run import Run

#: When each of these histories begins.
START = datetime(2026, 11, 23, tzinfo=UTC).timestamp()
EVERY_MINUTE = "* * * * *"
TEMPLATE = "nightly"


def submit(name: str = TEMPLATE, steps: int = 3, **changes: Any) -> Run:
    """Return a cluster with a template; ``changes`` are fields of its spec."""
    run = Run(steps=steps)
    run.clock.now = START
    run.submit(name, **changes)
    return run


def runs(run: Run) -> list[Json]:
    """Return all runs that exist."""
    return [job for job in run.world.list("TrainingJob") if owner_of(job)]


def names(run: Run) -> list[str]:
    return [job["metadata"]["name"] for job in runs(run)]


def status_of(run: Run) -> Json:
    return run.status(TEMPLATE)


def last_event(run: Run) -> Event:
    """Return what was told last about the template."""
    return [event for name, event in run.operator.events if name == TEMPLATE][-1]
