"""``mlpools.cluster`` from inside a notebook, with an API server and a Ray cluster that are made up."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest

from mlpools import cluster
from mlpools.contract.tasks import Notebook
from mlpools.contract.wiring import NOTEBOOK_ENV
from mlpools.errors import InvalidSpec, StartTimeout
from mlpools.train.launchers import ray_cluster
from mlpools.train.launchers.ray_cluster import Node


@dataclass
class World:
    """What is asked for, and what comes of it.

    Attributes:
        asked: further nodes, each time that they are asked for.
        room: nodes that there can be.
    """

    asked: list[int] = field(default_factory=lambda: [1])
    room: int = 8

    def scale(self, method: str, replicas: int | None = None) -> dict[str, Any]:
        if replicas is not None:
            self.asked.append(replicas)
        return {"spec": {"replicas": self.asked[-1]}}

    def nodes(self) -> list[Node]:
        count = min(self.room, 1 + self.asked[-1])
        return [Node(str(it), f"10.0.0.{it}", {"CPU": 2.0, "memory": 1.0}) for it in range(count)]


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    made = World()
    monkeypatch.setattr(cluster, "_scale", made.scale)
    monkeypatch.setattr(ray_cluster, "nodes", made.nodes)
    monkeypatch.setenv(NOTEBOOK_ENV, Notebook("team-a", "alice", "u", 1, 8888, 5, 5, cluster=True).to_json())
    return made


def test_it_counts_the_notebooks_own_node(world: World) -> None:
    assert cluster.scale_cluster(4)
    assert world.asked == [1, 3]
    assert cluster.get_nodes()[3] == {"name": "10.0.0.3", "cpus": 2, "gpus": 0}
    assert cluster.scale_cluster(1)
    assert len(cluster.get_nodes()) == 1


def test_nodes_that_do_not_come_are_taken_back_and_said(world: World) -> None:
    world.room = 3
    with pytest.raises(StartTimeout, match="Of 4 nodes 3 were there after 0 s, so 2 are asked for again"):
        cluster.scale_cluster(4, rollback_after_seconds=0)
    assert world.asked == [1, 3, 1]


def test_who_does_not_wait_takes_nothing_back(world: World) -> None:
    world.room = 1
    assert cluster.scale_cluster(4, is_async=True, rollback_after_seconds=0)
    assert world.asked == [1, 3]


def test_no_node_at_all_is_refused(world: World) -> None:
    with pytest.raises(InvalidSpec, match="at least 1 node"):
        cluster.scale_cluster(0)
    assert world.asked == [1]


def test_only_a_notebook_with_a_cluster_can_be_scaled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(NOTEBOOK_ENV, raising=False)
    for call in (lambda: cluster.scale_cluster(2), cluster.get_ray_dashboard_url):
        with pytest.raises(InvalidSpec, match="Only a notebook"):
            call()
    monkeypatch.setenv(NOTEBOOK_ENV, Notebook("team-a", "alice", "u", 1, 8888, 5, 5).to_json())
    with pytest.raises(InvalidSpec, match="was started without a cluster"):
        cluster.scale_cluster(2)
