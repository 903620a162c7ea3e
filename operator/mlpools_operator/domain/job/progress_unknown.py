"""The condition of a job that runs, and of which nobody can say how far it is."""

from __future__ import annotations

from mlpools.contract.reports import Report
from mlpools.contract.wiring import STATUS_PORT
from mlpools_operator.domain.conditions import ConditionList
from mlpools_operator.domain.observed import Unheard

CONDITION = "ProgressUnknown"

_BARE = (
    "The image has no Python 3.9 or newer, so script.command runs bare: no progress is told, no hang is "
    "found, and the command writes its own output. How it ends is told as always."
)
_HINT = "Another NetworkPolicy or a service mesh may be in the way. The work goes on."
_SENTENCES = {
    Unheard.REFUSED: f"Port {STATUS_PORT} of rank 0's pod refuses the operator. {_HINT}",
    Unheard.SILENT: f"Rank 0's pod does not answer the operator at port {STATUS_PORT}. {_HINT}",
    Unheard.UNREADABLE: f"What port {STATUS_PORT} of rank 0's pod answers is no report of mlpools. {_HINT}",
}


def tell(
    conditions: ConditionList, attempt: int, report: Report | None, unheard: Unheard | None, *, bare: bool
) -> None:
    """Add the condition, if it holds.

    Args:
        conditions: of the next status.
        attempt: the present one.
        report: the newest of rank 0, perhaps of an earlier attempt.
        unheard: why none comes; None where that is not known, as by an operator that has just begun.
        bare: whether the job's command may run without mlpools in its pods.
    """
    if report is not None and report.attempt == attempt:
        return
    if unheard is None:
        conditions.keep(CONDITION)
    elif unheard is Unheard.REFUSED and bare:
        conditions.set(CONDITION, True, "RunsBare", _BARE)
    else:
        conditions.set(CONDITION, True, "ReportUnreachable", _SENTENCES[unheard])
