"""``logs``: what a rank has printed, over all attempts while it is followed."""

from __future__ import annotations

import sys
import time

import click

from mlpools_kubectl import pods, usage
from mlpools_kubectl.cluster import Cluster, Object, info_of
from mlpools_kubectl.failures import Failure, NotFound
from mlpools_kubectl.goals import standing
from mlpools_kubectl.names import called, reference
from mlpools_kubectl.screen import said
from mlpools_operator.api.v1alpha1.pool_template import MAIN

EVERY_SECONDS = 1.0


def show(cluster: Cluster, found: Object, *, rank: int, attempt: int | None, tail: int | None) -> None:
    """Print what a rank has printed so far.

    Raises:
        Failure: there is no such pod, or it has printed nothing yet.
    """
    there = pods.children(cluster, "Pod", found)
    pod = pods.choose(there, rank, attempt)
    if pod is None:
        raise NotFound(_absent(found, there, rank, attempt))
    if not pods.has_begun(pod):
        raise Failure(f"Rank {rank} of {called(found)} has not begun: {pods.hindrance(pod)}.")
    _print(cluster, pod, tail, follow=False)


def follow(cluster: Cluster, found: Object, *, rank: int, tail: int | None) -> None:
    """Print what a rank prints, also of the attempts to come, until the job is over or the notebook rests."""
    info, meta = info_of(found), found["metadata"]
    printed: set[str] = set()
    now: Object | None = found
    while now is not None:
        pod = pods.choose(pods.children(cluster, "Pod", now), rank)
        if pod is not None and pod["metadata"]["uid"] not in printed and pods.has_begun(pod):
            printed.add(pod["metadata"]["uid"])
            _print(cluster, pod, tail, follow=True)
        elif any(usage.holds(now, it) for it in ("Complete", "Failed", "Stopped", "Suspended")):
            break
        else:
            time.sleep(EVERY_SECONDS)
        now = cluster.find(info, meta["name"], meta["namespace"])
    click.echo(standing(now) if now else f"{called(found)} was deleted.", err=True)


def _print(cluster: Cluster, pod: Object, tail: int | None, *, follow: bool) -> None:
    out = sys.stdout.buffer
    query = {"container": MAIN, "tailLines": "" if tail is None else str(tail)}
    for part in cluster.log(pod, query, follow=follow):
        out.write(part)
        out.flush()


def _absent(found: Object, there: list[Object], rank: int, attempt: int | None) -> str:
    """Say that there is no such pod, and where its log is if it was kept."""
    known = sorted({pods.rank_of(it) for it in there if attempt in (None, pods.attempt_of(it))})
    if known:
        of = f"ranks {known[0]} to {known[-1]}" if len(known) > 1 else f"rank {known[0]}"
        return f"{called(found)} has no rank {rank}: there is {of}."
    kept = said(found, "status", "output", "logsURL") or said(found, "status", "logsURL")
    if kept:
        return (
            f"{called(found)} has no such pod any more. Its logs are at {kept}: "
            f"`kubectl mlpools fetch {reference(found)} DIR` brings them."
        )
    return f"{called(found)} has no such pod. {standing(found)}"
