"""A notebook's pod without Kubernetes: its supervisor in namespaces of its own, as in a container.

A scenario (a coroutine ``scenario(pod)``) runs inside beside it, since nothing outside reaches in there.
"""

from __future__ import annotations

import asyncio
import fcntl
import importlib
import json
import os
import signal
import socket
import struct
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from mlpools.contract.reports import Activity
from mlpools.contract.tasks import Notebook
from mlpools.contract.wiring import (
    NOTEBOOK_ENV,
    STATUS_PORT_ENV,
    TERMINATION_LOG_ENV,
    TOKEN_ENV,
    WORKSPACE_ENV,
)
from tests.support.waiting import PATIENCE

PORT, STATUS_PORT = 8888, 8470
TOKEN = "open sesame"
_APART = ("unshare", "--user", "--map-root-user", "--net", "--pid", "--fork", "--kill-child", "--mount-proc")
_IFF_UP, _SIOCSIFFLAGS = 1, 0x8914
#: What is counted over half a minute is counted over some seconds here.
_START = (
    "import sys; from mlpools.supervisor.notebook import watch; watch._WINDOW_SECONDS = 4.0; "
    "watch.SAMPLE_SECONDS = 1.0; from mlpools.supervisor.__main__ import main; sys.exit(main())"
)


def run(module: str, folder: Path, *arguments: str, seconds: float = 280) -> dict[str, Any]:
    """Run the scenario of a module inside and return what it found; it fails with what that says."""
    command = [*_APART, sys.executable, "-m", "tests.support.notebook_pod", module, str(folder), *arguments]
    paths = [path for path in sys.path if path]
    environ = {**os.environ, "PYTHONPATH": ":".join(paths)}
    done = subprocess.run(command, env=environ, capture_output=True, text=True, timeout=seconds, check=False)
    log = folder / "log"
    said = log.read_text()[-4000:] if log.exists() else ""
    assert done.returncode == 0, f"{done.stdout[-2000:]}\n{done.stderr[-6000:]}\n{said}"
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


class Pod:
    """The pod, seen from inside.

    Attributes:
        folder: with the workspace and the token.
        process: the supervisor.
    """

    def __init__(
        self,
        folder: Path,
        *,
        status_port: int = STATUS_PORT,
        variables: Mapping[str, str] | None = None,
        **task: Any,
    ) -> None:
        self.folder, self.status_port = folder, status_port
        for name in ("workspace", "token", "tmp"):
            if not (folder / name).is_symlink():
                (folder / name).mkdir(exist_ok=True)
        self.set_token(TOKEN)
        told = Notebook(
            namespace="team-a",
            name="alice",
            uid="u",
            attempt=3,
            port=PORT,
            cpu_percent=10,
            gpu_percent=5,
            **task,
        )
        environ = {
            **os.environ,
            NOTEBOOK_ENV: told.to_json(),
            WORKSPACE_ENV: str(folder / "workspace"),
            TOKEN_ENV: str(folder / "token"),
            STATUS_PORT_ENV: str(status_port),
            "TMPDIR": str(folder / "tmp"),
            TERMINATION_LOG_ENV: str(folder / "termination"),
            **(variables or {}),
        }
        with (folder / "log").open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-c", _START], env=environ, stdout=log, stderr=log
            )

    def set_token(self, token: str | None) -> None:
        """Write another token into the mounted Secret, or take it away."""
        file = self.folder / "token" / "token"
        if token is None:
            file.unlink()
        else:
            file.write_text(token)

    def activity(self) -> Activity:
        """Look at it, as the operator does."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.status_port}/status", timeout=30) as answer:
            return Activity.from_json(answer.read().decode())

    async def until(self, holds: Callable[[Activity], bool], seconds: float = PATIENCE) -> Activity:
        """Look until something holds.

        Raises:
            AssertionError: it never did.
        """
        last: object = None
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            try:
                last = found = await asyncio.to_thread(self.activity)
                if holds(found):
                    return found
            except OSError as error:
                last = error
                assert self.process.poll() is None, "the supervisor has ended"
            await asyncio.sleep(0.1)
        raise AssertionError(f"it never held: {last}")

    def stop(self) -> Mapping[str, Any]:
        """End it as the kubelet does, and return its last words."""
        self.process.send_signal(signal.SIGTERM)
        code = self.process.wait(PATIENCE)
        return {**json.loads((self.folder / "termination").read_text()), "exitCode": code}


def _bring_up_loopback() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        fcntl.ioctl(any_socket, _SIOCSIFFLAGS, struct.pack("16sh14x", b"lo", _IFF_UP))


def main() -> None:
    """Run a scenario inside."""
    module, folder, *arguments = sys.argv[1:]
    _bring_up_loopback()
    found = asyncio.run(importlib.import_module(module).scenario(Path(folder), *arguments))
    sys.stdout.write("\n" + json.dumps(found) + "\n")


if __name__ == "__main__":
    main()
