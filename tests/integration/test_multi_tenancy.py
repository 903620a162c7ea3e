"""Whom a pool serves and how much of it: each reason in a real API server, and what makes it end."""

from __future__ import annotations

from typing import Any

import pytest

from mlpools_operator.domain import naming, times
from mlpools_operator.domain.queue import usage, usage_record
from mlpools_operator.domain.queue.usage import Account
from tests.support.bench import Bench
from tests.support.kube import Object
from tests.support.kubelet import succeeded
from tests.support.waiting import wait_for

pytestmark = pytest.mark.integration

SPACE = "mlpools-system"
ML = {"matchLabels": {"ml": "yes"}}


def rule(bench: Bench, **spec: Any) -> None:
    """Change the pool's rules."""
    bench.kube.patch("ComputePool", bench.pool, {"spec": spec})


def label(bench: Bench, **labels: str | None) -> None:
    bench.kube.patch("Namespace", bench.namespace, {"metadata": {"labels": labels}})


def waits(bench: Bench, name: str, reason: str) -> str:
    """Wait until a job waits for a reason; return what it is told."""

    def look() -> Object | None:
        queue: Object = bench.job(name).get("status", {}).get("queue", {})
        return queue if queue.get("reason") == reason else None

    told = str(wait_for(f"{reason} of {name}", look)["message"])
    (admitted,) = [it for it in bench.job(name)["status"]["conditions"] if it["type"] == "Admitted"]
    assert (admitted["status"], admitted["reason"], admitted["message"]) == ("False", reason, told)
    return told


def account(bench: Bench) -> Account | None:
    """What is written down of the use of the pool."""
    found = bench.kube.find("ConfigMap", f"mlpools-usage-{bench.pool}", SPACE)
    return usage_record.decode(found["data"]) if found else None


def used(bench: Bench) -> int:
    known = account(bench)
    return _used(bench, known) if known else 0


def _used(bench: Bench, known: Account) -> int:
    return sum(known.used.get(bench.namespace, {}).values())


def begin(bench: Bench, known: Account) -> float:
    """The second from which two nodes are charged that are still held: from when they were given away.

    The job's status says so a moment later, on a busy machine some seconds.
    """
    since = known.charged_until - _used(bench, known) / 2
    job = bench.job("runs")
    (admitted,) = [it for it in job["status"]["conditions"] if it["type"] == "Admitted"]
    made = times.seconds(job["metadata"]["creationTimestamp"])
    assert made <= since <= times.seconds(admitted["lastTransitionTime"])
    return since


@pytest.mark.parametrize("namespaces", ["", "its own"], ids=["whole cluster", "list of namespaces"])
def test_a_pool_serves_the_namespaces_that_it_selects(bench: Bench, namespaces: str) -> None:
    rule(bench, namespaces=ML)
    served = bench.namespace if namespaces else ""
    bench.operator(namespaces=served, namespace_seconds="0.2").wait_ready()
    bench.submit("early")
    told = waits(bench, "early", "PoolNotAllowed")
    assert told.startswith(
        f"Namespace {bench.namespace} may not use pool {bench.pool}, which is for namespaces with ml=yes."
    )
    assert "ask the pool's administrator to label the namespace" in told
    label(bench, ml="yes")
    bench.phase("early", "Starting")

    label(bench, ml=None)
    bench.submit("late", nodes=3)  # the first holds two of four: it cannot start before the news is there
    waits(bench, "late", "PoolNotAllowed")
    pods = bench.kubelet.pods("early", 1, 2)
    bench.kubelet.run(pods)
    bench.phase("early", "Running")
    rule(bench, namespaces={"matchLabels": None})
    waits(bench, "late", "WaitingForNodes")


def test_where_a_namespace_may_not_be_read_nobody_is_let_in_by_labels(bench: Bench) -> None:
    bench.kube.delete("RoleBinding", "mlpools-operator", bench.namespace)
    bench.operator().wait_ready()
    bench.submit("anybody")
    bench.phase("anybody", "Starting")
    rule(bench, namespaces=ML)
    bench.submit("chosen", nodes=1)
    told = waits(bench, "chosen", "PoolNotAllowed")
    assert f"the operator cannot read those of {bench.namespace}" in told
    rule(bench, namespaces={"matchLabels": None})
    bench.phase("chosen", "Starting")


