"""``python -m mlpools.runtime.fabric``: measures the network between the ranks, before they work."""

from __future__ import annotations

import dataclasses
import importlib.util
import os
import sys
import threading
import traceback

from mlpools.contract.ends import Exit, Final
from mlpools.contract.reports import Phase
from mlpools.contract.tasks import Fabric, Task
from mlpools.contract.wiring import TASK_ENV
from mlpools.errors import FabricTooSlow, JobError, PeerLost, one_line
from mlpools.gang import Gang
from mlpools.runtime.fabric import collective, links, tcp
from mlpools.runtime.fabric.links import Link, Measured
from mlpools.runtime.fabric.meeting import Meeting, SilentRanks, meet
from mlpools.train.reporter import Reporter, log


def check(gang: Gang, rules: Fabric, reporter: Reporter) -> None:
    """Measure, tell, and decide whether this gang may work on its network.

    Raises:
        FabricTooSlow: it may not, and this rank's machine is the likely cause.
        PeerLost: it may not, and another one is.
    """
    with meet(gang) as meeting:
        meeting.gather(None, None)  # until the last rank has come, which may take long
        watch = threading.Timer(rules.timeout_seconds, _expired, (gang, reporter, rules.timeout_seconds))
        watch.daemon = True
        watch.start()
        try:
            found = _measure(meeting, gang, rules)
        except SilentRanks as silent:
            raise PeerLost(f"The network between the ranks could not be measured: {silent}.") from silent
        finally:
            watch.cancel()
    words = links.in_words(found)
    if gang.leads:
        log(words)
    why = links.too_slow(found, rules.minimum)
    if not why:
        reporter.fabric(f"{words[0].upper()}{words[1:]}.")
    elif gang.rank == links.blamed(found):
        raise FabricTooSlow(why)
    else:
        raise PeerLost(why)


def _measure(meeting: Meeting, gang: Gang, rules: Fabric) -> Measured:
    """Return what all ranks found, over what all of them have.

    Raises:
        SilentRanks: a rank is gone.
    """
    seconds = float(rules.timeout_seconds)
    if not all(meeting.gather(rules.gpus > 0 and _has_gpus(), seconds)):
        if rules.gpus:
            log(f"rank {gang.rank}: the image has no PyTorch for GPUs, so the network is measured over TCP")
        link = tcp.measure(meeting, gang, seconds)
        return Measured("TCP", _links(meeting, link, seconds))
    try:
        link, reduced = collective.measure(meeting, gang, seconds / 2, f"cuda:{os.environ['LOCAL_RANK']}")
    except RuntimeError as error:
        before = (gang.rank - 1) % gang.world_size
        link, reduced = Link(before, gang.rank, trouble=one_line(error)[:200]), 0.0
    all_reduce = min(meeting.gather(reduced, seconds))
    return Measured("NCCL", _links(meeting, link, seconds), all_reduce)


def _links(meeting: Meeting, link: Link, seconds: float) -> list[Link]:
    return [Link(**found) for found in meeting.gather(dataclasses.asdict(link), seconds)]


def _has_gpus() -> bool:
    if importlib.util.find_spec("torch") is None:
        return False
    import torch

    return bool(torch.cuda.is_available())


def _expired(gang: Gang, reporter: Reporter, seconds: int) -> None:
    """End this process, whatever library it is stuck in."""
    why = f"The network between the ranks was not measured within {seconds} s (preflight.timeoutSeconds)."
    code = Exit.FABRIC_TOO_SLOW if gang.leads else Exit.PEER_LOST
    log(f"rank {gang.rank}: {why}")
    reporter.final(Final(code, gang.rank, message=why))
    os._exit(code)


def main() -> int:
    """Check what the task asks for and return the exit code; the supervisor is told of a failure."""
    reporter = Reporter.from_environment()
    reporter.phase(Phase.FABRIC)
    task = Task.from_json(os.environ[TASK_ENV])
    gang = Gang.from_environment()
    rules: Fabric = Fabric.from_dict(task.fabric)
    try:
        check(gang, rules, reporter)
    except JobError as error:
        log(f"rank {gang.rank}: {error}")
        reporter.final(Final(error.code, gang.rank, message=str(error)))
        return int(error.code)
    except Exception as error:
        log(f"rank {gang.rank}: {traceback.format_exc()}")
        what = f"Measuring the network failed: {type(error).__name__}: {one_line(error)}."
        reporter.final(Final(Exit.INTERNAL, gang.rank, message=what, traceback=traceback.format_exc()))
        return int(Exit.INTERNAL)
    return int(Exit.DONE)


if __name__ == "__main__":
    sys.exit(main())
