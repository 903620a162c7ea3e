"""A pool's fields change while its jobs run: each attempt keeps what it began with."""

from __future__ import annotations

from typing import Any

import pytest

from mlpools_operator.api.v1alpha1 import ComputePoolSpec
from tests.support.api_server import condition
from tests.support.domain_run import NAMESPACE, Run
from tests.support.every_field import POOLS
from tests.support.manifests import ABSENT, spec

CHANGES: list[dict[str, Any]] = [
    {"instance": {"cpu": 1, "memory": "1Gi"}},
    {"network": {"profile": "Host", "env": {"A": "b"}}},
    {"network": {"isolation": False}},
    {"runtime": {"image": "other:2"}},
    {"podTemplate": {"spec": {"dnsPolicy": "Default"}}},
    {"affinity": {"nodeAffinity": {}}, "schedulerName": "other", "priorityClassName": "high"},
]

#: Every field of a pool, each with a value that would shape, refuse or end a job that comes with it there.
EVERY: dict[str, Any] = {
    **POOLS["machines"],
    "instanceFamily": "small",
    "backupInstanceFamilies": ["larger"],
    "namespaces": {"matchLabels": {"nobody": "has"}},
    "minNodes": 1,
    "maxNodes": 1,
    "autoSuspendSeconds": 1,
    "initiallySuspended": True,
    "suspend": True,
}


def change(run: Run, **pool: Any) -> None:
    run.world.replace_spec("ComputePool", "", "cpu", spec("ComputePool", {"maxNodes": 4, **pool}))


def policies(run: Run) -> list[str]:
    return [item["metadata"]["name"] for item in run.world.list("NetworkPolicy")]


@pytest.mark.parametrize("changes", CHANGES)
def test_a_running_attempt_keeps_its_pods_and_the_next_one_has_others(changes: dict[str, Any]) -> None:
    run = Run(steps=1000)
    run.submit("flights", nodes=2)
    run.until("flights", "Running")
    before = [run.world.list(kind) for kind in ("Job", "NetworkPolicy")]
    change(run, **changes)
    run.go(5)
    assert [run.world.list(kind) for kind in ("Job", "NetworkPolicy")] == before
    (old,) = before[0]

    run.world.steps = 3
    run.world.kill(run.pods("flights")[0])
    run.settle()
    (new,) = run.world.list("Job")
    assert (run.status("flights")["phase"], run.status("flights")["attempt"]) == ("Succeeded", 2)
    assert new["spec"]["template"]["spec"] != old["spec"]["template"]["spec"] or policies(run) == []


def test_every_field_is_changed_below() -> None:
    fields = ComputePoolSpec.model_fields.values()
    assert EVERY.keys() == {field.alias for field in fields}


def test_no_change_disturbs_a_job_that_runs() -> None:
    run = Run(steps=1000)
    run.submit("flights", nodes=2)
    run.until("flights", "Running")

    def there() -> list[Any]:
        return [
            *(run.world.list(kind) for kind in ("Job", "Service", "NetworkPolicy")),
            [pod["metadata"]["uid"] for pod in run.pods("flights")],
        ]

    before = there()
    for field, value in EVERY.items():
        family = {"instance": ABSENT, "instanceFamily": "large"} if "amil" in field else {}
        change(run, **{**family, field: value})
        run.go(3)
        assert there() == before, field
    run.world.steps = 3
    done = run.until("flights", "Succeeded")
    assert (done["attempt"], done["restarts"]) == (1, 0)


def test_isolation_ends_and_begins_with_an_attempt() -> None:
    run = Run(steps=1000)
    run.submit("flights", nodes=2)
    run.until("flights", "Running")
    assert policies(run) == ["tj-flights"]
    for isolation, wanted in ((False, []), (True, ["tj-flights"])):
        change(run, network={"isolation": isolation})
        run.go(2)
        assert policies(run) != wanted, "The attempt that runs keeps what it has."
        run.world.kill(run.pods("flights")[0])
        run.go(2)
        run.until("flights", "Running")
        assert policies(run) == wanted


def test_a_policy_that_was_taken_away_from_a_running_attempt_comes_back() -> None:
    run = Run(steps=1000)
    run.submit("flights", nodes=2)
    run.until("flights", "Running")
    change(run, network={"isolation": False})
    run.world.delete("NetworkPolicy", NAMESPACE, "tj-flights")
    run.go(2)
    assert policies(run) == ["tj-flights"]


def test_a_pool_without_isolation_says_so() -> None:
    run = Run(network={"profile": "Host"})
    run.go(2)

    def ready() -> str:
        message: str = condition(run.world.get("ComputePool", "", "cpu"), "Ready")["message"]
        return message

    assert "no NetworkPolicy isolates them, and a machine takes one of them at a time" in ready()
    change(run)
    run.go(5)
    assert ready() == "The pool takes jobs."