def test_a_namespace_holds_no_more_than_its_nodes_and_others_pass(bench: Bench) -> None:
    rule(bench, queue={"limits": [{"maxNodes": 3}, {"namespaces": {}, "maxNodes": 2}]})
    bench.operator().wait_ready()
    bench.submit("first", nodes=2)
    bench.phase("first", "Starting")
    bench.submit("second", nodes=1)
    told = waits(bench, "second", "NamespaceLimit")
    assert told == (
        f"Needs 1 node of pool {bench.pool}, where jobs of namespace {bench.namespace} hold at most 2 "
        "together. It starts when others of the namespace have ended; to start sooner, ask the pool's "
        "administrator to raise maxNodes in its queue.limits."
    )
    pods = bench.kubelet.pods("first", 1, 2)
    bench.kubelet.run(pods)
    bench.phase("first", "Running")
    bench.kubelet.finish(pods, succeeded())
    bench.phase("second", "Starting")
    bench.submit("third", nodes=3)
    assert "Use nodes: 2 or fewer" in waits(bench, "third", "NamespaceLimit")
    rule(bench, queue={"limits": []})
    bench.phase("third", "Starting")


def test_a_priority_above_the_limit_waits_until_it_is_lowered(bench: Bench) -> None:
    rule(bench, queue={"limits": [{"maxPriority": 5}, {}]})
    bench.operator().wait_ready()
    bench.submit("proud", priority=5)
    told = waits(bench, "proud", "PriorityTooHigh")
    assert told == (
        f"Priority 5 is too high: jobs of namespace {bench.namespace} have at most 0 in pool {bench.pool}. "
        "Set spec.priority to 0 or lower, or ask the pool's administrator to raise maxPriority in its "
        "queue.limits."
    )
    bench.kube.patch("TrainingJob", "proud", {"spec": {"priority": 0}}, bench.namespace)
    bench.phase("proud", "Starting")


def test_a_spent_budget_is_not_refunded_by_deleting_jobs(bench: Bench) -> None:
    rule(bench, queue={"limits": [{"nodeSecondsPer30d": 2}]})
    bench.operator(usage_seconds="0.2").wait_ready()
    bench.submit("runs")
    bench.kubelet.run(bench.kubelet.pods("runs", 1, 2))
    bench.phase("runs", "Running")
    wait_for("use of the budget", lambda: used(bench) >= 2)
    bench.submit("next", nodes=1)
    told = waits(bench, "next", "BudgetSpent")
    assert f"has spent its budget of 2 node seconds of pool {bench.pool} in 30 days" in told
    known = account(bench)
    assert known is not None
    day = min(known.used[bench.namespace])
    assert f"Room returns on {usage_record.day_in_words(day + 31)} (UTC)" in told
    assert bench.job("runs")["status"]["phase"] == "Running", "what runs goes on"

    bench.kube.delete("TrainingJob", "runs", bench.namespace)

    def nobody_holds() -> bool:
        bench.kubelet.collect()
        found = account(bench)
        return found is not None and not found.held

    wait_for("end of use", nobody_holds)
    before = used(bench)
    bench.kube.delete("TrainingJob", "next", bench.namespace)
    bench.submit("again", nodes=1)
    waits(bench, "again", "BudgetSpent")
    assert used(bench) == before
    rule(bench, queue={"limits": [{"nodeSecondsPer30d": 100_000}]})
    bench.phase("again", "Starting")


