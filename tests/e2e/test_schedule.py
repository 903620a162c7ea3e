"""A template that makes a run every minute, in a namespace of its own."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from tests.support import screen
from tests.support.training import Object, Training
from tests.support.waiting import wait_for
from tools.kubectl import Kubectl


@pytest.mark.full
@pytest.mark.e2e(seconds=110)
def test_two_runs_of_a_schedule_train_side_by_side_with_their_own_outputs(
    guests: Training, cluster: Kubectl
) -> None:
    guests.make_pool("timetable")
    guests.short(
        "minutely", 2, computePool="timetable", schedule={"cron": "* * * * *", "concurrencyPolicy": "Allow"}
    )
    template = guests.until("minutely", phase="Scheduled", seconds=60)
    assert template["attempt"] == 0, template
    (line,) = screen.table(cluster, "trainingjob", "minutely", f"--namespace={guests.namespace}")[1:]
    assert line.startswith("minutely timetable Scheduled Next "), line
    assert guests.pods("minutely") == []

    def runs() -> list[Object]:
        selector = "mlpools.dev/schedule=minutely"
        return cluster.list("trainingjobs", selector=selector, namespace=guests.namespace)

    def two_done() -> list[str] | None:
        done = [it for it in runs() if it.get("status", {}).get("phase") == "Succeeded"]
        return sorted(it["metadata"]["name"] for it in done) if len(done) >= 2 else None

    names = wait_for("two runs", two_done, 240, every=1)
    guests.change("minutely", suspend=True)
    first, second = names[:2]
    times = [datetime.strptime(name, "minutely-%Y%m%d%H%M").replace(tzinfo=UTC) for name in (first, second)]
    assert times[1] - times[0] == timedelta(minutes=1), names
    for name in (first, second):
        assert (guests.output("minutely") / name / "model.ubj").exists()
        status = guests.status(name)
        assert (status["phase"], status["attempt"], status["restarts"]) == ("Succeeded", 1, 0), status
    guests.until("minutely", phase="Suspended", seconds=30)
    shown = screen.table(cluster, "trainingjobs", f"--namespace={guests.namespace}")
    assert "minutely timetable Suspended Suspended AGE" in shown, shown
    assert f"{first} timetable Succeeded 0/1 PROGRESS AGE" in shown, shown
    assert f"{second} timetable Succeeded 0/1 PROGRESS AGE" in shown, shown
    assert guests.pods("minutely") == []
