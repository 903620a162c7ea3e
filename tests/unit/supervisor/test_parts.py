"""The supervisor's parts that need no process."""

from __future__ import annotations

import signal
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlpools.supervisor import cgroup, gang, supervise
from mlpools.supervisor.logs import Tail
from mlpools.supervisor.settings import Settings, SettingsError
from mlpools.train.stop import Stop
from tests.support.pods import task


def test_limits_of_version_2(tmp_path: Path) -> None:
    root = tmp_path
    (root / "cpu.max").write_text("150000 100000\n")
    (root / "memory.max").write_text("1073741824\n")
    (root / "memory.events").write_text("low 0\nhigh 0\nmax 3\noom 1\noom_kill 2\n")
    limits = cgroup.limits(root)
    assert limits.memory == 1 << 30
    assert limits.cpus == pytest.approx(1.5)
    assert cgroup.oom_kills(root) == 2


def test_limits_of_version_1(tmp_path: Path) -> None:
    (tmp_path / "cpu").mkdir()
    (tmp_path / "memory").mkdir()
    (tmp_path / "cpu/cpu.cfs_quota_us").write_text("50000")
    (tmp_path / "cpu/cpu.cfs_period_us").write_text("100000")
    (tmp_path / "memory/memory.limit_in_bytes").write_text("2147483648")
    (tmp_path / "memory/memory.oom_control").write_text("oom_kill_disable 0\nunder_oom 0\noom_kill 1\n")
    assert cgroup.limits(tmp_path) == cgroup.Limits(cpus=0.5, memory=2 << 30)
    assert cgroup.oom_kills(tmp_path) == 1


def test_memory_in_use_leaves_the_page_cache_out(tmp_path: Path) -> None:
    assert cgroup.memory_used(tmp_path) == 0
    (tmp_path / "memory").mkdir()
    (tmp_path / "memory/memory.stat").write_text("cache 999\nrss 20\nshmem 1\n")
    assert cgroup.memory_used(tmp_path) == 21
    (tmp_path / "memory.stat").write_text("anon 300\nfile 999\nshmem 40\nanon_thp 7\n")
    assert cgroup.memory_used(tmp_path) == 340


@pytest.mark.parametrize("memory", ["max", "9223372036854771712", ""])
def test_no_limits(tmp_path: Path, memory: str) -> None:
    (tmp_path / "cpu.max").write_text("max 100000")
    (tmp_path / "memory.max").write_text(memory)
    limits = cgroup.limits(tmp_path)
    assert limits.memory is None
    assert limits.cpus >= 1
    assert cgroup.oom_kills(tmp_path) == 0


@pytest.mark.parametrize(
    ("cpus", "workers", "threads"), [(0.5, 1, 1), (2.0, 1, 2), (3.9, 1, 3), (8.0, 3, 2), (1.0, 4, 1)]
)
def test_threads_follow_the_cpus(cpus: float, workers: int, threads: int) -> None:
    assert cgroup.Limits(cpus, None).threads(workers) == threads


@settings(max_examples=100, deadline=None)
@given(st.lists(st.binary(min_size=1, max_size=50)), st.integers(1, 60))
def test_a_tail_is_the_end_of_the_stream(chunks: list[bytes], limit: int) -> None:
    tail = Tail(limit)
    for chunk in chunks:
        tail.add(chunk)
    assert tail.bytes() == b"".join(chunks)[-limit:]


def test_settings_come_from_the_environment(tmp_path: Path) -> None:
    environ = {"MLPOOLS_TASK": task(tmp_path, nodes=3).to_json(), "JOB_COMPLETION_INDEX": "2"}
    settings_ = Settings.from_environment(environ)
    assert (settings_.rank, settings_.leads) == (2, False)
    assert (settings_.status_port, settings_.leader_port, settings_.coordinator_port) == (8470, 8470, 29500)
    assert settings_.termination_log == "/dev/termination-log"


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"MLPOOLS_TASK": ""}, "only the operator starts"),
        ({"MLPOOLS_TASK": "nonsense"}, "not JSON"),
        ({"JOB_COMPLETION_INDEX": "5"}, "has 3 node"),
        ({"JOB_COMPLETION_INDEX": "one"}, "whole number"),
    ],
)
def test_a_senseless_environment_is_refused(tmp_path: Path, changes: dict[str, str], words: str) -> None:
    environ = {"MLPOOLS_TASK": task(tmp_path, nodes=3).to_json(), "JOB_COMPLETION_INDEX": "0"}
    with pytest.raises(SettingsError, match=words):
        Settings.from_environment({**environ, **changes})


