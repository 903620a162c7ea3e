"""What the head of a notebook's cluster tells, and to whom."""

from __future__ import annotations

import json
import os
import queue
import signal
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from mlpools.contract.reports import ClusterNote, Note
from mlpools.contract.tasks import Notebook
from mlpools.contract.wiring import NOTEBOOK_ENV
from mlpools.notebook import ray_head
from mlpools.supervisor.notebook import head as heads
from mlpools.supervisor.notebook.head import Head
from mlpools.supervisor.notebook.settings import Settings
from mlpools.supervisor.notebook.surroundings import Surroundings
from mlpools.supervisor.process import Worker

TASK = Notebook("team-a", "alice", "u", 3, 8888, 5, 5, cluster=True)


@pytest.fixture
def head(monkeypatch: pytest.MonkeyPatch) -> Head:
    def sleeps(command: list[str], environ: dict[str, str], events: Any, rank: int) -> Worker:
        return Worker([sys.executable, "-c", "import time; time.sleep(60)"], environ, events, rank)

    monkeypatch.setattr(heads, "Worker", sleeps)
    return Head(Settings.from_environment({NOTEBOOK_ENV: TASK.to_json()}), queue.SimpleQueue())


def ask(head: Head, uid: str, attempt: int) -> str:
    asked = json.dumps({"uid": uid, "attempt": attempt})
    return str(json.loads(head.give_token(asked.encode())).get("token"))


def ended(worker: Worker) -> None:
    """End a process and collect it."""
    worker.send(signal.SIGKILL)
    worker.ended(os.waitpid(worker.pid, 0)[1])


def test_the_token_is_for_the_pods_of_this_start_only(head: Head) -> None:
    assert ask(head, "u", 3) == head.variables["RAY_AUTH_TOKEN"]
    assert ask(head, "u", 2) == ask(head, "v", 3) == "None"


def test_what_it_tells_holds_while_it_is_fresh_and_of_nobody_else(
    head: Head, monkeypatch: pytest.MonkeyPatch
) -> None:
    head.start({})
    (process,) = head.workers
    note = Note(cluster=ClusterNote(["10.0.0.1", "10.0.0.2"], busy=True).to_dict(), dashboard="http://d")
    head.hear(Worker(["/bin/true"], {}, queue.SimpleQueue(), 0), note)
    assert not head.cluster().busy
    head.hear(process, note)
    assert head.cluster() == (True, {"10.0.0.1", "10.0.0.2"})
    assert head.dashboard == "http://d"
    assert ClusterNote.from_json(head.tell_nodes(b"")).nodes == ["10.0.0.1", "10.0.0.2"]
    later = time.monotonic() + 60
    monkeypatch.setattr(time, "monotonic", lambda: later)
    assert not head.cluster().busy
    ended(process)


def test_it_is_started_again_a_while_after_its_end(head: Head, monkeypatch: pytest.MonkeyPatch) -> None:
    head.keep()
    assert head.workers == ()
    head.start({})
    (first,) = head.workers
    head.hear(first, Note(cluster=ClusterNote(["a"]).to_dict(), dashboard="http://d"))
    head.keep()
    assert head.workers == (first,)
    ended(first)
    head.keep()
    assert (head.dashboard, head.cluster().nodes) == ("", frozenset())
    head.keep()
    assert head.workers == (first,)
    later = time.monotonic() + 6
    monkeypatch.setattr(time, "monotonic", lambda: later)
    head.keep()
    (second,) = head.workers
    assert second.running
    ended(second)


def _job(**fields: Any) -> SimpleNamespace:
    config = SimpleNamespace(ray_namespace=fields.pop("namespace", "x"), metadata=fields.pop("metadata", {}))
    return SimpleNamespace(**{"is_dead": False, "is_running_tasks": False, **fields}, config=config)


@pytest.mark.parametrize(
    ("job", "busy"),
    [
        (_job(), False),
        (_job(is_running_tasks=True), True),
        (_job(is_running_tasks=True, is_dead=True), False),
        (_job(is_running_tasks=True, namespace="_ray_internal_dashboard"), False),
        (_job(metadata={"job_submission_id": "raysubmit_1"}), True),
        (_job(metadata={"job_submission_id": "raysubmit_1"}, is_dead=True), False),
    ],
)
def test_a_kernel_that_is_only_connected_is_no_use(job: SimpleNamespace, busy: bool) -> None:
    client = SimpleNamespace(
        get_all_node_info=lambda **_: {
            "a": SimpleNamespace(node_manager_address="10.0.0.2", state=0),
            "b": SimpleNamespace(node_manager_address="10.0.0.1", state=1),
        },
        get_all_job_info=lambda **_: {"1": job},
    )
    assert ray_head.look(client) == ClusterNote(["10.0.0.2"], busy)


def test_a_further_node_installs_what_the_head_installed(tmp_path: Path) -> None:
    def installing(task: Notebook) -> dict[str, str]:
        return Surroundings(task, tmp_path, "/packages", {}).installing()

    further = installing(Notebook("team-a", "alice", "u", 3, 8888, 5, 5, head="nbc-alice.team-a.svc"))
    assert (further["RANK"], further["MASTER_ADDR"]) == ("1", "nbc-alice.team-a.svc")
    alone = installing(TASK)
    assert (alone["RANK"], alone["WORLD_SIZE"]) == ("0", "1")
