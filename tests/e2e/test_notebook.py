"""A notebook on real machines: used, forgotten, stopped, and started again with its files."""

from __future__ import annotations

import pytest

from tests.support import screen
from tests.support.notebooks import TRAINING, Notebooks
from tests.support.waiting import wait_for
from tools.kubectl import Kubectl
from tools.quickstart.follow import condition


@pytest.mark.e2e(seconds=95)
def test_a_forgotten_notebook_stops_and_its_model_is_there_after_the_next_start(
    notebooks: Notebooks, cluster: Kubectl
) -> None:
    notebooks.submit("alice", idleSeconds=60)
    status = notebooks.starts("alice")
    assert status["url"] == "http://nb-alice.default.svc.cluster.local:8888/"
    with notebooks.opened("alice") as jupyter:
        assert "trained 10 rounds" in jupyter.run(jupyter.kernel(), TRAINING)
        assert jupyter.document("model.ubj")["size"] > 0

    warned = notebooks.until("alice", phase="Idle")
    assert condition(warned, "Idle")["message"].endswith("Use it, or raise idleSeconds, to keep it.")
    stopped = notebooks.until("alice", phase="Stopped")
    assert stopped["reason"] == "Idle"
    assert condition(stopped, "Ready")["status"] == "True"
    assert notebooks.at_work("alice") == []
    assert screen.table(cluster, "nb", "alice", "-o", "wide")[1].split()[:3] == [
        "alice",
        "notebooks",
        "Stopped",
    ]

    notebooks.ask_to_start("alice")
    assert notebooks.starts("alice")["attempt"] == 2
    with notebooks.opened("alice") as jupyter:
        assert jupyter.document("model.ubj")["size"] > 0


#: More than its node has, written to, so that the system has to find it.
GREED = """
open("/workspace/before.txt", "w").write("here")
held = [bytearray(b"1" * (64 << 20)) for _ in range(64)]
"""


@pytest.mark.full
@pytest.mark.e2e(seconds=45)
def test_one_that_runs_out_of_memory_serves_again_and_says_why_its_kernels_are_gone(
    notebooks: Notebooks,
) -> None:
    notebooks.submit("greedy")
    notebooks.starts("greedy")
    with notebooks.opened("greedy") as jupyter, pytest.raises(AssertionError, match="hung up"):
        jupyter.run(jupyter.kernel(), GREED)

    def told() -> bool:
        status = notebooks.status("greedy")
        message = str(condition(status, "Ready").get("message", ""))
        return status["phase"] == "Running" and message.startswith("It ran out of memory at the limit of ")

    wait_for("a notebook that tells of its memory", told)
    with notebooks.opened("greedy") as jupyter:
        assert jupyter.document("before.txt")["size"] == 4
