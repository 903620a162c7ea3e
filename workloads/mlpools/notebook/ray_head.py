"""``python -m mlpools.notebook.ray_head``: the head of a notebook's Ray cluster, and what it sees.

Starts Ray's head, and tells the supervisor every few seconds which nodes have joined and whether anything
runs. It ends when Ray does.
"""

from __future__ import annotations

import importlib.util
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from typing import Any, NoReturn

from mlpools.contract.reports import ClusterNote, Note
from mlpools.gang import Gang
from mlpools.supervisor.notebook.settings import Settings
from mlpools.train.reporter import Reporter, log
from mlpools.train.script.program import Program

_LOOK_SECONDS = 2.0
_ASK_SECONDS = 5.0
_END_SECONDS = 8.0
#: Without these, which ``ray[default]`` brings, Ray has no dashboard.
_OF_DASHBOARD = ("aiohttp_cors", "opencensus")
#: Ray's own programs run in such namespaces.
_OWN_NAMESPACE = "_ray_internal"
_SUBMISSION = "job_submission_id"


def main(environ: Mapping[str, str]) -> NoReturn:
    """Be the head until Ray ends."""
    if importlib.util.find_spec("ray") is None:
        log("this image has no Ray, so the notebook has no cluster: choose an image with ray[default]")
        while True:
            signal.pause()  # nothing to start again
    settings, reporter = Settings.from_environment(environ), Reporter.from_environment(environ)
    ray = Program(_command(settings), environ, None)
    signal.signal(signal.SIGTERM, lambda *_: ray.stop())
    threading.Thread(target=_tell, args=(settings, reporter), daemon=True).start()
    ray.poll(None)
    ray.end(_END_SECONDS)
    sys.stdout.flush()
    os._exit(1)  # whatever Ray's client waits for in the other thread


def _tell(settings: Settings, reporter: Reporter) -> None:
    """Tell what the head sees, for ever; to ask one that is gone can take a minute."""
    has_dashboard = all(importlib.util.find_spec(name) for name in _OF_DASHBOARD)
    dashboard = f"http://127.0.0.1:{settings.dashboard_port}" if has_dashboard else ""
    client, silent = None, False
    while True:
        try:
            client = client or _client(f"{settings.address}:{settings.ray_port}")
            seen = look(client)
            reporter.tell(Note(cluster=seen.to_dict(), dashboard=dashboard if seen.nodes else ""))
            silent = False
        except Exception as error:
            if not silent:
                log(f"the Ray cluster does not answer: {type(error).__name__}")
            client, silent = None, True
        time.sleep(_LOOK_SECONDS)


def look(client: Any) -> ClusterNote:
    """Ask the control store which nodes are alive, and whether anything runs.

    Args:
        client: Ray's own of the control store; it is no driver, so it makes no job of its own.
    """
    from ray.core.generated.gcs_pb2 import GcsNodeInfo

    nodes = client.get_all_node_info(timeout=_ASK_SECONDS).values()
    alive = sorted(it.node_manager_address for it in nodes if it.state == GcsNodeInfo.ALIVE)
    return ClusterNote(nodes=alive, busy=any(_runs(client)))


def _runs(client: Any) -> Iterator[bool]:
    """Yield for each job whether it runs: a submitted one until its end, a program's while it has tasks.

    A kernel that has once connected stays a job for as long as it lives, whether it does anything or not.
    """
    for job in client.get_all_job_info(timeout=_ASK_SECONDS).values():
        own = job.config.ray_namespace.startswith(_OWN_NAMESPACE)
        yield not job.is_dead and not own and (job.is_running_tasks or _SUBMISSION in job.config.metadata)


def _client(address: str) -> Any:
    from ray._raylet import GcsClient  # type: ignore[attr-defined]  # it is compiled

    return GcsClient(address=address)


def _command(settings: Settings) -> list[str]:
    return [
        *(sys.executable, "-m", "ray.scripts.scripts", "start", "--head", "--block", "--disable-usage-stats"),
        f"--node-ip-address={settings.address}",
        f"--port={settings.ray_port}",
        f"--num-cpus={Gang.from_environment().threads}",
        "--dashboard-host=127.0.0.1",
        f"--dashboard-port={settings.dashboard_port}",
        "--dashboard-agent-listen-port=0",
    ]


if __name__ == "__main__":
    main(os.environ)
