"""A notebook's life in a simulated cluster: started, used, forgotten, stopped, and started again."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from mlpools_operator.controller import notebooks
from mlpools_operator.domain import naming, times
from mlpools_operator.domain.job.transitions import Rested
from mlpools_operator.domain.notebook import lifecycle
from mlpools_operator.domain.plan import Plan
from mlpools_operator.domain.pods.egress import Known
from tests.support.api_server import Json, condition
from tests.support.domain_run import NAMESPACE, Run
from tests.support.operator_sim import Died, Fuse

KIND = "NotebookRuntime"
IDLE = 600


def started(**fields: Any) -> Run:
    run = Run(max_nodes=2)
    run.submit("alice", KIND, idleSeconds=IDLE, **fields)
    run.until("alice", "Running")
    return run


def forget(run: Run) -> Json:
    """Let nobody use the notebook until it has stopped."""
    for _ in range(2 * IDLE // 10):
        run.go(1, 10.0)
        if run.status("alice")["phase"] == "Stopped":
            return run.status("alice")
    raise AssertionError(run.status("alice"))


def place(kind: str) -> tuple[str, str, str]:
    names = {"PersistentVolumeClaim": naming.workspace("alice")}
    return kind, NAMESPACE, names.get(kind, naming.notebook("alice"))


def ask_to_start(run: Run) -> None:
    run.annotate("alice", naming.START_REQUESTED, times.stamp(run.clock() + 1), KIND)
    run.go(3)


def told(run: Run, name: str) -> Json:
    return condition({"status": run.status("alice")}, name)


def test_it_gets_a_node_and_everything_around_it() -> None:
    run = started()
    status = run.status("alice")
    assert status["url"] == "http://nb-alice.team-a.svc.cluster.local:8888/"
    assert status["tokenSecret"] == "nb-alice-token"
    assert run.operator.tokens == {"nb-alice-token"}
    claim = run.world.get(*place("PersistentVolumeClaim"))
    assert "ownerReferences" not in claim["metadata"]
    (pod,) = run.pods("alice")
    assert pod["metadata"]["name"] == "nb-alice-0"
    for kind in ("StatefulSet", "Service", "NetworkPolicy"):
        assert run.world.get(*place(kind))["metadata"]["ownerReferences"]
    assert status["attempt"] == 1
    assert told(run, "Ready")


def test_it_waits_for_its_turn_and_nobody_takes_its_node() -> None:
    run = Run(max_nodes=1, steps=1000, queue={"preemption": "LowerPriority"})
    run.submit("alice", KIND)
    run.until("alice", "Running")
    run.submit("urgent", nodes=1, priority=5)
    run.submit("bob", KIND)
    run.go(20)
    assert run.status("alice")["phase"] == "Running"
    said = run.operator.ledger.verdict(run.world.get(KIND, NAMESPACE, "alice")["metadata"]["uid"])
    assert said is not None
    assert not said.evict
    assert run.status("urgent")["phase"] == run.status("bob")["phase"] == "Queued"
    assert run.status("bob")["reason"] == "BehindInQueue"
    run.change("alice", suspend=True)
    run.until("urgent", "Running")
    assert run.status("alice")["phase"] == "Stopped"


def test_it_warns_stops_and_gives_its_node_back_but_keeps_its_files() -> None:
    run = started()
    run.use("alice")
    run.go(1)
    used = run.clock()
    run.go((IDLE - 250) // 10, 10.0)
    assert run.status("alice")["phase"] == "Idle"
    assert "Nobody has used it since" in told(run, "Idle")["message"]
    stops = times.seconds(run.status("alice")["idleAt"])
    assert abs(stops - used - IDLE) <= 2
    stopped = forget(run)
    assert stopped["reason"] == "Idle"
    assert abs(times.seconds(stopped["stoppedAt"]) - stops) <= 12
    run.go(1)
    assert run.pods("alice") == []
    assert run.world.list("StatefulSet") == []
    assert run.world.get(*place("PersistentVolumeClaim"))
    assert run.world.get("ComputePool", "", "cpu")["status"]["nodes"]["active"] == 0


def test_one_that_is_used_goes_on() -> None:
    run = started()
    for _ in range(5):
        run.go((IDLE - 60) // 10, 10.0)
        run.use("alice")
    run.go(1)
    status = run.status("alice")
    assert status["phase"] == "Running"
    assert abs(times.seconds(status["lastActivityTime"]) - run.clock()) <= 60


def test_news_of_use_are_one_write() -> None:
    run = started()
    run.go(10, 10.0)
    run.clock.advance(0.4)
    run.use("alice")
    run.round()
    told_first = run.status("alice")
    run.round()
    assert run.status("alice") == told_first
    assert abs(times.seconds(told_first["lastActivityTime"]) - run.clock()) <= 1
    assert times.seconds(told_first["idleAt"]) == times.seconds(told_first["lastActivityTime"]) + IDLE


def test_applying_the_manifest_again_starts_nothing_and_a_wish_does() -> None:
    run = started()
    forget(run)
    run.annotate("alice", "note", "applied again", KIND)
    run.change("alice", idleSeconds=IDLE + 1)
    run.go(10)
    assert run.status("alice")["phase"] == "Stopped"
    ask_to_start(run)
    run.until("alice", "Running")
    assert run.status("alice")["attempt"] == 2
    forget(run)
    run.go(5)
    assert run.status("alice")["phase"] == "Stopped"  # the wish is older than this stop


def test_taking_suspend_back_starts_one_that_had_stopped_for_idleness() -> None:
    run = started()
    forget(run)
    run.change("alice", suspend=True)
    run.go(2)
    assert run.status("alice")["reason"] == "Suspended"
    run.change("alice", suspend=False)
    run.until("alice", "Running")


def test_what_nobody_can_see_does_not_stop() -> None:
    run = started()
    run.hide("alice")
    run.go(2 * IDLE // 10, 10.0)
    assert run.status("alice")["phase"] == "Running"
    assert told(run, "ActivityUnknown")
    run.use("alice")
    run.go(2)
    assert not told(run, "ActivityUnknown")


def test_gpus_that_nobody_sees_and_a_disk_that_fills_up_are_told_of() -> None:
    run = started()
    uid = run.world.get(KIND, NAMESPACE, "alice")["metadata"]["uid"]
    look = run.operator.looks[uid]
    run.hide("alice")
    run.operator.looks[uid] = replace(look, at=run.clock(), gpu_unseen=True, trouble="It is nearly full.")
    run.go(1)
    assert told(run, "GpuUseUnknown")
    assert told(run, "Ready")["message"] == "It is nearly full."


def test_what_ran_out_of_memory_and_serves_again_is_told_of() -> None:
    run = started()
    (pod,) = run.world.list("Pod")
    died = {"terminated": {"exitCode": 137, "reason": "OOMKilled"}}
    run.world.patch(
        "Pod",
        NAMESPACE,
        pod["metadata"]["name"],
        lambda it: it["status"]["containerStatuses"][0].update(lastState=died),
    )
    run.go(1)
    ready = told(run, "Ready")
    assert (ready["status"], ready["reason"]) == ("True", "Trouble")
    assert "ran out of memory at the limit of" in ready["message"]


def test_the_last_look_keeps_what_was_just_used() -> None:
    run = started()
    run.go((IDLE - 30) // 10, 10.0)
    uid = run.world.get(KIND, NAMESPACE, "alice")["metadata"]["uid"]
    key = next(key for key in run.operator.keys(KIND))
    stops = times.seconds(run.status("alice")["idleAt"])
    run.clock.advance(stops - run.clock() + 5.0)
    run.operator.used[uid] = run.clock() - 1.0  # since the newest look
    run.operator.pass_notebook(key)
    assert run.status("alice")["phase"] in ("Running", "Idle")
    assert not told(run, "Stopping")
    run.go(3)
    assert run.status("alice")["phase"] == "Running"


def test_a_pool_that_is_suspended_or_stops_all_stops_it_until_somebody_wants_it() -> None:
    run = started()
    pool = run.world.get("ComputePool", "", "cpu")
    run.world.replace_spec("ComputePool", "", "cpu", {**pool["spec"], "suspend": True})
    run.until("alice", "Stopped")
    assert run.status("alice")["reason"] == "PoolSuspended"
    run.world.replace_spec("ComputePool", "", "cpu", pool["spec"])
    run.go(10)
    assert run.status("alice")["phase"] == "Stopped"
    ask_to_start(run)
    run.until("alice", "Running")
    run.clock.advance(10)
    stop = {**pool["spec"], "stopAll": times.stamp(run.clock())}
    run.world.replace_spec("ComputePool", "", "cpu", stop)
    run.until("alice", "Stopped")
    assert run.status("alice")["reason"] == "StopAll"
    ask_to_start(run)
    run.until("alice", "Running")
    run.go(10)
    assert run.status("alice")["phase"] == "Running"


def test_a_new_image_waits_for_the_next_start() -> None:
    run = started()
    (before,) = run.pods("alice")
    run.change("alice", suspend=False, runtime={"image": "notebook:2"}, command=["serve"])
    run.go(10)
    (pod,) = run.pods("alice")
    assert pod["metadata"]["uid"] == before["metadata"]["uid"]
    assert told(run, "Outdated")
    run.change("alice", suspend=True)
    run.until("alice", "Stopped")
    run.change("alice", suspend=False)
    run.until("alice", "Running")
    (pod,) = run.pods("alice")
    assert pod["spec"]["containers"][0]["image"] == "notebook:2"
    assert run.status("alice")["image"] == "notebook:2"
    assert not told(run, "Outdated")


def test_the_workspace_outlives_the_notebook_and_only_grows() -> None:
    run = started(storage={"size": "20Gi"})
    claim = run.world.get(*place("PersistentVolumeClaim"))
    run.delete("alice")
    run.go(5)
    assert run.world.get(*place("PersistentVolumeClaim"))["metadata"]["uid"] == claim["metadata"]["uid"]
    run.submit("alice", KIND, storage={"size": "5Gi"})
    run.until("alice", "Running")
    taken = run.world.get(*place("PersistentVolumeClaim"))
    assert taken["metadata"]["uid"] == claim["metadata"]["uid"]
    assert taken["spec"]["resources"]["requests"]["storage"] == "20Gi"
    run.change("alice", storage={"size": "30Gi"})
    run.go(3)
    assert (
        run.world.get(*place("PersistentVolumeClaim"))["spec"]["resources"]["requests"]["storage"] == "30Gi"
    )


def test_a_workspace_that_is_not_kept_goes_with_the_notebook() -> None:
    run = started(storage={"retain": False})
    run.delete("alice")
    run.go(5)
    assert run.world.list("PersistentVolumeClaim") == []


def test_a_claim_of_somebody_else_is_left_alone() -> None:
    run = Run(max_nodes=2)
    run.world.create(
        {
            "apiVersion": "v1",
            "kind": "PersistentVolumeClaim",
            "metadata": {"name": "nb-alice-workspace", "namespace": NAMESPACE, "labels": {}},
            "spec": {"resources": {"requests": {"storage": "1Gi"}}},
        }
    )
    run.submit("alice", KIND)
    run.go(10)
    status = run.status("alice")
    assert (status["phase"], status["reason"]) == ("Starting", "NameConflict")
    assert run.world.get(*place("PersistentVolumeClaim"))["metadata"]["labels"] == {}


def test_the_token_is_asked_for_within_two_minutes() -> None:
    run = started()
    run.operator.tokens.clear()
    run.go(12, 10.0)
    assert run.operator.tokens == {"nb-alice-token"}
    named = started(access={"tokenSecret": "mine"})
    assert named.operator.tokens == set()
    assert named.status("alice")["tokenSecret"] == "mine"


def test_a_lost_machine_is_told_of_and_left_once_the_cluster_gives_it_up() -> None:
    run = started()
    (pod,) = run.pods("alice")
    run.world.lose(pod["spec"]["nodeName"])
    run.world.set_condition(pod, "Ready", "False")
    run.go(30, 5.0)
    status = run.status("alice")
    assert (status["phase"], status["reason"]) == ("Starting", "NodeLost")
    run.world.remove(pod["spec"]["nodeName"])
    run.until("alice", "Running")


def test_an_invalid_one_fails_until_it_is_mended() -> None:
    run = Run(max_nodes=2)
    run.submit("alice", KIND, idleSeconds=7)
    run.go(2)
    assert (run.status("alice")["phase"], run.status("alice")["reason"]) == ("Failed", "InvalidSpec")
    run.change("alice", idleSeconds=60)
    run.until("alice", "Running")


_ACTS = st.sampled_from(
    ["round", "wait", "use", "hide", "suspend", "resume", "want", "restart", "die", "kill-pod"]
)


def do(run: Run, act: str, left: int) -> None:
    """Let somebody do something to the notebook, its pod, or the operator."""
    match act:
        case "wait":
            run.clock.advance(200)
        case "use":
            run.use("alice")
        case "hide":
            run.hide("alice")
        case "suspend" | "resume":
            run.change("alice", suspend=act == "suspend")
        case "want":
            run.annotate("alice", naming.START_REQUESTED, times.stamp(run.clock()), KIND)
        case "restart":
            run.operator.restart()
        case "die":
            run.operator.fuse = Fuse(left)
        case "kill-pod":
            for pod in run.pods("alice"):
                run.world.kill(pod)


@settings(max_examples=25)
@given(acts=st.lists(_ACTS, max_size=20), left=st.integers(0, 4), retain=st.booleans())
def test_whatever_happens_it_stops_for_idleness_only_when_it_is_idle(
    acts: list[str], left: int, retain: bool
) -> None:
    run = started(storage={"retain": retain})
    claim = run.world.get(*place("PersistentVolumeClaim"))["metadata"]["uid"]
    last = run.clock()
    for act in acts:
        if act == "use" and not told(run, "Stopping"):
            last = run.clock()
        do(run, act, left)
        try:
            run.round()
        except Died:
            run.operator.restart()
        if told(run, "Stopping").get("reason") == "Idle":
            assert times.seconds(run.status("alice")["stoppedAt"]) - last >= IDLE - 1
        run.clock.advance(1)
    run.operator.restart()
    run.change("alice", suspend=True)
    run.go(80)
    assert (run.status("alice")["phase"], run.status("alice")["reason"]) == ("Stopped", "Suspended")
    assert run.pods("alice") == []
    run.change("alice", suspend=False)
    run.until("alice", "Running")
    assert run.world.get(*place("PersistentVolumeClaim"))["metadata"]["uid"] == claim


def test_its_pool_counts_it_as_a_notebook_and_not_as_a_job() -> None:
    run = started()
    run.submit("flights", nodes=1)
    run.go(3)
    told_by_pool = run.world.get("ComputePool", "", "cpu")["status"]
    assert (told_by_pool["jobs"], told_by_pool["notebooks"]) == (1, 1)
    run.change("alice", suspend=True)
    run.until("alice", "Stopped")
    run.go(1)
    assert run.world.get("ComputePool", "", "cpu")["status"].get("notebooks", 0) == 0


def test_each_stop_is_told_to_its_pool_once() -> None:
    run = started()
    forget(run)
    ask_to_start(run)
    run.until("alice", "Running")
    run.change("alice", suspend=True)
    run.until("alice", "Stopped")
    run.go(5)
    told = [it.reason for _, it in run.operator.told if isinstance(it, Rested)]
    assert told == ["Idle", "Suspended"]


def deafen(run: Run) -> None:
    """Let the program run on and its port close."""

    def change(pod: Json) -> None:
        conditions = pod["status"]["conditions"]
        pod["status"]["conditions"] = [
            {**it, "status": "False"} if it["type"] == "Ready" else it for it in conditions
        ]

    (pod,) = run.pods("alice")
    run.world.patch("Pod", NAMESPACE, pod["metadata"]["name"], change)


def test_one_that_runs_and_does_not_serve_stops_when_nobody_uses_it() -> None:
    run = started()
    deafen(run)
    for _ in range(3):  # what runs in it goes on
        run.go((IDLE - 60) // 10, 10.0)
        run.use("alice")
    run.go(1)
    assert run.status("alice")["reason"] == "NotServing"
    used = run.clock()
    run.go((IDLE - 60) // 10, 10.0)
    assert told(run, "Idle")["reason"] == "Unused"
    assert abs(times.seconds(run.status("alice")["idleAt"]) - used - IDLE) <= 60
    stopped = forget(run)
    assert stopped["reason"] == "Idle"
    assert times.seconds(stopped["stoppedAt"]) - used >= IDLE - 60


def test_one_that_does_not_serve_and_is_not_seen_is_left_alone() -> None:
    run = started()
    deafen(run)
    run.hide("alice")
    run.go(2 * IDLE // 10, 10.0)
    assert (run.status("alice")["phase"], run.status("alice")["reason"]) == ("Starting", "NotServing")


def plan_after_a_refusal(run: Run) -> Plan:
    """The plan of a pass right after the cluster refused a bigger workspace."""
    run.change("alice", storage={"size": "90Gi"})
    operator = run.operator
    operator.hear("NotebookRuntime")
    ((_, notebook),) = operator.store.all(KIND)
    look = operator.looks.get(notebook.meta.uid)
    seen = notebooks.observe(
        operator.store, notebook, verdict=None, known=Known(), look=look, token_at=0.0, refused="No quota."
    )
    return lifecycle.plan(notebook, seen, run.clock(), operator.defaults)


def test_a_refusal_is_told_and_what_was_refused_is_left_out_for_a_while() -> None:
    """A write that is refused again would keep the status from being written."""
    served = plan_after_a_refusal(started())
    assert (served.apply, served.secrets) == ((), ())
    assert served.requeue_after is not None
    assert served.status is not None
    ready = condition({"status": served.status}, "Ready")
    assert (ready["reason"], ready["message"][-9:]) == ("Trouble", "No quota.")
    run = Run(max_nodes=2)
    run.submit("alice", KIND)
    run.until("alice", "Starting")
    starts = plan_after_a_refusal(run)
    assert (starts.apply, starts.create, starts.secrets) == ((), (), ())
    assert starts.status is not None
    assert (starts.status["reason"], starts.requeue_after) == ("PodsRefused", 30.0)
