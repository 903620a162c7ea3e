"""The user's process: what it finds, what it says, and how it ended."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from mlpools.errors import CodeNotReadable, JobError, PeerLost, UserCodeError, WorkerCrashed
from mlpools.supervisor import nccl
from mlpools.supervisor.logs import Tail, pump
from mlpools.train import torch_words

_KEPT_BYTES = 16_000
_LAST_LINES = 20
#: How long the output of an ended program is waited for: a grandchild may hold the pipe open.
_DRAIN_SECONDS = 2.0
_MEANINGS = {
    "SIGSEGV": " (a segmentation fault in native code)",
    "SIGABRT": " (an abort in native code)",
    "SIGBUS": " (a bus error, often a full /dev/shm)",
    "SIGILL": " (an instruction that this CPU does not have)",
    "SIGKILL": " (killed from outside, or by the kernel for memory)",
}


class Program:
    """A started program, whose output goes to the job's log.

    Attributes:
        spoke: monotonic time of its last output.
    """

    def __init__(self, command: Sequence[str], environ: Mapping[str, str], folder: Path | None) -> None:
        """Start it.

        Args:
            command: program and arguments.
            environ: its variables.
            folder: that it starts in; None: that of this process.

        Raises:
            CodeNotReadable: there is no such program.
        """
        self._name = command[0]
        reading, writing = os.pipe()
        try:
            self._child = subprocess.Popen(
                command, env=environ, cwd=folder, stdin=subprocess.DEVNULL, stdout=writing, stderr=writing
            )
        except OSError as error:
            os.close(reading)
            raise CodeNotReadable(
                f"The program {command[0]!r} cannot be started: {error.strerror}. Is it in the image or in "
                "the job's code, and executable?"
            ) from error
        finally:
            os.close(writing)
        self._tail = _Heard(_KEPT_BYTES)
        self._reader = pump(reading, self._tail)

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._child.pid

    @property
    def spoke(self) -> float:
        """Monotonic time of its last output."""
        return self._tail.heard

    def stop(self) -> None:
        """Ask it to end."""
        with contextlib.suppress(ProcessLookupError):
            self._child.send_signal(signal.SIGTERM)

    def end(self, seconds: float) -> None:
        """Have it end: kill it if asking does not help."""
        self.stop()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._child.wait(seconds)
        self._child.kill()
        self._child.wait()

    def poll(self, seconds: float | None) -> int | None:
        """Wait a while for its end and return its exit code, below 0 for a signal; None while it runs.

        Args:
            seconds: that are waited for at most; None: until it ends.
        """
        with contextlib.suppress(subprocess.TimeoutExpired):
            return self._child.wait(seconds)
        return None

    def failure(self, code: int, rank: int, name: str) -> JobError:
        """Return how it failed.

        Args:
            code: its exit code.
            rank: that it ran for.
            name: of what it ran.
        """
        return judge(code, rank, name, self.words())

    def words(self) -> str:
        """Return the end of what it said, once it has ended."""
        self._reader.join(_DRAIN_SECONDS)
        return self._tail.bytes().decode(errors="replace")


def judge(code: int, rank: int, name: str, words: str) -> JobError:
    """Return a failed program's end as a failure with a cause.

    Args:
        code: its exit code, below 0 for a signal.
        rank: that it ran for.
        name: of what it ran.
        words: the end of its output.
    """
    lines = [line for line in words.splitlines() if line.strip()]
    rank, code = torch_words.end_under_torchrun(words) or (rank, code)
    error: JobError
    if code == -signal.SIGABRT and (waited := nccl.waited(words, rank)):
        error = PeerLost(waited)
    elif code < 0:
        by = _signal_name(-code)
        error = WorkerCrashed(f"Rank {rank}: {name} was killed by {by}{_MEANINGS.get(by, '')}.")
    else:
        rank, said, of_peer = torch_words.error_of(lines, rank)
        said = (said or (lines[-1] if lines else "")).strip().rstrip(".")[:500]
        if of_peer:
            error = PeerLost(f"Rank {rank} lost the other ranks: {said}.")
        else:
            reason = f": {said}" if said else " without a word"
            error = UserCodeError(f"Rank {rank}: {name} ended with exit code {code}{reason}.")
    error.__notes__ = ["\n".join(lines[-_LAST_LINES:])]
    return error


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:  # real-time signals have no names
        return f"signal {number}"


class _Heard(Tail):
    """A tail that knows when it got its last bytes."""

    def __init__(self, limit: int) -> None:
        super().__init__(limit)
        self.heard = time.monotonic()

    def add(self, chunk: bytes) -> None:
        super().add(chunk)
        self.heard = time.monotonic()
