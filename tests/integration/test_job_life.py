"""Jobs that are stopped on purpose, before a real API server and its Job controller."""

from __future__ import annotations

import pytest

from mlpools.contract.ends import Exit, Final
from tests.support.bench import Bench
from tests.support.kube import ApiError, Object
from tests.support.waiting import wait_for

pytestmark = pytest.mark.integration

SAVED = Final(
    Exit.PREEMPTED, rank=0, step=40, checkpoint_step=40, shards={"total": 9, "done": 4, "failed": 0}
)


def start(bench: Bench, name: str, attempt: int = 1, nodes: int = 2) -> list[Object]:
    """Run all pods of an attempt."""
    pods = bench.kubelet.pods(name, attempt, nodes)
    bench.kubelet.run(pods)
    bench.phase(name, "Running")
    return pods


def stopped(bench: Bench, name: str, phase: str) -> Object:
    """End what is told to end, with a last checkpoint, until the job is in a phase; return its status."""

    def look() -> Object | None:
        bench.kubelet.terminate(SAVED)
        status: Object = bench.job(name)["status"]
        return status if status["phase"] == phase else None

    return wait_for(f"{phase} of {name}", look)


def saved(status: Object) -> bool:
    """Whether the status tells of what rank 0 said that it leaves."""
    kept: bool = (
        status["shards"]["done"] == 4 if "shards" in status else status["output"]["checkpointStep"] == 40
    )
    return kept


def conditions(status: Object) -> dict[str, tuple[str, str]]:
    return {it["type"]: (it["status"], it["reason"]) for it in status["conditions"]}


def told(bench: Bench, name: str) -> list[tuple[str, str]]:
    """Return the Events about a job."""
    found = bench.kube.list("Event", bench.namespace)
    return [(it["type"], it["reason"]) for it in found if it["involvedObject"]["name"] == name]


def end_well(bench: Bench, name: str, attempt: int) -> Object:
    bench.kubelet.finish(start(bench, name, attempt), bench.done())
    status: Object = bench.phase(name, "Succeeded")["status"]
    return status


def test_a_running_job_is_suspended_and_goes_on_as_a_new_attempt(either: Bench) -> None:
    either.operator().wait_ready()
    either.submit("nap", maxRestarts=0)
    start(either, "nap")
    either.change("nap", suspend=True)
    wait_for("pods that are told to end", lambda: either.kubelet.there("nap", 1) == [])
    told_to_stop = either.job("nap")["status"]
    assert (told_to_stop["phase"], told_to_stop["reason"]) == ("Running", "Suspended")
    assert conditions(told_to_stop)["Stopping"] == ("True", "Suspended")

    status = stopped(either, "nap", "Suspended")
    assert conditions(status)["Suspended"] == ("True", "Suspended")
    assert conditions(status)["Ready"] == ("True", "Accepted")
    assert saved(status)
    assert either.kube.list("Job", either.namespace) == []
    wait_for(
        "free nodes", lambda: either.kube.get("ComputePool", either.pool)["status"]["nodes"]["active"] == 0
    )
    wait_for("Event", lambda: told(either, "nap") == [("Normal", "Suspended")])

    either.change("nap", suspend=False)
    done = end_well(either, "nap", attempt=2)
    assert (done["attempt"], done["restarts"], done["startTime"]) == (2, 0, status["startTime"])


def test_a_queued_job_that_is_suspended_lets_others_pass(bench: Bench) -> None:
    bench.operator().wait_ready()
    bench.submit("holder", nodes=4)
    bench.phase("holder", "Starting")
    names = ["one", "two", "three"]
    for name in names:
        bench.submit(name, nodes=4)
        bench.phase(name, "Queued")

    def places() -> tuple[int, ...]:
        queues = (bench.job(name)["status"].get("queue", {}) for name in names)
        return tuple(queue.get("position", 0) for queue in queues)

    wait_for("places in the queue", lambda: sorted(places()) == [1, 2, 3])
    head, first, second = names = [name for _, name in sorted(zip(places(), names, strict=True))]
    assert bench.job(head)["status"]["reason"] == "WaitingForNodes"
    bench.change(first, suspend=True)
    bench.phase(first, "Suspended")
    bench.change(second, priority=9)
    wait_for("new order of the queue", lambda: places() == (2, 0, 1))
    bench.change(first, suspend=False)
    wait_for("place of the resumed one", lambda: places() == (2, 3, 1))


def test_cancelled_is_final_and_keeps_the_object(either: Bench) -> None:
    either.operator().wait_ready()
    either.submit("gone")
    start(either, "gone")
    either.change("gone", cancel=True)
    status = stopped(either, "gone", "Cancelled")
    assert (status["reason"], saved(status)) == ("Cancelled", True)
    assert conditions(status)["Failed"] == ("True", "Cancelled")
    assert conditions(status)["Ready"] == ("True", "Cancelled")
    assert "Stalled" not in conditions(status)
    for refused in ({"cancel": False}, {"suspend": True}, {"priority": 3}):
        with pytest.raises(ApiError, match="The job has ended"):
            either.change("gone", **refused)


@pytest.mark.parametrize("phase", ["Queued", "Starting", "Suspended"])
def test_a_job_that_does_not_run_is_cancelled_too(either: Bench, phase: str) -> None:
    either.operator().wait_ready()
    if phase == "Queued":
        holder = either.of("TrainingJob")
        holder.submit("holder", nodes=4)
        holder.phase("holder", "Starting")
    either.submit("never", suspend=phase == "Suspended")
    either.phase("never", phase)
    either.change("never", cancel=True)
    assert stopped(either, "never", "Cancelled")["nodes"]["ready"] == 0
    assert either.kubelet.there("never", 1) == []


def test_a_job_whose_time_is_used_up_has_failed(either: Bench) -> None:
    either.operator().wait_ready()
    either.submit("slow")
    start(either, "slow")
    either.change("slow", activeDeadlineSeconds=1)
    status = stopped(either, "slow", "Failed")
    assert (status["reason"], saved(status)) == ("DeadlineExceeded", True)
    assert conditions(status)["Stalled"] == ("True", "DeadlineExceeded")