def test_thread_counts_that_a_user_set_stay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    environ = {"MLPOOLS_TASK": task(tmp_path).to_json(), "JOB_COMPLETION_INDEX": "0"}
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    monkeypatch.delenv("MKL_NUM_THREADS", raising=False)
    worker = Settings.from_environment(environ).worker_environment(0, threads=3)
    assert (worker["OMP_NUM_THREADS"], worker["MKL_NUM_THREADS"]) == ("7", "3")


@pytest.mark.parametrize(("own", "found"), [(None, "system"), ("jemalloc", "jemalloc")])
def test_rows_of_trees_take_no_more_memory_than_their_size(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, own: str | None, found: str
) -> None:
    name = "ARROW_DEFAULT_MEMORY_POOL"
    monkeypatch.delenv(name, raising=False)
    if own:
        monkeypatch.setenv(name, own)
    environ = {"MLPOOLS_TASK": task(tmp_path).to_json(), "JOB_COMPLETION_INDEX": "0"}
    worker = Settings.from_environment(environ).worker_environment(0, threads=1)
    assert (worker[name], worker["MALLOC_MMAP_THRESHOLD_"]) == (found, "262144")


def test_a_worker_with_a_supervisor_of_its_own_knows_its_neighbours(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLPOOLS_NEIGHBOURS", "1 2 4")
    environ = {"MLPOOLS_TASK": task(tmp_path, nodes=8).to_json(), "JOB_COMPLETION_INDEX": "6"}
    settings_ = Settings.from_environment({**environ, "MLPOOLS_NEIGHBOURS": "1 2 4"})
    worker = settings_.worker_environment(0, threads=1)
    names = ("RANK", "WORLD_SIZE", "GROUP_RANK", "LOCAL_RANK", "LOCAL_WORLD_SIZE")
    assert [worker[name] for name in names] == ["6", "8", "1", "2", "4"]
    assert "MLPOOLS_NEIGHBOURS" not in worker


@pytest.mark.parametrize(
    ("framework", "gpus", "visible", "seen"),
    [
        ("xgboost", 4, None, "2"),
        ("xgboost", 4, "GPU-a,GPU-b,GPU-c,GPU-d", "GPU-c"),
        ("xgboost", 4, "0,1", ""),
        ("xgboost", 0, None, None),
        ("pytorch", 4, None, None),
    ],
)
def test_a_worker_of_trees_sees_one_gpu(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    framework: str,
    gpus: int,
    visible: str | None,
    seen: str | None,
) -> None:
    work = task(tmp_path, framework=framework, gpus_per_node=gpus, workers_per_node=4)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if visible is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    pod = Settings.from_environment({"MLPOOLS_TASK": work.to_json(), "JOB_COMPLETION_INDEX": "0"})
    assert pod.worker_environment(2, threads=1).get("CUDA_VISIBLE_DEVICES") == seen


class Stubborn:
    """A worker that ends by SIGKILL only.

    Attributes:
        sent: what it was sent, and when.
    """

    rank, heard, running = 0, 0.0, True

    def __init__(self, clock: Callable[[], float]) -> None:
        self.sent: list[tuple[float, signal.Signals]] = []
        self._clock = clock

    def send(self, number: signal.Signals) -> None:
        self.sent.append((self._clock(), number))
        self.running = number != signal.SIGKILL


@pytest.mark.parametrize("grace", [1, 10, 60])
def test_a_stubborn_worker_is_killed_between_its_last_save_and_the_end_of_the_grace_period(
    grace: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 1000.0
    monkeypatch.setattr(supervise, "time", SimpleNamespace(monotonic=lambda: now))
    work = task(tmp_path, grace_period_seconds=grace, hang_timeout_seconds=0)
    supervisor = supervise.Supervisor(Settings(work, rank=0, dumps_folder="/unused"), [])
    worker = Stubborn(lambda: now - 1000.0)
    monkeypatch.setattr(supervisor, "_workers", [worker])
    supervisor._gang = gang.Alone()
    supervisor._stop("SIGTERM")
    while worker.running and now < 1000.0 + 3 * grace:
        supervisor._watch()
        now += 0.01
    (asked, first), (killed, last) = worker.sent
    assert (asked, first, last) == (0.0, signal.SIGTERM, signal.SIGKILL)
    assert Stop(grace)._late_after < killed < grace
