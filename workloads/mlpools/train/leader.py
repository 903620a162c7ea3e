"""How the other ranks find rank 0, whatever it opens for them there, and what rank 0 knows of them."""

from __future__ import annotations

import contextlib
import json
import socket
import time

from mlpools.contract.reports import Phase, Report
from mlpools.document import ContractError
from mlpools.errors import PortTaken
from mlpools.gang import Gang
from mlpools.supervisor.status import ask
from mlpools.train.job import Job

_READY = frozenset({Phase.RENDEZVOUS.value, Phase.WORKING.value, Phase.FINISHING.value})
_RETRY_SECONDS = 0.1
#: Twice as long as Linux remembers a closed connection.
_PORT_SECONDS = 120.0
#: Followers of large gangs ask less often, so that rank 0 answers a few hundred a second at most.
_RANKS_PER_RETRY = 100


def wait_for_leader(job: Job) -> str:
    """Return rank 0's address once its rendezvous is open.

    Rank 0's name may come up late in the DNS, and the retries of frameworks begin with seconds and give up
    after a few. So its supervisor is asked, which costs nothing and tells when the rendezvous is open.

    Raises:
        Preempted: a stop was asked for while waiting.
    """
    gang = job.gang
    pause = _RETRY_SECONDS * max(1.0, gang.world_size / _RANKS_PER_RETRY)
    while True:
        job.stop.check()
        with contextlib.suppress(OSError, ContractError):
            address = str(socket.getaddrinfo(gang.coordinator, None, type=socket.SOCK_STREAM)[0][4][0])
            report = Report.from_json(ask(address, gang.leader_port, "GET", "/status"))
            if report.attempt == job.task.attempt and report.phase in _READY:
                return address
        time.sleep(pause)


def wait_for_port(job: Job) -> None:
    """Wait until rank 0 can listen for the framework's rendezvous, whose own sockets may take over no port.

    Where pods share a machine's network, connections of the job before linger for a minute after its end.

    Raises:
        PortTaken: another program listens there, or the port does not become free.
        Preempted: a stop was asked for while waiting.
    """
    place = (job.gang.address, job.gang.port)
    family = socket.getaddrinfo(*place, type=socket.SOCK_STREAM)[0][0]
    deadline = time.monotonic() + _PORT_SECONDS
    while True:
        job.stop.check()
        try:
            with socket.socket(family) as probe:
                probe.bind(place)
            return
        except OSError as error:
            if time.monotonic() > deadline or listens(*place):
                raise port_taken(job.gang, str(error.strerror)) from error
        time.sleep(_RETRY_SECONDS)


def port_taken(gang: Gang, why: str) -> PortTaken:
    """Return the failure of rank 0, which cannot listen for the framework's rendezvous."""
    return PortTaken(
        f"Rank 0 cannot listen at {gang.address}:{gang.port} ({why}): end the program that uses this port "
        "of the machine, or use a pool with another network."
    )


def listens(address: str, port: int) -> bool:
    """Whether anybody takes connections there."""
    with contextlib.suppress(OSError), socket.create_connection((address, port), 1.0):
        return True
    return False


def token(job: Job, address: str) -> str:
    """Return what rank 0's supervisor gives to the job's own pods only, to let each other in with.

    Args:
        job: of this rank.
        address: of rank 0.

    Raises:
        Preempted: a stop was asked for while waiting.
    """
    asked = json.dumps({"uid": job.task.uid, "attempt": job.task.attempt})
    while True:
        job.stop.check()
        with contextlib.suppress(OSError, ValueError, KeyError):
            return str(json.loads(ask(address, job.gang.leader_port, "POST", "/token", asked))["token"])
        time.sleep(_RETRY_SECONDS)


def others(job: Job) -> dict[str, bool]:
    """Return what rank 0's supervisor knows of the other pods; only rank 0 asks.

    Returns:
        ``formed``: all have been heard. ``endedWell``: all have said that they ended well. Neither holds as
        long as the supervisor does not answer, as on a busy machine; its end ends this process anyway.
    """
    with contextlib.suppress(OSError, ValueError):
        answer: dict[str, bool] = json.loads(ask("127.0.0.1", job.gang.leader_port, "GET", "/others"))
        return answer
    return {"formed": False, "endedWell": False}
