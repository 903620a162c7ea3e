from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlpools_operator.api.v1alpha1 import ComputePoolSpec, ComputePoolStatus, TrainingJobStatus
from mlpools_operator.domain import times
from mlpools_operator.domain.conditions import ConditionList
from mlpools_operator.domain.pool import capacity, families
from mlpools_operator.domain.pool.capacity import Choice, Finding
from tests.support.domain_values import NOW

NAMES = ("a", "b", "c", "d", "e", "f")


def _pool(names: Sequence[str]) -> ComputePoolSpec:
    first, *backups = names
    return ComputePoolSpec(instance_family=first, backup_instance_families=tuple(backups), max_nodes=4)


def _status(family: str = "", since: float | None = None, *, available: bool = True) -> ComputePoolStatus:
    if since is None:
        return ComputePoolStatus(instance_family=family)
    said = ConditionList((), since).set(capacity.CONDITION, available, "Scheduled").all()
    return ComputePoolStatus(instance_family=family, conditions=said)


def _lacks(family: str, at: float = NOW) -> Finding:
    return Finding(family, at, "0/1 nodes are available: 1 Insufficient cpu.")


def _choose(names: Sequence[str], *findings: Finding, before: ComputePoolStatus | None = None) -> Choice:
    return capacity.choose(_pool(names), before or _status(), findings, NOW)


@given(st.integers(1, 6), st.integers(0, 30))
def test_a_job_walks_through_all_families_in_order_and_begins_again(size: int, lacks: int) -> None:
    pool, job = _pool(NAMES[:size]), TrainingJobStatus()
    asked = []
    for number in range(lacks):
        now = NOW + 400 * number
        family = capacity.begin_with(pool, job, pool.instance_family or "", now)
        asked.append(family)
        lack = {"instanceFamily": family, "time": times.stamp(now), "message": "no"}
        job = TrainingJobStatus.model_validate(
            {"instanceFamily": families.following(pool, family), "lackedCapacity": lack}
        )
    assert asked == [NAMES[number % size] for number in range(lacks)]


_FINDINGS = st.lists(
    st.builds(
        Finding,
        st.sampled_from(["", *NAMES]),
        st.floats(NOW - 4000, NOW),
        st.sampled_from(["", "Insufficient cpu"]),
    ),
    max_size=6,
)


@given(
    st.integers(1, 6), _FINDINGS, st.sampled_from(["", "x", *NAMES]), st.floats(NOW - 4000, NOW), st.randoms()
)
def test_a_pool_always_uses_one_of_its_families_whatever_the_order_of_the_news(
    size: int, findings: list[Finding], family: str, since: float, random: Any
) -> None:
    pool, before = _pool(NAMES[:size]), _status(family, since)
    choice = capacity.choose(pool, before, findings, NOW)
    assert choice.family in families.order(pool)
    assert choice.until is None or choice.until > NOW
    assert (choice.until is None) == (choice.family == NAMES[0])
    random.shuffle(findings)
    assert capacity.choose(pool, before, findings, NOW) == choice
    later = capacity.choose(pool, before, findings, NOW + capacity.MEMORY_SECONDS)
    assert (later.family, later.until) == (NAMES[0], None), "a backup is not kept for ever"


def test_the_newest_finding_counts() -> None:
    names = ("a", "b", "c")
    assert _choose(names).family == "a"
    told = _lacks("a", NOW - 5)
    assert _choose(names, told) == Choice("b", NOW - 5 + capacity.MEMORY_SECONDS, told)
    assert _choose(names, _lacks("a", NOW - 5), Finding("b", NOW - 1)).family == "b"
    assert _choose(names, _lacks("b", NOW - 5), Finding("a", NOW - 9)).family == "c"
    assert _choose(names, _lacks("c", NOW - 5)).family == "a"
    assert _choose(names, _lacks("x", NOW - 1), Finding("b", NOW - 9)).family == "b"
    assert _choose(names, _lacks("a", NOW - capacity.MEMORY_SECONDS)).family == "a"


def test_without_jobs_the_status_is_what_is_remembered() -> None:
    assert _choose("ab", before=_status("b", NOW - 60)).family == "b"
    assert _choose("ab", before=_status("b", NOW - capacity.MEMORY_SECONDS)).family == "a"
    assert _choose("ab", before=_status("gone", NOW - 60)).family == "a"
    assert _choose("ab", before=_status("b")).family == "a"


@pytest.mark.parametrize(
    ("wanted", "age", "in_use", "begins"),
    [("c", 60, "b", "c"), ("c", 2000, "b", "b"), ("gone", 60, "b", "a"), ("c", 2000, "gone", "a")],
)
def test_a_job_follows_its_own_lack_and_else_the_pool(
    wanted: str, age: float, in_use: str, begins: str
) -> None:
    lack = {"instanceFamily": "b", "time": times.stamp(NOW - age)}
    job = TrainingJobStatus.model_validate({"instanceFamily": wanted, "lackedCapacity": lack})
    assert capacity.begin_with(_pool("abc"), job, in_use, NOW) == begins
    done = TrainingJobStatus.model_validate({"instanceFamily": "c"})
    assert capacity.begin_with(_pool("abc"), done, "b", NOW) == "b"


def _told(*findings: Finding, names: Sequence[str] = "ab", before: ComputePoolStatus | None = None) -> Any:
    before = before or _status()
    conditions = ConditionList(before.conditions, NOW)
    capacity.tell(conditions, capacity.choose(_pool(names), before, findings, NOW))
    return next(iter(conditions.all()), None)


def test_the_pool_says_what_is_lacking_and_since_when() -> None:
    assert _told() is None
    lacking = _told(_lacks("a"), before=_status("a", NOW - 900))
    assert (lacking.status, lacking.reason) == ("False", "Unschedulable")
    assert lacking.message == (
        "There were not enough machines of family a: "
        "0/1 nodes are available: 1 Insufficient cpu. Next comes family b."
    )
    assert times.seconds(lacking.last_transition_time) == NOW
    still = _told(_lacks("b"), before=_status("b", NOW - 900, available=False))
    assert times.seconds(still.last_transition_time) == NOW - 900
    assert _told(_lacks("a", NOW - 9), Finding("b", NOW)).status == "True"
    kept = _told(before=_status("b", NOW - 900, available=False))
    assert kept.status == "False"
