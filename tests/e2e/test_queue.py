"""A busy pool on real machines: who waits, who passes, who gives way, and what everybody is told."""

from __future__ import annotations

import pytest

from tests.support import screen
from tests.support.training import Training
from tests.support.waiting import wait_for
from tools.kubectl import Kubectl
from tools.quickstart.follow import condition


@pytest.mark.e2e(seconds=35)
def test_two_teams_share_a_pool_and_read_who_waits_for_whom(
    training: Training, guests: Training, cluster: Kubectl
) -> None:
    training.make_pool("shared")
    training.endless("holder", computePool="shared")
    training.trains("holder", seconds=120)
    training.short("wide", 2, nodes=2, computePool="shared")
    training.until("wide", reason="WaitingForNodes")
    guests.endless("passer", computePool="shared")
    guests.until("passer", phase="Running")
    training.short("late", 2, computePool="shared")
    training.until("late", reason="BehindInQueue")

    assert screen.table(cluster, "trainingjobs") == [
        "NAME POOL PHASE NODES PROGRESS REASON AGE",
        "holder shared Running 1/1 PROGRESS AGE",
        "late shared Queued 0/1 BehindInQueue AGE",
        "wide shared Queued 0/2 WaitingForNodes AGE",
    ]

    def pool_is_told() -> list[str] | None:
        lines = screen.table(cluster, "computepool", "shared")
        return lines if lines[1].split()[-3:-1] == ["2", "2"] and "Active" in lines[1] else None

    assert wait_for("word of the pool", pool_is_told, 30, every=0.3) == [
        "NAME STATE SHAPE NODES JOBS QUEUED AGE",
        "shared Active 500m CPU, 1Gi 2/0/2 2 2 AGE",
    ]
    wide = screen.description(cluster, "tj", "wide")
    assert (
        "Needs 2 nodes of pool shared, 1 of 2 are free: holder (default) holds 1 and is N % done "
        "(about T left). First in the queue. To start sooner, raise the pool's maxNodes or use nodes: 1."
        in wide
    ), wide
    late = screen.description(cluster, "tj", "late")
    assert (
        "Needs 1 node of pool shared; 1 job is ahead. First is wide (default), which waits for 2 nodes."
        in late
    ), late
    pool = cluster.get("computepool", "shared")
    assert pool
    assert [(it["position"], it["name"], it["nodes"]) for it in pool["status"]["queue"]] == [
        (1, "wide", 2),
        (2, "late", 1),
    ]

    training.change("late", cancel=True)
    training.until("late", phase="Cancelled", seconds=30)
    assert training.pods("late") == []
    guests.change("passer", cancel=True)
    training.change("holder", cancel=True)
    guests.until("passer", phase="Cancelled", seconds=60)
    training.until("holder", phase="Cancelled", seconds=60)
    status = training.completed("wide", seconds=120)
    assert screen.plain(condition(status, "Complete")["message"]).startswith("Trained 2 rounds on 2 nodes")
    said = screen.events(cluster, "TrainingJob", "wide")
    assert len(said) == 1
    assert said[0].startswith("Normal Complete Trained 2 rounds on 2 nodes")
    assert screen.events(cluster, "TrainingJob", "late") == [
        "Normal Cancelled It was cancelled (spec.cancel)."
    ]


@pytest.mark.e2e(seconds=40)
def test_a_job_gives_way_to_a_higher_priority_and_loses_no_round(
    training: Training, cluster: Kubectl
) -> None:
    training.make_pool("contended", maxNodes=1, queue={"preemption": "LowerPriority"})
    training.short("low", 300, computePool="contended")
    training.trains("low", rounds=20)
    training.short("high", 2, computePool="contended", priority=10)
    low = training.until("low", phase="Queued", seconds=60)
    assert (low["attempt"], low["restarts"]) == (1, 0), low
    training.completed("high")
    assert screen.events(cluster, "TrainingJob", "low") == [
        "Normal Preempted It gives its 1 node of pool contended to high (default), which has priority 10 "
        "(this one has 0). It queues again with its age, and goes on from what it has saved."
    ]
    low = training.completed("low")
    assert (low["attempt"], low["restarts"], low["progress"]["step"]) == (2, 0, 300), low
    saved = training.stopped_after("low", 1)
    assert saved >= 20
    assert training.resumed_at("low") == saved
    assert training.first_round("low", 2) == saved + 1
