from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from mlpools_operator.domain import admission
from mlpools_operator.domain.ledger import Candidate, Decision, Verdict
from tests.support.domain_values import NOW, a_candidate, a_pool


def _decide(*candidates: Candidate, max_nodes: int = 4) -> Decision:
    return admission.decide(a_pool(maxNodes=max_nodes), candidates, NOW)


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
    head = a_candidate("gang", 3, created=NOW - admission.HEAD_SECONDS)
    small = a_candidate("small", 2, created=NOW - 1)
    assert _verdict(_decide(holder, head, small), "small").reason == "BehindInQueue"
    younger = replace(head, created=NOW - admission.HEAD_SECONDS + 1)
    decision = _decide(holder, younger, small)
    assert _verdict(decision, "small").admit
    assert decision.requeue_after == 1


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
        decision = admission.decide(closed, candidates, NOW)
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


def test_far_back_a_place_changes_only_when_it_has_halved() -> None:
    queue = [a_candidate(f"job-{n:03d}", 4, created=NOW - 500 + n) for n in range(140)]
    decision = _decide(a_candidate("holder", 4, admitted=True, held=4), *queue)
    assert [_verdict(decision, f"job-{n:03d}").ahead for n in (0, 1, 49, 50, 63, 64, 127, 128)] == [
        0, 1, 49, 32, 32, 64, 64, 128,
    ]  # fmt: skip


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
    before = sum(admission.in_use_by(candidate) for candidate in candidates)
    assert set(decision.verdicts) == {candidate.uid for candidate in candidates}

    shuffled = list(candidates)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert {**_decide(*shuffled, max_nodes=limit).verdicts} == {**decision.verdicts}

    new = [it for it in candidates if decision.verdicts[it.uid].admit and not it.admitted]
    assert decision.held == before + sum(it.nodes for it in new)
    assert not new or decision.held <= limit

    asking = [it for it in candidates if not it.admitted and not it.blocked and it.not_before <= NOW]
    waiting = [it for it in asking if not decision.verdicts[it.uid].admit]
    waiting.sort(key=lambda it: (-it.priority, it.created, it.uid))
    queued = [it for it in waiting if it.nodes <= limit]
    if queued:
        assert decision.held + queued[0].nodes > limit, "the first in the queue waits though it would fit"
        if NOW - queued[0].created < admission.HEAD_SECONDS:
            assert all(decision.held + it.nodes > limit for it in queued)
    assert [decision.verdicts[it.uid].position for it in queued] == list(range(1, len(queued) + 1))


def test_nothing_starves_behind_a_stream_of_small_jobs() -> None:
    """Each 30 s a small job ends and another one comes; a gang of all nodes still gets its turn."""
    gang = a_candidate("gang", 4, created=NOW)
    running = [a_candidate(f"s{n}", 2, admitted=True, held=2, created=NOW - 1) for n in range(2)]
    started = None
    for turn in range(1, 60):
        now = NOW + 30 * turn
        running = running[1:]
        fresh = a_candidate(f"s{turn + 1}", 2, created=now)
        verdicts = admission.decide(a_pool(), [gang, fresh, *running], now).verdicts
        if verdicts[gang.uid].admit:
            started = now
            break
        if verdicts[fresh.uid].admit:
            running.append(replace(fresh, admitted=True, held=2))
    assert started is not None
    assert admission.HEAD_SECONDS <= started - NOW <= admission.HEAD_SECONDS + 60
