from __future__ import annotations

from dataclasses import replace
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from mlpools_operator.domain import times
from mlpools_operator.domain.pool.ledger import Candidate, Decision, Surroundings
from mlpools_operator.domain.queue import admission
from mlpools_operator.domain.queue.preemption import SPARED_SECONDS
from tests.support.domain_values import NOW, a_candidate, a_pool
from tests.support.rounds import Rounds

RULES = {"preemption": "LowerPriority"}


def _holder(name: str, nodes: int, **changes: Any) -> Candidate:
    return a_candidate(name, nodes, **{"admitted": True, "held": nodes, "admitted_at": NOW - 1000, **changes})


def _decide(taker: Candidate, *others: Candidate, **rules: Any) -> Decision:
    """Decide when ``taker`` stands at the head and the pool's status says so."""
    heads = [{"uid": taker.uid, "since": times.stamp(NOW - 2)}]
    pool = replace(a_pool(queue={**RULES, **rules}), status={"heads": heads})
    return admission.decide(pool, [taker, *others], Surroundings(), NOW)


def _evicted(decision: Decision) -> set[str]:
    return {uid.removeprefix("uid-") for uid, verdict in decision.verdicts.items() if verdict.evict}


def test_the_lowest_priority_gives_its_nodes_first_and_then_the_newest() -> None:
    taker = a_candidate("taker", 2, priority=5)
    low = _holder("low", 2, priority=-1)
    old, new = _holder("old", 1), _holder("new", 1, admitted_at=NOW - 10)
    assert _evicted(_decide(taker, low, old, new)) == {"low"}
    assert _evicted(_decide(replace(taker, nodes=3), low, old, new)) == {"low", "new"}
    assert _evicted(_decide(replace(taker, nodes=1), replace(low, priority=0), old, new)) == {"new"}


def test_nobody_gives_nodes_in_vain() -> None:
    taker = a_candidate("taker", 4, priority=5)
    low, equal = _holder("low", 2), _holder("equal", 2, priority=5)
    assert _evicted(_decide(taker, low, equal)) == set()
    assert _evicted(_decide(taker, low, replace(equal, priority=4))) == {"low", "equal"}
    assert _evicted(_decide(taker, low, replace(equal, priority=4, preemptible=False))) == set()
    assert _evicted(_decide(taker, low, replace(equal, priority=4), preemption="Never")) == set()


def test_no_more_than_needed_give_their_nodes() -> None:
    taker = a_candidate("taker", 3, priority=5)
    small, large = _holder("small", 1, priority=-1), _holder("large", 3)
    assert _evicted(_decide(taker, small, large)) == {"large"}, "with it, the small one is not needed"
    free = _decide(replace(taker, nodes=2), _holder("one", 1), _holder("two", 2, admitted_at=NOW - 10))
    assert _evicted(free) == {"two"}, "one node is free, but the other has one only"


def test_nodes_that_are_on_their_way_out_count() -> None:
    taker, low = a_candidate("taker", 3, priority=5), _holder("low", 2)
    gone = a_candidate("gone", 0, held=2, blocked="Deleted")
    stopping = _holder("stopping", 2, stopping=True)
    back = a_candidate("back", 2, held=2, attempt=2)
    for leaving in (gone, stopping, back):
        assert _evicted(_decide(replace(taker, nodes=2), low, leaving)) == set()
        assert _evicted(_decide(taker, low, leaving)) == {"low"}


def test_after_a_restart_a_job_is_spared_for_a_while() -> None:
    taker = a_candidate("taker", 4, priority=5)
    again = _holder("again", 4, attempt=2, admitted_at=NOW - SPARED_SECONDS + 40)
    decision = _decide(taker, again)
    assert (_evicted(decision), decision.requeue_after) == (set(), 40)
    assert _evicted(_decide(taker, replace(again, admitted_at=NOW - SPARED_SECONDS))) == {"again"}
    assert _evicted(_decide(taker, replace(again, attempt=1))) == {"again"}


def test_who_was_told_to_go_stays_chosen() -> None:
    """It may have begun to; another one that became a better choice meanwhile would go in vain."""
    taker = a_candidate("taker", 2, priority=5)
    told, newer = _holder("told", 2, evicting=True), _holder("newer", 2, admitted_at=NOW - 1)
    assert _evicted(_decide(taker, told, newer)) == {"told"}
    assert _evicted(_decide(taker, replace(told, evicting=False), newer)) == {"newer"}


