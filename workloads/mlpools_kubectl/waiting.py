"""``wait``: look at an object until what is waited for has come, with a bar on a terminal."""

from __future__ import annotations

import time

import click
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from mlpools_kubectl import screen
from mlpools_kubectl.cluster import Cluster, Object, info_of
from mlpools_kubectl.failures import Never, TooLate
from mlpools_kubectl.goals import Goal, Verdict, judge
from mlpools_kubectl.names import called
from mlpools_kubectl.screen import said

EVERY_SECONDS = 1.0
_SHOWN = 100


def wait(cluster: Cluster, found: Object, goal: Goal, seconds: float) -> Object | None:
    """Look until it is reached; return the object as it then is, None if it is gone.

    Args:
        cluster: where it is.
        found: the object.
        goal: what is waited for.
        seconds: give up after so long.

    Raises:
        Never: it cannot come any more; with how the object stands.
        TooLate: it did not come in time.
    """
    info, meta = info_of(found), found["metadata"]
    deadline = time.monotonic() + seconds
    out = screen.live()
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}", markup=False),
        BarColumn(24),
        TimeElapsedColumn(),
    )
    now: Object | None = found
    with Progress(*columns, console=out, transient=True, disable=not out.is_terminal) as bar:
        task = bar.add_task("", total=100.0)
        while True:
            verdict, words = judge(goal, now)
            bar.update(task, description=words[:_SHOWN], completed=said(now, "status", "progress", "percent"))
            if verdict is Verdict.REACHED:
                return now
            if verdict is Verdict.NEVER:
                raise Never(f"{_named(goal)} will not come. {words}")
            if time.monotonic() >= deadline:
                raise TooLate(f"{_named(goal)} did not come within {seconds:.0f} s. {words}")
            time.sleep(EVERY_SECONDS)
            now = cluster.find(info, meta["name"], meta.get("namespace", ""))
            if now is not None and now["metadata"]["uid"] != meta["uid"]:
                now = None


def tell(found: Object, now: Object | None, goal: Goal, *, json: bool) -> None:
    """Say that it has come."""
    if json:
        screen.as_json(now or {})
    else:
        click.echo(judge(goal, now)[1] if now else f"{called(found)} is gone.")


def _named(goal: Goal) -> str:
    if goal.what == "condition":
        return goal.name if goal.value == "True" else f"{goal.name}={goal.value}"
    return f"{goal.name} {goal.value}" if goal.what == "phase" else "Its deletion"
