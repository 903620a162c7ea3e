"""A Ray cluster over the pods of a job, for as long as the job's command runs.

Rank 0's pod is the head. Who wants to join or to use the cluster needs a token that rank 0's supervisor made
up and gives to the job's own pods only. Nothing waits for a fixed time: a node joins as soon as the head
listens, and the command starts as soon as all have joined.
"""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping

from mlpools.contract.reports import Note, Phase, Report
from mlpools.contract.wiring import DASHBOARD_PORT, DASHBOARD_PORT_ENV
from mlpools.document import ContractError
from mlpools.errors import JobError, PeerLost, StartTimeout
from mlpools.supervisor.status import ask
from mlpools.train.job import Job
from mlpools.train.leader import listens, others, token, wait_for_leader, wait_for_port
from mlpools.train.reporter import log
from mlpools.train.script.program import Program

#: From the moment all pods are there; Ray's own processes take some seconds.
_JOIN_SECONDS = 120
#: Ray's head listens before it is a node itself. One that joins meanwhile asks for it every two seconds, by
#: default 20 times, and gives up: less than a head takes on a busy machine.
_PATIENT = {"RAY_NUM_REDIS_GET_RETRIES": str(_JOIN_SECONDS // 2)}
_POLL_SECONDS = 0.1
#: Ray ends its processes in an orderly way, or is killed.
_END_SECONDS = 5.0
#: Without these, which ``ray[default]`` brings, Ray has no dashboard.
_OF_DASHBOARD = ("aiohttp_cors", "opencensus")


@contextlib.contextmanager
def head(job: Job, environ: Mapping[str, str]) -> Iterator[dict[str, str]]:
    """Bring a cluster up, give the variables of a program that uses it, and take the cluster down.

    Raises:
        PortTaken: another program has the cluster's port.
        StartTimeout: a node did not join in time.
        JobError: Ray did not start.
    """
    gang, began = job.gang, time.monotonic()
    address = f"{gang.address}:{gang.port}"
    dashboard = int(os.environ.get(DASHBOARD_PORT_ENV, DASHBOARD_PORT))
    variables = {**environ, **_login(job, "127.0.0.1"), "RAY_ADDRESS": address}
    options = ("--head", f"--port={gang.port}", "--dashboard-host=0.0.0.0", f"--dashboard-port={dashboard}")
    wait_for_port(job)
    node = _start(job, variables, *options)
    try:
        _until(job, node, lambda: listens(gang.address, gang.port))
        job.reporter.phase(Phase.RENDEZVOUS)
        _until(job, node, lambda: others(job)["formed"])
        _wait_for_nodes(job, node, variables)
        seconds = time.monotonic() - began
        log(f"the Ray cluster of {job.task.nodes} node(s) is complete after {seconds:.1f} s")
        job.reporter.lap("rendezvous")
        if all(importlib.util.find_spec(name) for name in _OF_DASHBOARD):
            job.reporter.tell(Note(dashboard=f"http://{gang.coordinator}:{dashboard}"))
        yield variables
    finally:
        job.reporter.tell(Note(dashboard=""))
        node.end(_END_SECONDS)


def serve(job: Job, environ: Mapping[str, str]) -> None:
    """Be a node of the cluster until rank 0's command has ended.

    Raises:
        PeerLost: the head is gone.
    """
    gang = job.gang
    job.reporter.phase(Phase.RENDEZVOUS)
    address = wait_for_leader(job)
    variables = {**_PATIENT, **environ, **_login(job, address)}
    node = _start(job, variables, f"--address={address}:{gang.port}")
    job.reporter.phase(Phase.WORKING)
    try:
        while node.poll(1.0) is None:
            job.stop.check()
            report = _leaders_report(job, address)
            if report is not None:
                job.reporter.alive("A node of the Ray cluster.")
                # Rank 0 may have ended badly, too: after its end the gang says what becomes of this rank.
                if report.phase == Phase.FINISHING.value:
                    return
        raise PeerLost(f"Rank {gang.rank}: its part of the Ray cluster ended; the log has Ray's last words.")
    finally:
        node.end(_END_SECONDS)


def _start(job: Job, environ: Mapping[str, str], *options: str) -> Program:
    gang = job.gang
    command = [
        *(sys.executable, "-m", "ray.scripts.scripts", "start", "--block", "--disable-usage-stats"),
        *(
            f"--node-ip-address={gang.address}",
            f"--num-cpus={gang.threads}",
            "--dashboard-agent-listen-port=0",
        ),
        f"--resources={json.dumps({_mark(gang.rank): 1})}",
        *options,
    ]
    return Program(command, environ, None)


def _mark(rank: int) -> str:
    """Return the name of the resource by which a node's rank is known."""
    return f"mlpools-rank-{rank}"


def _wait_for_nodes(job: Job, node: Program, environ: Mapping[str, str]) -> None:
    """Wait until all ranks' nodes are alive, as Ray itself sees it, asked by a process of its own.

    Raises:
        StartTimeout: one is not, in time.
    """
    marks = [_mark(rank) for rank in range(job.task.nodes)]
    asking = Program([sys.executable, "-c", _ASK, str(_JOIN_SECONDS), *marks], environ, None)
    job.stop.when_told(asking.stop)
    code: int | None = None
    while code is None:
        code = asking.poll(_POLL_SECONDS)
        _check(job, node)
    if code:
        words = asking.words().strip().splitlines()[-1:]
        missing = words[0] if words and words[0].startswith("mlpools-rank-") else ""
        if not missing:
            raise JobError(f"The Ray cluster does not answer: {words[0] if words else 'it said nothing'}.")
        ranks = missing.replace("mlpools-rank-", "rank ")
        raise StartTimeout(
            f"Of {job.task.nodes} nodes, {ranks} did not join the Ray cluster within {_JOIN_SECONDS} s: see "
            "the log of that rank, and whether its pod reaches the others."
        )


#: Prints the nodes that are missing in the end.
_ASK = """
import sys, time
import ray
ray.init(address="auto", log_to_driver=False, configure_logging=False)
deadline, wanted = time.monotonic() + float(sys.argv[1]), set(sys.argv[2:])
while missing := wanted - {name for node in ray.nodes() if node["Alive"] for name in node["Resources"]}:
    if time.monotonic() > deadline:
        print(", ".join(sorted(missing)), flush=True)
        sys.exit(1)
    time.sleep(0.1)
"""


def _until(job: Job, node: Program, condition: Callable[[], bool]) -> None:
    while not condition():
        _check(job, node)
        time.sleep(_POLL_SECONDS)


def _check(job: Job, node: Program) -> None:
    job.stop.check()
    job.reporter.alive("Waiting for the nodes of the Ray cluster.")
    if node.poll(0.0) is not None:
        words = node.words().strip().splitlines()[-1:]
        raise JobError(f"Ray did not start on rank 0: {words[0] if words else 'it said nothing'}.")


def _login(job: Job, address: str) -> dict[str, str]:
    """Return the variables that let Ray in, with the token from rank 0's supervisor."""
    return {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": token(job, address)}


def _leaders_report(job: Job, address: str) -> Report | None:
    with contextlib.suppress(OSError, ContractError):
        return Report.from_json(ask(address, job.gang.leader_port, "GET", "/status"))
    return None
