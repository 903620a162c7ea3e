"""A notebook and the runs of its document before a real API server; the test plays what runs in pods."""

from __future__ import annotations

import time
from typing import Any

import pytest

from mlpools.contract.ends import Exit, Final
from mlpools.contract.reports import Activity
from tests.support.bench import Bench
from tests.support.kube import Object
from tests.support.manifests import manifest
from tests.support.rank_0 import rank_0
from tests.support.waiting import wait_for

pytestmark = pytest.mark.integration

CLAIM, POLICY = "nb-alice-workspace", "nb-alice-runs"
FAILED = Final(Exit.USER_CODE, rank=0, message="Rank 0: KeyError in cell 7, line 3, of daily.ipynb: 'delay'.")


def runs(bench: Bench) -> list[Object]:
    return list(bench.kube.list("TrainingJob", bench.namespace))


def said(bench: Bench, name: str) -> dict[str, Any]:
    conditions = bench.job("alice").get("status", {}).get("conditions", ())
    return next((it for it in conditions if it["type"] == name), {})


def test_runs_and_the_notebook_take_turns_also_with_an_operator_that_was_killed(bench: Bench) -> None:
    notebooks = bench.of("NotebookRuntime")
    operator = bench.operator().wait_ready()
    schedule = {"cron": "* * * * *", "notebook": "daily.ipynb", "parameters": {"a": {"b": [1, None]}}}
    fields = {"computePool": bench.pool, "schedule": schedule, "storage": {"fsGroup": 3000}}
    with rank_0() as pod:
        pod.value = Activity(attempt=1, serving=True, unused_seconds=0.0, untouched_seconds=0.0)
        bench.kube.create(manifest("NotebookRuntime", "alice", fields), bench.namespace)
        bench.kubelet.run(bench.kubelet.pods("alice", 1, 1), pod.address)
        notebooks.phase("alice", "Running")
        wait_for("a run that waits", lambda: said(notebooks, "Scheduled").get("reason") == "NotebookRuns", 90)
        assert runs(bench) == []

        notebooks.change("alice", suspend=True)
        wait_for(
            "a stopped notebook",
            lambda: bench.kubelet.terminate(Final(Exit.PREEMPTED, rank=0)) or said(notebooks, "Stopped"),
            40,
        )
        (made,) = wait_for("the run", lambda: runs(bench), 60)
        name = made["metadata"]["name"]
        operator.kill()
        bench.operator().wait_ready()
        (of_run,) = bench.kubelet.pods(name, 1, 1)
        claims = {
            it["persistentVolumeClaim"]["claimName"]
            for it in of_run["spec"]["volumes"]
            if len(it) > 1 and "persistentVolumeClaim" in it
        }
        assert claims == {CLAIM}
        assert of_run["spec"]["securityContext"]["fsGroup"] == 3000
        policy = bench.kube.get("NetworkPolicy", POLICY, bench.namespace)
        assert policy["spec"]["podSelector"]["matchLabels"].items() <= of_run["metadata"]["labels"].items()
        assert made["spec"]["script"]["args"] == ["daily.ipynb", 'a={"b": [1, null]}']
        bench.kubelet.run([of_run], pod.address)

        notebooks.change("alice", suspend=False, schedule={"suspend": True})
        wait_for(
            "a notebook that waits",
            lambda: said(notebooks, "Ready").get("reason") == "WorkspaceInUse",
            30,
        )
        assert name in said(notebooks, "Ready")["message"]
        bench.kubelet.finish([of_run], FAILED, code=int(Exit.USER_CODE))
        failed = bench.phase(name, "Failed")["status"]
        assert failed["reason"] == "UserCodeError"
        assert (failed["attempt"], failed["restarts"]) == (1, 0), "what a cell did is not done again"
        bench.kubelet.pods("alice", 2, 1)
        assert [it["metadata"]["uid"] for it in runs(bench)] == [made["metadata"]["uid"]]
        assert "run" not in bench.kube.get("NotebookRuntime", "alice", bench.namespace)["status"]


def test_what_cannot_run_is_refused_or_said_before_it_is_due(bench: Bench) -> None:
    notebooks = bench.of("NotebookRuntime")
    bench.operator().wait_ready()
    schedule = {"cron": f"{time.gmtime().tm_min} 3 1 1 *", "notebook": "daily.ipynb"}
    fields = {"computePool": bench.pool, "suspend": True, "schedule": schedule}
    bench.kube.create(manifest("NotebookRuntime", "alice", fields), bench.namespace)
    wait_for("a schedule", lambda: said(notebooks, "Scheduled").get("status") == "True")
    volumes = [{"name": CLAIM, "emptyDir": {}}]
    notebooks.change("alice", volumes=volumes, volumeMounts=[{"name": CLAIM, "mountPath": "/more"}])
    wait_for("words", lambda: "rename it" in said(notebooks, "Scheduled").get("message", ""))
    for wrong in ("../daily.ipynb", "/workspace/daily.ipynb", "daily.py", "a/../../b.ipynb"):
        with pytest.raises(Exception, match=r"spec\.schedule\.notebook"):
            notebooks.change("alice", schedule={"notebook": wrong})
