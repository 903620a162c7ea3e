"""Any rank but 0: it fetches the model and keeps a process that predicts, for as long as there are shards."""

from __future__ import annotations

import time
from pathlib import Path

from mlpools.contract.ends import Exit, Final
from mlpools.contract.reports import Phase
from mlpools.errors import ModelUnreadable, Preempted
from mlpools.inference.asking import Dispensary
from mlpools.inference.keeper import Keeper
from mlpools.inference.models.fetch import fetch
from mlpools.inference.settings import Settings
from mlpools.train.job import Job
from mlpools.train.leader import token, wait_for_leader

LOOK_SECONDS = 0.05


def follow(job: Job, settings: Settings, folder: Path) -> Final:
    """Work until there are no more shards.

    Raises:
        JobError: with a cause.
    """
    job.reporter.phase(Phase.RENDEZVOUS)
    address = wait_for_leader(job)
    dispensary = Dispensary(address, job.gang.port, token(job, address))
    model = fetch(settings.model.url, folder)
    if model.digest != dispensary.terms()["digest"]:
        raise ModelUnreadable(
            f"The model at {settings.model.url} is not the one that rank 0 has read: it was replaced, or "
            "each node has its own. Let it stay as it is while the job runs."
        )
    job.reporter.phase(Phase.WORKING)
    keeper = Keeper(job, dispensary, model, folder)
    try:
        while not keeper.poll():
            if job.stop.requested:
                keeper.leave()
                raise Preempted("Stopped, as asked; its shards are handed out again.")
            time.sleep(LOOK_SECONDS)
    finally:
        keeper.close()
    return Final(Exit.DONE, job.gang.rank)
