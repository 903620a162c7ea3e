"""Which passes each change asks for, and in which lane."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from mlpools_operator.controller.feed import Feed
from mlpools_operator.controller.ledger import Ledger
from mlpools_operator.controller.queue import Queue
from mlpools_operator.controller.store import Key, Store
from tests.support import objects as make

JOB, POOL = Key("TrainingJob", "team", "job"), Key("ComputePool", "", "cpu")


class Net:
    """A feed, and what it has queued since the last look."""

    def __init__(self) -> None:
        self.store, self.queue = Store(), Queue()
        self.feed = Feed(self.store, Ledger(self.store, {}, lambda: 0.0), self.queue)
        self.version = 0

    def see(self, kind: str, raw: dict[str, Any], type_: Any = "MODIFIED") -> list[Key]:
        self.version += 1
        raw["metadata"]["resourceVersion"] = str(self.version)
        self.feed.event(kind, type_, raw)
        return self.queued()

    def queued(self) -> list[Key]:
        """Return the keys in the order in which they would be served."""
        keys = []
        while len(self.queue):
            key = asyncio.run(self.queue.get())
            self.queue.done(key)
            keys.append(key)
        return keys


@pytest.fixture
def net() -> Net:
    return Net()


def test_a_new_job_is_looked_at_and_so_is_its_pool(net: Net) -> None:
    assert net.see("TrainingJob", make.job(), None) == [JOB, POOL]


def test_a_repeated_object_is_no_news(net: Net) -> None:
    net.see("TrainingJob", make.job())
    raw = make.job(version=net.version)
    net.feed.event("TrainingJob", None, raw)
    assert net.queued() == []


def test_progress_concerns_only_the_job(net: Net) -> None:
    net.see("TrainingJob", make.job(status={"phase": "Running"}))
    assert net.see("TrainingJob", make.job(status={"phase": "Running", "progress": {"step": 1}})) == [JOB]
    assert net.see("TrainingJob", make.job(status={"phase": "Succeeded"})) == [JOB, POOL]


def test_what_a_job_is_told_of_its_place_wakes_no_pool(net: Net) -> None:
    def queued(position: int, admitted: str = "False", **rest: Any) -> dict[str, Any]:
        said = {"type": "Admitted", "status": admitted, "message": f"{position - 1} jobs are ahead."}
        return make.job(status={"queue": {"position": position}, "conditions": [said], **rest})

    net.see("TrainingJob", queued(2, reason="BehindInQueue"))
    assert net.see("TrainingJob", queued(1, reason="WaitingForNodes")) == [JOB]
    assert net.see("TrainingJob", queued(1, admitted="True")) == [JOB, POOL]
    assert net.see("TrainingJob", queued(1, admitted="True", attempt=2)) == [JOB, POOL]


def test_when_a_notebook_was_used_wakes_nobody(net: Net) -> None:
    def used(at: str, phase: str = "Running", **meta: Any) -> dict[str, Any]:
        status = {"phase": phase, "lastActivityTime": at, "idleAt": at, "conditions": []}
        return make.job(status=status, **meta)

    notebook = Key("NotebookRuntime", "team", "job")
    assert net.see("NotebookRuntime", used("9:00")) == [notebook, POOL]
    assert net.see("NotebookRuntime", used("9:01")) == []
    assert net.see("NotebookRuntime", used("9:02", "Idle")) == [notebook, POOL]
    assert net.see("NotebookRuntime", used("9:03", "Idle", generation=2)) == [notebook, POOL]
    wish = {"mlpools.dev/start": "9:04"}
    assert net.see("NotebookRuntime", used("9:04", "Idle", generation=2, annotations=wish)) == [
        notebook,
        POOL,
    ]
    gone = used("9:05", "Idle", generation=2, annotations=wish, deletionTimestamp=make.CREATED)
    assert net.see("NotebookRuntime", gone) == [POOL]


def _run(**rest: Any) -> dict[str, Any]:
    owner = {"apiVersion": "v", "kind": "TrainingJob", "name": "job", "uid": "job", "controller": True}
    return make.job("run", "run", ownerReferences=[owner], **rest)


def test_a_template_is_looked_at_when_a_run_of_it_comes_ends_or_goes(net: Net) -> None:
    run = Key("TrainingJob", "team", "run")
    net.see("TrainingJob", make.job())
    assert net.see("TrainingJob", _run()) == [run, JOB, POOL]
    assert net.see("TrainingJob", _run(status={"phase": "Running"})) == [run, POOL]
    failed = {"conditions": [{"type": "Failed", "status": "True"}]}
    assert net.see("TrainingJob", _run(status=failed)) == [run, JOB, POOL]
    assert net.see("TrainingJob", _run(status=failed), "DELETED") == [POOL, JOB]


def test_a_notebook_is_looked_at_when_a_run_of_its_document_comes_ends_or_goes(net: Net) -> None:
    run, notebook = Key("TrainingJob", "team", "run"), Key("NotebookRuntime", "team", "job")
    net.see("NotebookRuntime", make.job())
    assert net.see("TrainingJob", _run()) == [run, notebook, POOL]
    assert net.see("TrainingJob", _run(status={"phase": "Running"})) == [run, POOL]
    assert net.see("TrainingJob", _run(), "DELETED") == [POOL, notebook]


def test_a_deleted_job_frees_nodes_first(net: Net) -> None:
    net.see("TrainingJob", make.job())
    assert net.see("TrainingJob", make.job(deletionTimestamp=make.CREATED)) == [POOL]
    assert net.see("TrainingJob", make.job(), "DELETED") == [POOL]


def test_a_pool_is_looked_at_when_its_spec_changes_and_not_for_its_status(net: Net) -> None:
    assert net.see("ComputePool", make.pool()) == [POOL]
    assert net.see("ComputePool", {**make.pool(), "status": {"jobs": 1}}) == []
    wish = make.pool()
    wish["metadata"]["annotations"] = {"mlpools.dev/start-requested-at": make.CREATED}
    assert net.see("ComputePool", wish) == [POOL], "a wish to start is no status"
    changed = make.pool(max_nodes=9)
    changed["metadata"]["generation"] = 2
    assert net.see("ComputePool", changed) == [POOL]
    assert net.see("ComputePool", changed, "DELETED") == [POOL]


def test_a_pod_that_ends_is_urgent_for_its_job_and_pool(net: Net) -> None:
    net.see("TrainingJob", make.job())
    assert net.see("Pod", make.pod("p")) == [JOB, POOL]
    assert net.see("Pod", make.pod("p", phase="Running")) == [JOB, POOL]
    assert net.see("Pod", make.pod("p", phase="Running", podIP="10.0.0.1")) == [JOB]
    net.queue.add(Key("TrainingJob", "team", "another"))
    assert net.see("Pod", make.pod("p", phase="Failed")) == [JOB, POOL, Key("TrainingJob", "team", "another")]


def test_a_pod_that_goes_is_urgent(net: Net) -> None:
    net.see("TrainingJob", make.job())
    net.see("Pod", make.pod("p"))
    assert net.see("Pod", make.pod("p"), "DELETED") == [JOB, POOL]


def test_a_job_child_that_ends_is_urgent(net: Net) -> None:
    net.see("TrainingJob", make.job())
    assert net.see("Job", make.child_job("child")) == [JOB]
    ended = make.child_job("child", status={"conditions": [{"type": "Complete", "status": "True"}]})
    assert net.see("Job", ended) == [JOB, POOL]


def test_a_child_that_was_deleted_by_hand_is_looked_at(net: Net) -> None:
    net.see("TrainingJob", make.job())
    net.see("Service", make.service("s"))
    assert net.see("Service", make.service("s"), "DELETED") == [JOB]


def test_pods_of_a_deleted_job_wake_its_pool(net: Net) -> None:
    assert net.see("Pod", make.pod("p")) == [POOL]
    assert net.see("Pod", make.pod("p"), "DELETED") == [POOL]


def test_a_successor_is_woken_when_a_child_of_its_namesake_goes(net: Net) -> None:
    net.see("Service", make.service("s", owner="old"))
    net.see("TrainingJob", make.job(uid="new"))
    assert net.see("Service", make.service("s", owner="old"), "DELETED") == [JOB]


def test_pools_with_long_names_are_woken_too(net: Net) -> None:
    name = "p" * 80
    net.see("ComputePool", make.pool(name))
    pod = make.pod("p")
    pod["metadata"]["labels"] = make.labels("job", pool=name)
    net.see("Pod", pod)
    assert net.see("Pod", pod, "DELETED") == [Key("ComputePool", "", name)]


def test_a_pools_order_to_stop_all_is_urgent_for_its_jobs(net: Net) -> None:
    net.see("ComputePool", make.pool())
    net.see("TrainingJob", make.job())
    net.feed._ledger.members = lambda pool: [JOB]  # type: ignore[method-assign]
    stop = make.pool()
    stop["spec"]["stopAll"] = make.CREATED
    stop["metadata"]["generation"] = 2
    assert net.see("ComputePool", stop) == [JOB, POOL]
    assert net.see("ComputePool", stop) == []
