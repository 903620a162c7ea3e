"""One rank of a PyTorch job: meet the others, run the program, hand over what it leaves."""

from __future__ import annotations

import atexit
import dataclasses
import json
import math
import os
import tempfile
import threading
import time
from pathlib import Path

from mlpools.contract.reports import Phase
from mlpools.data.counting import count
from mlpools.data.plan import Plan, resolve
from mlpools.data.progress import reported_to
from mlpools.data.sources import from_spec
from mlpools.errors import InvalidSpec, Preempted
from mlpools.train import torch_variables
from mlpools.train.activity import Activity
from mlpools.train.job import Job, Outcome
from mlpools.train.pytorch import context, program, rendezvous
from mlpools.train.pytorch.context import AGREED_ENV, Agreed, Context
from mlpools.train.pytorch.rendezvous import Channel
from mlpools.train.pytorch.section import Section

MODEL = "model"
_WAITS = "Waiting for another rank."


def run(job: Job) -> Outcome | None:
    """Run one program on all ranks.

    Returns:
        The outcome on rank 0, None on the others.

    Raises:
        JobError: with a cause.
    """
    section = Section.from_spec(job.task.spec)
    # Not removed here: what it holds is committed after this, and a pod's temporary files go with it.
    scratch = Path(tempfile.mkdtemp(prefix="mlpools-torch-"))
    job.reporter.phase(Phase.DATA)
    _set_variables(job, scratch)
    plans = _plans(job) if job.gang.leads else {}
    job.reporter.lap("plan")
    address, store = rendezvous.meet(job)
    os.environ["MASTER_ADDR"] = address  # names of pods may come up late in the DNS
    channel = Channel(store, "worker", job.gang, lambda: _waiting(job))
    job.reporter.lap("rendezvous")
    agreed = _agree(job, section, channel, plans, scratch)
    here = Context(job, agreed, Channel(store, "program", job.gang, lambda: job.reporter.alive(_WAITS)))
    context.enter(here)
    job.stop.when_told(lambda: _leave_unless(here, job))
    job.stop.check()
    job.reporter.phase(Phase.WORKING)
    threading.Thread(target=_vouch_until_report, args=(job, here), daemon=True).start()
    with reported_to(lambda: job.reporter.alive("Reading data.")):
        program.run(section, job, scratch)
    job.reporter.flush()
    job.reporter.lap("program")
    job.reporter.phase(Phase.FINISHING)
    atexit._run_exitfuncs()  # this process ends without the interpreter's own farewell
    channel.gather(True)  # the model counts when every rank has ended well
    return _outcome(agreed, here) if job.gang.leads else None


def _set_variables(job: Job, scratch: Path) -> None:
    seconds = job.task.hang_timeout_seconds
    os.environ.update(torch_variables.missing(os.environ, hang_seconds=seconds, scratch=scratch))
    if job.gang.world_size > 1:
        run_id = f"{job.task.namespace}/{job.task.name}"
        os.environ.update(torch_variables.elastic(os.environ, run_id=run_id, attempt=job.task.attempt))


def _plans(job: Job) -> dict[str, Plan]:
    """Resolve the job's data, once, on rank 0.

    Raises:
        DataNotReadable: a file is missing, damaged or does not fit the others.
    """
    with reported_to(lambda: _waiting(job)):
        return {name: count(resolve(from_spec(name, raw))) for name, raw in job.task.data.items()}


def _agree(job: Job, section: Section, channel: Channel, plans: dict[str, Plan], scratch: Path) -> Agreed:
    """Give every rank what rank 0 found.

    Raises:
        InvalidSpec: this rank lacks the GPU that the backend needs.
    """
    fingerprint = {name: plan.fingerprint() for name, plan in plans.items()}
    mine = {
        "backend": _backend(section) if job.gang.leads else "",
        "plans": {name: plan.to_json() for name, plan in plans.items()},
        "identity": {**section.identity, "data": fingerprint},
    }
    agreed = Agreed(**channel.share(mine), hyper_params=section.hyper_params, scratch=str(scratch))
    if agreed.backend == "nccl" and not context.has_gpu():
        raise InvalidSpec(
            f"Rank {job.gang.rank} finds no GPU for the backend nccl: use a pool whose nodes have a GPU for "
            "each worker, or pytorch.backend: gloo."
        )
    if section.command:
        file = scratch / "agreed.json"
        file.write_text(json.dumps(dataclasses.asdict(agreed)), encoding="utf-8")
        os.environ[AGREED_ENV] = str(file)
    return agreed


def _backend(section: Section) -> str:
    if section.backend != "auto":
        return section.backend
    return "nccl" if context.has_gpu() else "gloo"


def _outcome(agreed: Agreed, here: Context) -> Outcome:
    """Return what rank 0 leaves: its model folder, and the metrics of all steps."""
    history = here.get_metrics_reporter().rows()
    last = history[-1] if history else {"step": 0}
    return Outcome(
        files={MODEL: agreed.model} if any(agreed.model.iterdir()) else {},
        step=last["step"],
        metrics={name: value for name, value in last.items() if name != "step" and math.isfinite(value)},
        facts={"backend": agreed.backend, **agreed.identity},
        history=history,
    )


def _waiting(job: Job) -> None:
    """Say that this rank waits for one that is watched itself, and stop if that was asked for."""
    job.stop.check()
    job.reporter.alive(_WAITS)


def _vouch_until_report(job: Job, here: Context) -> None:
    """Keep a program from counting as hung that reports nothing, as long as it is at work."""
    activity = Activity(job, os.getpid())
    while not here.get_metrics_reporter().reported:
        if activity.look():
            job.reporter.alive("")
        time.sleep(activity.pause)


def _leave_unless(here: Context, job: Job) -> None:
    """End a program that would never hear that it is to stop."""
    if not here.listens:
        job.end(Preempted("Stopped as asked. The program uses no checkpoints of mlpools, so it begins anew."))
