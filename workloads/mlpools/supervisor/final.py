"""How a pod ended: one cause, told to the kubelet, the gang and the output volume."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import sys
from pathlib import Path

from mlpools.contract.ends import Exit, Final
from mlpools.contract.reports import Report
from mlpools.contract.wiring import dump_name, log_name
from mlpools.locations import child_url, local_path
from mlpools.supervisor import nccl
from mlpools.supervisor.logs import say
from mlpools.supervisor.process import Worker
from mlpools.supervisor.standing import standing

#: A store that does not answer must not hold back the end of a pod.
_KEEP_SECONDS = 20

_SIGNALS = {
    "SIGSEGV": "a segmentation fault in native code",
    "SIGABRT": "an abort in native code",
    "SIGBUS": "a bus error, often a full /dev/shm",
    "SIGILL": "an instruction that this CPU does not have",
    "SIGKILL": "killed from outside or by the kernel",
}


@dataclasses.dataclass(frozen=True)
class Circumstances:
    """What the supervisor knows about an end besides what the worker said and how it exited.

    Attributes:
        stopping: the pod was told to stop.
        hung: one sentence if the pod's workers stood still too long.
        lost: one sentence if the gang lost a rank.
        done: rank 0 ended well, so the job's result is committed.
        out_of_memory: the kernel killed processes of this container for memory.
        memory: the container's limit in bytes.
        loose: the workers are no gang: rank 0's end is the end of its pod.
    """

    stopping: bool = False
    hung: str = ""
    lost: str = ""
    done: bool = False
    out_of_memory: bool = False
    memory: int | None = None
    loose: bool = False


def judge(workers: list[Worker], around: Circumstances, report: Report) -> Final:
    """Return how the pod ended; of several workers the one with a cause of its own speaks."""
    if around.hung and not around.lost and not waits_for_others(workers):
        # Of one pod's workers those that waited are no cause either.
        around = dataclasses.replace(around, lost="Another worker of the pod hung.")
    if around.loose and workers[0].rank == 0 and not around.hung:
        return _judge_worker(workers[0], around, report)
    finals = [_judge_worker(worker, around, report) for worker in workers]
    if len(workers) > 1:
        finals = [_named(final, worker.rank) for final, worker in zip(finals, workers)]
    order = {Exit.DONE: 2, Exit.PEER_LOST: 1}
    return min(finals, key=lambda final: order.get(Exit(final.code), 0))


def _named(final: Final, rank: int) -> Final:
    """Say in a worker's own words which one spoke: a pod's rank is that of its node."""
    named = f"ank {rank}" in final.message or final.message.startswith("Rank ")
    own = final.message and not named and final.code != Exit.PREEMPTED
    return dataclasses.replace(final, message=f"Rank {rank}: {final.message}") if own else final


def _judge_worker(worker: Worker, around: Circumstances, report: Report) -> Final:
    """Decide by what explains most: our own measures, the worker's word, then how it died."""
    if worker.final is not None and worker.final.code not in (Exit.PEER_LOST, Exit.INTERNAL):
        return worker.final
    if around.hung:
        return _hung(worker, around, report)
    if around.stopping and worker.signal_name in ("", "SIGTERM", "SIGKILL"):
        return _final(Exit.PREEMPTED, "The pod was told to stop.", report)
    if around.done:
        return _final(Exit.DONE, "", report)
    if worker.final is not None and worker.final.code == Exit.INTERNAL:
        return worker.final
    crash, waited = _crash(worker, around), _waited(worker)
    if crash and not worker.killed and not waited:
        return _final(Exit.SIGNAL, crash, report)
    message = around.lost or waited or (worker.final.message if worker.final else "Another rank ended.")
    return _final(Exit.PEER_LOST, message, report)


def _hung(worker: Worker, around: Circumstances, report: Report) -> Final:
    """Say who hung: not the worker that waited, if the gang knows of another one."""
    where = standing(worker.tail.bytes())
    if where is not None and where.waits and around.lost:
        return _final(Exit.PEER_LOST, around.lost, report)
    said = f"Rank {worker.rank} {around.hung}" + (f" {where.sentence()}" if where else "")
    return _final(Exit.HUNG, said, report)


