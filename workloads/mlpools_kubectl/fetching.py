"""``fetch``: what a job left, as a folder of this machine."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import click
from rich.progress import BarColumn, DownloadColumn, Progress, TaskID, TextColumn, TransferSpeedColumn

from mlpools.locations import local_path
from mlpools_kubectl import courier, pods, screen, usage
from mlpools_kubectl.cluster import Cluster, Object
from mlpools_kubectl.failures import Failure
from mlpools_kubectl.names import called

#: Of a TrainingJob: as large as the model, several times over, and for the next attempt only.
CHECKPOINTS = "checkpoints"
#: Written last, so all is there where it is.
_LAST = {"TrainingJob": "result.json", "BatchInference": "_SUCCESS"}


@dataclass(frozen=True)
class Wanted:
    """What is to be fetched, and how.

    Attributes:
        folder: of this machine; it is not there yet, or empty.
        checkpoints: bring them, too.
        image: of the pod that reads a volume; None = the job's own.
        seconds: to wait for that pod.
    """

    folder: Path
    checkpoints: bool
    image: str | None
    seconds: float


def fetch(cluster: Cluster, job: Object, wanted: Wanted) -> None:
    """Bring what a job left; the folder appears whole or not at all.

    Raises:
        Failure: it is not there, or cannot be read.
    """
    url = str(job["spec"]["output"]["url"])
    without = () if wanted.checkpoints else (CHECKPOINTS,)
    if not usage.ended(job):
        click.echo(f"{called(job)} has not ended: this is what it has left so far.", err=True)
    with _folder(wanted.folder) as folder, _bar() as (bar, task):

        def advance(count: int) -> None:
            bar.advance(task, count)

        if "://" in url and not url.startswith("file://"):
            from mlpools_kubectl import store  # its libraries are for those who read remotely

            store.bring(
                url,
                folder,
                without=without,
                expect=lambda total: bar.update(task, total=total),
                advance=advance,
            )
        else:
            _from_volume(cluster, job, wanted, folder, without, advance)
        last = _LAST[job["kind"]]
        if usage.holds(job, "Complete") and not (folder / last).exists():
            raise Failure(
                f"{called(job)} is complete, but {last}, which it writes last, is not at {url}: "
                "somebody changed that folder."
            )
    click.echo(f"{called(job)} is in {wanted.folder}: {_contents(wanted.folder)}.")


def _from_volume(
    cluster: Cluster,
    job: Object,
    wanted: Wanted,
    folder: Path,
    without: tuple[str, ...],
    advance: Callable[[int], None],
) -> None:
    from mlpools_kubectl import volume

    place = courier.shelf(job, str(local_path(job["spec"]["output"]["url"], "output.url")).rstrip("/"))
    of = courier.template(job, pods.children(cluster, "Job", job))
    manifest = courier.pod(job, place, of, courier.image(job, of, wanted.image))
    volume.bring(
        cluster,
        manifest,
        job["metadata"]["namespace"],
        place.path,
        folder,
        without=without,
        seconds=wanted.seconds,
        advance=advance,
    )


@contextmanager
def _folder(target: Path) -> Iterator[Path]:
    """Give a folder beside the target that becomes it if all goes well.

    Raises:
        Failure: something is there already.
    """
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise Failure(f"{target} is there already and not empty: name a new folder.")
    target.parent.mkdir(parents=True, exist_ok=True)
    beside = Path(tempfile.mkdtemp(prefix=f".{target.name}-", dir=target.parent))
    try:
        yield beside
        if target.exists():
            target.rmdir()
        beside.chmod(0o755)
        beside.rename(target)
    finally:
        shutil.rmtree(beside, ignore_errors=True)


@contextmanager
def _bar() -> Iterator[tuple[Progress, TaskID]]:
    out = screen.live()
    columns = (TextColumn("fetching"), BarColumn(24), DownloadColumn(), TransferSpeedColumn())
    with Progress(*columns, console=out, transient=True, disable=not out.is_terminal) as bar:
        yield bar, bar.add_task("", total=None)


def _contents(folder: Path) -> str:
    names = sorted(f"{it.name}/" if it.is_dir() else it.name for it in folder.iterdir())
    return ", ".join(names)
