"""A pool's queue at the real API server: what those that wait are told, and what the pool tells of them."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.bench import Bench
from tests.support.kube import Object
from tests.support.waiting import wait_for

pytestmark = pytest.mark.integration


def rules(bench: Bench, **queue: Any) -> None:
    """Set the rules of the bench's queue."""
    bench.kube.edit("ComputePool", bench.pool, [{"op": "add", "path": "/spec/queue", "value": queue}])


def told(bench: Bench, name: str, reason: str) -> str:
    """Wait until a job waits for some reason, and return the sentence that it is told."""

    def look() -> str | None:
        place = bench.job(name).get("status", {}).get("queue", {})
        return str(place["message"]) if place.get("reason") == reason else None

    return wait_for(f"{reason} of {name}", look)


def queue_of(bench: Bench, length: int) -> Object:
    """Wait until the pool's status tells of so many that wait, and return it."""

    def look() -> Object | None:
        status: Object = bench.kube.get("ComputePool", bench.pool).get("status", {})
        return status if status.get("queued") == length else None

    return wait_for(f"{length} in the queue", look)


def hold(bench: Bench, nodes: int) -> None:
    """Have a job hold nodes, with the operator running."""
    bench.submit("holder", nodes=nodes)
    bench.phase("holder", "Starting")


def test_everyone_who_waits_is_told_why(bench: Bench) -> None:
    bench.operator().wait_ready()
    hold(bench, 3)
    gang = bench.submit("gang", nodes=4)
    first = told(bench, "gang", "WaitingForNodes")
    assert first == (
        f"Needs 4 nodes of pool {bench.pool}, 1 of 4 are free: holder ({bench.namespace}) holds 3. First in "
        "the queue. To start sooner, raise the pool's maxNodes or use nodes: 3."
    )
    queue_of(bench, 1)
    bench.submit("next", nodes=2)
    assert told(bench, "next", "BehindInQueue") == (
        f"Needs 2 nodes of pool {bench.pool}; 1 job is ahead. First is gang ({bench.namespace}), which waits "
        "for 4 nodes."
    )
    bench.submit("small", nodes=1)
    bench.phase("small", "Starting")
    bench.submit("huge", nodes=5)
    failed = bench.phase("huge", "Failed")["status"]
    assert failed["reason"] == "TooLarge"

    status = queue_of(bench, 2)
    places = [(it["position"], it["name"], it["nodes"], it["reason"]) for it in status["queue"]]
    assert places == [(1, "gang", 4, "WaitingForNodes"), (2, "next", 2, "BehindInQueue")]
    assert [it["uid"] for it in status["heads"]] == [gang["metadata"]["uid"]]


def test_nobody_passes_the_head_once_its_time_has_come_and_a_restart_does_not_reset_it(bench: Bench) -> None:
    rules(bench, backfillMaxWaitSeconds=0)
    operator = bench.operator().wait_ready()
    hold(bench, 2)
    bench.submit("gang", nodes=3)
    assert "First in the queue, and freed nodes are kept for it." in told(bench, "gang", "WaitingForNodes")
    queue_of(bench, 1)
    bench.submit("small", nodes=1)
    assert "which waits for 3 nodes, and freed nodes are kept" in told(bench, "small", "BehindInQueue")
    heads = queue_of(bench, 2)["heads"]
    operator.kill()
    bench.operator().wait_ready()
    bench.submit("third", nodes=1)
    assert queue_of(bench, 3)["heads"] == heads


def test_a_full_queue_lets_the_next_in_when_there_is_room(bench: Bench) -> None:
    rules(bench, maxQueued=1, disclose="Counts")
    bench.operator().wait_ready()
    hold(bench, 3)
    bench.submit("gang", nodes=4)
    queue_of(bench, 1)
    bench.submit("late", nodes=1)
    assert told(bench, "late", "QueueFull") == (
        f"The queue of pool {bench.pool} takes 1 job, and those that are in it are served first. This one "
        "joins by itself when there is room."
    )
    status = queue_of(bench, 2)
    assert "queue" not in status or status["queue"] == [], "everybody may read a pool"
    bench.kube.delete("TrainingJob", "gang", bench.namespace)
    bench.phase("late", "Starting")


def test_a_head_of_higher_priority_takes_nodes_and_both_are_told(bench: Bench) -> None:
    rules(bench, preemption="LowerPriority")
    bench.operator(progress_seconds="600").wait_ready()  # the words would tell of it
    hold(bench, 3)
    bench.kubelet.run(bench.kubelet.pods("holder", 1, 3))
    bench.phase("holder", "Running")
    bench.submit("urgent", nodes=2, priority=10)
    assert told(bench, "urgent", "WaitingForNodes") == (
        f"Needs 2 nodes of pool {bench.pool}, 1 of 4 are free: holder ({bench.namespace}) holds 3. First in "
        f"the queue; it has a higher priority, so holder ({bench.namespace}) gives its nodes back for it."
    )

    def stopping() -> str | None:
        conditions = bench.job("holder")["status"]["conditions"]
        return next((it["message"] for it in conditions if it["reason"] == "Preempted"), None)

    assert wait_for("a word to the holder", stopping) == (
        f"It gives its 3 nodes of pool {bench.pool} to urgent ({bench.namespace}), which has priority 10 "
        "(this one has 0). It queues again with its age, and goes on from what it has saved."
    )
    wait_for("nobody there", lambda: not bench.kubelet.there("holder", 1))
    assert bench.job("urgent")["status"]["phase"] == "Queued", "nodes are held until their pods are gone"
    bench.kubelet.collect()
    bench.phase("urgent", "Starting")
    preempted = bench.phase("holder", "Queued")["status"]
    assert (preempted["attempt"], preempted["restarts"]) == (1, 0)
