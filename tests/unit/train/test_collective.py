"""Ranks find each other: in the right order, whoever comes first, whatever the DNS knows already."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mlpools.contract.reports import Phase, Report
from mlpools.errors import PortTaken, Preempted
from mlpools.gang import Gang
from mlpools.supervisor.status import StatusServer
from mlpools.train import leader
from mlpools.train.collective import Collective, meet
from mlpools.train.job import Job
from mlpools.train.leader import wait_for_leader
from mlpools.train.reporter import Reporter
from mlpools.train.stop import Stop
from tests.support.many_ranks import Supervisor
from tests.support.pods import free_ports, task, wait_for
from tests.support.waiting import PATIENCE

WORLD = 11  # two digits: ids that are sorted as texts need their leading zeros


@pytest.fixture
def jobs(tmp_path: Path) -> list[Job]:
    port, leader = free_ports(2)
    work = task(tmp_path, nodes=WORLD)
    reporters = [Supervisor(leader), *(Reporter() for _ in range(WORLD - 1))]
    return [
        Job(work, Gang(rank, WORLD, "127.0.0.1", port, leader), reporter, Stop(60))
        for rank, reporter in enumerate(reporters)
    ]


def on_all(jobs: list[Job], call: Callable[[Collective], Any]) -> list[Any]:
    """Run a call on every rank, each in a thread, since XGBoost's collective is one's; rank 0 comes last.

    The thread ends with its rank, and what XGBoost keeps for it: the others need not wait for a failed one.
    """

    def meet_and_call(job: Job) -> Any:
        with meet(job) as together:
            return call(together)

    def start(job: Job) -> Future[Any]:
        thread = ThreadPoolExecutor(1)
        future = thread.submit(meet_and_call, job)
        thread.shutdown(wait=False)
        return future

    followers = [start(job) for job in jobs[1:]]
    supervisor = jobs[0].reporter
    assert isinstance(supervisor, Supervisor)
    wait_for(lambda: supervisor.asked, what="a follower's question")
    leader = start(jobs[0])
    return [future.result(PATIENCE) for future in (*followers, leader)]


@contextlib.contextmanager
def detour(address: str, port: int) -> Iterator[None]:
    """Lead to the same port of 127.0.0.1, to which each client then has that other address."""

    def pass_on(source: socket.socket, target: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while chunk := source.recv(4096):
                target.sendall(chunk)
        with contextlib.suppress(OSError):
            target.shutdown(socket.SHUT_WR)

    def take() -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = listener.accept()
                server = socket.create_connection(("127.0.0.1", port), source_address=(address, 0))
                open_ones.extend((client, server))
                for ends in ((client, server), (server, client)):
                    threads.append(threading.Thread(target=pass_on, args=ends))
                    threads[-1].start()

    open_ones: list[socket.socket] = []
    threads = [threading.Thread(target=take)]
    with socket.create_server((address, port)) as listener:
        threads[0].start()
        yield
        listener.shutdown(socket.SHUT_RDWR)
        for thread in threads:
            thread.join(PATIENCE)
    for one in open_ones:
        one.close()


def test_ranks_keep_their_numbers_and_talk(jobs: list[Job]) -> None:
    def talk(ranks: Collective) -> Any:
        shared = ranks.share({"from": 0} if ranks.rank == 0 else None)
        return (
            shared,
            ranks.gather(ranks.rank),
            ranks.any(ranks.rank == 7, False),
            ranks.share_bytes(b"model"),
            ranks.sum(np.array([[0.5, 1.0], [ranks.rank, 0.0]])).tolist(),
            ranks.max(np.array([-1.0, ranks.rank])).tolist(),
            [values.tolist() for values in ranks.gather_arrays(np.arange(float(ranks.rank)))],
        )

    expected = (
        {"from": 0},
        list(range(WORLD)),
        [True, False],
        b"model",
        [[WORLD / 2, WORLD], [sum(range(WORLD)), 0.0]],
        [-1.0, WORLD - 1],
        [list(map(float, range(rank))) for rank in range(WORLD)],
    )
    assert on_all(jobs, talk) == [expected] * WORLD


def test_ranks_keep_their_numbers_whatever_their_addresses(jobs: list[Job], tmp_path: Path) -> None:
    work = task(tmp_path, nodes=3)
    gang = [dataclasses.replace(job.gang, world_size=3) for job in jobs[:3]]
    with detour("127.3.3.3", gang[1].port), detour("127.2.2.2", gang[2].port):
        gang[1] = dataclasses.replace(gang[1], coordinator="127.3.3.3")
        gang[2] = dataclasses.replace(gang[2], coordinator="127.2.2.2")
        far = [
            dataclasses.replace(job, task=work, gang=place) for job, place in zip(jobs, gang, strict=False)
        ]
        assert on_all(far, lambda ranks: ranks.gather(ranks.rank)) == [[0, 1, 2]] * 3


def test_a_rank_of_an_older_attempt_is_not_joined(jobs: list[Job]) -> None:
    supervisor, follower = jobs[0].reporter, jobs[1]
    assert isinstance(supervisor, Supervisor)
    supervisor.report = Report(phase=Phase.RENDEZVOUS.value, attempt=7)
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(wait_for_leader, follower)
        wait_for(lambda: supervisor.asked >= 3, what="a third question")
        assert not waiting.done()
        supervisor.report = Report(phase=Phase.RENDEZVOUS.value, attempt=1)
        assert waiting.result(PATIENCE) == "127.0.0.1"


def test_a_name_that_comes_late_is_waited_for(jobs: list[Job], monkeypatch: pytest.MonkeyPatch) -> None:
    real, asked = socket.getaddrinfo, []

    def late(host: str, *args: Any, **kwargs: Any) -> Any:
        if host == "job-1-0.job":
            asked.append(host)
            if len(asked) < 3:
                raise socket.gaierror("Name or service not known")
            host = "127.0.0.1"
        return real(host, *args, **kwargs)

    monkeypatch.setattr(socket, "getaddrinfo", late)
    supervisor = jobs[0].reporter
    assert isinstance(supervisor, Supervisor)
    supervisor.phase(Phase.RENDEZVOUS)
    gang = dataclasses.replace(jobs[1].gang, coordinator="job-1-0.job")
    assert wait_for_leader(dataclasses.replace(jobs[1], gang=gang)) == "127.0.0.1"
    assert len(asked) == 3


def test_waiting_ends_with_a_stop(jobs: list[Job]) -> None:
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(wait_for_leader, jobs[1])
        jobs[1].stop.request()
        with pytest.raises(Preempted):
            waiting.result(PATIENCE)


def test_rank_0_is_reached_at_its_pods_address() -> None:
    environ = {"MASTER_ADDR": "job-1-0.job.team-a.svc.cluster.local", "MLPOOLS_POD_IP": "10.1.2.3"}
    assert Gang.from_environment(environ).address == "10.1.2.3"


class Looks(Stop):
    """Counts how often a wait looked whether it should stop."""

    def __init__(self) -> None:
        super().__init__(60)
        self.count = 0

    def check(self) -> None:
        self.count += 1
        super().check()


def test_a_supervisor_that_does_not_answer_ends_nothing(tmp_path: Path) -> None:
    [port] = free_ports(1)
    job = Job(task(tmp_path, nodes=2), Gang(0, 2, leader_port=port), Reporter(), Stop(60))
    unknown = {"formed": False, "endedWell": False}
    assert leader.others(job) == unknown
    known = {"formed": True, "endedWell": False}
    answers = iter(["", json.dumps(known)])
    StatusServer(port, {("GET", "/others"): lambda _: next(answers)})
    assert leader.others(job) == unknown  # an answer that broke off
    assert leader.others(job) == known


def test_a_port_that_is_still_held_is_waited_for(jobs: list[Job], monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as held, ThreadPoolExecutor(1) as pool:
        held.bind(("127.0.0.1", 0))
        looks = Looks()
        gang = dataclasses.replace(jobs[0].gang, port=held.getsockname()[1])
        job = dataclasses.replace(jobs[0], gang=gang, stop=looks)
        waiting = pool.submit(leader.wait_for_port, job)
        wait_for(lambda: looks.count >= 3, what="a third look")
        assert not waiting.done()
        monkeypatch.setattr(leader, "_PORT_SECONDS", 0.0)
        with pytest.raises(
            PortTaken, match=f"cannot listen at 127.0.0.1:{gang.port} .Address already in use"
        ):
            leader.wait_for_port(job)
        held.close()
        waiting.result(PATIENCE)


def test_a_port_at_which_another_program_listens_is_not_waited_for(jobs: list[Job]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        gang = dataclasses.replace(jobs[0].gang, port=server.getsockname()[1])
        with pytest.raises(PortTaken, match="end the program that uses this port"):
            leader.wait_for_port(dataclasses.replace(jobs[0], gang=gang))


def test_a_signal_is_heard_in_a_thread_and_a_late_action_follows() -> None:

    before = signal.getsignal(signal.SIGTERM)
    late = threading.Event()
    stop = Stop(0.05).listen()
    try:
        stop.when_late(late.set)
        os.kill(os.getpid(), signal.SIGTERM)
        wait_for(lambda: stop.requested)
        assert late.wait(PATIENCE)
    finally:
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGTERM, before)
