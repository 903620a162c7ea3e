from __future__ import annotations

import random
from dataclasses import replace

from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from mlpools_operator.cluster.connect import WRITE_SECONDS
from mlpools_operator.domain import leadership
from mlpools_operator.domain.leadership import Lease, Standing, Terms
from tests.support import election
from tests.support.election import Election, Process

TERMS = Terms()
THEIRS = Lease("b", 15, 3, acquired="then", renewed="then", version="7")
MINE = replace(THEIRS, holder="a")
FREE = replace(THEIRS, holder="")


def leader(at: float = 100.0) -> Standing:
    """One whose renewal, sent at a time, was accepted a second later."""
    return leadership.after_write(Standing("a"), MINE, at, at + 1)


def claims(standing: Standing, now: float) -> Lease | None:
    return leadership.claim(standing, now, "now")


def test_a_lease_that_nobody_has_is_taken_at_once() -> None:
    assert claims(Standing("a"), 0.0) == Lease("a", 15, 0, acquired="now", renewed="now")


def test_a_lease_that_was_released_is_taken_at_once() -> None:
    waiting = leadership.after_read(Standing("a"), FREE, 100.0)
    assert claims(waiting, 100.0) == Lease("a", 15, 4, acquired="now", renewed="now", version="7")


def test_somebody_elses_lease_is_waited_out_by_ones_own_clock() -> None:
    waiting = leadership.after_read(Standing("a"), THEIRS, 100.0)
    waiting = leadership.after_read(waiting, THEIRS, 110.0)
    assert claims(waiting, 114.9) is None
    assert claims(waiting, 115.0) == Lease("a", 15, 4, acquired="now", renewed="now", version="7")


def test_every_change_of_it_starts_the_wait_anew() -> None:
    waiting = leadership.after_read(Standing("a"), THEIRS, 100.0)
    waiting = leadership.after_read(waiting, replace(THEIRS, version="8"), 114.0)
    assert claims(waiting, 128.9) is None
    assert claims(waiting, 129.0)


def test_it_is_waited_out_for_as_long_as_its_holder_wrote() -> None:
    waiting = leadership.after_read(Standing("a"), replace(THEIRS, seconds=60), 100.0)
    assert claims(waiting, 159.0) is None
    assert claims(waiting, 160.0)


def test_a_lease_that_was_deleted_was_not_released() -> None:
    waiting = leadership.after_read(Standing("a"), THEIRS, 100.0)
    waiting = leadership.after_read(waiting, None, 105.0)
    assert claims(waiting, 114.9) is None
    taken = claims(waiting, 115.0)
    assert taken is not None
    assert (taken.version, taken.transitions) == ("", 4)


def test_ones_own_lease_is_renewed_and_does_not_change_hands() -> None:
    assert claims(leader(), 105.0) == replace(MINE, renewed="now")


def test_a_process_that_was_started_again_in_its_pod_goes_on() -> None:
    again = leadership.after_read(Standing("a"), MINE, 100.0)
    assert not leadership.may_write(again, 100.0), "not before it has renewed it itself"
    assert claims(again, 100.0) == replace(MINE, renewed="now")


def test_writes_end_with_the_time_to_renew_counted_from_the_sending() -> None:
    assert leadership.may_write(leader(100.0), 109.9)
    assert not leadership.may_write(leader(100.0), 110.0)
    assert not leadership.may_write(Standing("a"), 0.0)


def test_a_write_is_over_before_anybody_else_may_lead() -> None:
    assert sum(WRITE_SECONDS) <= election.WRITE_SECONDS < TERMS.lease_seconds - TERMS.renew_seconds


def test_who_sees_another_holder_leads_no_more() -> None:
    robbed = leadership.after_read(leader(), replace(THEIRS, version="9"), 102.0)
    assert not leadership.may_write(robbed, 102.0)


def test_a_lost_answer_renews_nothing() -> None:
    unheard = leadership.after_read(leader(100.0), replace(MINE, version="9"), 108.0)
    assert leadership.may_write(unheard, 109.9)
    assert not leadership.may_write(unheard, 110.0)
    renewed = claims(unheard, 108.0)
    assert renewed is not None
    assert renewed.version == "9"


def test_only_a_leader_can_release() -> None:
    assert leadership.release(leader(100.0), 105.0, "now") == replace(MINE, holder="", renewed="now")
    assert leadership.release(leader(100.0), 110.0, "now") is None
    assert leadership.release(leadership.after_read(Standing("a"), MINE, 100.0), 100.0, "now") is None


clocks = st.tuples(st.floats(0, 1e6), st.floats(0.99, 1.01))


@settings(max_examples=60, phases=[Phase.explicit, Phase.reuse, Phase.generate])  # a seed cannot shrink
@given(st.lists(clocks, min_size=2, max_size=3), st.integers(0, 2**32), st.sampled_from([0.02, 0.1, 0.3]))
def test_never_two_who_could_write(clocks: list[tuple[float, float]], seed: int, weather: float) -> None:
    """A quick network, quick processes; now and then a loss, seconds or a minute of nothing, a new start."""
    dice = random.Random(seed)

    def delay() -> float:
        return dice.choice((1, 3, 5, 9, 13, 17, 60)) if dice.random() < weather / 3 else dice.uniform(0, 0.3)

    processes = [Process(f"p{number}", *clock) for number, clock in enumerate(clocks)]
    Election(processes, delay, lambda: dice.random() < weather).run(900.0)


@given(st.lists(clocks, min_size=2, max_size=3))
def test_a_healthy_leader_stays(clocks: list[tuple[float, float]]) -> None:
    processes = [Process(f"p{number}", *clock) for number, clock in enumerate(clocks)]
    run = Election(processes, lambda: 0.02, lambda: False)
    run.run(300.0)
    assert len(run.leaders) == 1


@given(st.lists(clocks, min_size=2, max_size=2), st.floats(20, 100))
def test_a_dead_leader_is_followed(clocks: list[tuple[float, float]], dies: float) -> None:
    processes = [Process(f"p{number}", *clock) for number, clock in enumerate(clocks)]
    run = Election(processes, lambda: 0.02, lambda: False)
    run.run(dies)
    first = run.leaders[-1]
    run.kill(first)
    run.run(dies + TERMS.lease_seconds * 1.02 + 2 * TERMS.retry_seconds)
    assert run.leaders[-1] != first
