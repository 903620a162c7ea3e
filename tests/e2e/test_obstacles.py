"""What the cluster does not give: memory, an image, the pods of half a gang."""

from __future__ import annotations

import json
import re

import pytest

from tests.support import screen
from tests.support.training import Training
from tests.support.waiting import wait_for
from tools import images
from tools.kubectl import Kubectl
from tools.quickstart.follow import condition

ABSENT = "localhost/mlpools-absent:1"
#: Its histograms alone take gigabytes.
GREEDY = {"rounds": 20, "label": "arr_delay", "params": {"max_depth": 16, "max_bin": 65536}}


@pytest.mark.full
@pytest.mark.e2e(seconds=75)
def test_no_memory_no_image_and_no_quota_are_told_each_in_one_sentence(
    training: Training, guests: Training, cluster: Kubectl
) -> None:
    quota = {
        "apiVersion": "v1",
        "kind": "ResourceQuota",
        "metadata": {"name": "one-pod"},
        "spec": {"hard": {"pods": "1"}},
    }
    training.make_pool("unfit", maxNodes=4)
    training.make_pool("tiny", instance={"cpu": "500m", "memory": "256Mi"})
    training.short("imageless", 2, computePool="unfit", maxRestarts=0, runtime={"image": ABSENT})
    training.submit("greedy", nodes=1, computePool="tiny", xgboost=GREEDY)
    cluster.apply(json.dumps(quota), namespace=guests.namespace)
    try:
        guests.short("halved", 2, nodes=2, computePool="unfit")
        _half_a_gang(guests, cluster)
    finally:
        cluster.delete("resourcequota", "one-pod", namespace=guests.namespace)
    _out_of_memory(training, cluster)
    _no_image(training, cluster)
    guests.completed("halved")


def _half_a_gang(guests: Training, cluster: Kubectl) -> None:
    status = guests.until("halved", phase="Queued", reason="PodsRefused", seconds=60)
    said = condition(status, "Admitted")["message"]
    assert "exceeded quota: one-pod, requested: pods=1, used: pods=1, limited: pods=1" in said, said
    assert re.search(r"Its nodes are free for others; it queues again in \d+ s\.$", said), said
    assert (status["attempt"], status["restarts"]) == (1, 0)
    wait_for("end of the half gang", lambda: not guests.at_work("halved"), 90, every=0.3)
    lines = screen.table(cluster, "trainingjob", "halved", f"--namespace={guests.namespace}")
    assert lines[1].startswith("halved unfit"), lines


def _out_of_memory(training: Training, cluster: Kubectl) -> None:
    failed = training.failure("greedy")
    assert failed["reason"] == "OutOfMemory", failed
    said = screen.plain(failed["message"])
    assert said.startswith("Rank 0 (pod greedy-1-0-xxxxx on node"), said
    assert "256Mi" in said
    assert said.endswith(
        "Not retried: the same memory would run out again: use more nodes, "
        "or a pool with more memory per node."
    ), said
    assert training.status("greedy")["restarts"] == 0
    assert screen.events(cluster, "TrainingJob", "greedy") == [f"Warning OutOfMemory {said}"]


def _no_image(training: Training, cluster: Kubectl) -> None:
    failed = training.failure("imageless")
    assert failed["reason"] == "RestartsExhausted", failed
    said = screen.plain(failed["message"])
    assert said.startswith("ImagePullFailed: rank 0 (pod imageless-1-0-xxxxx on node"), said
    assert ABSENT in said
    assert said.endswith("Not retried since maxRestarts is 0."), said
    lines = screen.table(cluster, "trainingjob", "imageless")
    assert lines[1] == "imageless unfit Failed 0/1 RestartsExhausted AGE"
    assert screen.events(cluster, "TrainingJob", "imageless") == [f"Warning RestartsExhausted {said}"]


@pytest.mark.full
@pytest.mark.e2e(seconds=45)
def test_an_init_container_that_fails_and_one_without_an_image_are_named(
    training: Training, built: dict[str, images.Archive]
) -> None:
    check = {"name": "check", "image": ABSENT}
    training.make_pool("unpulled", podTemplate={"spec": {"initContainers": [check]}})
    mine = built["runtime"].reference
    fails = {"name": "check", "image": mine, "command": ["sh", "-c", "echo no such share >&2; exit 3"]}
    training.make_pool("unchecked", podTemplate={"spec": {"initContainers": [fails]}})
    training.short("checked", 2, computePool="unchecked", maxRestarts=0)
    training.short("unpulled", 2, computePool="unpulled", maxRestarts=0)
    failed = training.failure("checked")
    said = screen.plain(failed["message"])
    assert said.startswith("InitContainerFailed: rank 0 (pod checked-1-0-xxxxx on node"), said
    assert "its init container 'check' ended with exit code 3: no such share" in said
    waits = training.until("unpulled", phase="Starting", reason="ImagePullFailed")
    said = condition(waits, "PodsReady")["message"]
    assert said.startswith("init container 'check': "), said
    assert ABSENT in said
