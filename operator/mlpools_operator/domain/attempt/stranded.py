"""Pods that were told to end and may never tell that they did, since their machine is lost."""

from __future__ import annotations

from collections.abc import Iterable

from mlpools_operator.domain.attempt.failures import is_machine_gone
from mlpools_operator.domain.observed import PodChild
from mlpools_operator.domain.pool.holding import KILL_SECONDS
from mlpools_operator.domain.pool.ledger import Stranded


def look(pods: Iterable[PodChild]) -> tuple[Stranded, ...]:
    """Return from when on each pod that is ending counts as stranded.

    At once if the cluster has given its machine up, else when a kubelet that lives would have killed it.
    """
    ending = (pod for pod in pods if pod.node and not pod.terminal and (pod.gone_by or is_machine_gone(pod)))
    return tuple(Stranded(pod.node, _since(pod)) for pod in ending)


def _since(pod: PodChild) -> float:
    return pod.disrupted if is_machine_gone(pod) else pod.gone_by + KILL_SECONDS
