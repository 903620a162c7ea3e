"""What a pool says of its network: the newest word of the jobs that measured it."""

from __future__ import annotations

from collections.abc import Iterable

from mlpools_operator.api.v1alpha1 import ComputePoolSpec, Condition, FabricCheck
from mlpools_operator.domain import times
from mlpools_operator.domain.conditions import ConditionList, since

CONDITION = "FabricVerified"


def tell(
    conditions: ConditionList,
    spec: ComputePoolSpec,
    before: Iterable[Condition],
    checks: Iterable[FabricCheck | None],
) -> None:
    """Add the pool's condition; nothing is said before a first job has measured.

    Args:
        conditions: to which it is added.
        spec: of the pool.
        before: the pool's conditions as they were.
        checks: of its jobs, whether they hold nodes or wait; one that ended leaves the condition behind.
    """
    if not spec.preflight.enabled:
        return
    newest = max((it for it in checks if it), key=lambda it: (it.time, not it.verified), default=None)
    if newest is None or times.seconds(newest.time) < since(before, CONDITION):
        conditions.keep(CONDITION)
    elif newest.verified:
        conditions.set(CONDITION, True, "Measured", newest.message)
    else:
        conditions.set(CONDITION, False, "FabricTooSlow", newest.message)
