"""What `start` and `stop` write."""

from __future__ import annotations

from typing import Any

import pytest

from mlpools_kubectl import power
from mlpools_kubectl.cluster import Object
from mlpools_kubectl.failures import Failure
from mlpools_kubectl.kinds import JOBS, NOTEBOOK, POOL
from mlpools_operator.domain import times

NOW = 1_800_000_000.5
ANNOTATION = "mlpools.dev/start-requested-at"


def that(kind: str, *true: str, suspend: bool = False, **status: Any) -> Object:
    conditions = [{"type": it, "status": "True"} for it in true]
    status = {"phase": "Running", "conditions": conditions, **status}
    return {"kind": kind, "metadata": {"name": "it"}, "spec": {"suspend": suspend}, "status": status}


def wish(change: power.Change) -> float:
    assert change.patch is not None
    return times.seconds(change.patch["metadata"]["annotations"][ANNOTATION])


@pytest.mark.parametrize("kind", JOBS)
def test_jobs_are_started_and_stopped_by_suspend(kind: str) -> None:
    assert power.start(that(kind, suspend=True), NOW).patch == {"spec": {"suspend": False}}
    assert power.start(that(kind), NOW).patch is None
    assert power.stop(that(kind)).patch == {"spec": {"suspend": True}}
    assert power.stop(that(kind, suspend=True)).patch is None
    for command in (lambda it: power.start(it, NOW), power.stop):
        with pytest.raises(Failure, match="has ended"):
            command(that(kind, "Failed"))


def test_a_wish_is_later_than_the_stop_whatever_the_clocks_say() -> None:
    for stopped in (NOW - 100, NOW, NOW + 100):
        rests = that(NOTEBOOK, "Stopped", stoppedAt=times.stamp(stopped))
        assert wish(power.start(rests, NOW)) > times.seconds(times.stamp(stopped))
        asleep = that(POOL, "Suspended", suspendedSince=times.stamp(stopped))
        assert wish(power.start(asleep, NOW)) > times.seconds(times.stamp(stopped))


@pytest.mark.parametrize(("kind", "rests"), [(NOTEBOOK, "Stopped"), (POOL, "Suspended")])
def test_a_hold_is_lifted_together_with_the_wish(kind: str, rests: str) -> None:
    held = power.start(that(kind, rests, suspend=True), NOW)
    assert held.patch is not None
    assert held.patch["spec"] == {"suspend": False}
    assert wish(held) > 0
    asleep = power.start(that(kind, rests), NOW)
    assert asleep.patch is not None
    assert "spec" not in asleep.patch
    assert power.start(that(kind), NOW).patch is None
    assert power.stop(that(kind)).patch == {"spec": {"suspend": True}}


def test_what_is_being_stopped_can_be_started_and_what_is_new_needs_no_start() -> None:
    assert power.start(that(NOTEBOOK, "Stopping"), NOW).patch is not None
    new = {"kind": NOTEBOOK, "metadata": {"name": "it"}, "spec": {}}
    assert power.start(new, NOW).patch is None
