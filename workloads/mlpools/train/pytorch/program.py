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

from mlpools.contract.tasks import Task
from mlpools.contract.wiring import REPORT_FD_ENV
from mlpools.errors import InvalidSpec, Preempted
from mlpools.supervisor.logs import Tail, pump
from mlpools.train import user_code
from mlpools.train.job import Job
from mlpools.train.pytorch import failures
from mlpools.train.pytorch.section import Section
from mlpools.train.sent import unpack

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
        with _at_home(section, job.task) as file:
            _run_python(section, file)
    except SystemExit as error:
        if error.code not in (None, 0):
            raise _stopped_or(failures.judge(error, job.gang.rank), job) from None
    except BaseException as error:
        raise _stopped_or(failures.judge(error, job.gang.rank), job) from error


def _run_python(section: Section, file: str) -> None:
    if section.function:
        unpack("train_func", Path(section.function).read_bytes())()
    elif section.module:
        runpy.run_module(section.module, run_name="__main__", alter_sys=True)
    else:
        runpy.run_path(file, run_name="__main__")


@contextlib.contextmanager
def _at_home(section: Section, task: Task) -> Iterator[str]:
    """Give the program the folder, path and arguments that Python would give it, and yield its file.

    Raises:
        CodeNotReadable: there is no such file or module.
    """
    argv, path, here = sys.argv, list(sys.path), Path.cwd()
    home = user_code.folder(task)
    file = str(user_code.find_file(task, section.file)) if section.file else ""
    if section.module:
        user_code.find_module(task, section.module)
    if home is not None:
        os.chdir(home)
        sys.path.insert(0, str(home))
    if file:
        sys.path.insert(0, str(Path(file).parent))
    sys.argv = [file or section.module or sys.argv[0], *section.args]
    try:
        yield file
    finally:
        os.chdir(here)
        sys.argv, sys.path[:] = argv, path


def _run_command(section: Section, job: Job, scratch: Path) -> None:
    """Run a program of whatever kind, which hears SIGTERM when this process does."""
    error_file = scratch / "error.json"
    descriptor = job.reporter.descriptor
    environ = {**user_code.environment(job.task), "TORCHELASTIC_ERROR_FILE": str(error_file)}
    if descriptor is not None:
        environ[REPORT_FD_ENV] = str(descriptor)
    reading, writing = os.pipe()
    try:
        child = subprocess.Popen(
            [*section.command, *section.args],
            env=environ,
            cwd=user_code.folder(job.task),
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
