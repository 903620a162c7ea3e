"""Where policies are enforced, no stranger reaches a job's pods; the job and the operator notice nothing."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from mlpools.contract.wiring import STATUS_PORT
from tests.support.policy_engine import enforced
from tests.support.training import Object, Training
from tests.support.waiting import wait_for
from tools import images
from tools.cluster.instance import Instance
from tools.kubectl import Kubectl
from tools.quickstart import install

ENDLESS = {"rounds": 2000, "label": "arr_delay", "params": {"max_depth": 8, "eta": 0.01}}
#: A port at which no pod listens: the pod's kernel says so at once, unless a firewall is in between.
UNUSED_PORT = 9
CONNECT = """
import socket, sys
from concurrent.futures import ThreadPoolExecutor
def outcome(port):
    try:
        socket.create_connection((sys.argv[1], int(port)), timeout=2).close()
        return "open"
    except ConnectionRefusedError:
        return "closed"
    except TimeoutError:
        return "dropped"
print(*ThreadPoolExecutor().map(outcome, sys.argv[2:]))
"""


def connect(asking: Object, asked: Object, ports: tuple[int, ...], cluster: Kubectl) -> list[str]:
    """What becomes of new connections from one pod to another, by port: `open`, `closed` or `dropped`.

    They are tried at once: a rank that does not reach rank 0 ends after a few seconds, and has to tell first.
    """
    space, name = asking["metadata"]["namespace"], asking["metadata"]["name"]
    python = ("python", "-S", "-c", CONNECT, asked["status"]["podIP"], *map(str, ports))
    return cluster.run("exec", f"--namespace={space}", name, "--", *python).split()


@pytest.fixture
def ranks(training: Training) -> list[Object]:
    """The pods of the job `guarded`, by rank, while it trains."""

    def look() -> list[Object] | None:
        status = training.status("guarded")
        trains = status.get("nodes", {}).get("ready") == 2 and status.get("progress", {}).get("step")
        return training.pods("guarded") if status.get("phase") == "Running" and trains else None

    training.submit("guarded", xgboost=ENDLESS)
    pods = wait_for("training of two ranks", look, 90, every=0.3)
    return sorted(pods, key=lambda pod: pod["metadata"]["name"])


@pytest.fixture
def stranger(cluster: Kubectl, ranks: list[Object], built: dict[str, images.Archive]) -> Iterator[Object]:
    """A pod of the job's namespace, on rank 0's node, that is none of the job's."""
    container = {
        "name": "main",
        "image": built["runtime"].reference,
        "imagePullPolicy": "IfNotPresent",
        "command": ["sleep", "infinity"],
        "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
    }
    spec = {
        "nodeName": ranks[0]["spec"]["nodeName"],
        "terminationGracePeriodSeconds": 0,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": 1000,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": [container],
    }
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "stranger"}, "spec": spec}
    try:
        cluster.apply(json.dumps(pod))
        cluster.run("wait", "pod/stranger", "--for=condition=Ready", "--timeout=60s")
        made = cluster.get("pod", "stranger")
        assert made is not None
        yield made
    finally:
        cluster.delete("pod", "stranger")


@pytest.mark.e2e(seconds=60)
def test_only_the_job_and_the_operators_probe_reach_its_pods(
    training: Training, instance: Instance, cluster: Kubectl, ranks: list[Object], stranger: Object
) -> None:
    def reached(asking: Object) -> list[str]:
        return connect(asking, ranks[0], (STATUS_PORT, UNUSED_PORT), cluster)

    def step() -> int:
        found: int = training.status("guarded")["progress"]["step"]
        return found

    (operator,) = cluster.list("pods", namespace=install.NAMESPACE)
    assert reached(stranger) == ["open", "closed"]
    with enforced(instance, cluster):
        before = step()
        assert reached(ranks[1]) == ["open", "closed"]
        assert reached(operator) == ["open", "dropped"]
        assert reached(stranger) == ["dropped", "dropped"]
        wait_for("more rounds in status", lambda: step() > before + 1, 60, every=0.3)
    assert reached(stranger) == ["open", "closed"]
    status = training.status("guarded")
    assert (status["phase"], status["attempt"]) == ("Running", 1), status