def waits_for_others(workers: list[Worker]) -> bool:
    """Whether all of a pod's aborted workers waited for other ranks, so that these may know who hangs."""
    places = [standing(worker.tail.bytes()) for worker in workers]
    return all(place is not None and place.waits for place in places)


def _waited(worker: Worker) -> str:
    """Say for whom a worker waited that NCCL's watchdog aborted, empty if it ended otherwise."""
    aborted = worker.final is None and worker.signal_name == "SIGABRT"
    return nccl.waited(worker.tail.bytes().decode(errors="replace"), worker.rank) if aborted else ""


def _crash(worker: Worker, around: Circumstances) -> str:
    """Describe an end without a word of the worker's own, empty if it gave one."""
    if worker.final is not None:
        return ""
    who = f"The process of rank {worker.rank}"
    if worker.signal_name == "SIGKILL" and around.out_of_memory:
        limit = f" of {around.memory / (1 << 30):.1f} GiB" if around.memory else ""
        return f"{who} was killed by SIGKILL: the container reached its memory limit{limit}."
    if worker.signal_name:
        meaning = _SIGNALS.get(worker.signal_name)
        return f"{who} was killed by {worker.signal_name}" + (f" ({meaning})." if meaning else ".")
    return f"{who} ended with exit code {worker.exit_code} without saying why; its log has its last words."


def _final(code: Exit, message: str, report: Report) -> Final:
    return Final(code=code, rank=report.rank, message=message)


def complete(final: Final, report: Report, outputs: dict[str, str]) -> Final:
    """Fill in what the supervisor knows: who it was, how far it got and how long it took."""
    return dataclasses.replace(
        final,
        rank=report.rank,
        attempt=report.attempt,
        step=max(final.step, report.step),
        checkpoint_step=max(final.checkpoint_step, report.checkpoint_step),
        metrics=final.metrics or report.metrics,
        seconds=report.seconds,
        outputs={**outputs, **final.outputs},
        shards=final.shards or report.shards,
        rows=final.rows or report.rows,
    )


def write_termination(final: Final, path: str) -> None:
    """Write the termination message; the kubelet reads it when the container has ended."""
    try:
        Path(path).write_bytes(final.encode())
    except OSError as error:
        say(f"the termination message could not be written to {path}: {error.strerror}")


def save_log(text: bytes, output_url: str, attempt: int, rank: int) -> None:
    """Keep a rank's log beside the job's result."""
    _save(text, child_url(output_url, log_name(attempt, rank)), "the log")


def save_dumps(folder: Path, output_url: str, attempt: int) -> None:
    """Keep what libraries wrote when they failed beside the logs, and remove it here."""
    for path in sorted(path for path in folder.glob("*") if path.is_file()):
        _save(path.read_bytes(), child_url(output_url, dump_name(attempt, path.name)), path.name)
        path.unlink()
    with contextlib.suppress(OSError):  # usually there is none
        folder.rmdir()


def _save(text: bytes, url: str, what: str) -> None:
    """Write a file beside the job's result. What cannot be kept never changes how a job ended."""
    try:
        if "://" in url and not url.startswith("file://"):
            _keep(text, url)
            return
        path = local_path(url, "output.url")
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(f".{path.name}.{os.getpid()}")
        temporary.write_bytes(text)
        temporary.replace(path)
    except (OSError, ValueError) as error:
        say(f"{what} could not be kept: {error}")


def _keep(text: bytes, url: str) -> None:
    """Have the runtime write to a store; an image that brings only its own Python cannot.

    Raises:
        OSError: it could not, with its last word.
    """
    import subprocess  # only here, at the very end: it costs memory

    command = [sys.executable, "-m", "mlpools.runtime.keep", url]
    try:
        done = subprocess.run(command, input=text, capture_output=True, timeout=_KEEP_SECONDS, check=False)
    except subprocess.TimeoutExpired:
        raise OSError(f"{url} did not take it within {_KEEP_SECONDS} s.") from None
    if done.returncode:
        words = done.stderr.decode(errors="replace").strip().splitlines() or ["no word of why."]
        raise OSError(words[-1])
