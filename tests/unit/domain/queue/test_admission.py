from __future__ import annotations

import random
from collections import Counter
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlpools_operator.domain import times
from mlpools_operator.domain.pool.ledger import Candidate, Decision, Head, Surroundings, Verdict
from mlpools_operator.domain.queue import admission
from mlpools_operator.domain.queue.line import Line
from tests.support.domain_values import NOW, a_candidate, a_pool
from tests.support.rounds import Rounds

WAIT = 600


def _decide(*candidates: Candidate, max_nodes: int = 4, **rules: Any) -> Decision:
    return admission.decide(a_pool(maxNodes=max_nodes, queue=rules), candidates, Surroundings(), NOW)


def _after(head: Candidate, seconds: float, *candidates: Candidate, **rules: Any) -> Decision:
    """Decide when ``head`` has stood at the head for so long."""
    heads = [{"uid": head.uid, "since": times.stamp(NOW - seconds)}]
    return admission.decide(
        replace(a_pool(queue=rules), status={"heads": heads}), candidates, Surroundings(), NOW
    )


def _verdict(decision: Decision, name: str) -> Verdict:
    return decision.verdicts[f"uid-{name}"]


def test_priority_comes_before_age() -> None:
    old = a_candidate("old", 3, created=NOW - 500)
    urgent = a_candidate("urgent", 3, priority=1, created=NOW - 1)
    decision = _decide(old, urgent)
    assert _verdict(decision, "urgent").admit
    assert _verdict(decision, "old").reason == "WaitingForNodes"


def test_a_gang_is_admitted_whole_or_not_at_all() -> None:
    decision = _decide(a_candidate("holder", 2, admitted=True, held=2), a_candidate("gang", 3))
    assert not _verdict(decision, "gang").admit
    assert decision.held == 2


def test_a_smaller_job_passes_one_that_waits_for_nodes() -> None:
    holder = a_candidate("holder", 2, admitted=True, held=2)
    decision = _decide(holder, a_candidate("gang", 3), a_candidate("small", 2, created=NOW - 1))
    assert _verdict(decision, "small").admit


def test_nobody_passes_a_job_that_has_stood_at_the_head_for_long() -> None:
    holder = a_candidate("holder", 2, admitted=True, held=2)
    head = a_candidate("gang", 3, created=NOW - 100_000)
    small = a_candidate("small", 2, created=NOW - 1)
    assert _verdict(_after(head, WAIT, holder, head, small), "small").reason == "BehindInQueue"
    decision = _after(head, WAIT - 1, holder, head, small)
    assert _verdict(decision, "small").admit
    assert decision.requeue_after == 1
    fresh = _decide(holder, head, small)
    assert _verdict(fresh, "small").admit, "its age alone keeps nobody back"
    assert fresh.heads == (Head(head.uid, NOW),)
    assert fresh.requeue_after == WAIT


def test_without_backfill_nobody_passes() -> None:
    jobs = (a_candidate("holder", 2, admitted=True, held=2), a_candidate("gang", 3))
    small = a_candidate("small", 2, created=NOW - 1)
    assert not _verdict(_decide(*jobs, small, backfill=False), "small").admit
    assert _verdict(_decide(*jobs, small, backfill=True), "small").admit
    impatient = _decide(*jobs, small, backfillMaxWaitSeconds=0)
    assert not _verdict(impatient, "small").admit


def test_nodes_that_are_about_to_come_free_are_kept_for_the_head() -> None:
    ending = a_candidate("ending", 0, held=2, blocked="Ended")
    head = a_candidate("gang", 3)
    small = [a_candidate(f"small-{n}", 1, created=NOW - n) for n in (1, 2)]
    decision = _decide(ending, head, *small)
    assert [_verdict(decision, it.name).admit for it in small] == [False, True], "one node is left over"
    assert _verdict(_decide(replace(ending, held=1), head, *small), "small-1").admit is False
    alone = _decide(a_candidate("holder", 2, admitted=True, held=2), head, *small)
    assert all(_verdict(alone, it.name).admit for it in small), "nothing is about to come free"


