"""Who uses what and who waits, from objects as the API server has them."""

from __future__ import annotations

from typing import Any

from mlpools_kubectl import line, screen, usage
from mlpools_kubectl.cluster import Object

ADMITTED = [{"type": "Admitted", "status": "True"}]


def work(kind: str, name: str, namespace: str = "team-a", pool: str = "cpu", **status: Any) -> Object:
    metadata = {"name": name, "namespace": namespace, "creationTimestamp": "2026-01-01T00:00:00Z"}
    return {
        "kind": kind,
        "metadata": metadata,
        "spec": {"computePool": pool, "nodes": 2},
        "status": {"phase": "Running", "conditions": ADMITTED, **status},
    }


def queued(name: str, namespace: str = "team-a", **queue: Any) -> Object:
    return work("TrainingJob", name, namespace, phase="Queued", conditions=[], queue=queue)


def pool(queue: list[Object], queued: int) -> Object:
    return {
        "metadata": {"name": "cpu"},
        "spec": {"maxNodes": 8},
        "status": {"queue": queue, "queued": queued},
    }


def test_holders_are_what_is_admitted_and_not_over() -> None:
    over = [*ADMITTED, {"type": "Failed", "status": "True"}]
    found = usage.holders(
        [
            work("TrainingJob", "small", nodes={"requested": 1}),
            work("BatchInference", "grown", nodes={"requested": 8, "granted": 5}),
            work("NotebookRuntime", "alice", cluster={"nodes": 3}),
            work("TrainingJob", "over", conditions=over),
            queued("waits"),
        ]
    )
    assert [(it.name, it.nodes) for it in found] == [("grown", 5), ("alice", 4), ("small", 1)]


def test_shares_count_what_a_namespace_holds_and_what_it_waits_for() -> None:
    found = usage.shares(
        [
            work("TrainingJob", "a", nodes={"requested": 2}),
            work("NotebookRuntime", "b"),
            queued("c"),
            queued("d", "team-b"),
            work("TrainingJob", "e", pool="gpu", nodes={"requested": 7}),
        ]
    )
    assert [(it.pool, it.namespace, it.nodes, it.jobs, it.notebooks, it.queued) for it in found] == [
        ("cpu", "team-a", 3, 1, 1, 1),
        ("cpu", "team-b", 0, 0, 0, 1),
        ("gpu", "team-a", 7, 1, 0, 0),
    ]


def test_a_pool_without_a_status_is_shown_as_it_is() -> None:
    bare = {"metadata": {"name": "new"}, "spec": {"maxNodes": 3}}
    assert usage.pools([bare]) == [usage.Pool("new", "", "", 0, 0, 3, 0)]


def entry(position: int, name: str, namespace: str = "team-a") -> Object:
    its = {
        "position": position,
        "name": name,
        "namespace": namespace,
        "nodes": 2,
        "reason": "WaitingForNodes",
    }
    return {"kind": "TrainingJob", **its}


def test_a_line_joins_what_the_pool_tells_with_the_sentences_one_may_read() -> None:
    mine = queued("mine", position=2, message="It waits for 2 nodes.")
    barred = queued("barred", reason="PoolNotAllowed", message="Ask for it.")
    found = line.line(pool([entry(1, "theirs", "team-b"), entry(2, "mine")], 5), [mine, barred])
    assert [(it.position, it.name, it.message) for it in found.places] == [
        (1, "theirs", ""),
        (2, "mine", "It waits for 2 nodes."),
        (0, "barred", "Ask for it."),
    ]
    assert found.unnamed == 3


def test_a_pool_that_tells_counts_only_has_a_line_of_ones_own() -> None:
    found = line.line(pool([], 4), [queued("mine", position=3)])
    assert [(it.position, it.name) for it in found.places] == [(3, "mine")]
    assert found.unnamed == 3


def test_ages_are_short() -> None:
    spans = {0: "", 59: "59s", 119: "119s", 120: "2m", 7199: "119m", 7200: "2h", 10**6: "11d"}
    assert {span: screen.age(float(bool(span)), span + 1.0) for span in spans} == spans
