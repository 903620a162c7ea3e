"""What a pool says of its network."""

from __future__ import annotations

from mlpools_operator.api.v1alpha1 import ComputePoolSpec, Condition, FabricCheck, PoolPreflight
from mlpools_operator.domain import times
from mlpools_operator.domain.conditions import ConditionList
from mlpools_operator.domain.pool import fabric
from tests.support.domain_values import NOW


def check(at: float, *, verified: bool = True) -> FabricCheck:
    return FabricCheck(attempt=1, time=times.stamp(at), verified=verified, message=f"found {at - NOW:.0f}")


def told(
    *checks: FabricCheck | None, before: tuple[Condition, ...] = (), enabled: bool = True
) -> tuple[Condition, ...]:
    spec = ComputePoolSpec(instance_family="a", max_nodes=1, preflight=PoolPreflight(enabled=enabled))
    conditions = ConditionList(before, NOW + 100)
    fabric.tell(conditions, spec, before, checks)
    return conditions.all()


def test_nothing_is_said_before_a_job_has_measured_nor_without_a_preflight() -> None:
    assert told(None) == ()
    assert told(check(NOW), enabled=False) == ()


def test_the_newest_check_is_told() -> None:
    (condition,) = told(check(NOW), check(NOW + 9, verified=False), None)
    assert (condition.type, condition.reason) == ("FabricVerified", "FabricTooSlow")
    assert condition.status == "False"
    assert condition.message == "found 9"


def test_what_a_job_that_is_gone_found_stays_until_something_newer_is_found() -> None:
    before = told(check(NOW + 90))
    assert told(before=before) == before
    assert told(check(NOW, verified=False), before=before) == before
    (condition,) = told(check(NOW + 200, verified=False), before=before)
    assert condition.status == "False"