def test_the_head_keeps_its_place_and_its_time() -> None:
    """Another namespace has less by now; if that took the place, the two could take turns for ever."""
    holder = a_candidate("holder", 3, admitted=True, held=3, namespace="team-a")
    head, other = a_candidate("gang", 4), a_candidate("other", 4, namespace="team-b", created=NOW - 9000)
    decision = _after(head, 300, holder, head, other)
    assert _verdict(decision, "gang").position == 1
    assert decision.heads == (Head(head.uid, NOW - 300),)
    assert _verdict(_decide(holder, head, other), "other").position == 1


def test_a_head_is_remembered_while_one_of_higher_priority_stands_before_it() -> None:
    holder = a_candidate("holder", 2, admitted=True, held=2)
    head, urgent = a_candidate("gang", 3), a_candidate("urgent", 4, priority=1)
    small = a_candidate("small", 1, created=NOW - 1)
    decision = _after(head, WAIT, holder, head, urgent, small)
    assert decision.heads == (Head(urgent.uid, NOW), Head(head.uid, NOW - WAIT))
    assert not _verdict(decision, "small").admit, "its time has come all the same"
    gone = _after(head, WAIT, holder, small)
    assert gone.heads == ()


def test_of_equal_priority_the_namespace_with_the_least_comes_first() -> None:
    holder = a_candidate("holder", 1, admitted=True, held=1)
    mine = [a_candidate(f"mine-{n}", 1, created=NOW - 900 + n) for n in range(3)]
    theirs = [a_candidate(f"theirs-{n}", 1, created=NOW - 9 + n, namespace="team-b") for n in range(3)]
    fair = _decide(holder, *mine, *theirs)
    assert [it.name for it in (*mine, *theirs) if _verdict(fair, it.name).admit] == [
        "mine-0",
        "theirs-0",
        "theirs-1",
    ]
    by_age = _decide(holder, *mine, *theirs, fairShare=False)
    assert [it.name for it in (*mine, *theirs) if _verdict(by_age, it.name).admit] == [it.name for it in mine]


def test_the_places_of_the_line_alternate_between_namespaces() -> None:
    full = a_candidate("holder", 4, admitted=True, held=4, namespace="team-c")
    mine = [a_candidate(f"mine-{n}", 2, created=NOW - 900 + n) for n in range(3)]
    theirs = [a_candidate(f"theirs-{n}", 1, created=NOW - 9 + n, namespace="team-b") for n in range(3)]
    decision = _decide(full, *mine, *theirs)
    order = sorted((*mine, *theirs), key=lambda it: _verdict(decision, it.name).position)
    assert [it.name for it in order] == ["mine-0", "theirs-0", "theirs-1", "mine-1", "theirs-2", "mine-2"]


def test_a_job_in_back_off_is_passed_and_holds_nobody_back() -> None:
    again = a_candidate("again", 4, created=NOW - 5000, not_before=NOW + 30)
    decision = _decide(again, a_candidate("next", 4))
    assert _verdict(decision, "next").admit
    assert not _verdict(decision, "again").admit
    assert decision.requeue_after == 30


def test_a_blocked_job_is_passed_but_its_pods_count() -> None:
    over = a_candidate("over", 0, held=3, blocked="Ended")
    decision = _decide(over, a_candidate("two", 2, created=NOW), a_candidate("one", 1, created=NOW))
    assert _verdict(decision, "over") == Verdict(False, "Ended")
    assert not _verdict(decision, "two").admit
    assert _verdict(decision, "one").admit


def test_more_nodes_than_the_pool_has_are_too_large() -> None:
    verdict = _verdict(_decide(a_candidate("huge", 5), a_candidate("fits", 4)), "huge")
    assert (verdict.reason, verdict.admit) == ("TooLarge", False)
    assert "pool cpu has at most 4. Use nodes: 4 or fewer" in verdict.message


