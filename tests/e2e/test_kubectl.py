"""``kubectl mlpools`` on a real cluster: what only a kubelet can give."""

from __future__ import annotations

import filecmp
import json
import signal
import tarfile
import urllib.error
import urllib.request
from base64 import b64encode
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.support.plugin import Person
from tests.support.training import Training
from tools.kubectl import Kubectl

PLANTED = "h0rse-battery/staple="
SAYS = """
import base64, os
secret = os.environ["PASSWORD"]
print("logging in with", secret, "or", base64.b64encode(secret.encode()).decode())
print("and here is the last line")
"""
NOTEBOOK = {
    "apiVersion": "mlpools.dev/v1alpha1",
    "kind": "NotebookRuntime",
    "metadata": {"name": "alice"},
    "spec": {"computePool": "opened", "storage": {"size": "1Gi"}, "idleSeconds": 0},
}


@pytest.mark.full
@pytest.mark.e2e(seconds=40)
def test_a_job_is_followed_fetched_and_packed_up(
    training: Training, cluster: Kubectl, person: Person, tmp_path: Path
) -> None:
    meta = {"name": "planted"}
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": meta, "stringData": {"PASSWORD": PLANTED}}
    cluster.apply(json.dumps(secret))
    training.script("leaky", SAYS, envFrom=[{"secretRef": meta}])
    followed = person.run("logs", "leaky", "--follow")
    assert followed.exit_code == 0, followed.output
    assert "and here is the last line" in followed.stdout
    assert "TrainingJob leaky is Succeeded" in followed.stderr
    assert "and here is the last line" in person.say("logs", "leaky", "--tail=20")

    assert "result.json" in person.say("fetch", "leaky", str(tmp_path / "mine"), "--checkpoints")
    same = filecmp.dircmp(training.output("leaky"), tmp_path / "mine")
    assert "result.json" in same.same_files
    assert [same.left_only, same.right_only, same.diff_files] == [[], [], []]
    (training.output("leaky") / "result.json").unlink()
    assert "which it writes last, is not at" in person.fail(1, "fetch", "leaky", str(tmp_path / "half"))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["mine"]
    assert cluster.list("pods", selector="app.kubernetes.io/name=mlpools-fetch") == []

    bundle = tmp_path / "bundle.tar.gz"
    person.say("debug", "leaky", f"--file={bundle}")
    with tarfile.open(bundle) as archive:
        files = {it.name: archive.extractfile(it).read().decode() for it in archive}  # type: ignore[union-attr]
    whole = "\n".join([*files, *files.values()])
    assert PLANTED not in whole
    assert b64encode(PLANTED.encode()).decode() not in whole
    [log] = [text for name, text in files.items() if "/logs/" in name and name.endswith("-main.log")]
    assert "logging in with <redacted> or <redacted>" in log
    assert "leaky" in files["bundle/operator.log"]
    assert "Complete" in files["bundle/events.txt"]


def status_of(url: str) -> int:
    try:
        with urllib.request.urlopen(url) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code


@pytest.mark.full
@pytest.mark.e2e(seconds=40)
def test_a_notebook_is_opened_until_ctrl_c_or_its_stop_and_started_again(
    training: Training, cluster: Kubectl, person: Person
) -> None:
    training.make_pool("opened", instance={"cpu": "1", "memory": "2Gi"}, maxNodes=1)
    cluster.apply(json.dumps(NOTEBOOK))
    try:
        with person.opened("alice") as (url, process):
            token = urlsplit(url).query
            assert status_of(url.replace("/?", "/api/kernels?")) == 200
            assert status_of(url.replace(f"/?{token}", "/api/kernels")) == 403
            process.send_signal(signal.SIGINT)
            assert process.wait(30) == 0
        with person.opened("alice") as (url, process):
            person.say("stop", "nb/alice")
            person.say("wait", "nb/alice", "--for=phase=Stopped", "--timeout=2m")
            assert process.wait(60) == 1
            assert process.stderr is not None
            assert "broke off. NotebookRuntime alice is Stop" in process.stderr.read()
        assert "set suspend to false to start it" in person.fail(3, "open", "alice")
        person.say("start", "nb/alice")
        person.say("wait", "nb/alice", "--timeout=3m")
        with person.opened("alice") as (url, _):
            assert status_of(url.replace("/?", "/api/kernels?")) == 200
    finally:
        cluster.delete("notebookruntime", "alice")
