"""Observed values for tests of decisions, with everything that a test does not care about filled in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from mlpools.contract.ends import Exit, Final
from mlpools_operator.domain import naming
from mlpools_operator.domain.observed import JobChild, Meta, PodChild, Resource
from mlpools_operator.domain.pool.ledger import Candidate
from tests.support.manifests import spec

NOW = 1_800_000_000.0
UID = "uid-job"


def a_job(name: str = "flights", status: Mapping[str, Any] | None = None, **changes: Any) -> Resource:
    """Return a TrainingJob; ``changes`` are fields of its spec."""
    meta = Meta(name, UID, namespace="team-a", resource_version="7", generation=1, created=NOW)
    return Resource(meta, spec("TrainingJob", changes), status or {})


def a_pool(**changes: Any) -> Resource:
    """Return a ComputePool of four nodes; ``changes`` are fields of its spec."""
    meta = Meta("cpu", "uid-pool", resource_version="5", generation=1, created=NOW)
    return Resource(meta, spec("ComputePool", changes))


def a_candidate(name: str, nodes: int = 1, **changes: Any) -> Candidate:
    """Return a job in the queue, one minute old."""
    return replace(
        Candidate(f"uid-{name}", "TrainingJob", "team-a", name, nodes, priority=0, created=NOW - 60),
        **changes,
    )


def a_job_child(attempt: int = 1, nodes: int = 2, **changes: Any) -> JobChild:
    """Return the Job of an attempt."""
    labels = {naming.JOB_UID: UID, naming.ATTEMPT: str(attempt)}
    name = naming.attempt_job("flights", attempt)
    meta = Meta(name, f"uid-{name}", namespace="team-a", created=NOW, labels=labels, owner=UID)
    return replace(JobChild(meta, attempt, parallelism=nodes), **changes)


def a_pod(rank: int = 0, attempt: int = 1, **changes: Any) -> PodChild:
    """Return a pod that runs."""
    name = f"flights-{attempt}-{rank}-abcde"
    labels = {naming.JOB_UID: UID, naming.ATTEMPT: str(attempt)}
    meta = Meta(
        name, f"uid-{name}", namespace="team-a", created=NOW, labels=labels, owner=f"uid-flights-{attempt}"
    )
    pod = PodChild(
        meta,
        rank,
        attempt,
        job=f"uid-flights-{attempt}",
        phase="Running",
        node=f"node-{rank}",
        ready=True,
        scheduled=NOW,
        started=NOW,
        memory_limit="4Gi",
    )
    return replace(pod, **changes)


def ended(rank: int, code: int, at: float = NOW, message: str = "", **final: Any) -> PodChild:
    """Return a pod whose supervisor ended it with that code."""
    report = Final(code=int(code), rank=rank, message=message, **final)
    return a_pod(
        rank,
        phase="Succeeded" if code == Exit.DONE else "Failed",
        ready=False,
        exit_code=int(code),
        exit_reason="Completed" if code == Exit.DONE else "Error",
        termination=report.encode().decode(),
        finished=at,
    )