def test_lowering_max_nodes_takes_nothing_away() -> None:
    decision = _decide(a_candidate("holder", 4, admitted=True, held=4), a_candidate("next"), max_nodes=2)
    assert _verdict(decision, "holder").admit
    assert not _verdict(decision, "next").admit


def test_a_pool_that_goes_or_is_invalid_takes_nobody_and_keeps_who_is_in() -> None:
    pool = a_pool()
    going = replace(pool, meta=replace(pool.meta, deleting=True))
    invalid = replace(pool, spec={"maxNodes": 4})
    for closed in (going, invalid):
        candidates = (a_candidate("in", 2, admitted=True, held=2), a_candidate("out"))
        decision = admission.decide(closed, candidates, Surroundings(), NOW)
        assert _verdict(decision, "in").admit
        assert _verdict(decision, "out").reason == "PoolNotFound"
        assert _verdict(decision, "out").message


def test_the_first_in_the_queue_is_told_who_holds_the_nodes_and_what_would_help() -> None:
    flights = a_candidate(
        "arrival-delay", 2, admitted=True, held=2, percent=61.2, eta_seconds=41, created=NOW - 900
    )
    churn = a_candidate("churn", 2, admitted=True, held=2, namespace="team-b", created=NOW - 900)
    decision = _decide(flights, churn, a_candidate("fraud", 3), a_candidate("later", 1, created=NOW))
    first, second = _verdict(decision, "fraud"), _verdict(decision, "later")
    assert first.message == (
        "Needs 3 nodes of pool cpu, 0 of 4 are free: arrival-delay (team-a) holds 2 and is 60 % done "
        "(about 40 s left), churn (team-b) holds 2. First in the queue. "
        "To start sooner, raise the pool's maxNodes or use nodes: 2."
    )
    assert (first.position, first.ahead) == (1, 0)
    assert (second.position, second.ahead, second.reason) == (2, 1, "BehindInQueue")
    assert second.message == (
        "Needs 1 node of pool cpu; 1 job is ahead. First is fraud (team-a), which waits for 3 nodes."
    )


def test_beyond_max_queued_jobs_wait_outside_and_take_no_part() -> None:
    holder = a_candidate("holder", 2, admitted=True, held=2)
    line = [a_candidate(f"gang-{n}", 3, created=NOW - 90 + n) for n in range(3)]
    small = a_candidate("small", 1, created=NOW)
    decision = _decide(holder, *line, small, maxQueued=2)
    assert [_verdict(decision, it.name).reason for it in (*line, small)] == [
        "WaitingForNodes", "BehindInQueue", "QueueFull", "QueueFull",
    ]  # fmt: skip
    assert not _verdict(decision, "small").admit, "it would fit, but is not in the queue"
    assert _verdict(_decide(*line[:2], small, maxQueued=2), "small").admit, "who starts takes no room"
    urgent = a_candidate("urgent", 3, priority=1, created=NOW)
    pushed = _decide(holder, *line, urgent, maxQueued=2)
    assert _verdict(pushed, "urgent").position == 1
    assert _verdict(pushed, "gang-1").reason == "QueueFull"


def test_names_of_other_namespaces_are_hidden_where_only_counts_are_disclosed() -> None:
    mine = a_candidate("mine", 1, admitted=True, held=1)
    theirs = [
        a_candidate(f"secret-{n}", 2, admitted=True, held=2, namespace="team-b", percent=50) for n in (1, 2)
    ]
    first = a_candidate("first", 4, created=NOW - 99, priority=1, namespace="team-b")
    decision = _decide(mine, *theirs, first, a_candidate("second", 2), max_nodes=6, disclose="Counts")
    assert _verdict(decision, "first").message == (
        "Needs 4 nodes of pool cpu, 1 of 6 are free: secret-1 (team-b) holds 2 and is 50 % done, secret-2 "
        "(team-b) holds 2 and is 50 % done, 1 job of other namespaces holds 1. First in the queue. To start "
        "sooner, raise the pool's maxNodes or use nodes: 2."
    )
    assert _verdict(decision, "second").message == (
        "Needs 2 nodes of pool cpu; 1 job is ahead. First is a job of another namespace, which waits for 4 "
        "nodes."
    )
    alone = _decide(mine, *theirs, a_candidate("second", 4), max_nodes=6, disclose="Counts")
    assert "mine (team-a) holds 1, 2 jobs of other namespaces hold 4." in _verdict(alone, "second").message
    assert "secret" not in repr(_verdict(alone, "second"))


