"""The network between ranks: what is measured, what follows, and a gang that does it for real."""

from __future__ import annotations

import re
import socket
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlpools.contract.ends import Exit, Final
from mlpools.contract.reports import Phase
from mlpools.contract.tasks import Fabric
from mlpools.gang import Gang
from mlpools.runtime.fabric import tcp
from mlpools.runtime.fabric.links import Link, Measured, blamed, in_words, too_slow
from mlpools.runtime.fabric.meeting import SilentRanks, meet
from tests.support.pods import Pods, free_ports, task, wait_for

#: A worker that only says that it ran.
WORKER = """
import json, os
final = {"code": 0, "rank": int(os.environ["RANK"])}
os.write(int(os.environ["MLPOOLS_REPORT_FD"]), json.dumps({"final": final}).encode() + b"\\n")
"""
#: Python imports it at its start: this pod's machine sends slowly.
SLOW = """
import socket, time
send = socket.socket.sendall
def slowly(self, data, *flags):
    time.sleep(len(data) / 2e6 if len(data) > 100_000 else 0)
    return send(self, data, *flags)
socket.socket.sendall = slowly
"""


def ring(*rates: float) -> Measured:
    """Links into rank 0, 1, …, each from the rank before."""
    links = [Link((rank - 1) % len(rates), rank, rate, 0.1) for rank, rate in enumerate(rates)]
    return Measured("TCP", links)


def test_a_fast_network_is_good_enough_and_told() -> None:
    assert too_slow(ring(3.0, 2.0, 4.0), 2.0) == ""
    assert in_words(ring(3.0, 2.0, 4.0)) == (
        "the slowest link, from rank 0 to rank 1, carries 2.00 GB/s over TCP, and the longest round trip "
        "takes 0.10 ms"
    )


def test_a_slow_network_is_refused_with_what_was_found_and_asked_for() -> None:
    assert too_slow(ring(3.0, 0.25, 4.0), 1.5) == (
        "The network between the ranks is too slow: the slowest link, from rank 0 to rank 1, carries 0.25 "
        "GB/s over TCP, and the longest round trip takes 0.10 ms, and the pool asks for 1.5 GB/s. Look at "
        "the machines' network, or at the pool's spec.network and spec.preflight."
    )


def test_a_link_that_carries_nothing_is_refused_whatever_is_asked_for() -> None:
    broken = Measured("NCCL", [Link(1, 0, 9.0), Link(0, 1, trouble="NCCL says no")], all_reduce=9.0)
    assert "nothing arrives from rank 0 to rank 1 over NCCL (NCCL says no)" in too_slow(broken, 0.0)


def test_an_all_reduce_decides_where_there_is_one() -> None:
    """Several adapters of a machine work together in it, and a single link takes one of them."""
    found = replace(ring(3.0, 2.0), over="NCCL", all_reduce=8.0)
    assert too_slow(found, 7.0) == ""
    assert "an all-reduce reaches 8.00 GB/s over NCCL; the slowest link, " in too_slow(found, 9.0)


@given(size=st.integers(3, 9), rank=st.integers(0, 8), others=st.floats(1.0, 9.0))
def test_a_machine_that_is_slow_both_ways_is_blamed(size: int, rank: int, others: float) -> None:
    rank %= size
    rates = [others] * size
    rates[rank], rates[(rank + 1) % size] = 0.2, 0.3
    assert blamed(ring(*rates)) == rank
    rates[rank], rates[(rank + 1) % size] = 0.3, 0.2
    assert blamed(ring(*rates)) == rank


@given(rates=st.lists(st.floats(0.0, 9.0), min_size=2, max_size=9))
def test_who_is_blamed_has_the_slowest_link(rates: list[float]) -> None:
    found = ring(*rates)
    assert blamed(found) in (found.slowest.sender, found.slowest.receiver)


def gang_of(size: int) -> list[Gang]:
    (port,) = free_ports(1)
    return [Gang(rank=rank, world_size=size, port=port) for rank in range(size)]


