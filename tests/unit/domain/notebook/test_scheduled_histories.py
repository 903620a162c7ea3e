"""Whatever dies, is late, or is lost: no time has two runs, and the workspace is never had by two pods."""

from __future__ import annotations

import contextlib
from collections import Counter
from typing import Any

from hypothesis import event, given, settings
from hypothesis import strategies as st

from mlpools_operator.cluster.errors import ClusterError
from tests.support.api_server import Json, owner_of
from tests.support.domain_run import NAMESPACE, Run
from tests.support.histories import ACTORS, MODERATE
from tests.support.operator_sim import WATCHED, Died, Fuse
from tests.support.scheduled_notebook import (
    KEY,
    ask_to_start,
    names,
    runs,
    set_schedule,
    submit,
    with_workspace,
)

_TURNS = st.one_of(
    st.just(("notebook",)),
    st.just(("notebook",)),
    st.just(("operator",)),
    st.just(("round",)),
    st.tuples(st.just("die"), st.integers(0, 4)),
    st.tuples(st.just("lose"), st.sampled_from(("create", "replace_status"))),
    st.tuples(st.just("wait"), st.sampled_from((1, 20, 61, 61, 700))),
    st.just(("hear",)),
    st.tuples(st.just("act"), st.sampled_from((*ACTORS, "set-controller"))),
    st.just(("start",)),
    st.just(("rest",)),
    st.tuples(st.just("suspend"), st.booleans()),
    st.just(("delete",)),
)


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


@given(
    st.sampled_from(("Forbid", "Allow", "Replace")),
    st.sampled_from((1, 20)),
    st.lists(_TURNS, min_size=8, max_size=50),
)
@settings(parent=MODERATE, max_examples=60)
def test_notebook_and_runs_take_turns_whatever_happens(
    policy: str, steps: int, turns: list[tuple[Any, ...]]
) -> None:
    run = submit(concurrencyPolicy=policy, steps=steps)
    births = Births(run)
    for turn in turns:
        _do(run, turn)
        assert max(births.count.values(), default=0) <= 1, births.count
        assert len(with_workspace(run)) <= 1, with_workspace(run)
    event(f"{min(len(births.count), 3)} runs or more")
    run.go(8)
    assert len(with_workspace(run)) <= 1


def _do(run: Run, turn: tuple[Any, ...]) -> None:
    what, *rest = turn
    simple = {
        "notebook": lambda: run.operator.pass_notebook(KEY),
        "operator": run.operator.pass_all,
        "round": run.round,
        "hear": lambda: run.operator.hear(*WATCHED),
        "start": lambda: ask_to_start(run),
        "rest": lambda: run.change("alice", suspend=True),
    }
    if what in simple:
        simple[what]()
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
    elif what == "suspend":
        set_schedule(run, suspend=rest[0])
    else:
        for name in names(run)[:1]:
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


def test_a_run_whose_making_nobody_was_told_of_is_found_again() -> None:
    run = submit(cron="1 0 * * *", steps=20)
    births = Births(run)
    run.clock.advance(61)
    run.operator.pass_notebook(KEY)
    _lose(run, "create")
    ask_to_start(run)
    set_schedule(run, suspend=True)
    run.operator.hear("NotebookRuntime")  # and not the run
    run.operator.pass_notebook(KEY)
    assert sum(births.count.values()) == 1
    run.operator.pass_pool("cpu")
    run.operator.pass_notebook(KEY)
    assert run.status("alice")["reason"] == "WorkspaceInUse"
    run.until("alice", "Running", 100)
    assert len(runs(run)) == 1
