"""A function in many workers of a Ray cluster at once, and what becomes of them when one fails."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
import ray

from mlpools.errors import InvalidSpec, UserCodeError, WorkerCrashed
from mlpools.train.launchers.ray import Place, launch
from tests.support.pods import wait_for


@pytest.fixture(scope="module", autouse=True)
def cluster() -> Iterator[None]:
    ray.init("local", num_cpus=4, include_dashboard=False, log_to_driver=False, logging_level="error")
    yield
    ray.shutdown()


def test_a_function_runs_in_every_worker_and_knows_the_others() -> None:
    seen: list[int] = []

    def where(place: Place) -> tuple[Place, int, str]:
        return place, os.getpid(), os.environ["COLOUR"]

    found = launch(where, 3, {"CPU": 1}, env={"COLOUR": "red"}, look=lambda places: seen.append(len(places)))
    places = [place for place, _, _ in found]
    assert [place.rank for place in places] == [place.local_rank for place in places] == [0, 1, 2]
    assert {(place.world_size, place.local_world_size, place.node_rank) for place in places} == {(3, 3, 0)}
    assert {place.leader_ports for place in places} == {places[0].ports}
    assert len({port for place in places for port in place.ports}) == 6
    assert len({pid for _, pid, _ in found}) == 3
    assert {colour for _, _, colour in found} == {"red"}


def test_when_a_worker_raises_the_others_are_ended() -> None:
    @ray.remote(num_cpus=0)
    class Pids:
        def __init__(self) -> None:
            self.pids: list[int] = []

        def add(self, pid: int) -> None:
            self.pids.append(pid)

        def get(self) -> list[int]:
            return self.pids

    pids = Pids.remote()

    def fail(place: Place) -> None:
        ray.get(pids.add.remote(os.getpid()))
        if place.rank == 1:
            raise KeyError("no such thing")
        signal.pause()  # as in a collective whose peer is gone

    with pytest.raises(UserCodeError, match=r"^Rank 1: KeyError: 'no such thing'\.") as caught:
        launch(fail, 2, {"CPU": 1})
    assert "in fail" in caught.value.__notes__[0]
    wait_for(lambda: not any(map(alive, ray.get(pids.get.remote()))), what="the end of the workers")
    wait_for(lambda: ray.available_resources().get("CPU") == 4, what="the return of what was reserved")


def alive(pid: int) -> bool:
    try:
        return "Z" not in Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False


def test_a_worker_that_is_killed_is_named() -> None:
    def die(place: Place) -> None:
        if place.rank == 1:
            os.kill(os.getpid(), signal.SIGKILL)

    with pytest.raises(WorkerCrashed, match="The process of rank 1 is gone, or its node is"):
        launch(die, 2, {"CPU": 1})


def test_what_does_not_fit_is_said_at_once() -> None:
    with pytest.raises(
        InvalidSpec, match=r"5 worker\(s\) of 1 CPU do not fit .* 1 node\(s\): \S+ with 4 CPU.* room for 4"
    ):
        launch(lambda place: None, 5, {"CPU": 1})
    holder = ray.remote(num_cpus=3)(type("Holder", (), {"ready": lambda self: True})).remote()
    ray.get(holder.ready.remote())
    with pytest.raises(
        InvalidSpec, match=r"2 worker\(s\) of 1 CPU did not find room within 1 s: .* 1 CPU is free"
    ):
        launch(lambda place: None, 2, {"CPU": 1}, wait_seconds=1)
    ray.kill(holder)
    wait_for(lambda: ray.available_resources().get("CPU") == 4, what="the end of the holder")