def test_nobody_goes_before_the_status_shows_for_whom() -> None:
    taker, low = a_candidate("taker", 4, priority=5), _holder("low", 4)
    decision = admission.decide(a_pool(queue=RULES), [taker, low], Surroundings(), NOW)
    assert (_evicted(decision), decision.requeue_after) == (set(), 1)
    granted = a_candidate("granted", 4, admitted=True, held=4)
    assert _evicted(_decide(taker, granted)) == set(), "its own status does not show its nodes yet"


def test_nobody_else_takes_the_nodes_that_come_free() -> None:
    taker, low = a_candidate("taker", 3, priority=5), _holder("low", 2)
    small = [a_candidate(f"small-{n}", 1, created=NOW - n) for n in (1, 2)]
    decision = _decide(taker, low, *small)
    assert _evicted(decision) == {"low"}
    assert [decision.verdicts[it.uid].admit for it in small] == [False, True], (
        "one of the two free is left over"
    )


def test_both_sides_are_told() -> None:
    taker = a_candidate("urgent", 3, priority=5, namespace="team-b")
    decision = _decide(taker, _holder("churn", 4))
    verdict = decision.verdicts["uid-churn"]
    assert (verdict.admit, verdict.evict, verdict.reason, verdict.attempt) == (False, True, "Preempted", 1)
    assert verdict.message == (
        "It gives its 4 nodes of pool cpu to urgent (team-b), which has priority 5 (this one has 0). It "
        "queues again with its age, and goes on from what it has saved."
    )
    assert decision.verdicts[taker.uid].message == (
        "Needs 3 nodes of pool cpu, 0 of 4 are free: churn (team-a) holds 4. First in the queue; it has a "
        "higher priority, so churn (team-a) gives its nodes back for it."
    )
    hidden = _decide(taker, _holder("churn", 4), disclose="Counts")
    assert "to a job of another namespace, which has" in hidden.verdicts["uid-churn"].message
    assert "so a job of another namespace gives" in hidden.verdicts[taker.uid].message


def _grown(name: str, size: int, **changes: Any) -> Candidate:
    """Return one that asked for a single node and has more."""
    return replace(_holder(name, 1, held=size, size=size, most=4), **changes)


def _kept(decision: Decision, *candidates: Candidate) -> list[int]:
    return [decision.verdicts[it.uid].nodes for it in candidates]


def test_what_was_lent_comes_back_whatever_the_rules_and_priorities() -> None:
    taker, score = a_candidate("taker", 2), _grown("score", 4)
    for rules in ({"preemption": "Never"}, {"preemption": "LowerPriority"}):
        decision = _decide(taker, score, **rules)
        assert (_evicted(decision), _kept(decision, score)) == (set(), [2])
        assert decision.verdicts[taker.uid].message.endswith(
            "First in the queue; score (team-a) gives back 2 nodes that it took while nobody waited."
        )
    for lasting in (replace(score, priority=1), replace(score, preemptible=False), replace(taker, nodes=4)):
        pair = (taker, lasting) if lasting.uid == score.uid else (lasting, score)
        decision = _decide(*pair, preemption="Never")
        assert _kept(decision, pair[1]) == [4], "higher, left alone by its author, or in vain"


def test_what_one_keeps_is_not_called_in() -> None:
    taker, alice = a_candidate("taker", 2), _grown("alice", 4, keeps=True)
    for preemptible in (True, False):
        decision = _decide(taker, replace(alice, preemptible=preemptible))
        assert (_evicted(decision), _kept(decision, alice)) == (set(), [4])


def test_what_was_lent_comes_back_before_anybody_stops() -> None:
    taker = a_candidate("taker", 3, priority=5)
    low, one, two = _holder("low", 1, priority=-1), _grown("one", 2), _grown("two", 1, priority=5)
    decision = _decide(replace(taker, nodes=1), low, one, two)
    assert (_evicted(decision), _kept(decision, one)) == (set(), [1])
    decision = _decide(replace(taker, nodes=2), low, one, two)
    assert (_evicted(decision), _kept(decision, one)) == ({"low"}, [1])
    assert decision.verdicts[taker.uid].message.endswith(
        "First in the queue; it has a higher priority, so low (team-a) gives its nodes back for it and one "
        "(team-a) gives back 1 node that it took while nobody waited."
    )
    decision = _decide(taker, low, one, two)
    assert _evicted(decision) == {"low", "one"}, "two keeps what it asked for"
    decision = _decide(replace(taker, nodes=2), _holder("large", 2), _grown("one", 2, priority=5))
    assert _evicted(decision) == {"large"}, "with two nodes of it, nothing needs to come back"
    assert _kept(decision, _grown("one", 2)) == [2]


