"""Streams into pods, which kubectl itself carries: whoever runs its plugin has it.

The Python client can carry one connection, a browser opens many; kubectl also knows every way to log in.
"""

from __future__ import annotations

import contextlib
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from typing import IO

from mlpools_kubectl.cluster import Cluster, Object
from mlpools_kubectl.failures import Failure

Process = subprocess.Popen[bytes]

_FORWARDS = re.compile(r"Forwarding from 127\.0\.0\.1:(\d+) ->")
_PATIENCE_SECONDS = 10.0


@contextlib.contextmanager
def running(cluster: Cluster, namespace: str, *command: str) -> Iterator[tuple[Process, IO[bytes]]]:
    """Run kubectl on the same cluster; it ends with the block. Yields it and what it says on standard error.

    Raises:
        Failure: there is no kubectl.
    """
    program = shutil.which("kubectl")
    if program is None:
        raise Failure("There is no kubectl on your PATH, which carries what goes into pods and out of them.")
    whole = [program, *_where(cluster, namespace), *command]
    with (
        tempfile.TemporaryFile() as said,
        subprocess.Popen(whole, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=said) as process,
    ):
        try:
            yield process, said
        finally:
            process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(_PATIENCE_SECONDS)
            process.kill()


def _where(cluster: Cluster, namespace: str) -> Sequence[str]:
    target = cluster.target
    options = {"--kubeconfig": target.kubeconfig, "--context": target.context, "--namespace": namespace}
    return [f"{option}={value}" for option, value in options.items() if value]


@contextlib.contextmanager
def forwarded(cluster: Cluster, pod: Object, port: int, local: int) -> Iterator[tuple[int, Process]]:
    """Forward a port of this machine to a pod; yields that port and the process that does it.

    Args:
        cluster: where the pod is.
        pod: to which.
        port: of the pod.
        local: of this machine; 0 = any that is free.

    Raises:
        Failure: it cannot be forwarded.
    """
    meta = pod["metadata"]
    ports = f"{local or ''}:{port}"
    command = ("port-forward", "--address=127.0.0.1", f"pod/{meta['name']}", ports)
    with running(cluster, meta["namespace"], *command) as (process, said):
        assert process.stdout is not None
        found = _FORWARDS.search(process.stdout.readline().decode(errors="replace"))
        if found is None:
            process.wait()
            raise Failure(f"Port {port} of pod {meta['name']} cannot be forwarded: {words(said)}.")
        yield int(found[1]), process


def words(said: IO[bytes]) -> str:
    """Return the first line that kubectl, or the program that it ran, said; the rest follows from it."""
    said.seek(0)
    lines = said.read().decode(errors="replace").strip().splitlines()
    return lines[0].rstrip(".") if lines else "kubectl said nothing"
