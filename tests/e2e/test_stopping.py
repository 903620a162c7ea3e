"""Jobs that are stopped on purpose: suspended and resumed, cancelled, out of time."""

from __future__ import annotations

import pytest

from tests.support import screen
from tests.support.training import Training
from tools.kubectl import Kubectl
from tools.quickstart.follow import condition


@pytest.mark.e2e(seconds=40)
def test_a_suspended_job_frees_its_nodes_and_goes_on_where_it_was(
    training: Training, cluster: Kubectl
) -> None:
    training.short("rests", 300, nodes=2)
    training.trains("rests", rounds=20)
    training.change("rests", suspend=True)
    status = training.until("rests", phase="Suspended", seconds=60)
    assert condition(status, "Suspended")["status"] == "True"
    assert training.at_work("rests") == []
    saved = training.stopped_after("rests", 1)
    assert status["output"]["checkpointStep"] == saved
    assert saved >= status["progress"]["step"]
    lines = screen.table(cluster, "trainingjob", "rests")
    assert lines[1] == "rests tests Suspended 0/2 PROGRESS Suspended AGE"
    assert "It is suspended (spec.suspend); set suspend to false to let it go on." in screen.description(
        cluster, "tj", "rests"
    )

    training.change("rests", suspend=False)
    status = training.completed("rests")
    assert (status["attempt"], status["restarts"], status["progress"]["step"]) == (2, 0, 300), status
    assert training.resumed_at("rests") == saved
    assert training.first_round("rests", 2) == saved + 1
    said = screen.events(cluster, "TrainingJob", "rests")
    assert said[:2] == [
        "Normal Suspended It is suspended (spec.suspend); set suspend to false to let it go on.",
        "Normal Resumed It was resumed, and queues with its age.",
    ]
    assert said[2].startswith("Normal Complete Trained 300 rounds on 2 nodes")


@pytest.mark.e2e(seconds=40)
def test_a_cancelled_job_and_one_out_of_time_save_their_work_and_free_their_nodes(
    training: Training, cluster: Kubectl
) -> None:
    training.endless("unwanted")
    training.make_pool("timed", maxNodes=1)
    training.endless("overdue", computePool="timed", activeDeadlineSeconds=25)
    training.trains("unwanted")
    training.change("unwanted", cancel=True)
    status = training.until("unwanted", phase="Cancelled", seconds=60)
    assert condition(status, "Failed")["reason"] == "Cancelled"
    assert condition(status, "Ready")["status"] == "True"
    assert status["output"]["checkpointStep"] == training.stopped_after("unwanted", 1)
    assert screen.table(cluster, "trainingjob", "unwanted")[1] == (
        "unwanted tests Cancelled 0/1 PROGRESS Cancelled AGE"
    )

    failed = training.failure("overdue", seconds=90)
    assert (failed["reason"], failed["message"]) == (
        "DeadlineExceeded",
        "It has held its nodes for activeDeadlineSeconds (25 s). A new job with a longer deadline, "
        "the same output and output.mode Resume goes on from the newest checkpoint.",
    )
    assert condition(training.status("overdue"), "Stalled")["status"] == "True"
    assert [
        word for name in ("unwanted", "overdue") for word in screen.events(cluster, "TrainingJob", name)
    ] == [
        "Normal Cancelled It was cancelled (spec.cancel).",
        f"Warning DeadlineExceeded {failed['message']}",
    ]
    assert training.at_work("unwanted") == training.at_work("overdue") == []
