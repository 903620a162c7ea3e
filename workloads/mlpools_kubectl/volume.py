"""Files of a claim as an archive, through a pod that is there only for that."""

from __future__ import annotations

import contextlib
import signal
import tarfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, cast

import click

from mlpools_kubectl import courier, pods, screen, streams
from mlpools_kubectl.cluster import Cluster, Object, info_of
from mlpools_kubectl.failures import Failure, TooLate

EVERY_SECONDS = 0.5
#: A job that still runs writes while it is read; kubectl repeats the exit code of tar.
_CHANGED = "file changed as we read it"


class Counted:
    """A stream that tells how much has been read of it."""

    def __init__(self, stream: IO[bytes], read: Callable[[int], None]) -> None:
        self._stream, self._read = stream, read

    def read(self, size: int = -1) -> bytes:
        """Read."""
        data = self._stream.read(size)
        self._read(len(data))
        return data


def bring(
    cluster: Cluster,
    manifest: Object,
    namespace: str,
    path: str,
    folder: Path,
    *,
    without: tuple[str, ...],
    seconds: float,
    advance: Callable[[int], None],
) -> None:
    """Copy what is below a path of a pod into a folder of this machine; the pod goes whatever happens.

    Args:
        cluster: where to.
        manifest: of the pod.
        namespace: of the pod.
        path: in the pod.
        folder: an empty one.
        without: names below the path that are left out.
        seconds: to wait for the pod.
        advance: is told of bytes that came.

    Raises:
        Failure: it cannot be read; with the last word of who says so.
    """
    with _pod(cluster, manifest, namespace) as pod:
        _until_it_runs(cluster, pod, seconds)
        leave = [f"--exclude=./{name}" for name in without]
        archiver = ["tar", "-C", path, *leave, "-cf", "-", "."]
        command = ("exec", pod["metadata"]["name"], f"--container={courier.NAME}", "--", *archiver)
        with streams.running(cluster, namespace, *command) as (process, said):
            assert process.stdout is not None
            broken = ""
            try:
                counted = cast(IO[bytes], Counted(process.stdout, advance))
                with tarfile.open(fileobj=counted, mode="r|") as archive:
                    # Nothing of it may lie outside of the folder, or belong to somebody else.
                    archive.extractall(folder, filter="data")
                process.stdout.read()  # the padding after its end
            except tarfile.TarError as error:
                broken = str(error)
            except OSError as error:
                raise Failure(f"{error.filename or folder} cannot be written: {error.strerror}.") from None
            process.stdout.close()  # whoever still writes there ends, too
            if process.wait() and not (words := streams.words(said)).endswith(_CHANGED):
                raise Failure(f"{path} cannot be read from the volume: {words}.")
            if broken:
                raise Failure(f"{path} came only in part from the volume: {broken}.")


@contextlib.contextmanager
def _pod(cluster: Cluster, manifest: Object, namespace: str) -> Iterator[Object]:
    """Have a pod until the end of the block, also if this program is told to end."""
    with _ended_by(signal.SIGTERM), _ended_by(signal.SIGHUP):
        pod = cluster.create(manifest, namespace)
        try:
            yield pod
        finally:
            try:
                cluster.delete(pod)
            except Failure as failure:
                name = f"-n {namespace} pod {pod['metadata']['name']}"
                minutes = courier.DEADLINE_SECONDS // 60
                click.echo(
                    f"kubectl mlpools: {failure.message} So a pod is left, which ends by itself within "
                    f"{minutes} minutes: kubectl delete {name}",
                    err=True,
                )


def _until_it_runs(cluster: Cluster, pod: Object, seconds: float) -> None:
    deadline = time.monotonic() + seconds
    meta, now = pod["metadata"], pod
    while screen.said(now, "status", "phase") != "Running":
        if screen.said(now, "status", "phase") in ("Failed", "Succeeded"):
            raise Failure(
                f"Pod {meta['name']} ended at once: does its image have `sleep`? --image names another."
            )
        if time.monotonic() >= deadline:
            why = pods.hindrance(now, courier.NAME)
            raise TooLate(f"The pod that reads the volume did not run within {seconds:.0f} s: {why}.")
        time.sleep(EVERY_SECONDS)
        now = cluster.get(info_of(pod), meta["name"], meta["namespace"])


@contextlib.contextmanager
def _ended_by(number: signal.Signals) -> Iterator[None]:
    """Take a signal as Ctrl-C for a while, so that what has to be removed is."""
    before = signal.signal(number, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(number, before)
