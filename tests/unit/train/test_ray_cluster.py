"""What fits into a Ray cluster, and where ranks are: values only, no cluster."""

from __future__ import annotations

import pytest

from mlpools.errors import InvalidSpec
from mlpools.train.launchers.ray_cluster import Node, amounts, described, shortage, spread
from mlpools.train.scaling import ScalingConfig

HEAD = Node("a", "10.0.0.1", {"CPU": 0.0, "memory": 1e9, "node:10.0.0.1": 1.0})
SMALL = Node("b", "10.0.0.2", {"CPU": 4.0, "object_store_memory": 1e9})
LARGE = Node("c", "10.0.0.3", {"CPU": 16.0, "GPU": 4.0, "accelerator_type:H100": 1.0})


@pytest.mark.parametrize(
    ("config", "gpu", "expected"),
    [
        (ScalingConfig(), False, (2, {"CPU": 4.0})),  # one for each node with CPUs, all as large as the least
        (ScalingConfig(), True, (4, {"CPU": 4.0, "GPU": 1.0})),  # one for each GPU
        (ScalingConfig(num_workers=4), False, (4, {"CPU": 2.0})),  # two share a node
        (ScalingConfig(num_workers=8, num_cpu_per_worker=1), False, (8, {"CPU": 1.0})),
        (ScalingConfig(num_workers=2), True, (2, {"CPU": 8.0, "GPU": 1.0})),
    ],
)
def test_workers_are_spread_over_what_there_is(
    config: ScalingConfig, gpu: bool, expected: tuple[int, dict[str, float]]
) -> None:
    assert spread(config, gpu, [HEAD, SMALL, LARGE]) == expected


def test_without_a_gpu_none_is_promised() -> None:
    with pytest.raises(InvalidSpec, match=r"has a GPU; it has 1 node\(s\): 10\.0\.0\.2 with 4 CPU\."):
        spread(ScalingConfig(), True, [SMALL])


def test_what_does_not_fit_is_said_with_what_there_is() -> None:
    assert shortage(5, {"CPU": 4}, [HEAD, SMALL, LARGE]) == ""
    text = shortage(6, {"CPU": 4.0}, [HEAD, SMALL, LARGE])
    assert "6 worker(s) of 4 CPU do not fit" in text
    assert "there is room for 5" in text
    assert "room for 4" in shortage(5, {"CPU": 1, "GPU": 1}, [HEAD, SMALL, LARGE])
    assert shortage(3, {}, [SMALL]) == ""


def test_as_many_on_each_node_need_as_many_nodes() -> None:
    assert shortage(4, {"CPU": 2.0}, [HEAD, SMALL, LARGE], per_node=2) == ""
    text = shortage(6, {"CPU": 2.0}, [HEAD, SMALL, LARGE], per_node=2)
    assert "6 worker(s) of 2 CPU, 2 on each of 3 node(s), do not fit" in text
    assert "there is room for 4" in text
    assert "room for 3" in shortage(6, {"CPU": 2.0}, [HEAD, SMALL, LARGE], per_node=3)


def test_nodes_in_words() -> None:
    assert amounts(LARGE.has) == "16 CPU, 4 GPU"
    assert amounts(HEAD.has) == "0 CPU"
    assert described([]) == "no node"
    assert described([SMALL] * 10).endswith("and 2 more")
