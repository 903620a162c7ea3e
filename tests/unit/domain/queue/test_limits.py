from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlpools_operator.domain import times
from mlpools_operator.domain.pool.ledger import Candidate, Decision, Surroundings, Verdict
from mlpools_operator.domain.queue import admission
from mlpools_operator.domain.queue.usage import DAY
from tests.support.domain_values import NOW, a_candidate, a_pool

LABELS = {"team-a": {"team": "a", "ml": "yes"}, "team-b": {"team": "b", "ml": "yes"}, "guest": {}}
ML = {"matchLabels": {"ml": "yes"}}
TODAY = int(NOW // DAY)


def job(name: str, nodes: int = 1, **changes: Any) -> Candidate:
    return a_candidate(name, nodes, **changes)


def holder(name: str, nodes: int, **changes: Any) -> Candidate:
    return job(name, nodes, held=nodes, admitted=True, **changes)


def decide(
    *candidates: Candidate,
    limits: list[dict[str, Any]] | None = None,
    surroundings: Surroundings | None = None,
    **pool: Any,
) -> Decision:
    queue = {"limits": limits or []}
    return admission.decide(
        a_pool(**{"maxNodes": 8, "queue": queue, **pool}),
        candidates,
        surroundings or Surroundings(LABELS),
        NOW,
    )


def on(decision: Decision, name: str) -> Verdict:
    return decision.verdicts[f"uid-{name}"]


def test_a_pool_is_for_the_namespaces_that_it_selects() -> None:
    decision = decide(job("ours"), job("theirs", namespace="guest"), namespaces=ML)
    assert on(decision, "ours").admit
    assert on(decision, "theirs").reason == "PoolNotAllowed"
    assert on(decision, "theirs").position == 0
    assert on(decision, "theirs").message == (
        "Namespace guest may not use pool cpu, which is for namespaces with ml=yes. It starts when that "
        "changes: ask the pool's administrator to label the namespace or widen the pool's spec.namespaces, "
        "or make a job with another computePool."
    )


def test_what_is_admitted_stays_when_its_namespace_may_not_any_more() -> None:
    assert on(decide(holder("in", 2, namespace="guest"), namespaces=ML), "in").admit


@pytest.mark.parametrize(
    "rules", [{"namespaces": ML}, {"limits": [{"namespaces": ML, "maxNodes": 4}]}], ids=["pool", "limit"]
)
def test_where_labels_are_not_known_a_selector_lets_nobody_in(rules: dict[str, Any]) -> None:
    decision = decide(job("new", namespace="unseen"), **rules)
    assert on(decision, "new").reason == "PoolNotAllowed"
    assert "cannot read those of unseen" in on(decision, "new").message


def test_what_is_for_all_needs_no_labels() -> None:
    limits = [{"maxNodes": 2}, {"namespaces": {}, "maxNodes": 1}]
    decision = decide(job("one", namespace="unseen"), job("two", 2, namespace="unseen"), limits=limits)
    assert on(decision, "one").admit
    assert on(decision, "two").reason == "NamespaceLimit"


def test_a_namespace_holds_no_more_nodes_than_its_limit_and_holds_back_nobody() -> None:
    first, second = job("first", 2, created=NOW - 90), job("second", 3, created=NOW - 80)
    other = job("other", 3, namespace="team-b", created=NOW - 1)
    decision = decide(holder("in", 2), first, second, other, limits=[{"namespaces": ML, "maxNodes": 4}])
    assert on(decision, "first").admit
    assert on(decision, "second").reason == "NamespaceLimit"
    assert on(decision, "second").message == (
        "Needs 3 nodes of pool cpu, where jobs of namespace team-a hold at most 4 together. It starts "
        "when others of the namespace have ended; to start sooner, ask the pool's administrator to raise "
        "maxNodes in its queue.limits."
    )
    assert on(decision, "other").admit


def test_a_job_that_is_larger_than_its_namespaces_limit_is_told_so() -> None:
    decision = decide(job("huge", 5), limits=[{"maxNodes": 4}])
    assert on(decision, "huge").reason == "NamespaceLimit"
    assert "Use nodes: 4 or fewer, or ask the pool's administrator" in on(decision, "huge").message


def test_those_who_could_only_wait_for_their_own_are_not_told_of_the_queue() -> None:
    full = holder("in", 8, namespace="team-b")
    mine = [job(f"j{number}", 2, created=NOW - 90 + number) for number in range(5)]
    decision = decide(full, *mine, limits=[{"namespaces": ML, "maxNodes": 4}])
    reasons = [on(decision, f"j{number}").reason for number in range(5)]
    assert reasons == ["WaitingForNodes", "BehindInQueue", *["NamespaceLimit"] * 3]
    after = decide(replace(full, held=0, admitted=False, blocked="Ended"), *mine, limits=[{"maxNodes": 4}])
    assert [on(after, f"j{number}").admit for number in range(5)] == [True, True, False, False, False]
    for number in (2, 3, 4):
        name = f"j{number}"
        assert on(after, name) == on(decision, name), "its reason changes with none of the others'"


def test_a_priority_has_a_limit_where_an_entry_matches() -> None:
    limits = [{"namespaces": {"matchLabels": {"team": "a"}}}, {"namespaces": ML, "maxPriority": 5}]
    decision = decide(
        job("high", priority=1),
        job("low", priority=0),
        job("b", priority=5, namespace="team-b"),
        job("guest", priority=99, namespace="guest"),
        limits=limits,
    )
    assert on(decision, "high").reason == "PriorityTooHigh"
    assert on(decision, "high").message == (
        "Priority 1 is too high: jobs of namespace team-a have at most 0 in pool cpu. Set spec.priority to "
        "0 or lower, or ask the pool's administrator to raise maxPriority in its queue.limits."
    )
    assert [on(decision, name).admit for name in ("low", "b", "guest")] == [True, True, True]


def used(**ago: dict[int, int]) -> Surroundings:
    """Node seconds by namespace and days ago."""
    days = {name.replace("_", "-"): {TODAY - n: v for n, v in it.items()} for name, it in ago.items()}
    return Surroundings(LABELS, days)


def test_a_spent_budget_stops_admission_until_days_drop_out() -> None:
    limits = [{"namespaces": ML, "nodeSecondsPer30d": 1000}]
    spent = used(team_a={0: 100, 4: 500, 29: 500}, team_b={0: 999})
    decision = decide(
        holder("in", 1), job("mine"), job("theirs", namespace="team-b"), limits=limits, surroundings=spent
    )
    assert on(decision, "in").admit, "what runs goes on"
    assert on(decision, "theirs").admit
    assert on(decision, "mine").reason == "BudgetSpent"
    assert on(decision, "mine").message == (
        "Namespace team-a has spent its budget of 1000 node seconds of pool cpu in 30 days. Room returns on "
        "2027-01-17 (UTC), if nothing more is used; to start sooner, ask the pool's administrator to raise "
        "nodeSecondsPer30d in its queue.limits."
    )
    assert decision.requeue_after == (TODAY + 2) * DAY - NOW
    assert NOW == 1_800_000_000, "2027-01-15 08:00 UTC"


def test_an_account_that_cannot_be_read_stops_those_who_have_a_budget() -> None:
    limits = [{"namespaces": ML, "nodeSecondsPer30d": 1000}]
    broken = Surroundings(LABELS, {}, "ConfigMap mlpools-usage-cpu in namespace x: its held cannot be read")
    decision = decide(job("mine"), job("guest", namespace="guest"), limits=limits, surroundings=broken)
    assert on(decision, "guest").admit
    assert on(decision, "mine").reason == "BudgetSpent"
    assert "ConfigMap mlpools-usage-cpu in namespace x" in on(decision, "mine").message


def test_nobody_wakes_a_pool_who_may_not_start_there() -> None:
    slept = {"state": "Suspended", "suspendedSince": times.stamp(NOW - 60)}
    pool = replace(a_pool(namespaces=ML), status=slept)
    theirs, mine = job("theirs", namespace="guest"), job("mine")
    decision = admission.decide(pool, [theirs], Surroundings(LABELS), NOW)
    assert on(decision, "theirs").reason == "PoolNotAllowed"
    assert decision.life is not None
    assert not decision.life.waking
    decision = admission.decide(pool, [theirs, mine], Surroundings(LABELS), NOW)
    assert [on(decision, name).reason for name in ("theirs", "mine")] == ["PoolNotAllowed", "PoolResuming"]


SELECTORS = st.sampled_from([None, {}, ML, {"matchLabels": {"team": "a"}}])
LIMITS = st.lists(
    st.builds(
        lambda namespaces, nodes, priority, budget: {
            key: value
            for key, value in {
                "namespaces": namespaces,
                "maxNodes": nodes,
                "maxPriority": priority,
                "nodeSecondsPer30d": budget,
            }.items()
            if value is not None
        },
        SELECTORS,
        st.none() | st.integers(1, 6),
        st.none() | st.integers(-1, 2),
        st.none() | st.integers(1, 100),
    ),
    max_size=4,
)
CANDIDATES = st.lists(
    st.builds(
        lambda name, space, nodes, priority, held: job(
            name, nodes, namespace=space, priority=priority, held=nodes * held, admitted=held
        ),
        st.text("abcdef", min_size=4, max_size=8),
        st.sampled_from(sorted(LABELS)),
        st.integers(1, 4),
        st.integers(-1, 2),
        st.sampled_from((False, False, False, True)),
    ),
    max_size=12,
    unique_by=lambda it: it.uid,
)


@given(CANDIDATES, LIMITS, st.dictionaries(st.sampled_from(sorted(LABELS)), st.integers(0, 120)))
def test_no_namespace_ever_passes_the_strictest_of_its_limits(
    candidates: list[Candidate], limits: list[dict[str, Any]], spent: dict[str, int]
) -> None:
    surroundings = Surroundings(LABELS, {name: {TODAY: number} for name, number in spent.items()})
    decision = decide(*candidates, limits=limits, surroundings=surroundings)
    for space, labels in LABELS.items():
        mine = [
            it for it in limits if it.get("namespaces", {}).get("matchLabels", {}).items() <= labels.items()
        ]
        own = [it for it in candidates if it.namespace == space]
        new = [it for it in own if decision.verdicts[it.uid].admit and not it.admitted]
        bounds = [it["maxNodes"] for it in mine if "maxNodes" in it]
        held = sum(it.nodes for it in own if decision.verdicts[it.uid].admit)
        assert not new or not bounds or held <= min(bounds)
        top = min((it.get("maxPriority", 0) for it in mine), default=99)
        assert all(it.priority <= top for it in new)
        budgets = [it["nodeSecondsPer30d"] for it in mine if "nodeSecondsPer30d" in it]
        assert not new or not budgets or spent.get(space, 0) < min(budgets)


@given(CANDIDATES, st.integers(1, 4))
def test_jobs_beyond_their_limit_hold_back_nobody(candidates: list[Candidate], limit: int) -> None:
    """Without them, the others are served in the same way."""
    limits = [{"namespaces": {"matchLabels": {"team": "a"}}, "maxNodes": limit}]
    decision = decide(*candidates, limits=limits)
    passed = {uid for uid, verdict in decision.verdicts.items() if verdict.reason == "NamespaceLimit"}
    alone = decide(*(it for it in candidates if it.uid not in passed), limits=limits)
    assert alone.verdicts == {uid: verdict for uid, verdict in decision.verdicts.items() if uid not in passed}
