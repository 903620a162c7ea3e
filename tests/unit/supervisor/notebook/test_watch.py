"""What counts as use, and what does not: with made-up processes, connections, GPUs and kernels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import pytest

from mlpools.supervisor.notebook.jupyter import Account
from mlpools.supervisor.notebook.processes import Snapshot
from mlpools.supervisor.notebook.sockets import Connection
from mlpools.supervisor.notebook.watch import Cluster, Sources, Used, Watch

PORT, STATUS_PORT = 8888, 8470
WALL = 1_800_000_000.0


@dataclass
class Container:
    """A container by hand; ``watch`` looks at it."""

    jupyter: bool = True
    now: float = 1000.0
    cpu: float = 50.0
    terminals: int = 0
    connections: list[Connection] = field(default_factory=list)
    load: int | None = None
    account: Account = field(default_factory=lambda: Account(False, 0.0, 0.0))
    answers: bool = True
    cluster: Cluster = field(default_factory=Cluster)

    def __post_init__(self) -> None:
        sources = Sources(
            lambda: Snapshot(self.cpu, self.terminals),
            self._connections,
            lambda: self.load,
            self._account if self.jupyter else None,
            lambda: self.now,
            lambda: self.now + WALL,
            lambda: self.cluster,
        )
        self.watch = Watch(sources, PORT, (STATUS_PORT,), cpu=5, gpu=5)

    def _connections(self) -> Sequence[Connection]:
        return self.connections

    def _account(self) -> Account:
        if not self.answers:
            raise OSError("nobody answers")
        return self.account

    def wait(self, seconds: float, cpu_share: float = 0.0, received: int = 0, every: float = 5.0) -> Used:
        """Let time pass; every connection receives so many bytes a second."""
        passed = 0.0
        used = self.watch.look()
        while passed < seconds:
            self.now += every
            self.cpu += every * cpu_share
            self.connections = [
                it._replace(received=it.received + int(received * every)) for it in self.connections
            ]
            passed += every
            used = self.watch.look()
        return used


def test_nothing_is_no_use() -> None:
    used = Container().wait(600)
    assert (used.unused_seconds, used.untouched_seconds) == (600, 600)
    assert used.by == "its start"


@pytest.mark.parametrize(("share", "unused"), [(0.02, 100), (0.2, 0)])
def test_processes_count_from_some_share_of_a_core(share: float, unused: int) -> None:
    used = Container().wait(100, cpu_share=share)
    assert used.unused_seconds == unused


def test_a_short_burst_once_a_minute_is_a_poll_and_a_long_one_is_work() -> None:
    container = Container()
    for _ in range(4):
        container.wait(55)
        used = container.wait(5, cpu_share=0.2)
    assert used.unused_seconds == 240
    assert container.wait(10, cpu_share=0.9).unused_seconds == 0


def test_work_counts_at_the_first_look_at_it() -> None:
    container = Container()
    container.wait(300)
    container.now += 2
    container.cpu += 1.9
    assert container.watch.look().by == "processes that compute"


def test_a_terminal_with_a_program_counts_however_little_it_does() -> None:
    container = Container()
    container.wait(50)
    container.terminals = 1
    used = container.wait(500)
    assert (used.unused_seconds, used.untouched_seconds) == (0, 550)
    container.terminals = 0
    assert container.wait(100).unused_seconds == 100


@pytest.mark.parametrize(("load", "unused"), [(None, 60), (4, 60), (5, 0)])
def test_a_gpu_counts_from_some_load(load: int | None, unused: int) -> None:
    container = Container(load=load)
    assert container.wait(60).unused_seconds == unused


def test_a_transfer_counts_and_our_own_looks_pings_and_talk_inside_do_not() -> None:
    quiet = Container(
        connections=[
            Connection(1, STATUS_PORT, False, 0, 0),
            Connection(2, 50_000, True, 0, 0),
            Connection(3, PORT, False, 0, 0),
        ]
    )
    assert quiet.wait(100, received=100_000).unused_seconds == 100
    download = Container(connections=[Connection(4, 50_000, False, 0, 0)])
    assert download.wait(100, received=50).unused_seconds == 100
    assert download.wait(100, received=20_000).by == "a transfer"


def test_of_another_program_what_a_browser_sends_is_use_by_a_person_but_pings_are_not() -> None:
    container = Container(jupyter=False, connections=[Connection(1, PORT, False, 0, 0)])
    assert container.wait(100, received=2).untouched_seconds == 100
    used = container.wait(60, received=200)
    assert (used.untouched_seconds, used.by) == (0, "data from the browser")


def test_a_busy_kernel_is_use_and_what_a_person_did_counts_from_when_it_was_done() -> None:
    container = Container()
    container.wait(100)
    container.account = Account(True, 0.0, 0.0)
    used = container.wait(100)
    assert (used.unused_seconds, used.untouched_seconds, used.by) == (0, 200, "a busy kernel")
    container.account = Account(False, container.now + WALL - 30.0, 0.0)
    used = container.wait(10)
    assert (used.unused_seconds, used.untouched_seconds) == (10, 40)
    container.account = Account(False, 0.0, container.now + WALL - 2.0)
    assert container.watch.look().untouched_seconds == 2


def test_a_ray_job_is_use_and_what_rays_nodes_tell_each_other_is_not() -> None:
    between_nodes = [Connection(5, 50_001, False, 0, 0, "10.0.0.7")]
    container = Container(connections=between_nodes, cluster=Cluster(False, {"10.0.0.7"}))
    assert container.wait(100, received=20_000).unused_seconds == 100
    container.cluster = Cluster(True, {"10.0.0.7"})
    used = container.wait(100)
    assert (used.unused_seconds, used.untouched_seconds, used.by) == (0, 200, "a Ray job")
    container.cluster = Cluster()
    assert container.wait(100, received=20_000).by == "a transfer"


def test_jupyter_that_does_not_answer_changes_nothing() -> None:
    container = Container(answers=False)
    assert container.wait(60).unused_seconds == 60


def test_a_clock_that_is_set_back_does_not_make_use_of_the_future() -> None:
    container = Container()
    container.wait(60)
    container.account = Account(False, container.now + WALL + 3600, 0.0)
    assert container.watch.look().unused_seconds == 0
    container.account = Account(False, 0.0, 0.0)
    assert container.wait(60).unused_seconds == 60
