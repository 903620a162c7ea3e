"""Whatever dies, is late, or is lost: no time has two runs, and the workspace is never had by two pods."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import event, given, settings
from hypothesis import strategies as st

from mlpools_operator.cluster.errors import ClusterError
from mlpools_operator.domain.attempt.stopping import NEWS_SECONDS
from tests.support.api_server import Json, owner_of
from tests.support.domain_run import NAMESPACE, Run
from tests.support.histories import ACTORS, MODERATE
from tests.support.operator_sim import WATCHED, Died, Fuse
from tests.support.scheduled_notebook import (
    CLAIM,
    KEY,
    ask_to_start,
    names,
    set_schedule,
    submit,
    told,
    with_workspace,
)

POLICIES = ("Forbid", "Allow", "Replace")
FIRST = "nb-alice-202611230001"


class Births:
    """Counts how often each run was made, and sees to it that each was promised the workspace before."""

    def __init__(self, run: Run) -> None:
        self.count: Counter[str] = Counter()
        self._run, self._create = run, run.world.create
        run.world.create = self._made  # type: ignore[method-assign]

    def _made(self, manifest: Json) -> Json:
        answer = self._create(manifest)
        if manifest["kind"] == "TrainingJob" and owner_of(manifest):
            name = manifest["metadata"]["name"]
            assert self._run.status("alice").get("run", {}).get("name") == name
            self.count[name] += 1
        return answer


def _play(policy: str, dies_after: int | None) -> tuple[Run, Births]:
    """Play two times, with an operator that dies before one of its writes."""
    run = submit(concurrencyPolicy=policy, historyLimit=1, steps=1 if policy == "Forbid" else 20)
    births = Births(run)
    run.operator.fuse = Fuse(dies_after)
    for _ in range(22 if policy == "Forbid" else 26):
        try:
            run.round()
        except Died:
            run.operator.restart()
        assert len(with_workspace(run)) <= 1
        run.clock.advance(7)
    return run, births


@pytest.mark.parametrize("policy", ["Forbid", "Replace"])
def test_a_crash_before_any_write_neither_loses_nor_doubles_a_run(policy: str) -> None:
    whole, all_births = _play(policy, None)
    assert len(all_births.count) == 2
    writes = sum(whole.operator.writes.values())
    assert writes > 20
    for write in range(writes):
        _, births = _play(policy, write)
        assert births.count == all_births.count, f"died before write {write}"


_TURNS = st.one_of(
    st.just(("notebook",)),
    st.just(("notebook",)),
    st.just(("pool",)),
    st.just(("operator",)),
    st.just(("round",)),
    st.tuples(st.just("die"), st.integers(0, 4)),
    st.tuples(st.just("lose"), st.sampled_from(("create", "replace_status"))),
    st.tuples(st.just("wait"), st.sampled_from((1, 20, 61, 61, 700))),
    st.tuples(st.just("hear"), st.sampled_from(WATCHED)),
    st.tuples(st.just("act"), st.sampled_from((*ACTORS, "set-controller"))),
    st.just(("start",)),
    st.just(("rest",)),
    st.tuples(st.just("suspend"), st.booleans()),
    st.tuples(st.just("schedule"), st.sampled_from((None, "* * * * *", "*/7 * * * *"))),
    st.just(("delete",)),
)


@given(
    st.sampled_from(POLICIES),
    st.sampled_from((1, 20)),
    st.lists(_TURNS, min_size=8, max_size=40),
)
@settings(parent=MODERATE, max_examples=20)
def test_notebook_and_runs_take_turns_whatever_happens(
    policy: str, steps: int, turns: list[tuple[Any, ...]]
) -> None:
    run = submit(concurrencyPolicy=policy, steps=steps)
    births = Births(run)
    for turn in turns:
        _do(run, policy, turn)
        assert max(births.count.values(), default=0) <= 1, births.count
        assert len(with_workspace(run)) <= 1, with_workspace(run)
    event(f"{min(len(births.count), 3)} runs or more")
    _goes_on(run, policy, births)


def _goes_on(run: Run, policy: str, births: Births) -> None:
    """Nothing is held for ever: another time has its run, and then the notebook its turn."""
    made = len(births.count)
    _do(run, policy, ("schedule", "* * * * *"))
    run.change("alice", suspend=True)
    _until(run, lambda: len(births.count) > made)
    run.change("alice", schedule=None)
    ask_to_start(run)
    _until(run, lambda: run.status("alice")["phase"] == "Running")
    assert max(births.count.values()) == 1


def _until(run: Run, reached: Callable[[], bool]) -> None:
    for _ in range(80):
        run.round()
        assert len(with_workspace(run)) <= 1, with_workspace(run)
        if reached():
            return
        run.clock.advance(5)
    raise AssertionError(f"it does not go on: {run.status('alice')}")


def _do(run: Run, policy: str, turn: tuple[Any, ...]) -> None:
    what, *rest = turn
    simple: dict[str, Callable[[], object]] = {
        "notebook": lambda: run.operator.pass_notebook(KEY),
        "pool": lambda: run.operator.pass_pool("cpu"),
        "operator": run.operator.pass_all,
        "round": run.round,
        "start": lambda: ask_to_start(run),
        "rest": lambda: run.change("alice", suspend=True),
    }
    if what in simple:
        simple[what]()
    elif what == "hear":
        run.operator.hear(rest[0])
    elif what == "die":
        run.operator.fuse = Fuse(rest[0])
        with contextlib.suppress(Died):
            run.operator.pass_notebook(KEY)
        run.operator.restart()
    elif what == "lose":
        _lose(run, rest[0])
    elif what == "wait":
        run.operator.wait(rest[0])
    elif what == "act":
        run.world.actors[rest[0]]()
    else:
        _ask(run, policy, what, *rest)


def _ask(run: Run, policy: str, what: str, *given: Any) -> None:
    """Let a person change the schedule, or delete a run of which the notebook tells."""
    if what == "suspend":
        if run.world.get(*KEY)["spec"].get("schedule"):
            set_schedule(run, suspend=given[0])
    elif what == "schedule":
        wanted = {"cron": given[0], "notebook": "daily.ipynb", "concurrencyPolicy": policy}
        run.change("alice", schedule=wanted if given[0] else None)
    else:
        for name in set(names(run)) & set(told(run).get("active", ())):
            run.world.delete("TrainingJob", NAMESPACE, name)


def _lose(run: Run, verb: str) -> None:
    """Make a pass of which the answer to a write is lost: it was done, and nobody here knows."""
    send = getattr(run.world, verb)

    def lost(*arguments: Any) -> Json:
        send(*arguments)
        raise ClusterError("the answer was lost")

    setattr(run.world, verb, lost)
    try:
        with contextlib.suppress(ClusterError):
            run.operator.pass_notebook(KEY)
    finally:
        setattr(run.world, verb, send)


def _made_and_not_heard_of() -> tuple[Run, Births]:
    """Return a cluster where a run was made, and the answer to that lost."""
    run = submit(cron="1 0 * * *", steps=20)
    births = Births(run)
    run.clock.advance(61)
    run.operator.pass_notebook(KEY)
    _lose(run, "create")
    assert births.count == {FIRST: 1}
    return run, births


def test_a_run_whose_making_nobody_was_told_of_is_found_again() -> None:
    run, births = _made_and_not_heard_of()
    ask_to_start(run)
    set_schedule(run, suspend=True)
    run.operator.hear("NotebookRuntime")  # and not the run
    run.operator.pass_notebook(KEY)
    assert births.count == {FIRST: 1}
    run.operator.pass_pool("cpu")
    run.operator.pass_notebook(KEY)
    assert run.status("alice")["reason"] == "WorkspaceInUse"
    run.until("alice", "Running", 100)
    assert births.count == {FIRST: 1}


def test_a_run_that_may_have_been_made_keeps_the_workspace_also_without_its_schedule() -> None:
    run, _ = _made_and_not_heard_of()
    run.change("alice", schedule=None)
    ask_to_start(run)
    for _ in range(3):
        run.operator.hear("NotebookRuntime")  # and not the run
        run.operator.pass_pool("cpu")
        run.operator.pass_notebook(KEY)
    assert run.status("alice")["reason"] == "WorkspaceInUse"
    run.operator.restart()
    run.go(2, 1)
    assert run.status("alice")["run"]["uid"]
    run.until("alice", "Running", 100)


def test_a_run_is_noted_before_the_next_one_takes_its_place() -> None:
    run = submit(concurrencyPolicy="Replace", steps=20)
    births = Births(run)
    run.clock.advance(61)
    run.operator.pass_notebook(KEY)
    run.operator.pass_notebook(KEY)
    assert births.count == {FIRST: 1}
    run.clock.advance(61)
    run.operator.fuse = Fuse(1)
    with contextlib.suppress(Died):
        run.operator.pass_notebook(KEY)
    run.operator.restart()
    run.go(30, 1)
    assert births.count == {FIRST: 1, "nb-alice-202611230002": 1}


def test_a_promise_is_not_taken_back_sooner_for_what_was_in_its_way_before() -> None:
    run = submit(cron="1 0 * * *", steps=20)
    births = Births(run)
    run.clock.advance(61)
    run.operator.pass_notebook(KEY)
    taken = [{"name": CLAIM, "emptyDir": {}}]
    run.change("alice", volumes=taken, volumeMounts=[{"name": CLAIM, "mountPath": "/more"}])
    run.operator.hear("NotebookRuntime")
    run.operator.pass_notebook(KEY)
    run.clock.advance(NEWS_SECONDS - 1)
    run.change("alice", volumes=[], volumeMounts=[])
    run.operator.hear("NotebookRuntime")
    while not births.count:
        _lose(run, "create")
    run.change("alice", schedule=None)
    ask_to_start(run)
    run.clock.advance(2)
    for _ in range(3):
        run.operator.hear("NotebookRuntime")  # and not the run
        run.operator.pass_pool("cpu")
        run.operator.pass_notebook(KEY)
    assert run.status("alice")["reason"] == "WorkspaceInUse"
    run.operator.restart()
    run.until("alice", "Running", 100)


def test_a_promise_that_nobody_can_keep_any_more_is_taken_back() -> None:
    run = submit(cron="1 0 * * *")
    births = Births(run)
    run.clock.advance(61)
    run.operator.pass_notebook(KEY)
    run.operator.restart()  # killed before it could make the run
    assert run.status("alice")["run"] == {"name": FIRST, "uid": ""}
    run.change("alice", schedule=None)
    ask_to_start(run)
    run.operator.pass_all()
    run.operator.pass_all()
    status = run.status("alice")
    (scheduled,) = (it for it in status["conditions"] if it["type"] == "Scheduled")
    assert scheduled["reason"] == status["reason"] == "WorkspaceInUse"
    assert f"within {NEWS_SECONDS:.0f} s" in scheduled["message"]
    run.clock.advance(NEWS_SECONDS)
    status = run.until("alice", "Running", 20)
    assert births.count == {}
    assert not {"run", "schedule"} & set(status)
    assert "Scheduled" not in {it["type"] for it in status["conditions"]}
