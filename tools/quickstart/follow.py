"""Follow a TrainingJob to its end: queue → admitted → pods → rounds with metric and time left."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

EVERY_SECONDS = 0.5


@dataclass(frozen=True)
class View:
    """What one look at a job shows.

    Attributes:
        stage: `queued`, `admitted`, `pods`, `training`, `restarting`, `succeeded` or `failed`.
        text: one line for a person.
        percent: of the work, once that is known.
        ended: nothing will change any more.
    """

    stage: str
    text: str
    percent: float = 0.0
    ended: bool = False


def condition(status: Mapping[str, Any], kind: str) -> dict[str, Any]:
    """The condition of one type, or an empty one."""
    return next((dict(found) for found in status.get("conditions", ()) if found["type"] == kind), {})


def view(job: Mapping[str, Any]) -> View:
    """Say where a job is, from its status alone."""
    status = job.get("status") or {}
    if condition(status, "Complete").get("status") == "True":
        return View("succeeded", condition(status, "Complete").get("message", "done"), 100.0, ended=True)
    if condition(status, "Failed").get("status") == "True":
        return View("failed", condition(status, "Failed").get("message", "failed"), ended=True)
    phase = status.get("phase", "")
    queue, nodes, progress = (status.get(key) or {} for key in ("queue", "nodes", "progress"))
    if phase in ("", "Queued"):
        return View("queued", queue.get("message") or "waiting for the operator")
    if phase == "Restarting":
        return View("restarting", queue.get("message") or f"restart {status.get('restarts', 1)}")
    ready, asked = nodes.get("ready", 0), nodes.get("requested", 0)
    if phase == "Starting" and not progress:
        return View("admitted" if not ready else "pods", f"{ready} of {asked} pods are up")
    return View("training", _rounds(progress, ready, asked), float(progress.get("percent", 0)))


def _rounds(progress: Mapping[str, Any], ready: int, asked: int) -> str:
    if not progress.get("totalSteps"):
        return f"{ready} of {asked} pods are up, reading the data"
    parts = [f"round {progress['step']} of {progress['totalSteps']}"]
    parts += [f"{name} {value:.4g}" for name, value in sorted((progress.get("metrics") or {}).items())]
    if (left := progress.get("etaSeconds")) is not None:
        parts.append(f"about {left:.0f} s left")
    return ", ".join(parts)


def follow(look: Callable[[], Mapping[str, Any] | None], console: Console, *, seconds: float = 1800) -> View:
    """Show a job until it ends; a bar on a terminal, a line per change elsewhere.

    Args:
        look: returns the job as it is now, None when there is none.
        console: where to show it.
        seconds: give up after so long; the job goes on.

    Returns:
        The last view; not ended when the time was up or the job was deleted.
    """
    deadline = time.monotonic() + seconds
    columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(24), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("", total=100.0)
        last = View("", "")
        while time.monotonic() < deadline:
            job = look()
            if job is None:
                return View("failed", "the job was deleted while it was followed", ended=False)
            now = view(job)
            bar.update(task, description=f"{now.stage}: {now.text}"[:110], completed=now.percent)
            if now != last and (not console.is_terminal or now.stage != last.stage) and not now.ended:
                console.print(f"    {now.stage}: {now.text}", highlight=False, soft_wrap=True)
            if now.ended:
                return now
            last = now
            time.sleep(EVERY_SECONDS)
    return View(last.stage, f"not ended within {seconds:.0f} s: {last.text}")
