"""One worker, from its task to its last word."""

from __future__ import annotations

import dataclasses
import faulthandler
import os
import platform
import sys
import time
import traceback
from typing import Any, NoReturn

from mlpools import __version__
from mlpools.contract.ends import Exit, Final
from mlpools.contract.tasks import Task
from mlpools.contract.wiring import STAGE_ENV, TASK_ENV
from mlpools.errors import JobError, one_line
from mlpools.gang import Gang
from mlpools.runtime import staged
from mlpools.runtime.curve import CURVE, learning_curve
from mlpools.runtime.frameworks import find, lacking, load
from mlpools.runtime.outputs import Outputs
from mlpools.train.documents import lines
from mlpools.train.history import METRICS
from mlpools.train.job import Job, Outcome
from mlpools.train.reporter import Reporter, log
from mlpools.train.sent import received_hooks
from mlpools.train.stop import Stop


def main() -> NoReturn:
    """Run the task that the environment holds; never returns."""
    faulthandler.enable()
    task = Task.from_json(os.environ[TASK_ENV])
    os.environ.setdefault(STAGE_ENV, staged.folder(task))
    stop = Stop(task.grace_period_seconds).listen()
    job = Job(task, Gang.from_environment(), Reporter.from_environment(), stop)
    job.reporter.when_alone(lambda: os._exit(Exit.PEER_LOST))
    try:
        hooks = received_hooks()
        job.leave(work(dataclasses.replace(job, hooks=hooks), alone=not hooks.given))
    except JobError as error:
        log(f"rank {job.gang.rank}: {error}")
        job.end(error)
    except BaseException as error:
        text = traceback.format_exc()
        log(f"rank {job.gang.rank}: {text}")
        what = f"Unexpected {type(error).__name__}: {one_line(error)}".rstrip(": ")
        job.end(JobError(f"{what}. The log has more; please report it."), text)


def work(job: Job, *, alone: bool = False) -> Final:
    """Claim the output, train, commit, and return how this rank ended.

    Args:
        job: of this rank.
        alone: nobody else's code uses the framework's libraries in this process.

    Raises:
        JobError: with a cause.
    """
    gang, task = job.gang, job.task
    if not find(task.framework).model:
        final = load(task.framework, alone=alone)(job)
        assert isinstance(final, Final)
        if gang.leads:
            staged.remove(task)
        return final
    outputs = Outputs(task) if gang.leads else None
    if outputs is not None and (result := outputs.claim()) is not None:
        staged.remove(task)
        urls = outputs.urls(result["output"])
        return Final(Exit.DONE, gang.rank, step=result["steps"], metrics=result["finalMetrics"], outputs=urls)
    job.reporter.lap("output")
    run = load(task.framework, alone=alone)
    job.reporter.lap("import")
    try:
        outcome = run(job)
    except ModuleNotFoundError as error:
        raise lacking(task.framework, error) from error
    if outputs is None or not isinstance(outcome, Outcome):
        return Final(Exit.DONE, gang.rank)
    files = {**outcome.files, **_history(outcome, drawn=task.output.get("curve", True))}
    outputs.commit(files, _result(job, outcome, sorted(files)))
    staged.remove(task)
    return Final(
        Exit.DONE,
        gang.rank,
        step=outcome.step,
        metrics=outcome.metrics,
        outputs=outputs.urls(files),
        checkpoint_step=outcome.checkpoint_step,
    )


def _history(outcome: Outcome, *, drawn: bool) -> dict[str, bytes]:
    if not outcome.history:
        return {}
    curve = learning_curve(outcome.history, outcome.best_step) if drawn else None
    return {METRICS: lines(outcome.history), **({CURVE: curve} if curve else {})}


def _result(job: Job, outcome: Outcome, written: list[str]) -> dict[str, Any]:
    """Return the full report of a finished job."""
    task = job.task
    job.reporter.lap("finishing")
    return {
        **outcome.facts,
        "steps": outcome.step,
        "finalMetrics": outcome.metrics,
        "parameters": task.spec,
        "output": written,
        "job": {"uid": task.uid, "namespace": task.namespace, "name": task.name, "attempt": task.attempt},
        "framework": task.framework,
        "worldSize": job.gang.world_size,
        "finished": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "seconds": job.reporter.seconds,
        "versions": {**_libraries(), "mlpools": __version__, "python": platform.python_version()},
    }


def _libraries() -> dict[str, str]:
    """Return the versions of all that was imported, whoever imported it."""
    own = getattr(sys, "stdlib_module_names", sys.builtin_module_names)  # the former from Python 3.10
    others = (name for name in sys.modules if "." not in name and name not in own)
    # Not by getattr, which may run code and warn.
    versions = {name: getattr(sys.modules[name], "__dict__", {}).get("__version__") for name in others}
    return {name: version for name, version in versions.items() if isinstance(version, str)}