def test_an_operator_killed_between_charges_loses_and_doubles_nothing(bench: Bench) -> None:
    bench.operator(usage_seconds="3600").wait_ready()
    bench.submit("runs")
    bench.kubelet.run(bench.kubelet.pods("runs", 1, 2))
    bench.phase("runs", "Running")

    def next_charge(after: int) -> Account | None:
        known = account(bench)
        return known if known and known.charged_until > after else None

    until, begins = 0, set()
    for _ in range(3):
        bench.operators[-1].kill()
        bench.operator(usage_seconds="0.5").wait_ready()
        known = wait_for("charges of the next operator", lambda: next_charge(until))  # noqa: B023
        until = known.charged_until
        begins.add(begin(bench, known))
    assert len(begins) == 1, "each says just what was held from the same second on"
    bench.operators[-1].kill()
    bench.operator(usage_seconds="3600").wait_ready()
    pods = bench.kubelet.there("runs", 1)
    bench.kubelet.finish(pods, succeeded())
    bench.phase("runs", "Succeeded")


def test_what_ended_while_nobody_looked_ended_when_its_pods_did(bench: Bench) -> None:
    bench.operator(usage_seconds="0.2").wait_ready()
    bench.submit("runs")
    pods = bench.kubelet.pods("runs", 1, 2)
    bench.kubelet.run(pods)
    bench.phase("runs", "Running")
    wait_for("first charge", lambda: used(bench) > 0)
    bench.operators[-1].kill()
    known = account(bench)
    assert known is not None
    since = begin(bench, known)
    bench.kubelet.finish(pods, succeeded())
    ends = [_finished(pod) for pod in bench.kubelet.there("runs", 1)]
    wait_for("time to pass", lambda: times.seconds(_now(bench)) > max(ends) + 3)
    bench.operator(usage_seconds="0.2").wait_ready()
    bench.phase("runs", "Succeeded")
    wait_for("end of use", lambda: (found := account(bench)) is not None and not found.held)
    assert used(bench) == sum(end - since for end in ends)


def test_a_stopped_operator_writes_down_what_was_used_since_the_last_write(bench: Bench) -> None:
    operator = bench.operator(usage_seconds="3600").wait_ready()
    bench.submit("runs")
    bench.kubelet.run(bench.kubelet.pods("runs", 1, 2))
    bench.phase("runs", "Running")
    admitted = times.seconds(_now(bench))
    wait_for("time to pass", lambda: times.seconds(_now(bench)) > admitted + 2)
    assert account(bench) is None
    assert operator.stop() == 0
    known = account(bench)
    assert known is not None
    assert known.charged_until > admitted >= begin(bench, known)
    assert [held.nodes for held in known.held.values()] == [2]


def test_of_pools_that_are_gone_only_accounts_that_count_stay(bench: Bench) -> None:
    today = int(times.seconds(_now(bench))) // usage.DAY
    for name, day in (("old", today - 40), ("recent", today - 3)):
        known = Account(charged_until=(day + 1) * usage.DAY, used={"team": {day: 100}})
        labels = {naming.MANAGED_BY: naming.MANAGER, naming.POOL: f"{bench.pool}-{name}"}
        metadata = {"name": f"mlpools-usage-{bench.pool}-{name}", "labels": labels}
        data = usage_record.encode(known)
        bench.kube.create(
            {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data}, SPACE
        )
    bench.operator(usage_seconds="0.2").wait_ready()
    gone = f"mlpools-usage-{bench.pool}-old"
    wait_for("end of the old account", lambda: bench.kube.find("ConfigMap", gone, SPACE) is None)
    assert bench.kube.find("ConfigMap", f"mlpools-usage-{bench.pool}-recent", SPACE)
    bench.kube.delete("ConfigMap", f"mlpools-usage-{bench.pool}-recent", SPACE)


def _finished(pod: Object) -> float:
    return times.seconds(pod["status"]["containerStatuses"][0]["state"]["terminated"]["finishedAt"])


def _now(bench: Bench) -> str:
    """The clock of the API server: that of an object made now."""
    made = bench.kube.request(
        "POST",
        f"/api/v1/namespaces/{bench.namespace}/events",
        {
            "metadata": {"generateName": "clock-"},
            "involvedObject": {"kind": "Namespace", "name": bench.namespace, "namespace": bench.namespace},
        },
    )
    return str(made["metadata"]["creationTimestamp"])
