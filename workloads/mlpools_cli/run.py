"""``mlpools run``: a file of manifests, from the first check to the last word."""

from __future__ import annotations

import dataclasses
import signal
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import click

from mlpools.contract import CODE_MOUNT_ENV, CONNECTIONS_ENV, REASONS, Exit, log_name
from mlpools.errors import JobError
from mlpools.locations import child_url
from mlpools.train.launchers.local import run_locally
from mlpools_cli import manifest
from mlpools_cli.local_job import Given, LocalJob, prepare
from mlpools_cli.screen import Screen
from mlpools_operator.domain.attempt import outcome_words

__all__ = ["Given", "pairs", "run_file"]

#: What to do about a failure, where its message cannot know.
_ADVICE = {
    Exit.OUTPUT_EXISTS: " Choose another output.url, or --mode Overwrite or Resume.",
    Exit.CHECKPOINT_MISMATCH: " Choose another checkpoint.url, or --mode Overwrite.",
}


def pairs(option: str, texts: Sequence[str]) -> dict[str, Path]:
    """Read ``NAME=FOLDER`` of an option that may be given several times.

    Raises:
        click.BadParameter: one is not of that form, or its folder is not there.
    """
    found = {}
    for text in texts:
        name, equals, folder = text.partition("=")
        path = Path(folder).expanduser().resolve()
        if not (name and equals and folder):
            raise click.BadParameter(f"{text!r} is not of the form NAME=FOLDER.", param_hint=option)
        if not path.is_dir():
            raise click.BadParameter(f"there is no folder {path}.", param_hint=option)
        found[name.rstrip("/") or name] = path
    return found


def run_file(path: Path, given: Given) -> int:
    """Run all jobs of a file, each after the one before it succeeded, and return the exit code."""
    with tempfile.TemporaryDirectory(prefix="mlpools-run-") as folder, _interrupted_by(signal.SIGTERM):
        try:
            contents = manifest.read(path)
            laid = _config_maps(contents, Path(folder))
            given = dataclasses.replace(given, keys={**laid, **given.keys})
            jobs = [prepare(job, given) for job in contents.jobs]
        except JobError as error:
            click.echo(f"mlpools: {_failure(error)}", err=True)
            return int(error.code)
        for other in contents.others:
            click.echo(f"mlpools: {other} is of a cluster and ignored here")
        codes = (_run(path, job) for job in jobs)
        return next((code for code in codes if code != Exit.DONE), int(Exit.DONE))


def _config_maps(contents: manifest.Contents, folder: Path) -> dict[str, Path]:
    """Write the ConfigMaps of the file as folders, a file for each key."""
    for name, keys in contents.config_maps.items():
        (folder / name).mkdir()
        for key, data in keys.items():
            (folder / name / key).write_bytes(data)
    return {name: folder / name for name in contents.config_maps}


def _run(path: Path, job: LocalJob) -> int:
    name = job.task.name
    screen = Screen(name, job.task.nodes)
    for note in job.notes:
        screen.say(f"{name}: {note}")
    try:
        with tempfile.TemporaryDirectory(prefix="mlpools-run-") as folder:
            environ = {**job.variables, **_mounted(Path(folder), job)}
            final = run_locally(job.task, folder=Path(folder), environ=environ, watcher=screen)
    except KeyboardInterrupt:
        screen.close()
        screen.say(_stopped(path, job, screen.saved))
        return int(Exit.PREEMPTED)
    except JobError as error:
        screen.close()
        log = child_url(str(job.task.output["url"]), log_name(1, screen.failed))
        click.echo(f"mlpools: {_failure(error, log)}", err=True)
        return int(error.code)
    screen.close()
    screen.say(outcome_words.success(final, job.spec, 1))
    return int(Exit.DONE)


def _mounted(folder: Path, job: LocalJob) -> dict[str, str]:
    """Lay out what the operator mounts into a pod by itself, and return the variables that lead there."""
    place = folder / "connections"
    place.mkdir()
    for name, secret in job.connections.items():
        (place / name).symlink_to(secret)
    code = {CODE_MOUNT_ENV: str(job.code)} if job.code else {}
    return {CONNECTIONS_ENV: str(place), **code}


def _failure(error: JobError, log: str = "") -> str:
    """Return what, where and what to do, under the name that the job's status would have for it."""
    said = str(error) if str(error).endswith((".", "!", "?", "…")) else f"{error}."
    where = f" Log: {log}" if log else ""
    return f"{REASONS[error.code]}: {said}{_ADVICE.get(error.code, '')}{where}"


def _stopped(path: Path, job: LocalJob, step: int) -> str:
    if not step:
        return "Stopped as asked, before there was anything to save."
    return (
        f"Stopped as asked. Step {step} is saved at {job.task.checkpoint['url']}; to go on from there: "
        f"mlpools run {path} --mode Resume, with the same options."
    )


@contextmanager
def _interrupted_by(number: signal.Signals) -> Iterator[None]:
    """Take a signal as Ctrl-C for a while."""
    before = signal.signal(number, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(number, before)
