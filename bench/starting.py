"""One start of a notebook on a real cluster, seen from outside: when each stage was over, and who used CPU.

While it starts, this machine asks little: each `kubectl` would take a tenth of a second of the processor that
the start needs itself.
"""

from __future__ import annotations

import base64
import os
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from bench.launch import entries, moment
from mlpools_operator.domain import naming
from tests.support.kube import Kube
from tests.support.relay import relayed
from tests.support.waiting import wait_for
from tools.cluster.instance import Instance
from tools.kubectl import Kubectl

PORT = 8888
SPACE = "default"
_KIND = "NotebookRuntime"
_TICKS = os.sysconf("SC_CLK_TCK")
_LONGEST = 300.0
#: Its own process and those of the pod, as the kernel counts them.
_PROCESSES = "import glob; [print(open(it).read(), end='') for it in glob.glob('/proc/[0-9]*/stat')]"


@dataclass(frozen=True)
class Started:
    """One start.

    Attributes:
        moments: seconds since it was asked for until each stage was over, by stage.
        server: CPU-seconds of JupyterLab to its page.
        supervisor: CPU-seconds of the process that starts it, 0 where there is none.
    """

    moments: dict[str, float]
    server: float
    supervisor: float


@dataclass(frozen=True)
class _Process:
    pid: int
    parent: int
    began: float
    cpu: float


class Starts:
    """Starts what has a page on one cluster."""

    def __init__(self, instance: Instance, cluster: Kubectl) -> None:
        control = instance.control
        self.kube = Kube(control.server, control.ca, control.token)
        self._instance, self._cluster = instance, cluster

    def notebook(self, name: str, spec: dict[str, Any] | None = None) -> Started:
        """Start a notebook: make it, or if it is there, let it start again."""
        there = self.kube.find(_KIND, name, SPACE)
        attempt = int(there["status"]["attempt"]) + 1 if there else 1

        def ask() -> None:
            if there:
                self.kube.patch(_KIND, name, {"spec": {"suspend": False}}, SPACE)
            else:
                made = {"apiVersion": "mlpools.dev/v1alpha1", "kind": _KIND, "metadata": {"name": name}}
                self.kube.create({**made, "spec": {"computePool": "notebooks", **(spec or {})}}, SPACE)

        labels = {naming.JOB_NAME: name, naming.ATTEMPT: str(attempt)}
        started = self.start(ask, naming.notebook(name), labels, lambda: self._token(name))
        self._until(name, "Running")
        return started

    def rest(self, name: str) -> None:
        """Stop a notebook, and wait until it rests."""
        self.kube.patch(_KIND, name, {"spec": {"suspend": True}}, SPACE)
        self._until(name, "Stopped")

    def start(
        self, ask: Callable[[], object], name: str, labels: dict[str, str], token: Callable[[], str]
    ) -> Started:
        """Ask for the start of a StatefulSet of that name, and wait for the page of its pod."""
        asked = time.time()
        ask()
        pod = wait_for(f"pod of {name}", lambda: self._running(labels), _LONGEST, every=0.1)
        word = token()
        with relayed(self._instance, pod["status"]["podIP"], PORT) as url:
            wait_for(f"page of {name}", lambda: _answers(url, word), _LONGEST, every=0.02)
        page = time.time()
        processes = self._processes(pod["metadata"]["name"])
        first = next(it for it in processes if it.pid == 1)
        server = min((it for it in processes if it.parent == 1), key=lambda it: it.began, default=first)
        log = [it for it in entries(self._instance) if moment(it) >= asked]
        moments = {
            "StatefulSet created": _created(log, "statefulsets", name),
            "pod created": _created(log, "pods", pod["metadata"]["name"]),
            "container": first.began,
            "server": server.began,
            "page": page,
        }
        since = {stage: at - asked for stage, at in moments.items()}
        return Started(since, server.cpu, 0.0 if server is first else first.cpu)

    def _running(self, labels: dict[str, str]) -> dict[str, Any] | None:
        selector = ",".join(f"{name}={value}" for name, value in labels.items())
        states = ((pod, pod["status"]) for pod in self.kube.list("Pod", SPACE, selector))
        return next((pod for pod, it in states if it.get("podIP") and it["phase"] == "Running"), None)

    def _until(self, name: str, phase: str) -> None:
        def look() -> bool:
            return bool(self.kube.get(_KIND, name, SPACE).get("status", {}).get("phase") == phase)

        wait_for(f"{phase} of {name}", look, _LONGEST, every=0.2)

    def _token(self, name: str) -> str:
        status = self.kube.get(_KIND, name, SPACE)["status"]
        secret = self.kube.get("Secret", status["tokenSecret"], SPACE)
        return base64.b64decode(secret["data"]["token"]).decode()

    def _processes(self, pod: str) -> list[_Process]:
        """Return the pod's processes: when each began, and what it has used."""
        lines = self._cluster.run("exec", pod, "--", "python", "-c", _PROCESSES).splitlines()
        boot = time.time() - time.clock_gettime(time.CLOCK_BOOTTIME)
        found = []
        for line in lines:
            fields = line[line.rindex(")") + 2 :].split()
            used = (int(fields[11]) + int(fields[12])) / _TICKS
            began = boot + int(fields[19]) / _TICKS
            found.append(_Process(int(line.split()[0]), int(fields[1]), began, used))
        return found


def _answers(url: str, token: str) -> bool:
    request = urllib.request.Request(f"{url}/lab", headers={"Authorization": f"token {token}"})
    try:
        with urllib.request.urlopen(request, timeout=5) as answer:
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError):
        return False


def _created(log: list[dict[str, Any]], resource: str, name: str) -> float:
    """When the API server had made an object; by server-side apply it is patched into being."""
    for entry in log:
        reference = entry.get("objectRef", {})
        made = entry.get("responseStatus", {}).get("code") == 201
        # The name of a pod that a controller makes stands in the answer only, which the log does not keep.
        if made and reference.get("resource") == resource and reference.get("name", name) == name:
            return moment(entry)
    raise LookupError(f"the audit log knows of no {resource} {name}")
