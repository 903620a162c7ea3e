"""One rank of a script's job: start the user's process, watch it, and hand over what it leaves."""

from __future__ import annotations

import contextlib
import math
import os
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

from mlpools.contract.reports import Phase
from mlpools.contract.wiring import (
    ATTEMPT_ENV,
    CHECKPOINT_URL_ENV,
    JOB_ENV,
    OUTPUT_ENV,
    OUTPUT_URL_ENV,
    REPORT_FD_ENV,
    REPORT_PIPE_ENV,
    TASK_ENV,
)
from mlpools.errors import Preempted
from mlpools.locations import child_url
from mlpools.train import torch_variables, user_code
from mlpools.train.job import Job, Outcome
from mlpools.train.leader import others, wait_for_leader, wait_for_port
from mlpools.train.script import ray_cluster
from mlpools.train.script.listener import Listener
from mlpools.train.script.program import Program
from mlpools.train.script.section import NONE, RAY, TORCHRUN, Section

MODEL = "model"
_RETRY_SECONDS = 0.2


def run(job: Job) -> Outcome | None:
    """Run a script on all ranks, or on rank 0 of a Ray cluster of all nodes.

    Returns:
        The outcome on rank 0, None on the others.

    Raises:
        JobError: with a cause.
    """
    section = Section.from_spec(job.task.spec)
    if section.launcher != NONE and os.environ.get("LOCAL_RANK", "0") != "0":
        return None  # torchrun and Ray start a node's processes themselves
    section.check(job.task)
    if section.launcher == RAY and not job.gang.leads:
        ray_cluster.serve(job, user_code.environment(job.task))
        return None
    # Not removed here: what it holds is committed after this, and a pod's temporary files go with it.
    scratch = Path(tempfile.mkdtemp(prefix="mlpools-script-"))
    model = scratch / MODEL
    model.mkdir()
    listener = Listener(job, scratch)
    environ = _environment(job, model, listener.path)
    seconds = job.task.hang_timeout_seconds
    environ |= torch_variables.missing(environ, hang_seconds=seconds, scratch=scratch)
    with _launched(job, section, environ) as (command, environ):
        job.stop.check()
        program = Program(command, environ, user_code.folder(job.task))
        job.stop.when_told(program.stop)
        job.reporter.phase(Phase.WORKING)
        code = listener.watch(program)
    job.reporter.lap("script")
    if job.stop.requested:
        raise Preempted(f"Stopped as asked; {section.name} ended with exit code {code}.")
    if code:
        raise program.failure(code, job.gang.rank, section.name)
    job.reporter.flush()
    job.reporter.phase(Phase.FINISHING)
    if not job.gang.leads:
        return None
    if section.launcher != RAY:
        _wait_for_others(job)
    return _outcome(section, model, listener)


@contextlib.contextmanager
def _launched(
    job: Job, section: Section, environ: dict[str, str]
) -> Iterator[tuple[list[str], dict[str, str]]]:
    """Have ready what the launcher starts the script in, and give the command and its variables."""
    task, gang = job.task, job.gang
    if section.launcher == RAY:
        with ray_cluster.head(job, environ) as joined:
            yield section.command_line(task), joined
    elif section.launcher == TORCHRUN:
        if gang.leads:
            wait_for_port(job)
        job.reporter.phase(Phase.RENDEZVOUS)
        address = gang.address if gang.leads else wait_for_leader(job)
        yield section.under_torchrun(task, address, gang.port), environ
    else:
        yield section.command_line(task), environ


def _environment(job: Job, model: Path, pipe: Path) -> dict[str, str]:
    """Return the variables of the script: this process's, less what is between it and its supervisor."""
    task, url = job.task, str(job.task.output["url"])
    own: Mapping[str, str] = {
        REPORT_PIPE_ENV: str(pipe),
        OUTPUT_ENV: str(model),
        OUTPUT_URL_ENV: url,
        CHECKPOINT_URL_ENV: child_url(str(task.checkpoint["url"]), task.uid),
        ATTEMPT_ENV: str(task.attempt),
        JOB_ENV: f"{task.namespace}/{task.name}",
    }
    environ = {**user_code.environment(task), **own}
    for name in (REPORT_FD_ENV, TASK_ENV):
        environ.pop(name, None)
    return environ


def _wait_for_others(job: Job) -> None:
    """Wait until all ranks have ended well: a rank that fails now fails the job; the supervisor ends this."""
    while not others(job)["endedWell"]:
        job.stop.check()
        job.reporter.alive("Waiting for the other ranks to end.")
        time.sleep(_RETRY_SECONDS)


def _outcome(section: Section, model: Path, listener: Listener) -> Outcome:
    last = listener.rows[-1] if listener.rows else {}
    return Outcome(
        files={MODEL: model} if any(model.iterdir()) else {},
        step=listener.step,
        metrics={name: value for name, value in last.items() if name != "step" and math.isfinite(value)},
        facts={"launcher": section.launcher},
        history=listener.rows,
    )
