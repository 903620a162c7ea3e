"""A notebook stops when its time is over, never a moment before, and never on the word of an old look."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlpools_operator.api.v1alpha1 import NotebookRuntimeSpec, parse
from mlpools_operator.domain.notebook.idle import (
    FRESH_SECONDS,
    UNSEEN_SECONDS,
    WARNING_SECONDS,
    Look,
    decide,
)

NOW = 1_800_000_000.0


def spec(**fields: Any) -> NotebookRuntimeSpec:
    return parse("NotebookRuntime", {"computePool": "cpu", **fields})


def look(used_ago: float, *, age: float = 0.0, touched_ago: float | None = None) -> Look:
    at = NOW - age
    return Look(at, 1, at - used_ago, at - (used_ago if touched_ago is None else touched_ago))


def seen(at: Look | None, started_ago: float = 1e6, told_ago: float = 1e6, **fields: Any) -> Any:
    return decide(spec(**fields), at, started=NOW - started_ago, told=NOW - told_ago, now=NOW)


def test_one_that_is_used_goes_on_and_says_until_when() -> None:
    found = seen(look(10.0), idleSeconds=3600)
    assert (found.used, found.stops_at) == (NOW - 10, NOW + 3590)
    assert not found.near
    assert not found.stop


def test_it_warns_before_it_stops() -> None:
    assert not seen(look(3600 - WARNING_SECONDS - 1)).near
    found = seen(look(3600 - WARNING_SECONDS))
    assert found.near
    assert not found.stop
    assert seen(look(30.0), idleSeconds=60).near


def test_it_stops_by_a_look_that_was_taken_after_its_time_and_just_now() -> None:
    assert seen(look(3600.0)).stop
    assert seen(look(3601.0, age=0.5)).stop


@pytest.mark.parametrize("old", [look(3600.0, age=FRESH_SECONDS + 1), look(3599.5, age=1.0)])
def test_an_older_look_only_asks_for_another_one(old: Look) -> None:
    found = seen(old)
    assert found.look
    assert not found.stop


def test_a_start_is_use_and_what_the_status_says_is_not_forgotten() -> None:
    assert seen(look(7200.0), started_ago=60.0).stops_at == NOW + 3540
    assert seen(look(7200.0), told_ago=600.0).stops_at == NOW + 3000


def test_it_never_stops_what_it_cannot_see() -> None:
    found = seen(look(90_000.0, age=UNSEEN_SECONDS))
    assert found.unknown
    assert not found.stop
    started = seen(None, told_ago=30.0)
    assert not started.unknown
    assert started.stops_at == NOW + 3570
    assert seen(None).unknown


def test_zero_is_never() -> None:
    found = seen(look(1e6), idleSeconds=0)
    assert found.stops_at is None
    assert not found.stop


def test_a_busy_one_stops_only_where_that_is_asked_for() -> None:
    running = look(0.0, touched_ago=7300.0)
    assert not seen(running).stop
    found = seen(running, idle={"maxBusySeconds": 7200})
    assert found.stop
    assert found.busy


@dataclass
class Pod:
    """A notebook that is used at some moments, and an operator that looks at it now and then."""

    uses: list[float]
    idle: int
    now: float = NOW
    told: float = 0.0
    newest: Look | None = None
    stopped: bool = False
    warned: list[float] = field(default_factory=list)

    def used(self) -> float:
        return max((use for use in self.uses if use <= self.now), default=NOW)

    def take(self, *, reaches: bool) -> None:
        if reaches:
            self.newest = Look(self.now, 1, self.used(), self.used())

    def decide(self, *, reaches: bool) -> None:
        found = decide(spec(idleSeconds=self.idle), self.newest, started=NOW, told=self.told, now=self.now)
        if found.look:
            self.take(reaches=reaches)
            found = decide(
                spec(idleSeconds=self.idle), self.newest, started=NOW, told=self.told, now=self.now
            )
        self.told = max(self.told, found.used)
        self.stopped = found.stop
        if found.near:
            self.warned.append(self.now)


_STEP = st.tuples(
    st.sampled_from(["look", "decide", "restart", "lost"]), st.floats(0.0, 40.0, allow_nan=False)
)


@given(
    uses=st.lists(st.floats(0.0, 900.0), max_size=8),
    steps=st.lists(_STEP, max_size=60),
    idle=st.sampled_from([60, 120, 600]),
)
def test_whatever_happens_it_stops_late_rather_than_early_and_never_unwarned(
    uses: list[float], steps: list[tuple[str, float]], idle: int
) -> None:
    pod = Pod([NOW + use for use in uses], idle)
    for what, seconds in steps:
        pod.now += seconds
        if what == "restart":
            pod.newest = None
        elif what == "decide":
            pod.decide(reaches=True)
        elif what == "lost":
            pod.decide(reaches=False)
        else:
            pod.take(reaches=True)
        if pod.stopped:
            assert pod.now - pod.used() >= idle
            return
        assert pod.told <= pod.used()
    pod.now = max(pod.now, NOW + 900) + idle + 1
    pod.take(reaches=True)
    pod.decide(reaches=True)
    assert pod.stopped


def test_the_last_look_saves_what_began_to_run_a_moment_ago() -> None:
    pod = Pod([], 60)
    pod.take(reaches=True)
    pod.now += 60.0
    pod.uses.append(pod.now - 1.0)
    pod.decide(reaches=True)
    assert not pod.stopped
    blind = replace(pod, uses=[])
    blind.decide(reaches=True)
    assert not blind.stopped  # the status remembers what was seen
