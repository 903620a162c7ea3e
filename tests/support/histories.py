"""Random histories of three jobs in one pool: who acts when, what goes wrong, and how each turn is played."""

from __future__ import annotations

from typing import Any

from hypothesis import HealthCheck, event, settings
from hypothesis import strategies as st

from tests.support.domain_run import NAMESPACE, Run
from tests.support.operator_sim import WATCHED, Died, Fuse

Turn = tuple[Any, ...]

ACTORS = ("job-controller", "scheduler", "kubelets", "garbage-collector", "node-lifecycle")
JOBS = ("one", "two", "three")

#: Everybody's ordinary work, late news, and an operator that dies.
TURNS = st.one_of(
    st.sampled_from(ACTORS).map(lambda name: ("act", name)),
    st.sampled_from(WATCHED).map(lambda kind: ("hear", kind)),
    st.just(("pool", "")),
    st.sampled_from(JOBS).map(lambda name: ("job", name)),
    st.sampled_from(("pool", *JOBS)).flatmap(
        lambda what: st.integers(0, 3).map(lambda writes: ("die", what, writes))
    ),
    st.sampled_from((1, 5, 20)).map(lambda seconds: ("wait", seconds)),
)
#: What befalls machines, pods and Jobs.
FAULTS = st.one_of(
    st.tuples(st.sampled_from(("kill", "drain")), st.sampled_from(JOBS), st.integers(0, 2)),
    st.tuples(st.sampled_from(("lose", "heal")), st.sampled_from(("node-a", "node-b"))),
    st.tuples(st.just("drop"), st.sampled_from(JOBS)),
)
#: Deleted, and submitted again at once under the same name.
REPLACED = st.tuples(st.just("delete"), st.sampled_from(JOBS))
MODERATE = settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])

SHAPES: dict[str, dict[str, Any]] = {
    "one": {"nodes": 2, "maxRestarts": 1000},
    "two": {"nodes": 3, "maxRestarts": 1000},
    "three": {"nodes": 1, "priority": 5, "maxRestarts": 1000},
}


def do(run: Run, turn: tuple[Any, ...]) -> None:
    """Let one turn of a history happen."""
    what, *rest = turn
    operator, world = run.operator, run.world
    if what == "act":
        world.actors[rest[0]]()
    elif what == "hear":
        operator.hear(rest[0])
    elif what == "pool":
        operator.pass_pool("cpu")
    elif what == "job":
        _pass_job(run, rest[0])
    elif what == "die":
        operator.fuse = Fuse(rest[1])
        try:
            do(run, ("pool", "") if rest[0] == "pool" else ("job", rest[0]))
        except Died:
            event("the operator died between two writes")
        operator.restart()
    elif what == "wait":
        operator.wait(rest[0])
    else:
        _harm(run, what, *rest)


def _pass_job(run: Run, name: str) -> None:
    key = next((key for key in run.operator.keys("TrainingJob") if key.name == name), None)
    if key is not None:
        run.operator.pass_job(key)


def _harm(run: Run, what: str, target: str, rank: int = 0) -> None:
    world = run.world
    pods = world.pods(target)
    if what == "kill" and rank < len(pods):
        world.kill(pods[rank])
    elif what == "drain" and rank < len(pods):
        world.disrupt(pods[rank])
    elif what == "lose":
        world.lose(target)
    elif what == "heal":
        world.heal(target)
    elif what == "delete":  # and submit again at once, under the same name
        run.delete(target)
        run.submit(target, **SHAPES[target])
    elif what == "drop":
        for job in world.list("Job"):
            if job["metadata"]["name"].startswith(f"{target}-"):
                world.delete("Job", NAMESPACE, job["metadata"]["name"])
