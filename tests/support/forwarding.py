"""Ports of a pod, reached through `kubectl port-forward`, as a person does."""

from __future__ import annotations

import contextlib
import re
import subprocess
from collections.abc import Iterator

from tools.kubectl import Kubectl

_LINE = re.compile(r"Forwarding from 127\.0\.0\.1:(\d+) -> (\d+)")


@contextlib.contextmanager
def forwarded(cluster: Kubectl, pod: str, *ports: int, namespace: str) -> Iterator[list[str]]:
    """Give a URL for each port of a pod, at ports of this machine that kubectl chooses."""
    command = cluster.command(
        "port-forward", f"--namespace={namespace}", f"pod/{pod}", *(f":{it}" for it in ports)
    )
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            found: dict[int, str] = {}
            for line in process.stdout:
                if told := _LINE.search(line):
                    found[int(told[2])] = f"http://127.0.0.1:{told[1]}"
                if len(found) == len(ports):
                    break
            yield [found[port] for port in ports]
        finally:
            process.kill()
