"""How the other ranks find rank 0, whatever it opens for them there, and what rank 0 knows of them."""

from __future__ import annotations

import contextlib
import json
import socket
import time

from mlpools.contract import Phase, Report
from mlpools.document import ContractError
from mlpools.supervisor.status import ask
from mlpools.train.job import Job

_READY = frozenset({Phase.RENDEZVOUS.value, Phase.WORKING.value, Phase.FINISHING.value})
_RETRY_SECONDS = 0.1
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


def others(job: Job) -> dict[str, bool]:
    """Return what rank 0's supervisor knows of the other pods; only rank 0 asks.

    Returns:
        ``formed``: all have been heard. ``endedWell``: all have said that they ended well.
    """
    answer: dict[str, bool] = json.loads(ask("127.0.0.1", job.gang.leader_port, "GET", "/others"))
    return answer
