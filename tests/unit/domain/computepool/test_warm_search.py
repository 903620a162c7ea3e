from __future__ import annotations

from dataclasses import replace

import pytest

from mlpools_operator.api.v1alpha1 import ComputePoolSpec, ComputePoolStatus
from mlpools_operator.domain.computepool.warm_search import Search, look
from mlpools_operator.domain.observed import Meta, PodChild
from mlpools_operator.domain.pool import capacity
from mlpools_operator.domain.pool.capacity import Finding
from tests.support.domain_values import NOW

WORDS = "0/1 nodes are available: 1 Insufficient cpu. preemption: 0/1 nodes are available."


def warm(name: str, age: float, **changes: object) -> PodChild:
    meta = Meta(name, f"uid-{name}", created=NOW - age, spec_hash="shape")
    return replace(PodChild(meta, 0, 0, "", unschedulable=WORDS), **changes)


def seen(*pods: PodChild, idle_for: float = 600.0) -> Search:
    return look(pods, "shape", "large", idle_since=NOW - idle_for, patience=60.0, now=NOW)


def test_what_is_lacking_is_told_when_patience_ends() -> None:
    assert seen(warm("a", 59)) == Search(look_after=1.0)
    lack = Finding("large", NOW - 60, "0/1 nodes are available: 1 Insufficient cpu")
    assert seen(warm("a", 60)) == Search(lack)
    placed = warm("b", 90, node="node-1", scheduled=NOW - 80)
    assert seen(placed, warm("a", 60)) == Search(lack), "some are not all"
    assert seen(placed) == Search(Finding("large", NOW - 80))


def test_patience_begins_anew_when_the_last_job_goes() -> None:
    assert seen(warm("a", 500), idle_for=10) == Search(look_after=50.0)


def test_placeholders_of_another_shape_and_those_that_go_say_nothing() -> None:
    old = warm("a", 90)
    other = replace(old, meta=replace(old.meta, spec_hash="other"))
    assert seen() == seen(other) == Search()
    assert seen(replace(old, meta=replace(old.meta, deleting=True))) == Search()
    assert seen(replace(old, phase="Failed")) == Search()


@pytest.mark.parametrize("skew", [0.0, -2.0, 2.0])
def test_machines_that_are_found_at_once_are_newer_news_than_the_lack_before(skew: float) -> None:
    """The API server's clock says when a pod got its machine; seconds are all that it tells."""
    pool = ComputePoolSpec(instance_family="large", backup_instance_families=("larger",), max_nodes=4)
    lack = seen(warm("a", 60)).finding
    before = ComputePoolStatus(instance_family="larger", lacked_capacity=capacity.remember(lack))
    got = Finding("larger", NOW + skew)
    choice = capacity.choose(pool, before, [got], NOW + 1)
    assert (choice.family, choice.finding) == ("larger", got)


def test_of_one_second_what_was_got_counts() -> None:
    pool = ComputePoolSpec(instance_family="large", backup_instance_families=("larger",), max_nodes=4)
    got, lacked = Finding("larger", NOW), Finding("large", NOW, "Insufficient cpu")
    for findings in ([got, lacked], [lacked, got]):
        assert capacity.choose(pool, ComputePoolStatus(), findings, NOW).finding == got
