"""Schedules before a real API server, whose garbage collector and rules nobody simulates."""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import pytest

from mlpools_operator.domain import naming, times
from tests.support.bench import Bench
from tests.support.kube import Object
from tests.support.manifests import manifest
from tests.support.waiting import wait_for

pytestmark = pytest.mark.integration


@dataclass(frozen=True)
class Due:
    """A time of each day that was two minutes ago."""

    time: float
    cron: str

    @staticmethod
    def lately() -> Due:
        moment = datetime.fromtimestamp((time.time() // 60 - 2) * 60, UTC)
        return Due(moment.timestamp(), f"{moment.minute} {moment.hour} * * *")


def template(bench: Bench, name: str, cron: str, *, nodes: int = 1, **schedule: Any) -> Object:
    """Create a template that knows of an hour in which nobody looked at it."""
    made = bench.submit(name, nodes=nodes, schedule={"cron": cron, **schedule})
    told = {"settled": times.stamp(time.time() - 3600), "cron": f"{cron} UTC"}
    bench.kube.patch(bench.kind, name, {"status": {"schedule": told}}, bench.namespace, "status")
    return made


def run_of(bench: Bench, owner: Object, name: str, **spec: Any) -> Object:
    """Create a run as the operator does."""
    run = manifest(bench.kind, name, {"computePool": bench.pool, **spec})
    run["metadata"]["ownerReferences"] = [
        {
            "apiVersion": "mlpools.dev/v1alpha1",
            "kind": bench.kind,
            "name": owner["metadata"]["name"],
            "uid": owner["metadata"]["uid"],
            "controller": True,
        }
    ]
    return bench.kube.create(run, bench.namespace)


def names(bench: Bench, name: str) -> list[str]:
    """Return the runs of a template."""
    found = bench.kube.list(bench.kind, bench.namespace)
    return [it["metadata"]["name"] for it in found if it["metadata"]["name"].startswith(f"{name}-")]


def told(bench: Bench, name: str) -> dict[str, Any]:
    schedule: dict[str, Any] = bench.job(name).get("status", {}).get("schedule", {})
    return schedule


def events(bench: Bench, name: str) -> list[str]:
    found = bench.kube.list("Event", bench.namespace)
    return [it["reason"] for it in found if it["involvedObject"]["name"] == name]


def test_times_are_stamped_once_also_by_an_operator_that_was_killed(bench: Bench) -> None:
    template(bench, "often", "* * * * *", concurrencyPolicy="Allow")
    first = bench.operator().wait_ready()
    run = wait_for("first run", lambda: told(bench, "often").get("active"))[0]
    made = bench.job(run)
    first.kill()
    bench.operator().wait_ready()
    wait_for("second run", lambda: len(told(bench, "often")["active"]) > 1)
    wait_for("no others", lambda: names(bench, "often") == list(told(bench, "often")["active"]))
    assert bench.job(run)["metadata"]["uid"] == made["metadata"]["uid"]
    assert bench.job(run)["spec"]["output"]["url"] == f"file:///data/model/{run}"
    assert "schedule" not in bench.job(run)["spec"]
    wait_for("Events", lambda: events(bench, "often") == ["RunStarted"] * len(names(bench, "often")))
    assert bench.job("often")["status"]["phase"] == "Scheduled"
    bench.phase(run, "Starting")


def test_ended_runs_beyond_the_limit_go_and_all_go_with_the_template(either: Bench) -> None:
    due = Due.lately()
    new = naming.run("kept", due.time)
    owner = template(either, "kept", due.cron, historyLimit=2, concurrencyPolicy="Allow")
    for letter in "abcd":
        run_of(either, owner, f"kept-{letter}", cancel=True)
    either.operator().wait_ready()
    wait_for("only what is kept", lambda: names(either, "kept") == [new, "kept-c", "kept-d"])
    either.kube.delete(either.kind, "kept", either.namespace)
    wait_for("runs that went with their template", lambda: names(either, "kept") == [])


@pytest.mark.parametrize("policy", ["Forbid", "Replace"])
def test_a_run_that_has_not_ended_is_in_the_way_or_goes(either: Bench, policy: str) -> None:
    due = Due.lately()
    owner = template(either, "busy", due.cron, concurrencyPolicy=policy)
    run_of(either, owner, "busy-before")
    either.operator().wait_ready()
    wait_for("time that is dealt with", lambda: told(either, "busy").get("settled") == times.stamp(due.time))
    if policy == "Forbid":
        assert names(either, "busy") == ["busy-before"]
        assert "busy-before has not ended yet (concurrencyPolicy Forbid)" in told(either, "busy")["message"]
        wait_for("Event", lambda: events(either, "busy") == ["RunSkipped"])
    else:
        assert names(either, "busy") == [naming.run("busy", due.time)]
        assert "Deleted busy-before" in told(either, "busy")["message"]


def test_a_taken_name_is_told_and_left_alone(either: Bench) -> None:
    due = Due.lately()
    name = naming.run("taken", due.time)
    foreign = either.submit(name)
    template(either, "taken", due.cron)
    either.operator().wait_ready()
    wait_for("reason", lambda: either.job("taken")["status"].get("reason") == "NameConflict")
    assert either.job(name)["metadata"]["uid"] == foreign["metadata"]["uid"]
    either.kube.delete(either.kind, name, either.namespace)
    wait_for("run", lambda: told(either, "taken").get("active") == [name])
    wait_for("Events", lambda: sorted(events(either, "taken")) == ["NameConflict", "RunStarted"])


def test_a_wrong_zone_is_said_and_corrected_in_place(bench: Bench) -> None:
    bench.operator().wait_ready()
    bench.submit("wrong", schedule={"cron": "0 2 * * *", "timeZone": "Europe/Berln"})
    status = bench.phase("wrong", "Failed")["status"]
    stalled = {it["type"]: it for it in status["conditions"]}["Stalled"]
    assert (status["reason"], stalled["reason"]) == ("InvalidSpec", "InvalidSpec")
    assert stalled["message"].startswith("spec.schedule.timeZone: there is no time zone of this name")
    change = {"spec": {"schedule": {"timeZone": "Europe/Berlin"}}}
    bench.kube.patch("TrainingJob", "wrong", change, bench.namespace)
    assert bench.phase("wrong", "Scheduled")["status"]["reason"].startswith("Next ")
