"""Runs of a notebook's document in a simulated cluster: when they are made, of what, and whose turn it is."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from mlpools_operator.api.v1alpha1 import parse
from mlpools_operator.controller.store import Key
from mlpools_operator.domain import naming
from mlpools_operator.domain.conditions import reason_of
from mlpools_operator.domain.notebook import outward
from mlpools_operator.domain.notebook.status import Draft
from mlpools_operator.domain.observed import Resource
from mlpools_operator.domain.plan import Plan
from tests.support.api_server import Json, condition
from tests.support.domain_run import NAMESPACE, Run
from tests.support.operator_sim import WATCHED
from tests.support.scheduled_notebook import (
    CLAIM,
    KEY,
    KIND,
    ask_to_start,
    names,
    runs,
    set_schedule,
    submit,
    told,
    with_workspace,
)
from tests.support.schedules import START

FIRST = "nb-alice-202611230001"
POLICY = ("NetworkPolicy", NAMESPACE, naming.notebook_runs("alice"))
LONG = 100_000


def due(run: Run, minute: int = 1, rounds: int = 6) -> None:
    """Let a minute come, and everybody work for a few seconds."""
    run.clock.now = START + 60 * minute
    run.go(rounds, 0.5)


def work(run: Run, *, but: str) -> None:
    """Let the operator and everybody but one work once."""
    run.operator.pass_all()
    for name, act in run.world.actors.items():
        if name != but:
            act()


def scheduled(run: Run) -> Json:
    return next((it for it in run.status("alice")["conditions"] if it["type"] == "Scheduled"), {})


def last(run: Run) -> str:
    """The last event about the notebook, in one word."""
    return [event.reason for name, event in run.operator.events if name == "alice"][-1]


def test_a_run_is_a_job_with_what_the_notebook_has() -> None:
    run = submit(
        parameters={"day": "{date}", "rounds": 20, "more": {"at": ["{time}", None]}},
        activeDeadlineSeconds=600,
        timeZone="Europe/Berlin",
        steps=LONG,
    )
    shared: dict[str, Any] = {
        "runtime": {"image": "registry/ml/notebook:1", "packages": ["polars==1.2"]},
        "command": ["serve"],
        "env": [{"name": "TEAM", "value": "a"}],
        "serviceAccountName": "storage",
        "volumes": [{"name": "data", "persistentVolumeClaim": {"claimName": "flights"}}],
        "volumeMounts": [{"name": "data", "mountPath": "/data"}],
        "storage": {"runAsUser": 2000, "fsGroup": None},
    }
    run.change("alice", **shared)
    due(run)
    (made,) = runs(run)
    spec, metadata = made["spec"], made["metadata"]
    assert metadata["name"] == FIRST
    assert metadata["labels"][naming.SCHEDULE] == "alice"
    (owner,) = metadata["ownerReferences"]
    assert (owner["kind"], owner["name"], owner["controller"]) == (KIND, "alice", True)
    assert spec["script"] == {
        "module": "mlpools.notebook.headless",
        "args": ["daily.ipynb", 'day="2026-11-23"', "rounds=20", 'more={"at": ["0101", null]}'],
    }
    assert spec["output"] == {"url": f"file:///workspace/runs/{FIRST}"}
    for field in ("runtime", "env", "serviceAccountName"):
        assert spec[field] == shared[field]
    assert spec["volumes"] == [
        *shared["volumes"],
        {"name": CLAIM, "persistentVolumeClaim": {"claimName": CLAIM}},
    ]
    assert spec["volumeMounts"][1:] == [{"name": CLAIM, "mountPath": "/workspace"}]
    assert (spec["nodes"], spec["activeDeadlineSeconds"], spec["hangTimeoutSeconds"]) == (1, 600, 0)
    assert parse("TrainingJob", spec).framework == "script"
    (pod,) = run.pods(FIRST)
    assert pod["spec"]["securityContext"]["runAsUser"] == 2000
    assert "fsGroup" not in pod["spec"]["securityContext"]
    assert run.status("alice")["run"]["uid"] == metadata["uid"]
    assert scheduled(run)["message"] == "The next run is due at 2026-11-23 01:02 Europe/Berlin."


def test_runs_go_on_while_the_notebook_rests_and_are_counted_like_those_of_other_kinds() -> None:
    run = submit(historyLimit=2)
    for minute in range(1, 5):
        due(run, minute, 20)
    assert len(names(run)) == 2
    assert told(run)["last"] == "2026-11-23T00:04:00Z"
    assert told(run)["active"] == []
    assert run.status("alice")["phase"] == "Stopped"
    assert "run" not in run.status("alice")
    before = run.world.version
    run.go(3, 0.1)
    assert run.world.version == before, "a notebook that waits for its next run is written again and again"


def test_only_the_suspension_of_the_schedule_holds_runs_back() -> None:
    run = submit(suspend=True)
    due(run, 2)
    assert names(run) == []
    assert scheduled(run)["reason"] == "Suspended"
    assert "next" not in told(run)
    set_schedule(run, suspend=False)
    due(run, 2)
    assert names(run) == [], "what was missed while it was suspended is not made up"
    due(run, 3)
    assert len(names(run)) == 1


def test_no_run_is_made_while_the_notebook_holds_a_node() -> None:
    run = submit(stopped=False)
    due(run)
    assert names(run) == []
    assert (scheduled(run)["status"], scheduled(run)["reason"]) == ("False", "NotebookRuns")
    assert last(run) == "NotebookRuns"
    assert run.status("alice")["phase"] == "Running"
    run.change("alice", suspend=True)
    run.go(10, 0.5)
    assert names(run) == [FIRST]
    assert condition({"status": run.status("alice")}, "Stopped")


def test_a_notebook_that_was_just_admitted_has_the_workspace() -> None:
    run = submit(cron="1 0 * * *")
    ask_to_start(run)
    for _ in range(4):  # nobody but the operator works, so it has no pod yet
        run.operator.pass_all()
    assert condition({"status": run.status("alice")}, "Admitted")
    run.clock.now = START + 60
    run.operator.pass_all()
    assert scheduled(run)["reason"] == "NotebookRuns"
    assert "run" not in run.status("alice")
    run.until("alice", "Running")


def test_a_stopped_notebook_has_the_workspace_until_its_pod_has_ended() -> None:
    run = submit(stopped=False, cron="1 0 * * *")
    run.change("alice", suspend=True)
    while run.status("alice")["phase"] != "Stopped":  # its machine tells nothing
        work(run, but="kubelets")
        run.clock.advance(10)
    run.clock.now = max(run.clock.now, START + 60)
    work(run, but="kubelets")
    assert scheduled(run)["reason"] == "NotebookRuns"
    assert names(run) == []
    run.go(40)
    assert names(run) == [FIRST]


def test_a_notebook_that_waits_for_a_run_does_not_keep_its_node_from_it() -> None:
    run = submit(cron="1 0 * * *", max_nodes=1)
    run.clock.now = START + 60
    run.operator.pass_notebook(KEY)
    ask_to_start(run)
    run.until("alice", "Running", 100)
    assert condition(run.world.get("TrainingJob", NAMESPACE, FIRST), "Complete")


def test_after_the_end_of_a_run_the_notebook_says_that_it_waited_for_it_until_its_pool_has_looked() -> None:
    run = submit(cron="1 0 * * *", steps=LONG)
    due(run)
    ask_to_start(run)
    run.go(3)
    run.world.delete("TrainingJob", NAMESPACE, FIRST)
    for _ in range(60):
        for act in run.world.actors.values():
            act()
        run.clock.advance(1)
    run.operator.hear(*WATCHED)
    run.operator.pass_notebook(KEY)
    status = run.status("alice")
    assert "run" not in status
    assert f"Its scheduled run {FIRST} has the workspace" in status["queue"]["message"]
    run.until("alice", "Running")


def test_a_time_that_the_notebook_outlasted_counts_as_missed_and_says_why() -> None:
    run = submit(stopped=False, cron="1 0 * * *", startingDeadlineSeconds=60)
    due(run)
    due(run, 3)
    assert names(run) == []
    assert "missed by more than startingDeadlineSeconds (60 s)" in told(run)["message"]
    assert "the notebook itself has the workspace" in told(run)["message"]
    assert last(run) == "RunMissed"
    assert scheduled(run)["status"] == "True"


def test_a_notebook_that_is_started_meanwhile_waits_and_says_for_which_run() -> None:
    run = submit(cron="1 0 * * *", steps=30)
    due(run)
    ask_to_start(run)
    run.go(6, 0.5)
    status = run.status("alice")
    assert (status["phase"], status["reason"]) == ("Queued", "WorkspaceInUse")
    assert f"Its scheduled run {FIRST} has the workspace" in status["queue"]["message"]
    assert with_workspace(run) == [FIRST]
    run.until("alice", "Running", 100)
    assert condition(run.world.get("TrainingJob", NAMESPACE, FIRST), "Complete")


def test_it_waits_for_the_pods_of_a_run_that_somebody_deleted() -> None:
    run = submit(cron="1 0 * * *", steps=LONG)
    due(run)
    ask_to_start(run)
    run.world.delete("TrainingJob", NAMESPACE, FIRST)
    for _ in range(6):  # its pod takes its time to end
        work(run, but="kubelets")
    assert names(run) == []
    assert with_workspace(run) == [FIRST]
    assert run.status("alice")["reason"] == "WorkspaceInUse"
    run.until("alice", "Running")


def test_forbid_passes_over_and_replace_follows_once_the_one_before_has_let_go() -> None:
    run = submit(steps=LONG)
    due(run)
    due(run, 2)
    assert (names(run), last(run)) == ([FIRST], "RunSkipped")
    set_schedule(run, concurrencyPolicy="Replace")
    due(run, 3, 30)
    assert names(run) == ["nb-alice-202611230003"]
    assert with_workspace(run) == ["nb-alice-202611230003"]


def test_allow_waits_since_one_pod_alone_may_have_the_workspace() -> None:
    run = submit(concurrencyPolicy="Allow", steps=LONG)
    due(run)
    due(run, 2)
    assert names(run) == [FIRST]
    assert scheduled(run)["reason"] == "WorkspaceInUse"
    run.world.delete("TrainingJob", NAMESPACE, FIRST)
    run.go(20)
    assert names(run) == ["nb-alice-202611230002"]


def test_a_notebook_that_waited_for_a_run_starts_before_the_next_one() -> None:
    run = submit(concurrencyPolicy="Allow", steps=10)
    due(run)
    due(run, 2)
    ask_to_start(run)
    run.until("alice", "Running", 100)
    assert names(run) == [FIRST]
    assert scheduled(run)["reason"] == "NotebookRuns"


def test_the_end_of_a_deleted_runs_pods_is_looked_for() -> None:
    run = submit(cron="1 0 * * *", steps=LONG)
    due(run)
    run.world.delete("TrainingJob", NAMESPACE, FIRST)
    run.operator.hear("TrainingJob")
    again = run.operator.pass_notebook(KEY)
    assert again is not None
    assert again <= 5


@pytest.mark.parametrize("schedule", [None, {"cron": "1 0 * * *", "notebook": "daily.ipynb"}])
def test_a_job_that_a_deleted_run_left_has_the_workspace_as_long_as_it_may_make_pods(schedule: Any) -> None:
    run = submit(cron="1 0 * * *", steps=LONG)
    run.clock.now = START + 60
    for _ in range(10):  # nobody but the operator works, so its Job has no pod
        run.operator.pass_all()
    run.world.delete("TrainingJob", NAMESPACE, FIRST)
    run.change("alice", schedule=schedule)
    ask_to_start(run)
    assert len(run.world.list("Job")) == 1
    assert with_workspace(run) == []
    for _ in range(3):  # the garbage collector takes its time
        run.operator.pass_all()
    assert run.status("alice")["reason"] == "WorkspaceInUse"
    run.until("alice", "Running")


def test_runs_go_with_their_notebook() -> None:
    run = submit(steps=LONG)
    due(run)
    assert with_workspace(run) == [FIRST]
    run.delete("alice")
    due(run, 3, 20)
    assert names(run) == []
    assert with_workspace(run) == []


def test_a_notebook_that_is_being_deleted_makes_no_run() -> None:
    run = submit()
    run.clock.now = START + 60
    notebook = run.operator.store.resource(KEY)
    assert notebook is not None
    assert run.operator.plan_notebook(notebook) != Plan()
    going = replace(notebook, meta=replace(notebook.meta, deleting=True))
    assert run.operator.plan_notebook(going) == Plan()


def test_a_run_of_which_the_status_says_nothing_has_the_workspace_too() -> None:
    run = submit(cron="1 0 * * *", steps=LONG)
    due(run)
    status = {key: value for key, value in run.status("alice").items() if key != "run"}
    run.world.replace_status(*KEY, status)
    ask_to_start(run)
    run.go(6, 0.5)
    assert run.status("alice")["run"]["name"] == FIRST
    assert with_workspace(run) == [FIRST]


def test_somebody_elses_policy_does_not_keep_a_notebook_from_saying_how_it_stands() -> None:
    run = submit(cron="1 0 * * *", steps=12)
    due(run)
    run.world.delete(*POLICY)
    metadata = {"name": POLICY[2], "namespace": NAMESPACE, "labels": {}}
    run.world.create({"kind": "NetworkPolicy", "metadata": metadata, "spec": {}})
    ask_to_start(run)
    run.go(4)
    assert run.status("alice")["reason"] == "WorkspaceInUse"
    run.until("alice", "Running", 100)
    assert condition(run.world.get("TrainingJob", NAMESPACE, FIRST), "Complete")


def test_a_run_may_connect_to_where_the_notebook_may() -> None:
    run = submit(steps=LONG, cron="1 0 * * *")
    run.change("alice", egress=["10.20.0.0/16"])
    due(run)
    spec = run.world.get(*POLICY)["spec"]
    (pod,) = run.pods(FIRST)
    wanted = spec["podSelector"]["matchLabels"]
    assert wanted.items() <= pod["metadata"]["labels"].items()
    assert spec["policyTypes"] == ["Egress"]
    assert {"to": [{"ipBlock": {"cidr": "10.20.0.0/16"}}]} in spec["egress"]
    run.change("alice", egress=[])
    run.go(3)
    assert {"to": [{"ipBlock": {"cidr": "10.20.0.0/16"}}]} not in run.world.get(*POLICY)["spec"]["egress"]


def test_a_notebook_that_never_ran_has_nothing_to_run() -> None:
    run = Run()
    run.clock.now = START
    schedule = {"cron": "* * * * *", "notebook": "daily.ipynb"}
    run.submit("alice", KIND, suspend=True, schedule=schedule)
    run.go(2)
    due(run)
    assert names(run) == []
    assert scheduled(run)["reason"] == "NoWorkspace"


def test_addresses_are_looked_up_for_a_run_too() -> None:
    run = submit(steps=LONG, cron="1 0 * * *")
    run.change("alice", egress=["files.example.com:443"])
    run.go(1)
    store = run.operator.store
    pool = store.resource(Key("ComputePool", "", "cpu"))

    def names() -> set[str]:
        notebook = store.resource(KEY)
        assert notebook is not None
        return set(outward.names(notebook, pool, run.clock(), run.operator.defaults))

    assert names() == set()
    due(run)
    assert "files.example.com" in names()


def test_no_run_is_made_without_the_rules_of_its_pool() -> None:
    run = submit(cron="1 0 * * *")
    place = ("ComputePool", "", "cpu")
    spec = run.world.get(*place)["spec"]
    run.world.replace_spec(*place, {**spec, "maxNodes": "many"})
    due(run)
    assert names(run) == []
    assert scheduled(run)["reason"] == "PoolNotFound"
    run.world.replace_spec(*place, spec)
    run.go(10)
    assert names(run) == [FIRST]
    assert run.world.get(*POLICY)


def test_a_taken_name_is_told_and_the_notebook_may_start_meanwhile() -> None:
    run = submit(cron="1 0 * * *")
    run.submit(FIRST, nodes=1)
    due(run)
    assert scheduled(run)["reason"] == "NameConflict"
    assert "run" not in run.status("alice")
    tries = run.operator.writes["create", "TrainingJob"]
    run.go(10, 1)
    assert run.operator.writes["create", "TrainingJob"] == tries, "it is tried again at once"
    ask_to_start(run)
    run.until("alice", "Running", 120)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"timeZone": "Europe/Berln"}, "there is no time zone of this name"),
        ({"parameters": {"for": 1}}, "variables of Python"),
        ({"parameters": {"text": "a" * 4000}}, "at most 3800 characters"),
    ],
)
def test_a_wrong_schedule_is_said_before_any_run_is_due(changes: dict[str, Any], words: str) -> None:
    run = submit()
    set_schedule(run, **changes)
    run.go(2)
    status = run.status("alice")
    stalled = condition({"status": status}, "Stalled")
    assert words in stalled["message"]


def test_a_run_that_the_api_would_refuse_is_said_before_any_is_due() -> None:
    run = submit()
    mount = [{"name": "data", "mountPath": "/data"}]
    other = {"name": CLAIM, "persistentVolumeClaim": {"claimName": "other"}}
    volumes = [{"name": "data", "persistentVolumeClaim": {"claimName": "flights"}}, other]
    run.change("alice", volumes=volumes, volumeMounts=mount)
    run.go(2)
    assert scheduled(run)["reason"] == "InvalidSpec"
    due(run)
    assert "run" not in run.status("alice")
    assert names(run) == []


def test_without_a_schedule_nothing_is_said_of_one() -> None:
    run = submit()
    due(run, 1, 20)
    run.change("alice", schedule=None)
    run.go(3)
    status = run.status("alice")
    assert "schedule" not in status
    notebook = Resource(run.operator.store.resource(KEY).meta, {}, status)  # type: ignore[union-attr]
    assert reason_of(Draft(notebook, run.clock()).before.conditions, "Scheduled") == ""