def test_nodes_that_are_coming_back_already_are_not_asked_for_again() -> None:
    taker, score = a_candidate("taker", 2), _grown("score", 2, held=3)
    decision = _decide(taker, score, preemption="Never")
    assert _kept(decision, score) == [2], "one is free, and one of its pods is ending"
    assert _kept(_decide(replace(taker, nodes=3), score, preemption="Never"), score) == [1]


_jobs = st.lists(
    st.tuples(st.integers(1, 4), st.integers(0, 2), st.sampled_from("ab"), st.integers(0, 12)),
    min_size=2,
    max_size=14,
)


@given(_jobs, st.data())
def test_preemption_whatever_happens_meanwhile(
    jobs: list[tuple[int, int, str, int]], data: st.DataObject
) -> None:
    """Restarts, lost status writes, jobs that come and end, victims that take their time."""
    rounds, limit = Rounds(queue=RULES), 4
    due = [
        (turn, a_candidate(f"j{n}", nodes, priority=priority, namespace=space, created=NOW + turn))
        for n, (nodes, priority, space, turn) in enumerate(jobs)
    ]
    for turn in range(16):
        rounds.submit(*(job for when, job in due if when == turn))
        before = {job.uid: job for job in rounds.candidates()}
        decision = rounds.turn(data.draw(st.sampled_from((1, 400))), write=data.draw(st.booleans()))
        assert sum(job.held for job in rounds.jobs.values()) <= limit
        victims = [before[uid] for uid, verdict in decision.verdicts.items() if verdict.evict]
        if victims:
            (taker,) = (it for it in before.values() if decision.verdicts[it.uid].position == 1)
            expected = limit - decision.held + sum(it.held for it in before.values() if it.leaving)
            gained = sum(it.held for it in victims)
            assert expected < taker.nodes <= expected + gained, "needed, and it makes the gang fit"
            assert all(it.priority < taker.priority for it in victims)
            assert all(taker.nodes > expected + gained - it.held for it in victims), "no more than needed"
        rounds.obey(lambda _: data.draw(st.booleans()))
        if data.draw(st.booleans()):
            rounds.restart()
        if rounds.running and data.draw(st.integers(0, 3)) == 0:
            rounds.end(data.draw(st.sampled_from(rounds.running)))


@given(_jobs, st.data())
def test_one_round_of_victims_is_enough(jobs: list[tuple[int, int, str, int]], data: st.DataObject) -> None:
    """Of two priorities, every preemptor's victims give what it takes, although others come meanwhile."""
    rounds = Rounds(queue=RULES)
    due = [
        (turn, a_candidate(f"j{n}", nodes, priority=min(priority, 1), namespace=space, created=NOW + turn))
        for n, (nodes, priority, space, turn) in enumerate(jobs)
    ]
    stopped: dict[str, int] = {}
    for turn in range(16):
        rounds.submit(*(job for when, job in due if when == turn))
        free = 4 - sum(job.held for job in rounds.jobs.values())
        decision = rounds.turn(400, write=data.draw(st.booleans()))
        taker = next((uid for uid, verdict in decision.verdicts.items() if verdict.position == 1), "")
        going = {uid: data.draw(st.booleans()) for uid in sorted(rounds.jobs)}
        chosen = {uid for uid in rounds.told if going[uid]}
        if chosen:
            gained = sum(rounds.jobs[uid].held for uid in chosen)
            before = stopped.setdefault(taker, free)
            least = min(rounds.jobs[uid].held for uid in chosen)
            assert before + gained - least < rounds.jobs[taker].nodes, "more than it lacked went"
            stopped[taker] = before + gained
        rounds.obey(going.__getitem__)
        if data.draw(st.booleans()):
            rounds.restart()
