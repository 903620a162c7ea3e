"""Whatever dies, is late, or goes backwards: no time of a schedule has two runs."""

from __future__ import annotations

import contextlib
from collections import Counter
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import event, given, settings
from hypothesis import strategies as st

from mlpools_operator.controller.store import Key
from mlpools_operator.domain import times
from tests.support.api_server import Json, condition, owner_of
from tests.support.domain_run import NAMESPACE, Run
from tests.support.histories import MODERATE
from tests.support.operator_sim import WATCHED, Died, Fuse
from tests.support.schedules import EVERY_MINUTE, START, TEMPLATE, names, runs, status_of, submit

KEY = Key("TrainingJob", NAMESPACE, TEMPLATE)
POLICIES = ("Forbid", "Allow", "Replace")


class Births:
    """Counts how often each run was made."""

    def __init__(self, run: Run) -> None:
        self.count: Counter[str] = Counter()
        self._create = run.world.create
        run.world.create = self._made  # type: ignore[method-assign]

    def _made(self, manifest: Json) -> Json:
        answer = self._create(manifest)
        if manifest["kind"] == "TrainingJob" and owner_of(manifest):
            self.count[manifest["metadata"]["name"]] += 1
        return answer


def _play(policy: str, dies_after: int | None) -> tuple[Run, Births]:
    """Play three runs of a template, with an operator that dies before one of its writes."""
    run = submit(
        schedule={"cron": EVERY_MINUTE, "concurrencyPolicy": policy, "historyLimit": 1},
        steps=1 if policy == "Forbid" else 20,
    )
    births = Births(run)
    run.operator.fuse = Fuse(dies_after)
    for _ in range(28):
        try:
            run.round()
        except Died:
            run.operator.restart()
        run.clock.advance(7)
    return run, births


@pytest.mark.parametrize("policy", POLICIES)
def test_a_crash_before_any_write_neither_loses_nor_doubles_a_run(policy: str) -> None:
    whole, all_births = _play(policy, None)
    assert len(all_births.count) == 3
    assert sum(whole.operator.writes.values()) > 20
    for write in range(sum(whole.operator.writes.values())):
        run, births = _play(policy, write)
        assert births.count == all_births.count, f"died before write {write}"
        assert names(run) == names(whole), f"died before write {write}"
        assert status_of(run)["schedule"]["last"] == "2026-11-23T00:03:00Z", f"died before write {write}"


def test_a_run_that_ended_is_not_swept_away_before_its_time_is_noted() -> None:
    run = submit(schedule={"cron": EVERY_MINUTE, "historyLimit": 0})
    births = Births(run)
    run.operator.pass_all()
    run.clock.now = START + 60
    run.operator.fuse = Fuse(1)  # the run is made, and nobody could write it down
    with pytest.raises(Died):
        run.operator.pass_job(KEY)
    (name,) = names(run)
    run.world.patch(
        "TrainingJob", NAMESPACE, name, lambda it: it.update(status={"phase": "Failed", "conditions": ENDED})
    )
    for _ in range(4):  # it dies after each of its next writes
        run.operator.restart()
        run.operator.fuse = Fuse(1)
        with contextlib.suppress(Died):
            run.operator.pass_job(KEY)
    assert births.count == {name: 1}
    run.operator.restart()
    run.operator.pass_job(KEY)
    assert names(run) == []


@pytest.mark.parametrize("policy", POLICIES)
def test_a_run_that_nobody_could_write_down_is_told_of_however_late(policy: str) -> None:
    run = submit(schedule={"cron": "0 1 * * *", "concurrencyPolicy": policy})
    run.operator.pass_all()
    run.clock.now = START + 3600
    run.operator.fuse = Fuse(1)
    with pytest.raises(Died):
        run.operator.pass_job(KEY)
    made = names(run)
    run.operator.restart()
    run.clock.advance(4000)
    run.operator.pass_job(KEY)
    assert names(run) == list(status_of(run)["schedule"]["active"]) == made
    assert status_of(run)["schedule"]["message"] == f"Started {made[0]} for 2026-11-23 01:00 UTC."


ENDED = [{"type": "Failed", "status": "True", "reason": "TooLarge", "message": "", "lastTransitionTime": ""}]

_TURNS = st.one_of(
    st.just(("pass",)),
    st.just(("pass",)),
    st.tuples(st.just("die"), st.integers(0, 3)),
    st.tuples(st.just("wait"), st.sampled_from((1, 20, 61, 61, 700, 4000))),
    st.tuples(st.just("wait"), st.sampled_from((-30, -600, -90_000))),
    st.just(("hear",)),
    st.just(("work",)),
    st.just(("end",)),
    st.just(("tidy",)),
    st.tuples(st.just("change"), st.sampled_from(("* * * * *", "*/7 * * * *", "30 2 * * *"))),
    st.tuples(st.just("suspend"), st.booleans()),
)


@given(st.sampled_from(POLICIES), st.integers(0, 2), st.lists(_TURNS, min_size=5, max_size=60))
@settings(parent=MODERATE, max_examples=120)
def test_no_time_has_two_runs_whatever_happens(policy: str, kept: int, turns: list[tuple[Any, ...]]) -> None:
    schedule = {"cron": EVERY_MINUTE, "concurrencyPolicy": policy, "historyLimit": kept}
    run = submit(schedule=schedule)
    births = Births(run)
    settled = 0.0
    for turn in turns:
        _do(run, schedule, turn)
        assert max(births.count.values(), default=0) <= 1, births.count
        told = status_of(run).get("schedule", {})
        assert times.seconds(told.get("settled")) >= settled, "what was dealt with is open again"
        settled = times.seconds(told.get("settled"))
        if policy == "Forbid":
            assert sum(not _ended(it) for it in runs(run)) <= 1
    event(f"{min(len(births.count), 4)} runs or more")


def _do(run: Run, schedule: dict[str, Any], turn: tuple[Any, ...]) -> None:
    what, *rest = turn
    if what == "pass":
        run.operator.pass_job(KEY)
    elif what == "die":
        run.operator.fuse = Fuse(rest[0])
        try:
            run.operator.pass_job(KEY)
        except Died:
            event("the operator died between two writes")
        run.operator.restart()
    elif what == "wait":
        run.clock.advance(rest[0])
    elif what == "hear":
        run.operator.hear(*WATCHED)
    elif what == "work":
        run.round()
    elif what == "change":
        run.change(TEMPLATE, schedule={**schedule, "cron": rest[0]})
    elif what == "suspend":
        run.change(TEMPLATE, suspend=rest[0])
    else:
        _touch_runs(run, what)


def _touch_runs(run: Run, what: str) -> None:
    """Let the oldest run end, or a person delete the runs of whose start the template's status tells."""
    if what == "end":
        for it in runs(run)[:1]:
            name = it["metadata"]["name"]
            run.world.patch(
                "TrainingJob", NAMESPACE, name, lambda it: it.update(status={"conditions": ENDED})
            )
        return
    told = status_of(run).get("schedule", {}).get("settled", "")
    for it in runs(run):
        if times.stamp(_scheduled(it)) <= told:
            run.world.delete("TrainingJob", NAMESPACE, it["metadata"]["name"])


def _scheduled(job: Json) -> float:
    minute = job["metadata"]["name"].removeprefix(f"{TEMPLATE}-")
    return datetime.strptime(f"{minute}Z", "%Y%m%d%H%MZ").replace(tzinfo=UTC).timestamp()


def _ended(job: Json) -> bool:
    return bool(condition(job, "Complete") or condition(job, "Failed"))