def test_all_ranks_learn_what_each_of_them_says() -> None:
    def talk(gang: Gang) -> list[list[int]]:
        with meet(gang) as meeting:
            return [meeting.gather(gang.rank * factor, 20.0) for factor in (1, 10)]

    with ThreadPoolExecutor(4) as pool:
        heard = list(pool.map(talk, gang_of(4)))
    assert heard == [[[0, 1, 2, 3], [0, 10, 20, 30]]] * 4


def test_the_port_is_free_at_once_for_the_framework_that_comes_next() -> None:
    gangs = gang_of(2)

    def talk(gang: Gang) -> None:
        with meet(gang) as meeting:
            meeting.gather(0, 20.0)

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(talk, gangs))
    with socket.socket() as tracker:  # as XGBoost's does it, without SO_REUSEADDR
        tracker.bind(("127.0.0.1", gangs[0].port))


def test_a_rank_that_leaves_is_named() -> None:
    leader, follower = gang_of(2)

    def leave() -> None:
        with meet(follower):
            pass

    def wait() -> None:
        with meet(leader) as meeting, pytest.raises(SilentRanks, match="nothing came from rank 1"):
            meeting.gather(0, 20.0)

    with ThreadPoolExecutor(2) as pool:
        for done in [pool.submit(leave), pool.submit(wait)]:
            done.result()


@pytest.mark.parametrize("warm_up", [0.0, 1000.0])
def test_a_link_whose_sender_paused_has_carried_something_all_the_same(
    warm_up: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tcp, "_WARM_UP_SECONDS", warm_up)
    here, there = socket.socketpair()
    with here, there:
        there.sendall(b"x" * 1000)
        there.shutdown(socket.SHUT_WR)
        assert tcp._receive(here)
    nothing, silent = socket.socketpair()
    with nothing:
        silent.close()
        assert tcp._receive(nothing) is None


@pytest.fixture
def slow(tmp_path: Path) -> dict[str, str]:
    """Variables of a pod whose machine sends slowly."""
    (tmp_path / "slow").mkdir()
    (tmp_path / "slow" / "sitecustomize.py").write_text(SLOW)
    workloads = Path(__file__).parents[3] / "workloads"
    return {"PYTHONPATH": f"{tmp_path / 'slow'}:{workloads}"}


def run(folder: Path, rules: Fabric, nodes: int, of_rank: dict[int, dict[str, str]]) -> list[Final]:
    worker = folder / "worker.py"
    worker.write_text(WORKER)
    pods = Pods(
        task(folder / "out", nodes=nodes, fabric=rules.to_dict()),
        folder / "pods",
        [sys.executable, str(worker)],
        of_rank=of_rank,
    )
    with pods:
        return pods.wait()


def test_a_gang_on_a_good_network_goes_on_to_work(tmp_path: Path) -> None:
    finals = run(tmp_path, Fabric(minimum=0.0001), 2, {})
    assert [final.code for final in finals] == [Exit.DONE] * 2
    assert all(final.seconds[Phase.FABRIC.value] > 0.5 for final in finals)
    assert "carries" in (tmp_path / "pods" / "log-0").read_text()


def test_the_operator_can_read_what_was_found(tmp_path: Path) -> None:
    (tmp_path / "worker.py").write_text("import time; time.sleep(60)")
    pods = Pods(
        task(tmp_path / "out", nodes=2, fabric=Fabric().to_dict()),
        tmp_path / "pods",
        [sys.executable, str(tmp_path / "worker.py")],
    )
    with pods:
        report = wait_for(lambda: (found := pods[0].report()) and found.fabric and found)
    assert re.fullmatch(r"The slowest link, from rank \d to rank \d, carries .* ms\.", report.fabric)


def test_a_rank_that_sends_slowly_is_found_before_the_work(tmp_path: Path, slow: dict[str, str]) -> None:
    finals = run(tmp_path, Fabric(minimum=0.05), 3, {1: slow})
    assert [final.code for final in finals] == [Exit.PEER_LOST, Exit.FABRIC_TOO_SLOW, Exit.PEER_LOST]
    assert "from rank 1 to rank 2, carries 0.0" in finals[1].message


def test_without_a_minimum_a_slow_network_is_only_told(tmp_path: Path, slow: dict[str, str]) -> None:
    finals = run(tmp_path, Fabric(), 2, {1: slow})
    assert [final.code for final in finals] == [Exit.DONE] * 2
