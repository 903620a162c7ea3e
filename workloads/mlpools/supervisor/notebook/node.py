"""A further node of a notebook's Ray cluster, from start to exit code.

It joins as soon as the head answers, and joins again whenever its part of Ray ends or the head is another
one: the notebook may have been started anew on another machine. It never ends by itself.
"""

from __future__ import annotations

import contextlib
import json
import os
import queue
import signal
import socket
import sys
import time
from typing import Any

from mlpools.contract.ends import Exit, Final
from mlpools.contract.reports import ClusterNote
from mlpools.contract.tasks import Packages
from mlpools.supervisor import cgroup, mounts
from mlpools.supervisor.logs import say
from mlpools.supervisor.notebook import pod
from mlpools.supervisor.notebook.settings import Settings
from mlpools.supervisor.notebook.surroundings import Surroundings
from mlpools.supervisor.process import Worker, installer_command
from mlpools.supervisor.status import Routes, StatusServer, ask

_LOOK_SECONDS = 2.0
#: Ray's own processes end in an orderly way, or are killed; the pod's grace is 15 s.
_END_SECONDS = 10.0
#: Ray's head listens before it is a node itself. One that joins meanwhile asks for it every two seconds, by
#: default 20 times, and gives up: less than a head takes on a busy machine.
_PATIENT = {"RAY_NUM_REDIS_GET_RETRIES": "60"}


class Node:
    """Keeps one node in the cluster until it is told to stop."""

    def __init__(self, settings: Settings) -> None:
        self._settings, self._task = settings, settings.task
        self._around = Surroundings(self._task, settings.workspace, settings.packages_folder, os.environ)
        self._events: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._stopping = False
        self._joined_to = ("", "")  # the head's address and token
        self._ray: Worker | None = None

    def run(self) -> int:
        """Be a node until the pod is told to stop; return the exit code."""
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGCHLD):
            signal.signal(number, lambda received, _: self._events.put(received))
        missing = mounts.absent(self._task)
        if missing:
            return pod.end(self._settings, Exit.SECRET_MISSING, missing)
        routes: Routes = {("GET", "/status"): lambda _: "{}", ("GET", "/joined"): self._joined}
        StatusServer(self._settings.status_port, routes)
        told = Packages.from_dict(self._task.packages)
        if told.wanted or told.requirements:
            installer = Worker(installer_command(), self._around.installing(), self._events, 0)
            while installer.running:
                self._hear(installer)
                if self._stopping:
                    installer.send(signal.SIGTERM)
            if not self._stopping and installer.exit_code != Exit.DONE:
                final = installer.final or Final(Exit.INTERNAL, 0, message="Packages were not installed.")
                return pod.end(self._settings, final.code, final.message)
        while not self._stopping:
            self._keep_joined()
            self._hear(self._ray, _LOOK_SECONDS)
        self._leave()
        return pod.end(self._settings, Exit.PREEMPTED, "The pod was told to stop.")

    def _hear(self, worker: Worker | None, seconds: float = 1.0) -> None:
        """Take one event, or wait so long for it."""
        with contextlib.suppress(queue.Empty):
            received = self._events.get(timeout=seconds)
            if received == signal.SIGCHLD:
                pod.reap([worker] if worker else [])
            elif received in (signal.SIGTERM, signal.SIGINT):
                self._stopping = True

    def _keep_joined(self) -> None:
        """Join the present head; leave an earlier one."""
        try:
            address, token = self._head()
        except (OSError, ValueError, KeyError):
            return  # it is not there yet, or not any more: Ray itself gives up what is gone
        running = self._ray is not None and self._ray.running
        if running and self._joined_to == (address, token):
            return
        self._leave()
        say(f"joins the Ray cluster of {self._task.name} at {address}")
        self._joined_to = (address, token)
        self._ray = Worker(self._command(address), self._environment(token), self._events, 0)

    def _head(self) -> tuple[str, str]:
        """Return the head's address and the token that lets this node in.

        Raises:
            OSError: it does not answer.
            ValueError: it answers something else.
            KeyError: it is the head of another start.
        """
        found = socket.getaddrinfo(self._task.head, None, type=socket.SOCK_STREAM)
        address = str(found[0][4][0])
        asked = json.dumps({"uid": self._task.uid, "attempt": self._task.attempt})
        answer = ask(address, self._settings.head_port, "POST", "/token", asked)
        return address, str(json.loads(answer)["token"])

    def _command(self, address: str) -> list[str]:
        threads = cgroup.limits().threads(1)
        return [
            *(sys.executable, "-m", "ray.scripts.scripts", "start", "--block", "--disable-usage-stats"),
            f"--address={address}:{self._settings.ray_port}",
            f"--node-ip-address={self._settings.address}",
            f"--node-name={socket.gethostname()}",
            f"--num-cpus={threads}",
            "--dashboard-agent-listen-port=0",
        ]

    def _environment(self, token: str) -> dict[str, str]:
        login = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": token}
        return {**_PATIENT, **self._around.of_node(), **login}

    def _leave(self) -> None:
        """End this node's part of Ray."""
        if self._ray is None:
            return
        self._ray.send(signal.SIGTERM)
        deadline = time.monotonic() + _END_SECONDS
        while self._ray.running:
            if time.monotonic() >= deadline:
                self._ray.send(signal.SIGKILL)
            self._hear(self._ray, 0.2)
        self._ray = None

    def _joined(self, _: bytes) -> str:
        """Answer the kubelet; no answer means that the head does not count this node as one of its own.

        Raises:
            OSError: it does not.
        """
        address, _token = self._joined_to
        told = ClusterNote.from_json(ask(address, self._settings.head_port, "GET", "/nodes"))
        if self._ray is None or not self._ray.running or self._settings.address not in told.nodes:
            raise OSError("not joined")
        return "{}"
