"""Templates in a simulated cluster: which runs they make, when, and what becomes of those."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from mlpools_operator.domain import naming, times
from mlpools_operator.domain.job.observed import Observed
from tests.support import trainingjob
from tests.support.api_server import Json, condition
from tests.support.domain_run import NAMESPACE, Run
from tests.support.domain_values import NOW, a_job
from tests.support.gitops import argo_cd, kstatus
from tests.support.manifests import manifest, spec
from tests.support.operator_sim import DEFAULTS
from tests.support.schedules import EVERY_MINUTE, START, last_event, names, runs, status_of, submit

LONG = 100_000


def _go_to(run: Run, clock: str) -> None:
    """Let the time of a day (UTC) come, and everybody settle for a few rounds."""
    hour, minute = (int(part) for part in clock.split(":"))
    run.clock.now = datetime.fromtimestamp(START, UTC).replace(hour=hour, minute=minute).timestamp()
    run.go(4, seconds=0.5)


def test_a_template_waits_for_its_time_and_asks_for_nothing() -> None:
    run = submit(schedule={"cron": "15 2 * * *", "timeZone": "Europe/Berlin"})
    wait = run.round()
    told = run.world.get("TrainingJob", NAMESPACE, "nightly")
    assert (told["status"]["phase"], told["status"]["reason"]) == ("Scheduled", "Next 2026-11-23 02:15")
    assert condition(told, "Scheduled")["message"] == "The next run is due at 2026-11-23 02:15 Europe/Berlin."
    assert (kstatus(told), *argo_cd(told)) == ("Current", "Healthy", "Scheduled: Next 2026-11-23 02:15")
    assert wait is not None
    assert 0 < wait <= 300
    assert runs(run) == []
    assert run.world.get("ComputePool", "", "cpu")["status"].get("queued", 0) == 0
    assert run.round() is not None
    before = run.world.version
    run.go(3)
    assert run.world.version == before, "a template that waits is written again and again"


def test_a_run_is_the_template_at_its_time() -> None:
    run = submit(
        schedule={"cron": "15 2 * * *", "timeZone": "Europe/Berlin"},
        nodes=2,
        suspend=False,
        **{
            "output.url": "file:///data/models/{date}/",
            "checkpoint.url": "/data/checkpoints",
            "data.train.parquet": {"urls": ["/data/{date}/{time}/*.parquet", "/data/{dates}"]},
        },
    )
    template = run.world.get("TrainingJob", NAMESPACE, "nightly")
    _go_to(run, "01:15")
    (made,) = runs(run)
    name = "nightly-202611230115"
    wanted = spec(
        "TrainingJob",
        {
            "nodes": 2,
            "output.url": f"file:///data/models/2026-11-23/{name}",
            "checkpoint.url": f"/data/checkpoints/{name}",
            "data.train.parquet": {"urls": ["/data/2026-11-23/0215/*.parquet", "/data/{dates}"]},
        },
    )
    assert made["metadata"]["name"] == name
    assert made["spec"] == wanted
    assert made["metadata"]["labels"] == {
        "app.kubernetes.io/managed-by": "mlpools",
        "mlpools.dev/schedule": "nightly",
    }
    assert made["metadata"]["ownerReferences"] == [
        {
            "apiVersion": "mlpools.dev/v1alpha1",
            "kind": "TrainingJob",
            "name": "nightly",
            "uid": template["metadata"]["uid"],
            "controller": True,
            "blockOwnerDeletion": False,
        }
    ]
    assert run.world.get("TrainingJob", NAMESPACE, "nightly")["spec"] == template["spec"]
    told = status_of(run)["schedule"]
    assert (told["last"], told["next"]) == ("2026-11-23T01:15:00Z", "2026-11-24T01:15:00Z")
    assert last_event(run).message == f"Started {name} for 2026-11-23 02:15 Europe/Berlin."
    run.until(name, "Succeeded")
    run.go(2)
    assert status_of(run)["schedule"]["active"] == []


def test_the_active_runs_are_told() -> None:
    run = submit(schedule={"cron": EVERY_MINUTE, "concurrencyPolicy": "Allow"}, steps=LONG)
    _go_to(run, "00:01")
    _go_to(run, "00:02")
    assert status_of(run)["schedule"]["active"] == ["nightly-202611230001", "nightly-202611230002"]


def test_forbid_passes_a_time_over_and_does_not_make_it_up() -> None:
    run = submit(schedule={"cron": "0 * * * *"}, steps=LONG)
    _go_to(run, "01:00")
    _go_to(run, "02:00")
    assert names(run) == ["nightly-202611230100"]
    skipped = last_event(run)
    assert (skipped.type, skipped.reason) == ("Warning", "RunSkipped")
    assert skipped.message == (
        "The run of 2026-11-23 02:00 UTC was passed over: nightly-202611230100 has not ended yet "
        "(concurrencyPolicy Forbid)."
    )
    assert status_of(run)["schedule"]["message"] == skipped.message
    assert status_of(run)["schedule"]["last"] == "2026-11-23T01:00:00Z"
    run.world.steps = 1
    run.until("nightly-202611230100", "Succeeded")
    _go_to(run, "02:10")
    assert names(run) == ["nightly-202611230100"], "what was passed over is not made up"
    _go_to(run, "03:00")
    assert names(run) == ["nightly-202611230100", "nightly-202611230300"]


def test_replace_deletes_what_still_runs_and_starts_the_next() -> None:
    run = submit(schedule={"cron": "0 * * * *", "concurrencyPolicy": "Replace"}, nodes=3, steps=LONG)
    _go_to(run, "01:00")
    run.until("nightly-202611230100", "Running")
    _go_to(run, "02:00")
    assert names(run) == ["nightly-202611230200"]
    assert last_event(run).message == (
        "Deleted nightly-202611230100, which had not ended (concurrencyPolicy Replace). "
        "Started nightly-202611230200 for 2026-11-23 02:00 UTC."
    )
    run.until("nightly-202611230200", "Running")


def test_replace_keeps_what_has_ended() -> None:
    run = submit(schedule={"cron": "0 * * * *", "concurrencyPolicy": "Replace"})
    _go_to(run, "01:00")
    run.until("nightly-202611230100", "Succeeded")
    _go_to(run, "02:00")
    assert names(run) == ["nightly-202611230100", "nightly-202611230200"]


def test_of_missed_times_only_the_latest_runs() -> None:
    run = submit(schedule={"cron": EVERY_MINUTE})
    run.round()
    _go_to(run, "00:59")
    assert names(run) == ["nightly-202611230059"]


@pytest.mark.parametrize(("clock", "made"), [("02:20", ["nightly-202611230100"]), ("02:21", [])])
def test_a_missed_time_runs_until_its_deadline(clock: str, made: list[str]) -> None:
    run = submit(schedule={"cron": "0 1 * * *", "startingDeadlineSeconds": 80 * 60})
    run.round()
    run.clock.now = START + 10
    run.operator.restart()
    _go_to(run, clock)
    assert names(run) == made
    if not made:
        assert last_event(run).reason == "RunMissed"
        assert "was missed by more than startingDeadlineSeconds (4800 s)" in last_event(run).message


def test_times_before_the_template_do_not_count() -> None:
    run = submit(schedule={"cron": "0 0 * * *", "startingDeadlineSeconds": 86_400})
    run.go(3)
    assert names(run) == []


def test_suspended_it_starts_nothing_and_makes_nothing_up() -> None:
    run = submit(schedule={"cron": "0 1 * * *", "startingDeadlineSeconds": 86_400}, suspend=True)
    run.go(2)
    told = run.world.get("TrainingJob", NAMESPACE, "nightly")
    assert (told["status"]["phase"], told["status"]["reason"]) == ("Suspended", "Suspended")
    assert "next" not in told["status"]["schedule"]
    assert condition(told, "Ready")
    _go_to(run, "01:30")
    run.change("nightly", suspend=False)
    run.go(3)
    assert names(run) == []
    assert status_of(run)["reason"] == "Next 2026-11-24 01:00"


def test_suspending_leaves_its_runs_alone() -> None:
    run = submit(schedule={"cron": "0 1 * * *"}, steps=30)
    _go_to(run, "01:00")
    run.change("nightly", suspend=True)
    run.until("nightly-202611230100", "Succeeded")


def test_other_times_count_from_the_change_on() -> None:
    run = submit(schedule={"cron": "0 1 * * *"})
    _go_to(run, "01:00")
    _go_to(run, "03:30")
    run.change("nightly", schedule={"cron": "0 3 * * *"})
    run.go(3)
    assert names(run) == ["nightly-202611230100"]
    assert status_of(run)["reason"] == "Next 2026-11-24 03:00"


def test_ended_runs_beyond_the_limit_go_the_oldest_first() -> None:
    run = submit(schedule={"cron": "0 * * * *", "historyLimit": 2})
    for hour in range(1, 5):
        _go_to(run, f"{hour:02}:00")
        run.until(f"nightly-20261123{hour:02}00", "Succeeded")
    run.go(3)
    assert names(run) == ["nightly-202611230300", "nightly-202611230400"]


def test_what_has_not_ended_is_not_history() -> None:
    run = submit(
        schedule={"cron": EVERY_MINUTE, "concurrencyPolicy": "Allow", "historyLimit": 0}, nodes=4, steps=LONG
    )
    for minute in range(1, 4):
        _go_to(run, f"00:{minute:02}")
    assert len(names(run)) == 3


def test_a_name_that_is_taken_is_told_and_tried_again() -> None:
    run = submit(schedule={"cron": "0 1 * * *"})
    run.submit("nightly-202611230100", computePool="elsewhere")
    _go_to(run, "01:00")
    told = run.world.get("TrainingJob", NAMESPACE, "nightly")["status"]
    assert (told["phase"], told["reason"]) == ("Scheduled", "NameConflict")
    (message,) = [it["message"] for it in told["conditions"] if it["reason"] == "NameConflict"]
    assert message.startswith(
        "The run that is due cannot be made: there is a TrainingJob nightly-202611230100"
    )
    assert "last" not in told["schedule"]
    run.delete("nightly-202611230100")
    run.go(4)
    assert len(names(run)) == 1
    assert status_of(run)["schedule"]["last"] == "2026-11-23T01:00:00Z"
    assert status_of(run)["reason"] == "Next 2026-11-24 01:00"


def test_a_run_that_the_api_server_refuses_stays_due() -> None:
    moment = NOW + 3 * 60
    past = {"settled": times.stamp(NOW), "cron": f"{EVERY_MINUTE} UTC"}
    job = a_job(status={"phase": "Scheduled", "schedule": past}, schedule={"cron": EVERY_MINUTE})
    words = "exceeded quota: objects, used: count/trainingjobs.mlpools.dev=9"
    made = trainingjob.plan(job, Observed(None, None, refused=words), moment, DEFAULTS)
    assert made.create == ()
    assert made.status is not None
    assert made.status["reason"] == "RunRefused"
    assert made.status["schedule"]["settled"] == past["settled"]
    assert made.requeue_after == 30
    (told,) = made.events
    assert told.message == f"The API server refuses the run that is due: {words}"
    again = trainingjob.plan(replace(job, status=made.status), Observed(None, None), moment + 30, DEFAULTS)
    assert len(again.create) == 1


@pytest.mark.parametrize(
    ("changes", "reason", "words"),
    [
        ({"schedule": {"cron": "0 0 30 2 *"}}, "InvalidSpec", "spec.schedule.cron: these are no times"),
        ({"schedule": {"cron": EVERY_MINUTE, "timeZone": "Europe/Berln"}}, "InvalidSpec", "no time zone"),
        ({"xgboost.params.max_dept": 3}, "BadHyperParameter", "max_depth"),
        ({"output.url": "/data/" + 1000 * "x"}, "InvalidSpec", "spec.output.url"),
    ],
)
def test_what_no_run_could_be_made_of_is_refused_before_any_is_due(
    changes: dict[str, Any], reason: str, words: str
) -> None:
    run = submit(**{"schedule": {"cron": EVERY_MINUTE}, **changes})
    run.go(2)
    _go_to(run, "00:02")
    told = run.world.get("TrainingJob", NAMESPACE, "nightly")
    assert (told["status"]["phase"], told["status"]["reason"]) == ("Failed", reason)
    assert words in condition(told, "Stalled")["message"]
    assert (kstatus(told), argo_cd(told)[0]) == ("Failed", "Degraded")
    assert names(run) == []
    run.world.replace_spec(
        "TrainingJob", NAMESPACE, "nightly", spec("TrainingJob", {"schedule": {"cron": EVERY_MINUTE}})
    )
    _go_to(run, "00:03")
    _go_to(run, "00:04")
    assert names(run)[-1:] == ["nightly-202611230004"], "a template is never at its end"


def test_a_queued_job_becomes_a_template_and_a_job_again() -> None:
    run = Run()
    run.clock.now = START
    run.world.delete("ComputePool", "", "cpu")
    run.submit("nightly")
    run.go(2)
    assert status_of(run)["phase"] == "Queued"
    run.change("nightly", schedule={"cron": EVERY_MINUTE})
    run.go(2)
    assert status_of(run)["phase"] == "Scheduled"
    assert "queue" not in status_of(run)
    run.world.replace_spec("TrainingJob", NAMESPACE, "nightly", spec("TrainingJob"))
    run.world.create(manifest("ComputePool", "cpu"))
    assert run.until("nightly", "Succeeded").get("schedule") is None


def test_runs_go_with_their_template() -> None:
    run = submit(schedule={"cron": EVERY_MINUTE}, steps=LONG)
    _go_to(run, "00:01")
    run.delete("nightly")
    run.settle()
    for kind in ("TrainingJob", "Job", "Pod", "Service"):
        assert run.world.list(kind) == []


def test_a_template_of_the_longest_name_with_many_runs_has_a_status_that_fits() -> None:
    name = "n" * 253
    assert len(naming.run(name, START)) == 253
    assert naming.run(name, START).endswith("-202611230000")
    assert naming.run(name, START) != naming.run("n" * 252 + "m", START)
    run = submit(name=name, schedule={"cron": EVERY_MINUTE, "concurrencyPolicy": "Allow"}, steps=LONG)
    for minute in range(1, 41):
        run.clock.now = START + 60 * minute
        run.operator.pass_all()
    told: Json = run.status(name)
    assert len(told["schedule"]["active"]) == 32
    assert told["schedule"]["active"][-1] == naming.run(name, START + 40 * 60)
    assert len(json.dumps(told).encode()) < 32 * 1024
    assert told["schedule"]["settled"] == times.stamp(START + 40 * 60)
