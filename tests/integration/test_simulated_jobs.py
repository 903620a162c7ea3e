"""Jobs in the simulated cluster end as they do before a real API server and its real controllers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Protocol

import pytest

from mlpools.contract.ends import Exit, Final
from mlpools_operator.domain import naming, times
from tests.support.api_server import is_terminal, place_of
from tests.support.bench import Bench
from tests.support.domain_run import Run
from tests.support.job_controller import index_of
from tests.support.kubelet import ended, running, succeeded
from tests.support.waiting import wait_for

pytestmark = pytest.mark.integration

Json = dict[str, Any]
_DELETED = Final(Exit.PREEMPTED, rank=0)


class Stage(Protocol):
    """Where a story is played."""

    def submit(self, name: str, **changes: Any) -> None: ...
    def start(self, name: str, attempt: int = 1) -> None:
        """Run all pods of an attempt, and wait until the job runs."""

    def end(self, name: str, rank: int, code: int, final: Final | None = None, reason: str = "") -> None:
        """End one pod of the newest attempt."""

    def remove_job(self, name: str) -> None:
        """Delete the batch Job of the newest attempt by hand."""

    def until(self, name: str, *phases: str) -> Json:
        """Wait for a phase; return the status."""


class Simulated:
    def __init__(self) -> None:
        self.run = Run(max_nodes=4)

    def submit(self, name: str, **changes: Any) -> None:
        self.run.submit(name, **changes)

    def start(self, name: str, attempt: int = 1) -> None:
        self._go(lambda: len(self._living(name, attempt)) == 2)
        for pod in self._living(name, attempt):
            status = running(times.stamp(self.run.clock()))
            self.run.world.patch(*place_of(pod), lambda it, status=status: it.update(status=status))
        self.until(name, "Running")

    def end(self, name: str, rank: int, code: int, final: Final | None = None, reason: str = "") -> None:
        attempt = self.run.status(name)["attempt"]
        pod = next(pod for pod in self._living(name, attempt) if index_of(pod) == rank)
        self._end(pod, code, final, reason)

    def remove_job(self, name: str) -> None:
        job = self.run.world.list("Job")[-1]
        self.run.world.delete(*place_of(job))

    def until(self, name: str, *phases: str) -> Json:
        self._go(lambda: self.run.status(name).get("phase") in phases)
        return self.run.status(name)

    def _living(self, name: str, attempt: int) -> list[Json]:
        metas = ((pod, pod["metadata"]) for pod in self.run.pods(name))
        return [
            pod
            for pod, meta in metas
            if "deletionTimestamp" not in meta and meta["labels"][naming.ATTEMPT] == str(attempt)
        ]

    def _end(self, pod: Json, code: int, final: Final | None, reason: str = "") -> None:
        words = final.to_json() if final else ""
        status = ended(times.stamp(self.run.clock()), code, words, reason)
        self.run.world.patch(*place_of(pod), lambda it: it["status"].update(status))

    def _go(self, there: Callable[[], bool]) -> None:
        for _ in range(120):
            self.run.operator.pass_all()
            if there():
                return
            for name in ("job-controller", "garbage-collector"):
                self.run.world.actors[name]()
            for pod in self.run.world.list("Pod"):
                if "deletionTimestamp" in pod["metadata"] and not is_terminal(pod):
                    self._end(pod, Exit.PREEMPTED, _DELETED)
            self.run.clock.advance(1)
        raise AssertionError("The simulated cluster never gets there.")


class Real:
    def __init__(self, bench: Bench) -> None:
        self.bench = bench

    def submit(self, name: str, **changes: Any) -> None:
        self.bench.submit(name, **changes)

    def start(self, name: str, attempt: int = 1) -> None:
        def look() -> list[Json] | None:
            self._tend()
            found = self.bench.kubelet.there(name, attempt)
            return found if len(found) == 2 else None

        self.bench.kubelet.run(wait_for(f"2 pods of {name}, attempt {attempt}", look))
        self.until(name, "Running")

    def end(self, name: str, rank: int, code: int, final: Final | None = None, reason: str = "") -> None:
        attempt = self.bench.job(name)["status"]["attempt"]
        self.bench.kubelet.finish([self.bench.kubelet.there(name, attempt)[rank]], final, code, reason)

    def remove_job(self, name: str) -> None:
        attempt = self.bench.job(name)["status"]["attempt"]
        self.bench.kube.delete("Job", f"{name}-{attempt}", self.bench.namespace)

    def until(self, name: str, *phases: str) -> Json:
        def look() -> Json | None:
            self._tend()
            status: Json = self.bench.job(name).get("status", {})
            return status if status.get("phase") in phases else None

        return wait_for(f"{phases} of {name}", look)

    def _tend(self) -> bool:
        """End what is deleted, as a kubelet does with SIGTERM."""
        self.bench.kubelet.terminate(_DELETED)
        return True


def _good(stage: Stage, name: str) -> None:
    stage.submit(name, nodes=2)
    stage.start(name)
    stage.end(name, 1, 0)
    stage.end(name, 0, 0, succeeded())
    stage.until(name, "Succeeded")


def _users_error(stage: Stage, name: str) -> None:
    stage.submit(name, nodes=2)
    stage.start(name)
    stage.end(name, 1, Exit.USER_CODE, Final(Exit.USER_CODE, rank=1, message="KeyError: 'dep_tme'"))
    stage.until(name, "Failed")


def _killed_twice(stage: Stage, name: str) -> None:
    stage.submit(name, nodes=2, restartBackoffSeconds=1, maxRestarts=1)
    stage.start(name)
    stage.end(name, 0, 137)
    stage.until(name, "Restarting", "Starting")
    stage.start(name, attempt=2)
    stage.end(name, 1, 137)
    stage.until(name, "Failed")


def _out_of_memory(stage: Stage, name: str) -> None:
    stage.submit(name, nodes=2)
    stage.start(name)
    stage.end(name, 1, 137, reason="OOMKilled")
    stage.until(name, "Failed")


def _job_deleted_by_hand(stage: Stage, name: str) -> None:
    stage.submit(name, nodes=2, restartBackoffSeconds=1)
    stage.start(name)
    stage.remove_job(name)
    stage.start(name, attempt=2)
    stage.end(name, 1, 0)
    stage.end(name, 0, 0, succeeded())
    stage.until(name, "Succeeded")


def _rank_0_ends_first(stage: Stage, name: str) -> None:
    stage.submit(name, nodes=2)
    stage.start(name)
    stage.end(name, 0, 0, succeeded())
    stage.until(name, "Succeeded")


STORIES = (_good, _users_error, _killed_twice, _out_of_memory, _job_deleted_by_hand, _rank_0_ends_first)


@pytest.fixture(scope="module")
def real(
    benches: Callable[[Path], AbstractContextManager[Bench]], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Real]:
    with benches(tmp_path_factory.mktemp("real")) as bench:
        bench.operator().wait_ready()
        yield Real(bench)


@pytest.mark.parametrize("story", STORIES, ids=lambda story: story.__name__.strip("_"))
def test_a_story_ends_alike(real: Real, story: Callable[[Stage, str], None]) -> None:
    name = story.__name__.strip("_").replace("_", "-")
    simulated = Simulated()
    story(simulated, name)
    story(real, name)
    assert _essence(real.bench.job(name)["status"]) == _essence(simulated.run.status(name))


def _essence(status: Json) -> Json:
    """Return a status without what no two clusters have in common: times, names of pods and pools.

    Of failed pods the first is compared: whether others are seen to end before the verdict is chance.
    """
    return {
        **{key: status.get(key) for key in ("phase", "reason", "attempt", "restarts", "metrics")},
        "conditions": sorted((it["type"], it["status"], it["reason"]) for it in status["conditions"]),
        "step": status.get("progress", {}).get("step"),
        "failed": [
            (it["rank"], it["reason"], it.get("exitCode"), it["message"])
            for it in status["nodes"].get("failed", ())[:1]
        ],
        "nodes": {key: status["nodes"].get(key) for key in ("requested", "ready")},
    }