def test_who_is_first_is_told_that_nodes_are_kept_for_it_and_the_others_too() -> None:
    holder = a_candidate("holder", 2, admitted=True, held=2)
    head, small = a_candidate("gang", 3), a_candidate("small", 1, created=NOW)
    decision = _after(head, WAIT, holder, head, small)
    assert (
        "First in the queue, and freed nodes are kept for it. To start" in _verdict(decision, "gang").message
    )
    assert _verdict(decision, "small").message == (
        "Needs 1 node of pool cpu; 1 job is ahead. First is gang (team-a), which waits for 3 nodes, and "
        "freed nodes are kept for it."
    )
    ending = _decide(a_candidate("ending", 0, held=2, blocked="Ended"), head)
    assert _verdict(ending, "gang").message == (
        "Needs 3 nodes of pool cpu, 2 of 4 are free: ending (team-a) holds 2 until its pods have ended. "
        "First in the queue; it starts when the pods that are ending are gone."
    )


def test_far_back_a_place_is_told_anew_when_it_has_halved() -> None:
    full = a_candidate("holder", 4, admitted=True, held=4)
    shown = {60: 0, 61: 100, 62: 124, 63: 125, 64: 33, 65: 32, 66: 49, 40: 70}
    queue = [
        a_candidate(f"job-{n:03d}", 4, created=NOW - 500 + n, shown_ahead=shown.get(n, 0)) for n in range(70)
    ]
    decision = _decide(full, *queue)
    told = {n: _verdict(decision, f"job-{n:03d}").ahead for n in sorted(shown)}
    assert told == {40: 40, 60: 60, 61: 100, 62: 62, 63: 125, 64: 64, 65: 65, 66: 66}
    far, near = _verdict(decision, "job-061"), _verdict(decision, "job-040")
    assert far.message == "Needs 4 nodes of pool cpu; about 100 jobs are ahead."
    assert "40 jobs are ahead. First is job-000" in near.message
    assert _verdict(_decide(full, *queue[1:]), "job-061") == far, "one left, and nothing is told anew"


_candidates = st.lists(
    st.builds(
        lambda name, nodes, priority, age, held, state, wait: a_candidate(
            name,
            nodes,
            priority=priority,
            created=NOW - age,
            held=held if state != "waiting" else 0,
            admitted=state == "admitted",
            blocked="Ended" if state == "over" else "",
            not_before=NOW + wait,
        ),
        st.text("abcdef", min_size=4, max_size=8),
        st.integers(1, 6),
        st.integers(-1, 1),
        st.sampled_from((1, 599, 600, 5000)),
        st.integers(1, 3),
        st.sampled_from(("waiting", "waiting", "admitted", "over")),
        st.sampled_from((-1, 5)),
    ),
    max_size=12,
    unique_by=lambda candidate: candidate.uid,
)


@given(_candidates, st.integers(1, 8), st.randoms(use_true_random=False))
def test_whatever_is_in_the_queue(candidates: list[Candidate], limit: int, random: object) -> None:
    decision = _decide(*candidates, max_nodes=limit)
    before = sum(candidate.in_use for candidate in candidates)
    assert set(decision.verdicts) == {candidate.uid for candidate in candidates}

    shuffled = list(candidates)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert {**_decide(*shuffled, max_nodes=limit).verdicts} == {**decision.verdicts}

    new = [it for it in candidates if decision.verdicts[it.uid].admit and not it.admitted]
    assert decision.held == before + sum(it.nodes for it in new)
    assert not new or decision.held <= limit

    asking = [it for it in candidates if not it.admitted and not it.blocked and it.not_before <= NOW]
    queued = [it for it in asking if not decision.verdicts[it.uid].admit and it.nodes <= limit]
    queued.sort(key=lambda it: decision.verdicts[it.uid].position)
    assert [decision.verdicts[it.uid].position for it in queued] == list(range(1, len(queued) + 1))
    assert [it.priority for it in queued] == sorted((it.priority for it in queued), reverse=True)
    if queued:
        assert decision.held + queued[0].nodes > limit, "the first in the queue waits though it would fit"
        assert decision.heads == (Head(queued[0].uid, NOW),)
        leaving = sum(it.held for it in candidates if not it.admitted)
        if decision.held + queued[0].nodes - leaving > limit:
            assert all(decision.held + it.nodes > limit for it in queued), "one could have passed the head"


