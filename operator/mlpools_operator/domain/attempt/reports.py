"""What pods say of themselves, made fit for a status: a pod may run any image, so nothing is trusted."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from mlpools.contract.ends import Final
from mlpools.contract.reports import Report
from mlpools.document import ContractError
from mlpools_operator.domain import wording
from mlpools_operator.domain.observed import PodChild

_METRICS = 16
_NAME_BYTES = 64
_URL_BYTES = 1100
_DIGITS = 6


def read_final(termination: str) -> Final | None:
    """Return a pod's final report, or None if its termination message is none."""
    try:
        final = Final.from_json(termination) if termination else None
    except ContractError:
        return None
    if final is None:
        return None
    return replace(
        final,
        message=final.message if isinstance(final.message, str) else "",
        step=count(final.step),
        checkpoint_step=count(final.checkpoint_step),
        metrics=metrics(final.metrics),
        outputs={key: url(value) for key, value in _mapping(final.outputs).items()},
        partial=final.partial if isinstance(final.partial, str) else "",
    )


def finals(terminations: Iterable[str]) -> tuple[Final, ...]:
    """Return the final reports among termination messages."""
    return tuple(final for final in map(read_final, terminations) if final is not None)


def memory_seen(report: Report | None, attempt: int) -> str:
    """Return a clause about the memory that was in use when an attempt was last asked, or nothing."""
    if report is None or report.attempt != attempt or not count(report.memory_bytes):
        return ""
    return (
        f"; the last use seen was {report.memory_bytes / 2**30:.1f} GiB, on rank {count(report.memory_rank)}"
    )


def slow_rank(report: Report | None, attempt: int, pods: Iterable[PodChild]) -> str:
    """Return a sentence about the rank that holds up the others of an attempt, or nothing."""
    times = None if report is None or report.attempt != attempt else _number(report.slow_times)
    if report is None or not times or times < 0:
        return ""
    rank = count(report.slow_rank)
    of_rank = (pod for pod in pods if (pod.attempt, pod.rank) == (attempt, rank) and not pod.terminal)
    where = next((f" (pod {pod.meta.name} on {pod.node})" for pod in of_rank), "")
    return (
        f"Rank {rank}{where} takes {times:g} times as long as the others for its own part of a step, and "
        "they wait for it: see what else uses the CPUs of its node, and whether it has more rows."
    )


def metrics(raw: Any) -> dict[str, float]:
    """Return at most 16 finite metrics, rounded, by name."""
    pairs = ((str(name), _number(value)) for name, value in sorted(_mapping(raw).items(), key=str))
    good = [(wording.fit(name, _NAME_BYTES), value) for name, value in pairs if value is not None]
    return dict(good[:_METRICS])


def url(value: Any) -> str:
    """Return a place as it is, or nothing where it cannot be one: half a URL helps nobody."""
    if not isinstance(value, str) or wording.fit(value, _URL_BYTES) != value:
        return ""
    return value


def _mapping(raw: Any) -> Mapping[Any, Any]:
    return raw if isinstance(raw, Mapping) else {}


def _number(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return float(f"{value:.{_DIGITS}g}")


def positive(value: Any) -> float | None:
    """Return a number that is not below zero, rounded, or None where it is none."""
    number = _number(value)
    return None if number is None or number < 0 else number


def count(value: Any) -> int:
    """Return a number of steps as it is, or 0 where it cannot be one."""
    number = positive(value)
    return 0 if number is None or number > 2**53 else int(value)
