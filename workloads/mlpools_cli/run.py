"""``mlpools run``: a file of manifests, from the first check to the last word."""

from __future__ import annotations

import dataclasses
import json
import signal
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import click

from mlpools.contract.ends import REASONS, Exit, Final
from mlpools.contract.tasks import INFERENCE
from mlpools.contract.wiring import CODE_MOUNT_ENV, CONNECTIONS_ENV, log_name
from mlpools.errors import JobError
from mlpools.locations import child_url
from mlpools.storage import locate
from mlpools.train.launchers.local import run_locally
from mlpools_cli import manifest
from mlpools_cli.local_job import Given, LocalJob, prepare
from mlpools_cli.screen import Screen

__all__ = ["Given", "pairs", "run_file"]

#: What to do about a failure of a training, where its message cannot know.
_ADVICE = {
    Exit.OUTPUT_EXISTS: " Choose another output.url, or --mode Overwrite or Resume.",
    Exit.CHECKPOINT_MISMATCH: " Choose another checkpoint.url, or --mode Overwrite.",
}
_SHOWN_ERRORS = 5


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
        screen.say(_stopped(path, job, screen))
        return int(Exit.PREEMPTED)
    except JobError as error:
        screen.close()
        log = child_url(str(job.task.output["url"]), log_name(1, screen.failed or 0))
        advice = "" if job.task.framework == INFERENCE else _ADVICE.get(error.code, "")
        click.echo(f"mlpools: {_failure(error)}{advice} Log: {log}", err=True)
        return int(error.code)
    screen.close()
    for line in _lacks(final):
        screen.say(line)
    screen.say(job.kind.words.success(final, job.spec, job.spec.nodes, 1))
    return int(Exit.DONE)


def _lacks(final: Final) -> Iterator[str]:
    """Yield what a batch inference has no prediction for: the first shards and rows of its list."""
    url = final.outputs.get("errorsURL")
    if url is None:
        return
    errors = locate(url).read().decode().splitlines()
    for line in errors[:_SHOWN_ERRORS]:
        error = json.loads(line)
        alone = error["row"] >= 0 and error["file"] not in error["error"]
        where = f"row {error['row']:,} of {error['file']}" if alone else f"shard {error['shard']}"
        yield f"{where}: {error['error']}"
    if len(errors) > _SHOWN_ERRORS:
        yield f"{len(errors) - _SHOWN_ERRORS:,} more are in {url}"


def _mounted(folder: Path, job: LocalJob) -> dict[str, str]:
    """Lay out what the operator mounts into a pod by itself, and return the variables that lead there."""
    place = folder / "connections"
    place.mkdir()
    for name, secret in job.connections.items():
        (place / name).symlink_to(secret)
    code = {CODE_MOUNT_ENV: str(job.code)} if job.code else {}
    return {CONNECTIONS_ENV: str(place), **code}


def _failure(error: JobError) -> str:
    """Return what, where and what to do, under the name that the job's status would have for it."""
    said = str(error) if str(error).endswith((".", "!", "?", "…")) else f"{error}."
    return f"{REASONS[error.code]}: {said}"


def _stopped(path: Path, job: LocalJob, screen: Screen) -> str:
    if screen.saved:
        stays = f"Step {screen.saved} is saved at {job.task.checkpoint['url']}"
    elif screen.shards.get("done"):
        stays = f"{screen.shards['done']:,} of {screen.shards['total']:,} shards are written and stay"
    else:
        return "Stopped as asked, before there was anything to save."
    return (
        f"Stopped as asked. {stays}; to go on from there: mlpools run {path} --mode Resume, with the same "
        "options."
    )


@contextmanager
def _interrupted_by(number: signal.Signals) -> Iterator[None]:
    """Take a signal as Ctrl-C for a while."""
    before = signal.signal(number, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(number, before)
