"""What is counted by pool, and how pools are told to stand."""

from __future__ import annotations

import re
from itertools import cycle
from typing import Any

import pytest

from mlpools_operator.cluster.errors import Conflict, Transient
from mlpools_operator.controller import figures, queue
from mlpools_operator.domain.job.transitions import (
    Admitted,
    Finished,
    Preempted,
    Restarted,
    Rested,
    Spent,
    Switched,
)
from mlpools_operator.metrics import Metrics, PoolFigures
from tests.support.api_server import Clock
from tests.support.domain_run import Run
from tests.support.loop import Loop
from tests.support.manifests import manifest
from tests.support.operator_sim import WATCHED
from tests.support.world import World

EVERYTHING = (
    Admitted(),
    Spent("Queued", 70.0),
    Restarted("NodeLost"),
    Preempted(),
    Finished("Succeeded", "Succeeded"),
    Rested("Idle"),
    Switched(asleep=True),
)


def test_every_transition_is_counted() -> None:
    metrics = Metrics()
    metrics.pools.there = lambda: ("cpu",)
    metrics.pools.count("cpu", EVERYTHING)
    metrics.pools.used("cpu", {"team-a": 7})
    text = metrics.text().decode()
    for line in (
        'mlpools_admissions_total{pool="cpu"} 1.0',
        'mlpools_job_phase_seconds_sum{phase="Queued",pool="cpu"} 70.0',
        'mlpools_job_phase_seconds_bucket{le="60.0",phase="Queued",pool="cpu"} 0.0',
        'mlpools_job_phase_seconds_bucket{le="300.0",phase="Queued",pool="cpu"} 1.0',
        'mlpools_job_restarts_total{pool="cpu",reason="NodeLost"} 1.0',
        'mlpools_preemptions_total{pool="cpu"} 1.0',
        'mlpools_jobs_finished_total{phase="Succeeded",pool="cpu",reason="Succeeded"} 1.0',
        'mlpools_notebook_stops_total{pool="cpu",reason="Idle"} 1.0',
        'mlpools_pool_switches_total{pool="cpu",to="asleep"} 1.0',
        'mlpools_node_seconds_total{namespace="team-a",pool="cpu"} 7.0',
    ):
        assert f"\n{line}\n" in text


def test_a_pool_that_is_gone_leaves_no_series_and_the_others_stay() -> None:
    metrics, there = Metrics(), {"old", "cpu"}
    metrics.pools.there = lambda: there
    for pool in ("old", "cpu"):
        metrics.pools.count(pool, EVERYTHING)
        metrics.pools.used(pool, {"team-a": 7})
        metrics.pools.usage_written(pool, "written")
    assert b'pool="old"' in metrics.text()
    there.discard("old")
    text = metrics.text()
    assert b'pool="old"' not in text
    assert text.count(b'pool="cpu"') >= 8


def test_a_name_that_is_no_pool_makes_no_series() -> None:
    metrics = Metrics()
    metrics.pools.there = lambda: ("cpu",)
    for number in range(100):
        metrics.pools.count(f"guess-{number}", (Finished("Cancelled", "Cancelled"),))
    text = metrics.text()
    assert b"guess" not in text
    assert b'mlpools_jobs_finished_total{phase="Cancelled",pool="",reason="Cancelled"} 100.0' in text


def stands(run: Run, pool: str = "cpu") -> PoolFigures:
    """How a pool stands, by what the operator knows."""
    run.operator.hear(*WATCHED)
    return figures.figures(run.operator.store, run.operator.ledger, run.clock())[pool]


def test_notebooks_are_figures_of_their_own() -> None:
    run = Run(max_nodes=1, steps=400)
    for name in ("alice", "bob"):
        run.submit(name, "NotebookRuntime")
    run.submit("waits", nodes=1)
    run.until("alice", "Running")
    run.go(1)
    seen = stands(run)
    assert seen.notebooks == {"queued": 1, "starting": 0, "running": 1}
    assert seen.jobs == {"queued": 1, "starting": 0, "running": 0}


def test_figures_tell_how_a_pool_stands() -> None:
    run = Run(max_nodes=4, steps=400)
    run.submit("runs", nodes=3)
    run.until("runs", "Running")
    run.submit("waits", nodes=2)
    run.submit("rests", nodes=1, suspend=True)
    run.go(1)
    run.clock.advance(500)
    run.go(1)
    seen = stands(run)
    assert seen.nodes == {"max": 4, "wanted": 3, "held": 3, "idle": 0}
    assert seen.jobs == {"queued": 1, "starting": 0, "running": 1}
    assert 500 <= seen.longest_wait < 510
    assert seen.conditions["Ready"]


def test_a_wait_for_something_else_than_the_queue_is_none() -> None:
    run = Run(max_nodes=4, steps=400)
    run.submit("large", nodes=4)
    run.until("large", "Running")
    run.change("large", suspend=True)
    run.until("large", "Suspended")
    run.clock.advance(500)
    run.go(2)
    assert (stands(run).longest_wait, stands(run).jobs["queued"]) == (0, 0)


async def test_a_loop_counts_what_is_stored_and_no_try(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two of three writes of a status are refused or lost; each job is counted once all the same."""
    cluster = World(Clock(), {"node-a": 20}, steps=2)
    cluster.create(manifest("ComputePool", "cpu", {"maxNodes": 3}))
    loop = Loop(cluster, seed=3)
    write, troubles = loop.cluster.replace_status, cycle((Conflict("late"), Transient("lost"), None))

    async def unreliable(*arguments: Any) -> Any:
        trouble = next(troubles)
        if trouble is not None:
            raise trouble
        return await write(*arguments)

    monkeypatch.setattr(loop.cluster, "replace_status", unreliable)
    monkeypatch.setattr(queue, "LONGEST_DELAY", 0.0)
    for number in range(6):
        job = manifest("TrainingJob", f"job-{number}", {"nodes": 1 + number % 3})
        job["metadata"]["namespace"] = "team-a"
        cluster.create(job)

    def ended() -> int:
        phases = [it.get("status", {}).get("phase") for it in cluster.list("TrainingJob")]
        return phases.count("Succeeded")

    async with loop.running():
        await loop.until(
            lambda: ended() == 6 and loop.cluster.writes["event", "TrainingJob"] == 6, lambda: None
        )
    text = loop.metrics.text().decode()
    assert 'mlpools_passes_total{kind="TrainingJob",outcome="transient"}' in text
    assert '\nmlpools_admissions_total{pool="cpu"} 6.0\n' in text
    finished = re.findall(r'\nmlpools_jobs_finished_total{phase="Succeeded",.*} (\d)', text)
    assert sum(map(int, finished)) == 6
    assert 'mlpools_job_phase_seconds_count{phase="Queued",pool="cpu"} 6.0' in text
