"""The head of a notebook's Ray cluster, beside the notebook's program, and started again whenever it ends."""

from __future__ import annotations

import json
import os
import queue
import sys
import time
from typing import Any

from mlpools.contract.reports import ClusterNote, Note
from mlpools.supervisor import cgroup
from mlpools.supervisor.logs import say
from mlpools.supervisor.notebook.settings import Settings
from mlpools.supervisor.notebook.watch import Cluster
from mlpools.supervisor.process import Worker

#: A head that ended is started again so much later.
_AGAIN_SECONDS = 5.0
#: What was told longer ago says nothing of now.
_FRESH_SECONDS = 30.0


class Head:
    """Starts the head, and knows what it sees.

    Attributes:
        workers: its process, if it was started.
        variables: of programs that use the cluster.
        dashboard: URL of the dashboard, from inside; empty without one.
    """

    def __init__(self, settings: Settings, events: queue.SimpleQueue[Any]) -> None:
        self._settings, self._events = settings, events
        self._token = os.urandom(32).hex()
        self._environ: dict[str, str] = {}
        self._again_at = 0.0
        self._told, self._heard = ClusterNote(), 0.0
        self.workers: tuple[Worker, ...] = ()
        self.dashboard = ""
        self.variables = {
            "RAY_ADDRESS": f"{settings.address}:{settings.ray_port}",
            "RAY_AUTH_MODE": "token",
            "RAY_AUTH_TOKEN": self._token,
        }

    def start(self, environ: dict[str, str]) -> None:
        """Start it, with these variables."""
        threads = {"OMP_NUM_THREADS": str(cgroup.limits().threads(1))}
        self._environ = environ | threads
        self.workers = (
            Worker([sys.executable, "-m", "mlpools.notebook.ray_head"], self._environ, self._events, 0),
        )

    def keep(self) -> None:
        """Start it again some time after its end."""
        if not self.workers or self.workers[0].running:
            return
        now = time.monotonic()
        if not self._again_at:
            say("the head of the Ray cluster has ended; it is started again")
            self._again_at, self.dashboard, self._told = now + _AGAIN_SECONDS, "", ClusterNote()
        elif now >= self._again_at:
            self._again_at = 0.0
            self.start(self._environ)

    def hear(self, worker: Worker, note: Note) -> None:
        """Take what it tells; notes of other processes say nothing of a cluster."""
        if worker not in self.workers or note.cluster is None:
            return
        self._told, self._heard = ClusterNote.from_dict(note.cluster), time.monotonic()
        self.dashboard = note.dashboard or ""

    def cluster(self) -> Cluster:
        """Return what is known of the cluster now."""
        fresh = time.monotonic() - self._heard < _FRESH_SECONDS
        return Cluster(self._told.busy and fresh, frozenset(self._told.nodes))

    def tell_nodes(self, _: bytes) -> str:
        """Answer which nodes have joined."""
        return self._told.to_json()

    def give_token(self, body: bytes) -> str:
        """Give the token to who knows the notebook's UID and start, as its own pods do."""
        asked, task = json.loads(body), self._settings.task
        known = (asked.get("uid"), asked.get("attempt")) == (task.uid, task.attempt)
        return json.dumps({"token": self._token} if known else {})
