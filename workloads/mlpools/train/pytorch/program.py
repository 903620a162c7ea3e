"""Runs the user's program in this process, or as a command."""

from __future__ import annotations

import contextlib
import json
import os
import runpy
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from mlpools.contract import REPORT_FD_ENV
from mlpools.errors import InvalidSpec, Preempted
from mlpools.supervisor.logs import Tail, pump
from mlpools.train.job import Job
from mlpools.train.pytorch import failures
from mlpools.train.pytorch.section import Section

_KEPT_BYTES = 8_000
#: How long the output of an ended command is waited for: a grandchild may hold the pipe open.
_DRAIN_SECONDS = 2.0


def run(section: Section, job: Job, scratch: Path) -> None:
    """Run the program to its end.

    Args:
        section: what to run.
        job: whose program it is.
        scratch: a local folder of this rank.

    Raises:
        UserCodeError: the program failed.
        PeerLost: it failed because another rank did.
        JobError: as the program raised it.
    """
    if section.command:
        _run_command(section, job, scratch)
        return
    try:
        with _at_home(section):
            _run_python(section)
    except SystemExit as error:
        if error.code not in (None, 0):
            raise _stopped_or(failures.judge(error, job.gang.rank), job) from None
    except BaseException as error:
        raise _stopped_or(failures.judge(error, job.gang.rank), job) from error


def _run_python(section: Section) -> None:
    if section.function:
        import cloudpickle

        cloudpickle.loads(Path(section.function).read_bytes())()
    elif section.module:
        runpy.run_module(section.module, run_name="__main__", alter_sys=True)
    else:
        runpy.run_path(section.file, run_name="__main__")


@contextlib.contextmanager
def _at_home(section: Section) -> Iterator[None]:
    """Give the program the arguments and the path that Python would give it."""
    argv, path = sys.argv, list(sys.path)
    sys.argv = [section.file or section.module or sys.argv[0], *section.args]
    if section.file:
        if not Path(section.file).is_file():
            raise InvalidSpec(
                f"There is no file {section.file} in the image or on a volume (working folder {Path.cwd()})."
            )
        sys.path.insert(0, str(Path(section.file).resolve().parent))
    elif section.module:
        sys.path.insert(0, str(Path.cwd()))
    try:
        yield
    finally:
        sys.argv, sys.path[:] = argv, path


def _run_command(section: Section, job: Job, scratch: Path) -> None:
    """Run a program of whatever kind, which hears SIGTERM when this process does."""
    error_file = scratch / "error.json"
    descriptor = job.reporter.descriptor
    environ = {**os.environ, "TORCHELASTIC_ERROR_FILE": str(error_file)}
    if descriptor is not None:
        environ[REPORT_FD_ENV] = str(descriptor)
    reading, writing = os.pipe()
    try:
        child = subprocess.Popen(
            [*section.command, *section.args],
            env=environ,
            stderr=writing,
            pass_fds=() if descriptor is None else (descriptor,),
        )
    except OSError as error:
        raise InvalidSpec(
            f"The command {section.command[0]!r} cannot be started: {error.strerror}."
        ) from error
    finally:
        os.close(writing)
    tail = Tail(_KEPT_BYTES)
    reader = pump(reading, tail, sink=2)
    job.stop.when_told(lambda: child.send_signal(signal.SIGTERM))
    code = child.wait()
    reader.join(_DRAIN_SECONDS)
    if code:
        last_words = tail.bytes().decode(errors="replace")
        failure = failures.of_command(section.program, job.gang.rank, code, _recorded(error_file), last_words)
        raise _stopped_or(failure, job)


def _recorded(file: Path) -> str:
    """Return the message that torch.distributed.elastic's ``record`` wrote, if there is one."""
    try:
        message = json.loads(file.read_text(encoding="utf-8"))["message"]
    except (OSError, ValueError, KeyError):
        return ""
    return str(message["message"] if isinstance(message, dict) else message)


def _stopped_or(failure: Exception, job: Job) -> Exception:
    """Return what ended the program: a stop that was asked for explains whatever else it did."""
    if job.stop.requested and not isinstance(failure, Preempted):
        return Preempted(f"Stopped as asked. The program ended with: {failure}")
    return failure
