"""A notebook's Ray cluster: its head and a further node under their supervisors, as in two pods."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from mlpools.contract.ends import Exit
from tests.support import notebook_pod


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder: Path = tmp_path_factory.mktemp("cluster")
    return notebook_pod.run("tests.support.cluster_scenario", folder, seconds=900)


def test_a_further_node_joins_and_only_with_the_token(found: dict[str, Any]) -> None:
    assert [it["name"] for it in found["told"]["nodes"]] == ["127.0.0.2", "127.0.0.3"]
    assert all(it["cpus"] >= 1 and it["gpus"] == 0 for it in found["told"]["nodes"])
    assert found["tokens"] == [True, False, False]
    assert not found["stranger"]


def test_tasks_are_spread_over_all_nodes_and_the_dashboard_is_told(found: dict[str, Any]) -> None:
    assert found["told"]["places"] == ["127.0.0.2", "127.0.0.3"]
    assert found["told"]["dashboard"] == found["dashboard"] == "http://127.0.0.1:8265"


def test_tasks_are_use_and_rays_own_processes_and_an_idle_kernel_are_not(found: dict[str, Any]) -> None:
    unused, by = found["busy"]
    assert unused < 2
    assert by == "a Ray job"
    unused, kernel_lives = found["idle"]
    assert unused > 8
    assert kernel_lives


def test_a_lost_node_joins_again_and_all_end_when_they_are_told_to(found: dict[str, Any]) -> None:
    assert found["after"]
    assert found["ends"] == [Exit.PREEMPTED, Exit.PREEMPTED]


@pytest.fixture(scope="module")
def lost(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder: Path = tmp_path_factory.mktemp("lost")
    return notebook_pod.run("tests.support.cluster_lost_scenario", folder, seconds=1_800)


THREE = ["127.0.0.2", "127.0.0.3", "127.0.0.4"]


def test_estimators_and_pytorch_train_over_all_nodes_from_a_kernel(lost: dict[str, Any]) -> None:
    assert lost["formed"] == THREE
    assert list(lost["trained"]) == ["XGBEstimator", "LightGBMEstimator"]
    for places, error in lost["trained"].values():
        assert places == THREE
        assert 0.9 < error < 1.6, "the rows have noise of 1"
    places, weight, bias = lost["torch"]
    assert places == THREE
    assert (weight, bias) == pytest.approx((3, 1), abs=0.01)


def test_a_cluster_forms_anew_whatever_part_of_it_is_lost(lost: dict[str, Any]) -> None:
    assert lost["store"] == THREE, "its control store"
    assert lost["node"] == ["127.0.0.2", "127.0.0.4", "127.0.0.5"], "a further node"
    assert lost["head"] == ["127.0.0.4", "127.0.0.5", "127.0.0.6"], "the notebook's own pod"
    assert lost["ends"] == [Exit.PREEMPTED] * 3
