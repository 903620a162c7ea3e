"""What cannot work is refused or ends at once, with a sentence that says what is wrong and what to do."""

from __future__ import annotations

import json
import subprocess

import pytest

from tests.support.training import Training
from tests.support.waiting import wait_for
from tools.kubectl import Kubectl
from tools.quickstart.follow import condition

QUICK = {"rounds": 2, "label": "arr_delay"}


def data(url: str) -> dict[str, object]:
    return {"train": {"parquet": {"url": url}}}


def assert_readable(message: str) -> None:
    assert "Traceback" not in message
    assert message.strip()
    assert message == message.strip()
    assert len(message) < 1500


@pytest.mark.e2e(seconds=60)
def test_data_that_cannot_be_read_fails_once_and_says_why(training: Training) -> None:
    (training.volume / "words.parquet").write_text("these are words, not Parquet")
    training.submit("no-column", nodes=1, xgboost={"rounds": 2, "label": "arr_delya"})
    training.submit("no-file", nodes=1, xgboost=QUICK, data=data("file:///data/flights/none/*.parquet"))
    for name in ("no-column", "no-file"):
        failed = training.failure(name)
        assert failed["reason"] == "DataNotReadable", failed
        assert_readable(failed["message"])
        assert training.status(name)["attempt"] == 1
        assert training.status(name)["restarts"] == 0
    column = training.failure("no-column")["message"]
    assert "arr_delya" in column
    assert "arr_delay" in column
    assert "/data/flights/none/" in training.failure("no-file")["message"]
    training.submit("not-parquet", nodes=1, xgboost=QUICK, data=data("file:///data/words.parquet"))
    failed = training.failure("not-parquet")
    assert failed["reason"] == "DataNotReadable", failed
    assert "words.parquet" in failed["message"]
    assert_readable(failed["message"])


@pytest.mark.e2e(seconds=30)
def test_another_runs_result_is_not_overwritten(training: Training) -> None:
    training.submit("first", nodes=1, xgboost=QUICK)
    assert condition(training.ended("first"), "Complete")["status"] == "True"
    before = (training.output("first") / "model.ubj").read_bytes()
    training.submit("second", nodes=1, xgboost=QUICK, output={"url": "file:///data/models/first"})
    failed = training.failure("second")
    assert failed["reason"] == "OutputExists", failed
    assert_readable(failed["message"])
    assert (training.output("first") / "model.ubj").read_bytes() == before


@pytest.mark.e2e(seconds=15)
def test_what_no_pool_can_serve_is_told_without_a_pod(training: Training) -> None:
    training.submit("too-large", nodes=3)
    failed = training.failure("too-large", seconds=30)
    assert failed["reason"] == "TooLarge", failed
    assert "maxNodes" in failed["message"]
    training.submit("typo", xgboost={**QUICK, "params": {"max_dept": 3}})
    failed = training.failure("typo", seconds=30)
    assert failed["reason"] == "BadHyperParameter", failed
    assert "max_depth" in failed["message"]
    training.submit("homeless", computePool="nowhere")
    waiting = wait_for(
        "word that the pool is missing",
        lambda: training.status("homeless").get("queue", {}).get("reason") and training.status("homeless"),
        seconds=30,
        every=0.3,
    )
    assert waiting["queue"]["reason"] == "PoolNotFound"
    assert "nowhere" in waiting["queue"]["message"]
    assert waiting["phase"] == "Queued"
    assert not any(training.pods(name) for name in ("too-large", "typo", "homeless"))


@pytest.mark.e2e(seconds=5)
@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"nodez": 2}, "nodez"),
        ({"nodes": "two"}, "nodes"),
        ({"catboost": {"label": "x"}}, "catboost"),
        ({"xgboost": None}, "xgboost"),
        ({"data": {"eval": {"parquet": {"url": "file:///data/x"}}}}, "train"),
        ({"output": {"url": "/tmp/model"}}, "volume"),
    ],
)
def test_kubectl_apply_refuses(cluster: Kubectl, change: dict[str, object], words: str) -> None:
    spec = {
        "computePool": "tests",
        "xgboost": QUICK,
        "data": data("file:///data/flights/train/*.parquet"),
        "output": {"url": "file:///data/models/refused"},
        "volumes": [{"name": "data", "persistentVolumeClaim": {"claimName": "flights"}}],
        "volumeMounts": [{"name": "data", "mountPath": "/data"}],
        **change,
    }
    manifest = {
        "apiVersion": "mlpools.dev/v1alpha1",
        "kind": "TrainingJob",
        "metadata": {"name": "refused"},
        "spec": {key: value for key, value in spec.items() if value is not None},
    }
    done = subprocess.run(
        cluster.command("apply", "-f", "-"),
        input=json.dumps(manifest),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode
    assert words in done.stderr
    assert cluster.get("trainingjob", "refused") is None