@given(st.lists(st.booleans(), min_size=40, max_size=40))
def test_nothing_starves_behind_a_stream_of_small_jobs(written: list[bool]) -> None:
    """Each 30 s a small job ends and another one comes; a gang of all nodes still gets its turn.

    A status write that is lost costs no more than the time since the one before; in any two minutes one
    succeeds.
    """
    rounds = Rounds()
    rounds.submit(a_candidate("s-0", 2), a_candidate("s-1", 2))
    rounds.turn()
    rounds.submit(a_candidate("gang", 4, created=rounds.now))
    came = rounds.now + 30
    for number, write in enumerate(written):
        rounds.submit(a_candidate(f"s-{number + 2}", 2, created=rounds.now))
        rounds.turn(write=write or number % 4 == 3)
        if "uid-gang" in rounds.started:
            break
        rounds.end(rounds.running[0])
    assert WAIT <= rounds.started["uid-gang"] - came <= WAIT + 120 + 90


@given(
    st.lists(st.tuples(st.sampled_from("abc"), st.integers(1, 4), st.integers(0, 9)), max_size=40), st.data()
)
def test_every_job_gets_its_turn(jobs: list[tuple[str, int, int]], data: st.DataObject) -> None:
    """Whatever the sizes and namespaces, and whichever running job ends next: all are served."""
    rounds = Rounds()
    waiting = [
        a_candidate(f"{space}-{n}", nodes, namespace=space, created=NOW + wait)
        for n, (space, nodes, wait) in enumerate(jobs)
    ]
    rounds.submit(*waiting)
    for _ in waiting:
        rounds.turn(100)
        if not rounds.running:
            break
        rounds.end(data.draw(st.sampled_from(rounds.running)))
    assert len(rounds.started) == len(jobs)
    assert not rounds.jobs


@pytest.mark.parametrize("fair", [True, False])
def test_ten_thousand_jobs_of_one_tenant_delay_another_by_one_at_most(fair: bool) -> None:
    rounds = Rounds(maxNodes=1, queue={"fairShare": fair})
    rounds.submit(*(a_candidate(f"many-{n}", created=NOW - 20_000 + n) for n in range(10_000)))
    rounds.turn()
    rounds.submit(a_candidate("single", namespace="team-b", created=rounds.now))
    before = len(rounds.started)
    while "uid-single" not in rounds.started and len(rounds.started) < before + 5:
        rounds.end(rounds.running[0])
        rounds.turn()
    served = len(rounds.started) - before - ("uid-single" in rounds.started)
    assert served <= 1 if fair else served == 5


def test_the_line_is_the_same_as_one_that_sorts_anew_for_every_place() -> None:
    dice = random.Random(7)
    asking = [
        a_candidate(f"j{n}", dice.randint(1, 5), namespace=dice.choice("abcde"), created=dice.randint(0, 50))
        for n in range(300)
    ]
    line = Line(asking, {"a": 30, "b": 3}, (), fair_share=True)
    order = []
    for candidate in line:
        order.append(candidate)
        line.take(candidate)
    share, left = Counter({"a": 30, "b": 3}), list(asking)
    for candidate in order:
        assert candidate == min(left, key=lambda it: (share[it.namespace], it.created, it.uid))
        left.remove(candidate)
        share[candidate.namespace] += candidate.nodes
